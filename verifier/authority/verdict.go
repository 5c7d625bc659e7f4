package authority

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"aios/captoken/mldsa"
	"aios/verifier/ear"
	"aios/verifier/session"
)

// Measurement is the SHA-256 of the values of MeasuredPCRs, one after the other: what
// was booted. A receipt is believed if the quote that carries it shows the same.
type Measurement [sha256.Size]byte

// MeasuredPCRs are those that no longer change once a host has booted and whose values
// an appraisal compares. PCRs 1 and 5 are judged by their events, 12 to 14 grow.
var MeasuredPCRs = []int{0, 2, 3, 4, 6, 7, 8, 9, 11}

// measure is the Measurement of PCR values of the sha256 bank.
func measure(value func(pcr int) []byte) (m Measurement, err error) {
	h := sha256.New()
	for _, i := range MeasuredPCRs {
		v := value(i)
		if len(v) != sha256.Size {
			return m, fmt.Errorf("PCR %d: expected %d bytes, found %d", i, sha256.Size, len(v))
		}
		h.Write(v)
	}
	h.Sum(m[:0])
	return m, nil
}

// Verdict is what a lease is granted for: the outcome of one appraisal of one host.
type Verdict struct {
	Host       string
	Status     string    // "affirming", or there is no lease
	IssuedAt   time.Time // when it was reached, in whole seconds
	Expires    time.Time // it is no ground for anything from then on
	ResetCount uint32    // of the TPM, as quoted
	Measured   Measurement
}

const affirming = "affirming"

// FromSession takes the verdict from a round of a session. What counts is the signed
// result: it says from when until when the verdict is valid. key is that of the results.
// Whether it answers this session's challenge was for the session to see to.
func FromSession(host string, r *session.Result, key *mldsa.PublicKey, now time.Time) (Verdict, error) {
	refuse := func(err error) (Verdict, error) {
		return Verdict{}, fmt.Errorf("%s: %w: %w", host, ErrVerdict, err)
	}
	signed, err := ear.Verify(r.EAR, key, ear.Expect{Now: now, AnyNonce: true})
	if err != nil {
		return refuse(err)
	}
	if signed.Status != r.Status {
		return refuse(fmt.Errorf("status of the signed result expected %q, found %q", r.Status, signed.Status))
	}
	v := Verdict{Host: host, Status: signed.Status, IssuedAt: signed.IssuedAt, Expires: signed.Expires, ResetCount: r.ResetCount}
	if !r.Affirming() {
		return v, nil // nothing else of it is used
	}
	if !r.Quoted {
		return refuse(fmt.Errorf("it is affirming, and its quote is not good"))
	}
	if v.Measured, err = measure(func(i int) []byte {
		b, err := hex.DecodeString(r.PCRs[strconv.Itoa(i)].Quoted)
		if err != nil {
			return nil
		}
		return b
	}); err != nil {
		return refuse(err)
	}
	return v, nil
}

package captoken

import (
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// Boot is one start of a host: the kernel's own random id, and the count that the TPM
// keeps of its resets, which nobody can turn back.
type Boot struct {
	ID         ID
	ResetCount uint32
}

// Lease is what a verifier grants a host for a good verdict: for how long the tokens
// that name it may be used. It answers one request, and its duration counts from the
// moment when that request was sent, on the clock of the host that sent it, so that no
// two clocks need to agree and a lease that was held back is worth less.
type Lease struct {
	ID       ID // of the verdict; renewals keep it. MintLease chooses one if it is zero
	Issuer   Thumbprint
	Host     string
	Boot     Boot
	Nonce    [NonceSize]byte // of the request
	Duration time.Duration   // whole milliseconds, at most MaxLease
	// IssuedAt is the verifier's time when it signed, in whole seconds.
	IssuedAt time.Time
	// Sequence counts the verifier's revocations. A host never takes a lower one than it
	// has seen.
	Sequence uint64
}

// Bounds on leases.
const (
	NonceSize = 32
	MaxLease  = 24 * time.Hour
)

// Claims of leases, beside iss, aud, iat, cti and nonce.
const (
	claimDuration   = -65544 // milliseconds
	claimBoot       = -65545 // 16 bytes
	claimResetCount = -65546 // of the TPM, at most 2^32-1
	claimSequence   = -65547 // revocation sequence number
)

var leaseClaims = []int64{claimIssuer, claimAudience, claimIssuedAt, claimID, claimNonce, claimDuration, claimBoot, claimResetCount, claimSequence}

func (l *Lease) validate(object string) error {
	switch {
	case !validName(l.Host):
		return claimError(object, "host "+quote(l.Host)+": expected "+nameRule)
	case l.ID.IsZero():
		return claimError(object, "lease id expected, found none")
	case l.Boot.ID.IsZero():
		return claimError(object, "boot id expected, found none")
	case l.Nonce == [NonceSize]byte{}:
		return claimError(object, "nonce of the request expected, found none")
	case l.Duration < time.Millisecond || l.Duration > MaxLease || l.Duration%time.Millisecond != 0:
		return claimError(object, "duration expected as milliseconds, at most "+MaxLease.String()+", found "+l.Duration.String())
	}
	return validIssuedAt(object, l.IssuedAt)
}

func validIssuedAt(object string, t time.Time) error {
	if s := t.Unix(); s < 0 || s > maxTime || t.Nanosecond() != 0 {
		return claimError(object, "issued at "+stamp(t)+": expected whole seconds from 1970 to 9999")
	}
	return nil
}

// MintLease signs a lease with the verifier's token key.
func MintLease(verifier Signer, l Lease) ([]byte, error) {
	const object = "lease"
	l.Issuer = verifier.Public().Thumbprint()
	if err := chooseID(&l.ID); err != nil {
		return nil, err
	}
	if err := l.validate(object); err != nil {
		return nil, err
	}
	return seal(verifier, object, kindLease, l.encode())
}

func (l *Lease) encode() []byte {
	b := cbor.AppendMap(make([]byte, 0, 320), len(leaseClaims))
	b = cbor.AppendText(cbor.AppendInt(b, claimIssuer), l.Issuer.URI())
	b = cbor.AppendText(cbor.AppendInt(b, claimAudience), l.Host)
	b = appendTime(b, claimIssuedAt, l.IssuedAt)
	b = cbor.AppendBytes(cbor.AppendInt(b, claimID), l.ID[:])
	b = cbor.AppendBytes(cbor.AppendInt(b, claimNonce), l.Nonce[:])
	b = cbor.AppendUint(cbor.AppendInt(b, claimDuration), uint64(l.Duration/time.Millisecond))
	b = cbor.AppendBytes(cbor.AppendInt(b, claimBoot), l.Boot.ID[:])
	b = cbor.AppendUint(cbor.AppendInt(b, claimResetCount), uint64(l.Boot.ResetCount))
	return cbor.AppendUint(cbor.AppendInt(b, claimSequence), l.Sequence)
}

// VerifyLease reads a lease that one of the trusted keys signed for this boot of this
// host. Whether it answers a request and is fresh is for LeaseState to say.
func VerifyLease(raw []byte, trusted []*PublicKey, host string, boot Boot) (*Lease, error) {
	const object = "lease"
	key, payload, err := open(raw, object, kindLease, trusted)
	if err != nil {
		return nil, err
	}
	l, err := decodeLease(payload, object)
	if err != nil {
		return nil, err
	}
	switch {
	case l.Issuer != key.Thumbprint():
		return nil, wrongIssuer(object, key, l.Issuer)
	case l.Host != host:
		return nil, &Error{ErrAudience, object, "host expected " + quote(host) + ", found " + quote(l.Host), "the verifier has to answer the host that asked"}
	case l.Boot != boot:
		return nil, &Error{ErrBoot, object, "boot expected " + boot.String() + ", found " + l.Boot.String(), "attest again: the host was restarted since"}
	}
	return l, nil
}

func (b Boot) String() string {
	return b.ID.String() + " (TPM reset count " + strconv.FormatUint(uint64(b.ResetCount), 10) + ")"
}

func decodeLease(payload []byte, object string) (*Lease, error) {
	l := new(Lease)
	r := cbor.NewReader(payload)
	s := newClaimSet(r, leaseClaims)
	for key, ok := s.next(); ok; key, ok = s.next() {
		switch key {
		case claimIssuer:
			l.Issuer = readIssuer(r)
		case claimAudience:
			l.Host = readName(r)
		case claimIssuedAt:
			l.IssuedAt = readTime(r)
		case claimID:
			l.ID = readID(r)
		case claimNonce:
			copy(l.Nonce[:], r.Bytes(NonceSize, NonceSize))
		case claimDuration:
			l.Duration = time.Duration(readBounded(r, uint64(MaxLease/time.Millisecond))) * time.Millisecond
		case claimBoot:
			l.Boot.ID = readID(r)
		case claimResetCount:
			l.Boot.ResetCount = uint32(readBounded(r, 1<<32-1))
		case claimSequence:
			l.Sequence = r.Uint()
		}
	}
	if err := s.end(); err != nil {
		return nil, formError(object, "its claims, "+err.Error())
	}
	if err := l.validate(object); err != nil {
		return nil, received(err)
	}
	return l, nil
}

// open verifies an object that stands by itself and returns its payload.
func open(raw []byte, object string, k kind, trusted []*PublicKey) (*PublicKey, []byte, error) {
	s, err := readSign1(raw, object, k)
	if err == nil {
		err = s.end(raw, object)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, key := range trusted {
		if key.ID() == s.keyID {
			return key, s.payload, s.verify(object, key)
		}
	}
	return nil, nil, &Error{ErrIssuer, object, "signed by key " + s.keyID.String() + ", expected one of " + strconv.Itoa(len(trusted)) + " trusted keys",
		"trust the signer's key, or get it from somebody who is trusted"}
}

func wrongIssuer(object string, key *PublicKey, found Thumbprint) error {
	return &Error{ErrIssuer, object, "issuer expected " + key.Thumbprint().String() + ", the key that signed it, found " + found.String(),
		"the signer has to name its own key; report it"}
}

// Package quote verifies TPM 2.0 quotes (TPM 2.0 Library part 3, TPM2_Quote):
// that a key which can sign nothing else signed these PCR values together with
// this nonce.
//
// go-attestation verifies every quote as a whole. It says only yes or no, and
// takes what a caller should refuse (an empty nonce, the SHA-1 bank, PCRs that
// are not in the selection), so each condition is also checked here and named.
package quote

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"
)

// The conditions, each matched by errors.Is. Verify joins all that fail.
var (
	ErrKey       = errors.New("attestation key")
	ErrFormat    = errors.New("quote is malformed")
	ErrSignature = errors.New("signature of the quote")
	ErrNonce     = errors.New("nonce of the quote")
	ErrBank      = errors.New("PCR bank of the quote")
	ErrPCRs      = errors.New("PCR values")
)

// PCRs is the number of registers of a PC client TPM.
const PCRs = 24

// Key is a public attestation key.
type Key struct {
	Public crypto.PublicKey // *ecdsa.PublicKey or *rsa.PublicKey
	Hash   crypto.Hash
}

// ParseKey reads a TPMT_PUBLIC and refuses a key that could sign something
// which the TPM has not made itself: it must be restricted, fixed to the TPM
// and made by it.
func ParseKey(public []byte) (*Key, error) {
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, fmt.Errorf("%w: not a TPMT_PUBLIC: %v", ErrKey, err)
	}
	if !bytes.Equal(tpm2.Marshal(pub), public) {
		return nil, fmt.Errorf("%w: bytes after the TPMT_PUBLIC", ErrKey)
	}
	a := pub.ObjectAttributes
	if !a.Restricted || !a.SignEncrypt || a.Decrypt || !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin {
		return nil, fmt.Errorf("%w: must be a restricted signing key that the TPM made and cannot export, attributes are %+v", ErrKey, a)
	}
	ak, err := attest.ParseAKPublic(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	if k, ok := ak.Public.(*ecdsa.PublicKey); ok {
		if _, err := k.ECDH(); err != nil { // the one check of the point that crypto/ecdsa offers
			return nil, fmt.Errorf("%w: %v", ErrKey, err)
		}
	}
	return &Key{ak.Public, ak.Hash}, nil
}

// Policy is what a caller insists on.
type Policy struct {
	Nonce      []byte        // must be the quote's, byte for byte
	AllowEmpty bool          // take an empty nonce: recorded quotes only, they prove no freshness
	Banks      []crypto.Hash // acceptable banks; empty: SHA-256, SHA-384 and SHA-512
	All        bool          // every PCR from 0 to 23 must be in the quote
}

// Quote is a TPMS_ATTEST with its TPMT_SIGNATURE and the values it is over,
// nil for a PCR that is not given.
type Quote struct {
	Attest, Signature []byte
	PCRs              [PCRs][]byte
}

// Info is what a verified quote says besides.
type Info struct {
	Bank            crypto.Hash
	Selected        [PCRs]bool
	Clock           uint64 // milliseconds since TPM2_Clear
	ResetCount      uint32 // TPM resets: a reboot changes it
	RestartCount    uint32
	FirmwareVersion uint64
}

var banks = map[tpm2.TPMAlgID]crypto.Hash{
	tpm2.TPMAlgSHA1: crypto.SHA1, tpm2.TPMAlgSHA256: crypto.SHA256, tpm2.TPMAlgSHA384: crypto.SHA384, tpm2.TPMAlgSHA512: crypto.SHA512,
}

// Verify checks everything and returns every failed condition, joined. The
// Info is nil unless there is none.
func Verify(k *Key, q *Quote, p Policy) (*Info, error) {
	a, err := tpm2.Unmarshal[tpm2.TPMSAttest](q.Attest)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if err := a.Magic.Check(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if a.Type != tpm2.TPMSTAttestQuote {
		return nil, fmt.Errorf("%w: attestation of type %#x, want a quote (%#x)", ErrFormat, a.Type, tpm2.TPMSTAttestQuote)
	}
	body, err := a.Attested.Quote()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	info := &Info{
		Clock: a.ClockInfo.Clock, ResetCount: a.ClockInfo.ResetCount, RestartCount: a.ClockInfo.RestartCount, FirmwareVersion: a.FirmwareVersion,
	}
	if !bytes.Equal(tpm2.Marshal(a), q.Attest) {
		return nil, fmt.Errorf("%w: bytes after the TPMS_ATTEST", ErrFormat)
	}
	err = errors.Join(
		signature(k, q),
		nonce(a.ExtraData.Buffer, p),
		selection(body, p, info),
		digest(k, q, body, info),
	)
	if err != nil {
		return nil, err
	}
	if err := confirm(k, q, a.ExtraData.Buffer, info); err != nil {
		return nil, err
	}
	return info, nil
}

func signature(k *Key, q *Quote) error {
	sig, err := tpm2.Unmarshal[tpm2.TPMTSignature](q.Signature)
	if err != nil {
		return fmt.Errorf("%w: not a TPMT_SIGNATURE: %v", ErrSignature, err)
	}
	if !bytes.Equal(tpm2.Marshal(sig), q.Signature) {
		return fmt.Errorf("%w: bytes after the TPMT_SIGNATURE", ErrSignature)
	}
	h := k.Hash.New()
	h.Write(q.Attest)
	sum := h.Sum(nil)
	wrong := fmt.Errorf("%w does not verify: it is not from the enrolled attestation key, or the quote was altered", ErrSignature)
	scheme := func(alg tpm2.TPMIAlgHash) error {
		if banks[alg] != k.Hash {
			return fmt.Errorf("%w: the key signs with %v, the signature says %#x", ErrSignature, k.Hash, alg)
		}
		return nil
	}
	switch pub := k.Public.(type) {
	case *ecdsa.PublicKey:
		s, err := sig.Signature.ECDSA()
		if err != nil {
			return fmt.Errorf("%w: the key is ECDSA: %v", ErrSignature, err)
		}
		if err := scheme(s.Hash); err != nil {
			return err
		}
		if len(s.SignatureR.Buffer) > 66 || len(s.SignatureS.Buffer) > 66 || !ecdsa.VerifyASN1(pub, sum, asn1(s.SignatureR.Buffer, s.SignatureS.Buffer)) {
			return wrong
		}
	case *rsa.PublicKey:
		s, err := sig.Signature.RSASSA()
		if err != nil {
			return fmt.Errorf("%w: the key is RSASSA: %v", ErrSignature, err)
		}
		if err := scheme(s.Hash); err != nil {
			return err
		}
		if rsa.VerifyPKCS1v15(pub, k.Hash, sum, s.Sig.Buffer) != nil {
			return wrong
		}
	default:
		return fmt.Errorf("%w: key of type %T", ErrSignature, k.Public)
	}
	return nil
}

// asn1 encodes an ECDSA signature of short integers as DER.
func asn1(r, s []byte) []byte {
	integer := func(b []byte) []byte {
		b = bytes.TrimLeft(b, "\x00")
		if len(b) == 0 || b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r), integer(s)...)
	if len(body) >= 0x80 {
		return append([]byte{0x30, 0x81, byte(len(body))}, body...)
	}
	return append([]byte{0x30, byte(len(body))}, body...)
}

func nonce(got []byte, p Policy) error {
	if len(p.Nonce) == 0 && !p.AllowEmpty {
		return fmt.Errorf("%w: the verifier gave none, so nothing is proven to be fresh", ErrNonce)
	}
	if subtle.ConstantTimeCompare(got, p.Nonce) != 1 {
		return fmt.Errorf("%w is not the challenge's: the quote is old, or was made for someone else", ErrNonce)
	}
	return nil
}

func selection(body *tpm2.TPMSQuoteInfo, p Policy, info *Info) error {
	if n := len(body.PCRSelect.PCRSelections); n != 1 {
		return fmt.Errorf("%w: %d selections, want one", ErrBank, n)
	}
	s := body.PCRSelect.PCRSelections[0]
	info.Bank = banks[s.Hash]
	if info.Bank == 0 {
		return fmt.Errorf("%w: algorithm %#x is not known", ErrBank, s.Hash)
	}
	ok := len(p.Banks) == 0 && info.Bank != crypto.SHA1
	for _, b := range p.Banks {
		ok = ok || b == info.Bank
	}
	for i := range info.Selected {
		info.Selected[i] = i/8 < len(s.PCRSelect) && s.PCRSelect[i/8]>>(i%8)&1 == 1
		if p.All && !info.Selected[i] {
			return fmt.Errorf("%w: PCR %d is not in the quote", ErrPCRs, i)
		}
	}
	if !ok {
		return fmt.Errorf("%w: %v is not acceptable: activate the SHA-256 bank in the firmware", ErrBank, info.Bank)
	}
	return nil
}

func digest(k *Key, q *Quote, body *tpm2.TPMSQuoteInfo, info *Info) error {
	if info.Bank == 0 {
		return nil // said by selection
	}
	h := k.Hash.New()
	for i, v := range q.PCRs {
		switch {
		case !info.Selected[i]:
		case len(v) != info.Bank.Size():
			return fmt.Errorf("%w: PCR %d has %d bytes, want %d", ErrPCRs, i, len(v), info.Bank.Size())
		default:
			h.Write(v)
		}
	}
	if !bytes.Equal(h.Sum(nil), body.PCRDigest.Buffer) {
		return fmt.Errorf("%w are not those that the TPM signed: at least one was altered", ErrPCRs)
	}
	return nil
}

// confirm has go-attestation check the whole once more.
func confirm(k *Key, q *Quote, nonce []byte, info *Info) error {
	var pcrs []attest.PCR
	for i, v := range q.PCRs {
		if info.Selected[i] {
			pcrs = append(pcrs, attest.PCR{Index: i, Digest: v, DigestAlg: info.Bank})
		}
	}
	ak := attest.AKPublic{Public: k.Public, Hash: k.Hash}
	if err := ak.Verify(attest.Quote{Quote: q.Attest, Signature: q.Signature}, pcrs, nonce); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	return nil
}

// Package tpmtest is a TPM made of software keys, for tests of those who judge
// what TPMs say. It answers as package kernel/tpm does, byte for byte in the
// same structures (TPM 2.0 Library part 2), and unlike a TPM it lies when asked
// to: its keys, its PCRs and every statement before it is signed can be altered.
//
// It protects nothing. Tests that need a true TPM use swtpm.
package tpmtest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"aios/evidence"
)

// PCRs is the number of registers.
const PCRs = 24

// TPM is a powered-on TPM with an AK and, if a CA has certified it, an EK.
type TPM struct {
	PCRs         [PCRs][]byte // of the sha256 bank
	ResetCount   uint32
	Certificate  []byte // of the EK, as in NV
	AKAttributes tpm2.TPMAObject

	// Alter changes a statement before it is signed; nil for an honest TPM.
	Alter func(*tpm2.TPMSAttest)

	ek *rsa.PrivateKey
	ak *ecdsa.PrivateKey
}

// New makes a TPM as a reset leaves it: PCR 17 to 22 are ones, the others zero.
func New() (*TPM, error) {
	ek, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &TPM{ek: ek, ak: ak, ResetCount: 1, AKAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
	}}
	t.Reset()
	return t, nil
}

// Reset is a restart of the host.
func (t *TPM) Reset() {
	t.ResetCount++
	for i := range t.PCRs {
		t.PCRs[i] = make([]byte, sha256.Size)
		if i >= 17 && i <= 22 {
			t.PCRs[i] = bytes.Repeat([]byte{0xff}, sha256.Size)
		}
	}
}

// Extend is TPM2_PCR_Extend of the sha256 bank.
func (t *TPM) Extend(pcr int, digest []byte) error {
	sum := sha256.Sum256(append(bytes.Clone(t.PCRs[pcr]), digest...))
	t.PCRs[pcr] = sum[:]
	return nil
}

// EK is the public endorsement key.
func (t *TPM) EK() *rsa.PublicKey { return &t.ek.PublicKey }

// EKPublic is its TPMT_PUBLIC, of template L-1 (TCG EK Credential Profile 2.6, B.3.3).
func (t *TPM) EKPublic() []byte {
	p := tpm2.RSAEKTemplate
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: t.ek.N.FillBytes(make([]byte, 256))})
	return tpm2.Marshal(p)
}

// AKPublic is the attestation key's TPMT_PUBLIC.
func (t *TPM) AKPublic() []byte { return tpm2.Marshal(t.akPublic()) }

func (t *TPM) akPublic() tpm2.TPMTPublic {
	point := must(t.ak.PublicKey.Bytes()) // 4, x, y
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: t.AKAttributes,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		}),
	}
}

// Identity is what an enrolment asks for.
func (t *TPM) Identity() (*evidence.Identity, error) {
	creation := tpm2.Marshal(tpm2.TPMSCreationData{
		ParentNameAlg: tpm2.TPMAlgNull, ParentName: tpm2.TPM2BName{Buffer: []byte{0x40, 0, 0, 0x0b}},
		ParentQualifiedName: tpm2.TPM2BName{Buffer: []byte{0x40, 0, 0, 0x0b}},
	})
	sum := sha256.Sum256(creation)
	attest, sig := t.certify(nil, tpm2.TPMSTAttestCreation, tpm2.NewTPMUAttest(tpm2.TPMSTAttestCreation, &tpm2.TPMSCreationInfo{
		ObjectName: t.name(), CreationHash: tpm2.TPM2BDigest{Buffer: sum[:]},
	}))
	return &evidence.Identity{
		EKCertificate: t.Certificate, EKPublic: t.EKPublic(), AKPublic: t.AKPublic(),
		CreationData: creation, CreationAttest: attest, CreationSignature: sig,
	}, nil
}

func (t *TPM) name() tpm2.TPM2BName {
	p := t.akPublic()
	n, err := tpm2.ObjectName(&p)
	if err != nil {
		panic(err) // the template is ours
	}
	return *n
}

// Quote signs all PCRs together with nonce.
func (t *TPM) Quote(nonce []byte) (attest, signature []byte, err error) {
	h := sha256.New()
	for _, v := range t.PCRs {
		h.Write(v)
	}
	attest, signature = t.certify(nonce, tpm2.TPMSTAttestQuote, tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
		PCRSelect: Selection(tpm2.TPMAlgSHA256, 0xff, 0xff, 0xff), PCRDigest: tpm2.TPM2BDigest{Buffer: h.Sum(nil)},
	}))
	return attest, signature, nil
}

// Selection selects the PCRs whose bits are set, of one bank.
func Selection(bank tpm2.TPMAlgID, bits ...byte) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: bank, PCRSelect: bits}}}
}

func (t *TPM) certify(nonce []byte, kind tpm2.TPMST, what tpm2.TPMUAttest) (attest, signature []byte) {
	a := tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: kind, QualifiedSigner: t.name(), ExtraData: tpm2.TPM2BData{Buffer: nonce},
		ClockInfo: tpm2.TPMSClockInfo{Clock: 1000, ResetCount: t.ResetCount, Safe: true}, FirmwareVersion: 1, Attested: what,
	}
	if t.Alter != nil {
		t.Alter(&a)
	}
	attest = tpm2.Marshal(a)
	return attest, t.Sign(attest)
}

// Sign makes a TPMT_SIGNATURE by the AK over any bytes, which no TPM would do
// with a restricted key.
func (t *TPM) Sign(b []byte) []byte {
	sum := sha256.Sum256(b)
	r, s, err := ecdsa.Sign(rand.Reader, t.ak, sum[:])
	if err != nil {
		panic(err) // a key of ours, and a random generator that never fails
	}
	return Signature(tpm2.TPMAlgSHA256, r, s)
}

// Signature encodes an ECDSA signature.
func Signature(hash tpm2.TPMAlgID, r, s *big.Int) []byte {
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash: hash, SignatureR: tpm2.TPM2BECCParameter{Buffer: r.Bytes()}, SignatureS: tpm2.TPM2BECCParameter{Buffer: s.Bytes()},
	})})
}

// Activate opens a credential that was made for this EK and this AK (part 1,
// section 24).
func (t *TPM) Activate(credential, secret []byte) ([]byte, error) {
	sized := func(b []byte) (inner, rest []byte, err error) {
		if len(b) < 2 || int(binary.BigEndian.Uint16(b)) > len(b)-2 {
			return nil, nil, fmt.Errorf("%d bytes are no TPM2B", len(b))
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		return b[2:n], b[n:], nil
	}
	encrypted, _, err := sized(secret)
	if err != nil {
		return nil, err
	}
	object, _, err := sized(credential)
	if err != nil {
		return nil, err
	}
	mac, identity, err := sized(object)
	if err != nil {
		return nil, err
	}
	seed, err := rsa.DecryptOAEP(sha256.New(), nil, t.ek, encrypted, []byte("IDENTITY\x00"))
	if err != nil {
		return nil, fmt.Errorf("the secret is for another EK: %w", err)
	}
	name := t.name().Buffer
	h := hmac.New(sha256.New, tpm2.KDFa(crypto.SHA256, seed, "INTEGRITY", nil, nil, 256))
	h.Write(identity)
	h.Write(name)
	if !hmac.Equal(mac, h.Sum(nil)) {
		return nil, errors.New("the credential is for another AK")
	}
	block, err := aes.NewCipher(tpm2.KDFa(crypto.SHA256, seed, "STORAGE", name, nil, 128))
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(identity))
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(plain, identity)
	out, _, err := sized(plain)
	return out, err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // cannot fail: the key was made here
	}
	return v
}

// Splice returns b with cut bytes at a place replaced by others, for tests and
// fuzz targets that alter what a TPM said: keys differ from run to run, so an
// alteration can be kept where altered bytes cannot.
func Splice(b []byte, at, cut int, with []byte) []byte {
	at = min(at, len(b))
	cut = min(cut, len(b)-at)
	return slices.Concat(b[:at], with, b[at+cut:])
}

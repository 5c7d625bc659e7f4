// Package enrol makes a host known: it binds an attestation key to the TPM
// that an EK certificate vouches for, by credential activation (TPM 2.0
// Library part 1, 24; TCG EK Credential Profile 2.6), and keeps the record.
package enrol

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-attestation/attest"

	"aios/evidence"
	"aios/verifier/ek"
)

// The reasons to refuse an enrolment, matched by errors.Is. A certificate from
// an unknown CA is ek.ErrUnknownCA, a key that is no attestation key quote.ErrKey.
var (
	ErrNoCertificate = errors.New("the TPM has no EK certificate")
	ErrEK            = errors.New("endorsement key")
	ErrActivation    = errors.New("credential activation")
)

// Host is the record of an enrolled host.
type Host struct {
	ID         string    `json:"id"`        // "host-" and 16 hex digits of the EK's hash; for the operator, not for relying parties
	EKHash     string    `json:"ek_sha256"` // of the EK's SubjectPublicKeyInfo, hex
	EKIssuer   string    `json:"ek_issuer"` // who vouched for it
	EKQuirks   []string  `json:"ek_quirks,omitempty"`
	AKPublic   []byte    `json:"ak_public"`   // TPMT_PUBLIC
	AKName     string    `json:"ak_name"`     // TPM name, hex
	EnrolledAt time.Time `json:"enrolled_at"` // verifier's clock
	Floor      uint64    `json:"floor"`       // the verifier's own copy of the rollback floor

	// Baselines has, for each shape that the machine was seen in, the values of
	// the firmware's PCRs (index -> hex of the sha256 bank) in the first good
	// evidence. OVMF's PCR 0 depends on RAM size and processor count.
	Baselines map[string]map[string]string `json:"baselines,omitempty"`
	// Baseline is the one that evidence is held against.
	Baseline map[string]string `json:"-"`
}

// Pending is an enrolment whose credential is on its way.
type Pending struct {
	Credential []byte // TPM2B_ID_OBJECT
	Secret     []byte // TPM2B_ENCRYPTED_SECRET
	want       []byte
	host       Host
}

// Begin checks the identity and makes a credential that only the TPM with that
// EK and that AK can open. now is the time that certificates are checked at.
func Begin(id *evidence.Identity, roots ek.Roots, now time.Time) (*Pending, error) {
	if len(id.EKCertificate) == 0 {
		return nil, fmt.Errorf("%w: have the manufacturer's certificate written to NV 0x1c00002, or pre-register the EK", ErrNoCertificate)
	}
	cert, err := ek.Parse(id.EKCertificate)
	if err != nil {
		return nil, err
	}
	if _, err := cert.Verify(roots, now); err != nil {
		return nil, err
	}
	key, err := endorsementKey(id.EKPublic)
	if err != nil {
		return nil, err
	}
	if !sameKey(key, cert.PublicKey) {
		return nil, fmt.Errorf("%w: the certificate is for another key than the TPM's: it belongs to another TPM", ErrEK)
	}
	hash, err := keyHash(key)
	if err != nil {
		return nil, err
	}
	ak, err := attestationKey(id.AKPublic)
	if err != nil {
		return nil, err
	}
	params := attest.ActivationParameters{
		EK: key, Rand: rand.Reader,
		AK: attest.AttestationParameters{Public: id.AKPublic, CreateData: id.CreationData, CreateAttestation: id.CreationAttest, CreateSignature: id.CreationSignature},
	}
	secret, credential, err := params.Generate()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrActivation, err)
	}
	return &Pending{
		Credential: credential.Credential, Secret: credential.Secret, want: secret,
		host: Host{
			ID: hostID(hash), EKHash: hash, EKIssuer: cert.Issuer(), EKQuirks: cert.Quirks,
			AKPublic: id.AKPublic, AKName: ak, EnrolledAt: now.UTC().Truncate(time.Second),
		},
	}, nil
}

// HostID is the id that the host will have.
func (p *Pending) HostID() string { return p.host.ID }

// EKHash is the SHA-256 of the EK's SubjectPublicKeyInfo, hex.
func (p *Pending) EKHash() string { return p.host.EKHash }

// Finish takes the secret that the host's TPM got out of the credential.
func (p *Pending) Finish(secret []byte) (*Host, error) {
	if len(p.want) == 0 || subtle.ConstantTimeCompare(secret, p.want) != 1 {
		return nil, fmt.Errorf("%w: the host could not open the credential: its attestation key is not in the TPM that the certificate is for", ErrActivation)
	}
	h := p.host
	return &h, nil
}

// SameEK tells whether an identity shows the endorsement key that is on record.
func (h *Host) SameEK(public []byte) bool {
	key, err := endorsementKey(public)
	if err != nil {
		return false
	}
	hash, err := keyHash(key)
	return err == nil && hash == h.EKHash
}

// SameAK tells whether an identity shows the key that is on record.
func (h *Host) SameAK(public []byte) bool { return bytes.Equal(h.AKPublic, public) }

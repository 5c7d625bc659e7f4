package tpm

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// HostID is what the host is known by: "host-" and 16 hex digits of the SHA-256 of
// the endorsement key's SubjectPublicKeyInfo. The verifier computes it from the key
// that it enrols (verifier/enrol), so neither has to believe the other. The key is
// made once; with a TPM in hardware that takes seconds.
func (r *Root) HostID() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hostID != "" {
		return r.hostID, nil
	}
	ek, err := r.endorsementKey()
	if err != nil {
		return "", err
	}
	if err := r.flush(ek.ObjectHandle); err != nil {
		return "", fmt.Errorf("flush the endorsement key: %w", err)
	}
	if err := r.learn(ek.OutPublic); err != nil {
		return "", err
	}
	return r.hostID, nil
}

// learn takes the host's id from its endorsement key. Preconditions: r.mu is held.
func (r *Root) learn(public tpm2.TPM2BPublic) error {
	if r.hostID != "" {
		return nil
	}
	pub, err := public.Contents()
	if err != nil {
		return fmt.Errorf("read the endorsement key: %w", err)
	}
	key, err := tpm2.Pub(*pub)
	if err != nil {
		return fmt.Errorf("read the endorsement key: %w", err)
	}
	k, ok := key.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("read the endorsement key: an RSA key expected, found a %T", key)
	}
	spki, err := publicKeyInfo(k)
	if err != nil {
		return fmt.Errorf("encode the endorsement key: %w", err)
	}
	sum := sha256.Sum256(spki)
	r.hostID = "host-" + hex.EncodeToString(sum[:])[:16]
	return nil
}

// publicKeyInfo is the SubjectPublicKeyInfo of an RSA key (RFC 8017 appendix A.1, RFC
// 5280 section 4.1), as crypto/x509 writes it: that package is too large for ring 0.
func publicKeyInfo(k *rsa.PublicKey) ([]byte, error) {
	key, err := asn1.Marshal(*k)
	if err != nil {
		return nil, err
	}
	type algorithm struct {
		ID         asn1.ObjectIdentifier
		Parameters asn1.RawValue
	}
	return asn1.Marshal(struct {
		Algorithm algorithm
		Key       asn1.BitString
	}{
		algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, asn1.NullRawValue},
		asn1.BitString{Bytes: key, BitLength: 8 * len(key)},
	})
}

// ResetCount is how often the TPM was reset: once at each boot of the host, and
// nobody can turn it back (TPMS_CLOCK_INFO, resetCount).
func (r *Root) ResetCount() (uint32, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rsp, err := tpm2.ReadClock{}.Execute(r.t)
	if err != nil {
		return 0, fmt.Errorf("read the TPM's clock: %w", err)
	}
	return rsp.CurrentTime.ClockInfo.ResetCount, nil
}

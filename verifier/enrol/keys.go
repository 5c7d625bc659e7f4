package enrol

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"aios/verifier/quote"
)

func hostID(ekHash string) string { return "host-" + ekHash[:16] }

// endorsementKey reads the TPMT_PUBLIC of an EK.
func endorsementKey(public []byte) (crypto.PublicKey, error) {
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, fmt.Errorf("%w: not a TPMT_PUBLIC: %v", ErrEK, err)
	}
	key, err := tpm2.Pub(*pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrEK, err)
	}
	return key, nil
}

// keyHash is what a host is known by. It is over the key alone: the attributes
// beside it in a TPMT_PUBLIC are the host's word, and with others it would pass
// for another host.
func keyHash(ek crypto.PublicKey) (string, error) {
	spki, err := x509.MarshalPKIXPublicKey(ek)
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrEK, err)
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:]), nil
}

// attestationKey checks that the key can serve as one, and gives its TPM name.
func attestationKey(public []byte) (name string, err error) {
	key, err := quote.ParseKey(public)
	if err != nil {
		return "", err
	}
	if key.Hash == crypto.SHA1 {
		return "", fmt.Errorf("%w: signs with SHA-1, which proves nothing any more: make it with SHA-256", quote.ErrKey)
	}
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return "", fmt.Errorf("%w: %v", quote.ErrKey, err)
	}
	n, err := tpm2.ObjectName(pub)
	if err != nil {
		return "", fmt.Errorf("%w: %v", quote.ErrKey, err)
	}
	return hex.EncodeToString(n.Buffer), nil
}

// sameKey compares public keys; EKs are RSA or ECDSA keys as Go knows them.
func sameKey(a, b crypto.PublicKey) bool {
	if k, ok := a.(*rsa.PublicKey); ok {
		return k.Equal(b)
	}
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

package captoken

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"aios/captoken/mldsa"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// Signer signs for a key. PrivateKey does; so can a key that lives in an enclave or a
// hardware module.
type Signer interface {
	Public() *PublicKey
	// Sign signs message with the algorithm of the key and the empty context.
	Sign(message []byte) ([]byte, error)
}

// PrivateKey is a signer in this process.
type PrivateKey struct {
	key           *mldsa.PrivateKey                                 // of ML-DSA-65; nil for the others
	other         func(message []byte, hedged bool) ([]byte, error) // of the others
	seed          []byte
	public        *PublicKey
	deterministic bool // in tests: vectors must come out the same each time
}

// NewPrivateKey names a key of ML-DSA-65.
func NewPrivateKey(k *mldsa.PrivateKey) *PrivateKey {
	return &PrivateKey{key: k, seed: k.Seed(), public: NewPublicKey(k.Public())}
}

// SeedSize is the length of the seed that a private key is kept as: xi of FIPS 204, and
// behind it in a hybrid the private key of RFC 8032.
func (a Algorithm) SeedSize() int {
	if a == MLDSA65Ed25519 {
		return hybridSeed
	}
	return mldsa.SeedSize
}

// GenerateKey makes a new key from the operating system's randomness.
func GenerateKey(a Algorithm) (*PrivateKey, error) {
	seed := make([]byte, a.SeedSize())
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("generate %s key: %w", a, err)
	}
	return ParsePrivateKey(a, seed)
}

// ParsePrivateKey expands a seed. Whoever knows the seed can sign.
func ParsePrivateKey(a Algorithm, seed []byte) (*PrivateKey, error) {
	if size, _ := a.sizes(); size == 0 {
		return nil, fmt.Errorf("private key: %s is unknown", a)
	}
	if len(seed) != a.SeedSize() {
		return nil, fmt.Errorf("%s private seed: expected %d bytes, found %d", a, a.SeedSize(), len(seed))
	}
	k := &PrivateKey{seed: bytes.Clone(seed)}
	xi := [mldsa.SeedSize]byte(seed)
	var raw []byte
	switch a {
	case MLDSA65:
		first, err := mldsa.NewPrivateKey(seed)
		if err != nil {
			return nil, err
		}
		return NewPrivateKey(first), nil
	case MLDSA44:
		public, private := mldsa44.NewKeyFromSeed(&xi)
		raw = public.Bytes()
		k.other = func(message []byte, hedged bool) ([]byte, error) {
			signature := make([]byte, mldsa44.SignatureSize)
			return signature, mldsa44.SignTo(private, message, nil, hedged, signature)
		}
	case MLDSA87:
		public, private := mldsa87.NewKeyFromSeed(&xi)
		raw = public.Bytes()
		k.other = func(message []byte, hedged bool) ([]byte, error) {
			signature := make([]byte, mldsa87.SignatureSize)
			return signature, mldsa87.SignTo(private, message, nil, hedged, signature)
		}
	case MLDSA65Ed25519:
		var err error
		if raw, k.other, err = newHybrid(seed); err != nil {
			return nil, err
		}
	}
	var err error
	k.public, err = ParsePublicKey(a, raw)
	return k, err
}

// Public returns the key that verifies what this one signs.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Seed returns a copy of the secret seed.
func (k *PrivateKey) Seed() []byte { return bytes.Clone(k.seed) }

// Sign implements Signer, with fresh randomness in each signature.
func (k *PrivateKey) Sign(message []byte) ([]byte, error) {
	switch {
	case k.key == nil:
		return k.other(message, !k.deterministic)
	case k.deterministic:
		return k.key.Sign(message, nil)
	}
	return k.key.SignHedged(message, nil)
}

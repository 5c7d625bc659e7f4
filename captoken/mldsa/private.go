package mldsa

import (
	"crypto/rand"
	"fmt"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// SeedSize is the length of the seed (xi in FIPS 204 section 6.1) that a private
// key is kept as.
const SeedSize = mldsa65.SeedSize // 32

// PrivateKey is a signing key. It is immutable and may be used from many goroutines
// at once.
type PrivateKey struct {
	key    *mldsa65.PrivateKey
	seed   [SeedSize]byte
	public *PublicKey
}

// NewPrivateKey expands a 32-byte seed. Whoever knows the seed can sign.
func NewPrivateKey(seed []byte) (*PrivateKey, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("ML-DSA-65 private seed: expected %d bytes, found %d", SeedSize, len(seed))
	}
	k := new(PrivateKey)
	copy(k.seed[:], seed)
	public, private := mldsa65.NewKeyFromSeed(&k.seed)
	k.key = private
	var err error
	if k.public, err = NewPublicKey(public.Bytes()); err != nil {
		return nil, err
	}
	return k, nil
}

// GenerateKey makes a new key from the operating system's randomness.
func GenerateKey() (*PrivateKey, error) {
	var seed [SeedSize]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("generate ML-DSA-65 key: %w", err)
	}
	return NewPrivateKey(seed[:])
}

// Public returns the key that verifies what this one signs.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Seed returns a copy of the secret seed.
func (k *PrivateKey) Seed() []byte {
	seed := k.seed
	return seed[:]
}

// Sign signs msg under the context ctx with the deterministic variant of FIPS 204
// (section 3.4: the per-signature random value is 32 zero bytes). The same key,
// message and context give the same signature, so an image that is built twice is the
// same image, byte for byte. Use SignHedged where nothing needs to be reproducible.
func (k *PrivateKey) Sign(msg, ctx []byte) ([]byte, error) { return k.sign(msg, ctx, false) }

// SignHedged signs like Sign but mixes fresh randomness in, the default variant of
// FIPS 204. It makes fault and side-channel attacks on a key that signs online harder.
// Both variants verify alike.
func (k *PrivateKey) SignHedged(msg, ctx []byte) ([]byte, error) { return k.sign(msg, ctx, true) }

func (k *PrivateKey) sign(msg, ctx []byte, hedged bool) ([]byte, error) {
	if len(ctx) > MaxContext {
		return nil, fmt.Errorf("ML-DSA-65 signature: the context is %d bytes long, at most %d are allowed", len(ctx), MaxContext)
	}
	sig := make([]byte, SignatureSize)
	if err := mldsa65.SignTo(k.key, msg, ctx, hedged, sig); err != nil {
		return nil, fmt.Errorf("ML-DSA-65 signature: %w", err)
	}
	return sig, nil
}

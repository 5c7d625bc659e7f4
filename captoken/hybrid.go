//go:build !aios

package captoken

import (
	"aios/captoken/mldsa"

	"github.com/cloudflare/circl/sign/ed25519"
)

// The sizes of hybrid keys and signatures.
const (
	hybridPublicKey = mldsa.PublicKeySize + ed25519.PublicKeySize
	hybridSignature = mldsa.SignatureSize + ed25519.SignatureSize
	hybridSeed      = mldsa.SeedSize + ed25519.SeedSize
)

// parseHybrid parses a key. Precondition: its length is hybridPublicKey.
func parseHybrid(raw []byte) (verifier, error) {
	first, err := mldsa.NewPublicKey(raw[:mldsa.PublicKeySize])
	if err != nil {
		return nil, err
	}
	k := &hybridKey{first: first}
	copy(k.second[:], raw[mldsa.PublicKeySize:])
	return k, nil
}

// hybridKey is a key of ML-DSA-65 and one of Ed25519, one after the other; so are the
// signatures. The verifier of circl is used for both: it refuses encodings of Ed25519
// that are not canonical.
type hybridKey struct {
	first  *mldsa.PublicKey
	second [ed25519.PublicKeySize]byte
}

// verify wants both signatures good.
func (k *hybridKey) verify(message, signature []byte) bool {
	m := representative(message)
	return k.first.Verify(m, []byte(hybridLabel), signature[:mldsa.SignatureSize]) &&
		ed25519.Verify(k.second[:], m, signature[mldsa.SignatureSize:])
}

func (k *hybridKey) bytes() []byte { return append(k.first.Bytes(), k.second[:]...) }

// newHybrid expands a seed into the encoded public key and what signs.
func newHybrid(seed []byte) (public []byte, sign func(message []byte, hedged bool) ([]byte, error), err error) {
	first, err := mldsa.NewPrivateKey(seed[:mldsa.SeedSize])
	if err != nil {
		return nil, nil, err
	}
	second := ed25519.NewKeyFromSeed(seed[mldsa.SeedSize:])
	public = append(first.Public().Bytes(), second[ed25519.SeedSize:]...)
	return public, func(message []byte, hedged bool) ([]byte, error) { return signHybrid(first, second, message, hedged) }, nil
}

func signHybrid(first *mldsa.PrivateKey, second ed25519.PrivateKey, message []byte, hedged bool) ([]byte, error) {
	m := representative(message)
	sign := first.Sign
	if hedged {
		sign = first.SignHedged
	}
	signature, err := sign(m, []byte(hybridLabel))
	if err != nil {
		return nil, err
	}
	return append(signature, ed25519.Sign(second, m)...), nil
}

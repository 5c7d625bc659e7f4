package captoken

import (
	"crypto/sha512"
	"strconv"

	"aios/captoken/mldsa"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
)

// Algorithm is a COSE algorithm identifier.
type Algorithm int64

// The algorithms. Those of ML-DSA alone are registered (RFC 9964 section 8). The hybrid
// is the composite ML-DSA-65-Ed25519 of draft-ietf-jose-pq-composite-sigs-00; the
// identifier that the draft asks for is not registered and has changed between its
// versions, so ours is from the range for private use (less than -65536).
const (
	MLDSA44        Algorithm = -48
	MLDSA65        Algorithm = -49
	MLDSA87        Algorithm = -50
	MLDSA65Ed25519 Algorithm = -65537
)

// Algorithms lists what is known here.
func Algorithms() (known []Algorithm) {
	for _, a := range [...]Algorithm{MLDSA44, MLDSA65, MLDSA87, MLDSA65Ed25519} {
		if size, _ := a.sizes(); size > 0 {
			known = append(known, a)
		}
	}
	return known
}

// Sizes of the largest key and of the smallest and largest signature.
const (
	minSignature = mldsa44.SignatureSize
	maxSignature = mldsa87.SignatureSize
)

// sizes returns the lengths of public keys and signatures in bytes (FIPS 204 table 2,
// RFC 8032 section 5.1), 0 for an algorithm that is unknown.
func (a Algorithm) sizes() (key, signature int) {
	switch a {
	case MLDSA44:
		return mldsa44.PublicKeySize, mldsa44.SignatureSize
	case MLDSA65:
		return mldsa.PublicKeySize, mldsa.SignatureSize
	case MLDSA87:
		return mldsa87.PublicKeySize, mldsa87.SignatureSize
	case MLDSA65Ed25519:
		return hybridPublicKey, hybridSignature
	}
	return 0, 0
}

// String is the name of the algorithm in COSE and JOSE.
func (a Algorithm) String() string {
	switch a {
	case MLDSA44:
		return "ML-DSA-44"
	case MLDSA65:
		return mldsa.Algorithm
	case MLDSA87:
		return "ML-DSA-87"
	case MLDSA65Ed25519:
		return "ML-DSA-65-Ed25519"
	}
	return "algorithm " + strconv.FormatInt(int64(a), 10)
}

// verifier is a parsed key of another algorithm than ML-DSA-65. A signature that it is
// given has the length that sizes says.
type verifier interface {
	verify(message, signature []byte) bool
	bytes() []byte
}

// parseOther parses a key of another algorithm than ML-DSA-65. Precondition: its length
// is the one of sizes.
func parseOther(a Algorithm, raw []byte) (verifier, error) {
	switch a {
	case MLDSA44:
		k := new(key44)
		return k, k.key.UnmarshalBinary(raw)
	case MLDSA87:
		k := new(key87)
		return k, k.key.UnmarshalBinary(raw)
	}
	return parseHybrid(raw)
}

type key44 struct{ key mldsa44.PublicKey }

func (k *key44) verify(message, signature []byte) bool {
	return mldsa44.Verify(&k.key, message, nil, signature)
}
func (k *key44) bytes() []byte { return k.key.Bytes() }

type key87 struct{ key mldsa87.PublicKey }

func (k *key87) verify(message, signature []byte) bool {
	return mldsa87.Verify(&k.key, message, nil, signature)
}
func (k *key87) bytes() []byte { return k.key.Bytes() }

// What is signed in a hybrid, draft-ietf-lamps-pq-composite-sigs section 2.2. The label
// is also the ML-DSA context, and stands in what Ed25519 signs, so that neither half is
// a signature by itself.
const (
	hybridPrefix = "CompositeAlgorithmSignatures2025"
	hybridLabel  = "COMPSIG-MLDSA65-Ed25519-SHA512"
)

// representative is M' of the draft: prefix, label, the length of the context (none) and
// the SHA-512 of the message.
func representative(message []byte) []byte {
	b := make([]byte, 0, len(hybridPrefix)+len(hybridLabel)+1+sha512.Size)
	b = append(append(b, hybridPrefix...), hybridLabel...)
	sum := sha512.Sum512(message)
	return append(append(b, 0), sum[:]...)
}

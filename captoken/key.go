package captoken

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"aios/captoken/cbor"
	"aios/captoken/mldsa"
)

// Algorithm is a COSE algorithm identifier.
type Algorithm int64

// MLDSA65 is the identifier of ML-DSA-65 (RFC 9964 section 8).
const MLDSA65 Algorithm = -49

// Thumbprint names a key for good: the SHA-256 thumbprint of its COSE_Key
// (RFC 9679), over key type, algorithm and public key.
type Thumbprint [32]byte

func (t Thumbprint) String() string { return hex.EncodeToString(t[:]) }

// thumbprintURI is the prefix of RFC 9679 section 6.
const thumbprintURI = "urn:ietf:params:oauth:ckt:sha-256:"

// issuerSize is the length of an issuer claim.
const issuerSize = len(thumbprintURI) + 43

// URI is the thumbprint in the form in which it stands in the issuer claim.
func (t Thumbprint) URI() string { return thumbprintURI + base64.RawURLEncoding.EncodeToString(t[:]) }

// parseURI is the inverse of URI.
func parseURI(s string) (t Thumbprint, ok bool) {
	if len(s) != issuerSize || s[:len(thumbprintURI)] != thumbprintURI {
		return t, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s[len(thumbprintURI):])
	if err != nil || len(raw) != len(t) {
		return t, false
	}
	return Thumbprint(raw), true
}

// PublicKey is a parsed public key with the names that it goes by. It is immutable.
// Parsing costs more than verifying, so a verifier keeps those of its issuers.
type PublicKey struct {
	key        *mldsa.PublicKey
	thumbprint Thumbprint
}

// NewPublicKey names a key.
func NewPublicKey(k *mldsa.PublicKey) *PublicKey {
	// The required members of RFC 9964 section 6: kty (AKP), alg, pub.
	b := make([]byte, 0, mldsa.PublicKeySize+16)
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendInt(cbor.AppendInt(b, 1), 7)
	b = cbor.AppendInt(cbor.AppendInt(b, 3), int64(MLDSA65))
	b = cbor.AppendBytes(cbor.AppendInt(b, -1), k.Bytes())
	return &PublicKey{k, sha256.Sum256(b)}
}

// Algorithm is the algorithm that the key verifies, and no other.
func (k *PublicKey) Algorithm() Algorithm { return MLDSA65 }

// ID is the key identifier of COSE headers.
func (k *PublicKey) ID() ID { return k.key.ID() }

// Thumbprint names the key.
func (k *PublicKey) Thumbprint() Thumbprint { return k.thumbprint }

// Bytes returns a copy of the encoded key.
func (k *PublicKey) Bytes() []byte { return k.key.Bytes() }

// verify checks a signature. RFC 9964 demands the empty context.
func (k *PublicKey) verify(message, signature []byte) bool {
	return k.key.Verify(message, nil, signature)
}

// Signer signs for a key. PrivateKey does; so can a key that lives in an enclave or a
// hardware module.
type Signer interface {
	Public() *PublicKey
	// Sign signs message with the algorithm of the key and the empty context.
	Sign(message []byte) ([]byte, error)
}

// PrivateKey is a signer in this process.
type PrivateKey struct {
	key           *mldsa.PrivateKey
	public        *PublicKey
	deterministic bool // in tests: vectors must come out the same each time
}

// NewPrivateKey names a key.
func NewPrivateKey(k *mldsa.PrivateKey) *PrivateKey {
	return &PrivateKey{key: k, public: NewPublicKey(k.Public())}
}

// Public returns the key that verifies what this one signs.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Sign implements Signer, with fresh randomness in each signature.
func (k *PrivateKey) Sign(message []byte) ([]byte, error) {
	if k.deterministic {
		return k.key.Sign(message, nil)
	}
	return k.key.SignHedged(message, nil)
}

// ID is an identifier of 16 bytes: of a key, a token, a lease, a command, a boot.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

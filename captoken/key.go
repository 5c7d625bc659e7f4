package captoken

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"aios/captoken/cbor"
	"aios/captoken/mldsa"
)

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
// Parsing costs more than verifying, so a verifier keeps those of its issuers. A key is
// good for one algorithm and no other: who trusts it has said by which algorithm its
// signatures are to be, and no object can ask for a weaker one.
type PublicKey struct {
	key        *mldsa.PublicKey // of ML-DSA-65; nil for the others
	other      verifier         // of the others
	algorithm  Algorithm
	id         ID
	thumbprint Thumbprint
}

// NewPublicKey names a key of ML-DSA-65.
func NewPublicKey(k *mldsa.PublicKey) *PublicKey {
	return &PublicKey{key: k, algorithm: MLDSA65, id: k.ID(), thumbprint: thumbprint(MLDSA65, k.Bytes())}
}

// ParsePublicKey parses and names a key of any algorithm. Every string of the right
// length is a key.
func ParsePublicKey(a Algorithm, raw []byte) (*PublicKey, error) {
	size, _ := a.sizes()
	switch {
	case size == 0:
		return nil, formError("public key", a.String()+" is unknown")
	case len(raw) != size:
		return nil, formError("public key", a.String()+" expected with "+strconv.Itoa(size)+" bytes, found "+strconv.Itoa(len(raw)))
	case a == MLDSA65:
		k, err := mldsa.NewPublicKey(raw)
		if err != nil {
			return nil, err
		}
		return NewPublicKey(k), nil
	}
	other, err := parseOther(a, raw)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &PublicKey{other: other, algorithm: a, id: ID(sum[:16]), thumbprint: thumbprint(a, raw)}, nil
}

// thumbprint covers the algorithm, so that who names a key names it too.
func thumbprint(a Algorithm, raw []byte) Thumbprint {
	// The required members of RFC 9964 section 6: kty (AKP), alg, pub.
	b := make([]byte, 0, len(raw)+16)
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendInt(cbor.AppendInt(b, 1), 7)
	b = cbor.AppendInt(cbor.AppendInt(b, 3), int64(a))
	b = cbor.AppendBytes(cbor.AppendInt(b, -1), raw)
	return sha256.Sum256(b)
}

// Algorithm is the algorithm that the key verifies, and no other.
func (k *PublicKey) Algorithm() Algorithm { return k.algorithm }

// ID is the key identifier of COSE headers.
func (k *PublicKey) ID() ID { return k.id }

// Thumbprint names the key.
func (k *PublicKey) Thumbprint() Thumbprint { return k.thumbprint }

// Bytes returns a copy of the encoded key.
func (k *PublicKey) Bytes() []byte {
	if k.key == nil {
		return k.other.bytes()
	}
	return k.key.Bytes()
}

// verify checks a signature of the length that the algorithm has. RFC 9964 demands the
// empty context.
func (k *PublicKey) verify(message, signature []byte) bool {
	if k.key == nil {
		return k.other.verify(message, signature)
	}
	return k.key.Verify(message, nil, signature)
}

// ID is an identifier of 16 bytes: of a key, a token, a lease, a command, a boot.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

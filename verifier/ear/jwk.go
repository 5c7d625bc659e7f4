package ear

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"aios/captoken/mldsa"
)

// keyType is the key type of algorithm key pairs, RFC 9964 section 3.
const keyType = "AKP"

// jwk is a public key in the order of names. Without kid, these are the members that
// RFC 9964 makes required, and so those that a thumbprint is made of.
type jwk struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid,omitempty"`
	Type      string `json:"kty"`
	Public    string `json:"pub"`
}

// Thumbprint is the key's identifier in tokens: the base64url of the SHA-256 JWK
// thumbprint (RFC 7638).
func Thumbprint(key *mldsa.PublicKey) string {
	text, err := encode(jwk{Algorithm: mldsa.Algorithm, Type: keyType, Public: base64.RawURLEncoding.EncodeToString(key.Bytes())})
	if err != nil {
		panic("ear: " + err.Error()) // cannot fail: three strings of plain characters
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// EncodeJWK returns the public key as a JSON Web Key, for relying parties that use
// other JOSE software.
func EncodeJWK(key *mldsa.PublicKey) []byte {
	text, err := encode(jwk{mldsa.Algorithm, Thumbprint(key), keyType, base64.RawURLEncoding.EncodeToString(key.Bytes())})
	if err != nil {
		panic("ear: " + err.Error()) // cannot fail: four strings of plain characters
	}
	return text
}

// ParseJWK reads exactly what EncodeJWK writes. A private key is thereby refused.
func ParseJWK(text []byte) (*mldsa.PublicKey, error) {
	var j jwk
	if err := decode(text, &j); err != nil {
		return nil, fmt.Errorf("parse JWK: %w", err)
	}
	if j.Type != keyType || j.Algorithm != mldsa.Algorithm {
		return nil, fmt.Errorf("parse JWK: %w: expected kty %s, alg %s, found %q, %q", ErrAlgorithm, keyType, mldsa.Algorithm, j.Type, j.Algorithm)
	}
	raw, err := unbase64(j.Public)
	if err != nil {
		return nil, fmt.Errorf("parse JWK: %w: pub: %w", ErrFormat, err)
	}
	key, err := mldsa.NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("parse JWK: %w: pub: %w", ErrFormat, err)
	}
	if id := Thumbprint(key); j.KeyID != id {
		return nil, fmt.Errorf("parse JWK: %w: kid: expected the thumbprint %s, found %q", ErrKey, id, j.KeyID)
	}
	return key, nil
}

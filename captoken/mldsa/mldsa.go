// Package mldsa is ML-DSA-65, the signature algorithm of FIPS 204 in parameter
// set 65 (NIST category 3), as AIOS uses it: system manifests, reference values
// and every token and attestation result are signed with it.
//
// It is a thin layer over circl that adds what the users of a key need and circl
// leaves open: a parsed key that is reused (parsing costs twice as much as
// verifying), a key identifier, and key files that cannot be overwritten by
// accident.
//
// Signatures are those of FIPS 204 section 5.2, "pure" ML-DSA with a context
// string. The context says what kind of object is signed, so that a signature over
// one kind is worthless on another; every caller in AIOS gives a context of its own,
// save where a standard demands the empty one (RFC 9964 and JOSE do).
//
// Verification lives in this file and pulls in no more than circl's verifier; it is
// the only part that is linked into the boot stage and the kernel. Keys that sign
// are in private.go, text forms in pem.go and file.go.
package mldsa

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// Sizes in bytes, from FIPS 204 table 2.
const (
	PublicKeySize = mldsa65.PublicKeySize // 1952
	SignatureSize = mldsa65.SignatureSize // 3309

	// MaxContext is the longest context string, FIPS 204 section 5.2.
	MaxContext = 255
)

// Algorithm is the name under which the algorithm is registered for COSE and JOSE
// (RFC 9964).
const Algorithm = "ML-DSA-65"

// PublicKey is a parsed public key. It is immutable and may be used from many
// goroutines at once.
type PublicKey struct {
	key mldsa65.PublicKey
	raw [PublicKeySize]byte
	id  [16]byte
}

// NewPublicKey parses the public key encoding of FIPS 204 section 7.2. Every string
// of the right length is a public key, so a wrong length is the only error.
func NewPublicKey(raw []byte) (*PublicKey, error) {
	if len(raw) != PublicKeySize {
		return nil, fmt.Errorf("ML-DSA-65 public key: expected %d bytes, found %d", PublicKeySize, len(raw))
	}
	k := new(PublicKey)
	copy(k.raw[:], raw)
	k.key.Unpack(&k.raw)
	sum := sha256.Sum256(k.raw[:])
	copy(k.id[:], sum[:])
	return k, nil
}

// Bytes returns a copy of the encoded key.
func (k *PublicKey) Bytes() []byte { return bytes.Clone(k.raw[:]) }

// ID returns the key identifier: the first 16 bytes of the SHA-256 of the encoded key.
func (k *PublicKey) ID() [16]byte { return k.id }

// Equal reports whether other is the same key. It takes any type so that
// PublicKey satisfies the interface that crypto.PublicKey asks for.
func (k *PublicKey) Equal(other crypto.PublicKey) bool {
	o, ok := other.(*PublicKey)
	return ok && o != nil && k.raw == o.raw
}

// Verify reports whether sig is this key's signature over msg under the context
// ctx. A signature of the wrong length and a context above MaxContext are simply
// not valid.
func (k *PublicKey) Verify(msg, ctx, sig []byte) bool {
	if len(sig) != SignatureSize || len(ctx) > MaxContext {
		return false
	}
	return mldsa65.Verify(&k.key, msg, ctx, sig)
}

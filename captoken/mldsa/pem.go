package mldsa

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

// Types of the PEM blocks (RFC 7468). They carry the raw encodings of FIPS 204 and
// are named so that no X.509 tool mistakes them for SubjectPublicKeyInfo or PKCS #8.
const (
	publicBlock  = "AIOS ML-DSA-65 PUBLIC KEY"
	privateBlock = "AIOS ML-DSA-65 PRIVATE SEED"
)

// ErrPEM is wrapped by every error about the text form of a key.
var ErrPEM = errors.New("not a key file of AIOS")

// EncodePublicKeys returns the keys as PEM blocks, one after the other.
func EncodePublicKeys(keys ...*PublicKey) []byte {
	var out bytes.Buffer
	for _, k := range keys {
		out.Write(EncodeBlock(publicBlock, k.raw[:]))
	}
	return out.Bytes()
}

// ParsePublicKeys reads one or more public keys. It takes exactly what
// EncodePublicKeys writes and nothing around it, and no key twice: the list says
// whom the boot stage trusts, so nothing in it may be skipped over in silence.
func ParsePublicKeys(text []byte) ([]*PublicKey, error) {
	var keys []*PublicKey
	for rest := text; len(rest) > 0; {
		raw, tail, err := NextBlock(rest, publicBlock)
		if err != nil {
			return nil, fmt.Errorf("public key %d: %w", len(keys)+1, err)
		}
		k, err := NewPublicKey(raw)
		if err != nil {
			return nil, fmt.Errorf("public key %d: %w: %w", len(keys)+1, ErrPEM, err)
		}
		for i, have := range keys {
			if have.Equal(k) {
				return nil, fmt.Errorf("public key %d: %w: it is the same as key %d; remove one", len(keys)+1, ErrPEM, i+1)
			}
		}
		keys = append(keys, k)
		rest = tail
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: empty, expected at least one %q block", ErrPEM, publicBlock)
	}
	return keys, nil
}

// NextBlock splits the first PEM block off text. encoding/pem skips whatever it does
// not understand; here the block has to stand at the start, in the one form that
// EncodeBlock writes.
func NextBlock(text []byte, want string) (raw, rest []byte, err error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, nil, fmt.Errorf("%w: expected a PEM block %q", ErrPEM, want)
	}
	if block.Type != want {
		return nil, nil, fmt.Errorf("%w: expected a PEM block %q, found %q", ErrPEM, want, block.Type)
	}
	if !bytes.Equal(text[:len(text)-len(rest)], EncodeBlock(want, block.Bytes)) {
		return nil, nil, fmt.Errorf("%w: text or headers around the PEM block %q, or another line length; write the file with aios", ErrPEM, want)
	}
	return block.Bytes, rest, nil
}

// EncodeBlock returns raw bytes as one PEM block of this type.
func EncodeBlock(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

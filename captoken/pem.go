package captoken

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"aios/captoken/mldsa"
)

// The PEM blocks of keys are named after their algorithm, as those of ML-DSA-65 are, so
// a key file says for which algorithm the key in it is trusted.
func publicBlock(a Algorithm) string  { return "AIOS " + a.String() + " PUBLIC KEY" }
func privateBlock(a Algorithm) string { return "AIOS " + a.String() + " PRIVATE SEED" }

// EncodePublicKeys returns keys as PEM blocks, one after the other. For keys of ML-DSA-65
// it writes what mldsa.EncodePublicKeys does.
func EncodePublicKeys(keys ...*PublicKey) []byte {
	var out bytes.Buffer
	for _, k := range keys {
		out.Write(mldsa.EncodeBlock(publicBlock(k.algorithm), k.Bytes()))
	}
	return out.Bytes()
}

// ParsePublicKeys reads exactly what EncodePublicKeys writes: one key or more, of any
// algorithm, none twice.
func ParsePublicKeys(text []byte) ([]*PublicKey, error) {
	var keys []*PublicKey
	for rest := text; len(rest) > 0 || len(keys) == 0; {
		n := len(keys) + 1
		a, raw, tail, err := nextKey(rest, publicBlock)
		if err != nil {
			return nil, fmt.Errorf("public key %d: %w", n, err)
		}
		k, err := ParsePublicKey(a, raw)
		if err != nil {
			return nil, fmt.Errorf("public key %d: %w: %w", n, mldsa.ErrPEM, err)
		}
		for i, have := range keys {
			if have.thumbprint == k.thumbprint {
				return nil, fmt.Errorf("public key %d: %w: it is the same as key %d; remove one", n, mldsa.ErrPEM, i+1)
			}
		}
		keys, rest = append(keys, k), tail
	}
	return keys, nil
}

// EncodePrivateKey returns a key's seed as a PEM block.
func EncodePrivateKey(k *PrivateKey) []byte {
	return mldsa.EncodeBlock(privateBlock(k.public.algorithm), k.seed)
}

// ParsePrivateKeyText reads exactly what EncodePrivateKey writes.
func ParsePrivateKeyText(text []byte) (*PrivateKey, error) {
	a, seed, rest, err := nextKey(text, privateBlock)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("private key: %w: %d bytes after the key", mldsa.ErrPEM, len(rest))
	}
	k, err := ParsePrivateKey(a, seed)
	if err != nil {
		return nil, fmt.Errorf("private key: %w: %w", mldsa.ErrPEM, err)
	}
	return k, nil
}

// nextKey splits the first block off text. If its type is none that is known, the error
// asks for ML-DSA-65, which most keys are of.
func nextKey(text []byte, name func(Algorithm) string) (a Algorithm, raw, rest []byte, err error) {
	a = MLDSA65
	if block, _ := pem.Decode(text); block != nil {
		for _, b := range Algorithms() {
			if name(b) == block.Type {
				a = b
			}
		}
	}
	raw, rest, err = mldsa.NextBlock(text, name(a))
	return a, raw, rest, err
}

package manifest

import (
	"encoding/hex"
	"strconv"

	"aios/captoken/mldsa"
)

// Sign returns the envelope of a payload, signed by each of the keys. It signs only what
// Parse accepts. Signatures are deterministic: the same payload and keys give the same
// envelope.
func Sign(payload []byte, keys ...*mldsa.PrivateKey) ([]byte, error) {
	if _, err := Parse(payload); err != nil {
		return nil, err
	}
	return addSignatures(payload, nil, keys)
}

// AddSignatures adds signatures to an envelope, for signers who do not sit together.
// The signatures already there are kept and not verified.
func AddSignatures(envelope []byte, keys ...*mldsa.PrivateKey) ([]byte, error) {
	payload, have, err := split(envelope)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(payload); err != nil {
		return nil, err
	}
	return addSignatures(payload, have, keys)
}

func addSignatures(payload []byte, signatures []signature, keys []*mldsa.PrivateKey) ([]byte, error) {
	seen := map[[16]byte]bool{}
	for _, s := range signatures {
		seen[s.key] = true
	}
	for _, k := range keys {
		id := k.Public().ID()
		if seen[id] {
			return nil, signatureError("system manifest", "the key "+hex.EncodeToString(id[:])+" signs twice")
		}
		seen[id] = true
		sig, err := k.Sign(payload, []byte(Context))
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature{id, sig})
	}
	if len(signatures) < 1 || len(signatures) > MaxSignatures {
		return nil, signatureError("system manifest", "expected 1 to "+strconv.Itoa(MaxSignatures)+" signatures, found "+strconv.Itoa(len(signatures)))
	}
	return join(payload, signatures), nil // and no envelope within these bounds is longer than MaxSize
}

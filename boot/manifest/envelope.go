package manifest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"aios/captoken/mldsa"
)

// Context is the ML-DSA context string under which manifests are signed.
const Context = "aios system manifest v1"

const signaturePrefix = "signature ml-dsa-65 "

// Signed is a manifest whose signatures were verified.
type Signed struct {
	Manifest *Manifest
	Payload  []byte
	// Keys are the trusted keys that signed, ascending. The first one is the key that
	// is measured and handed to the kernel.
	Keys [][16]byte
}

// Open verifies an envelope and returns the manifest and its payload. It asks for valid
// signatures by at least threshold of the trusted keys; see OpenSigned.
func Open(envelope []byte, trusted []*mldsa.PublicKey, threshold int) (*Manifest, []byte, error) {
	s, err := OpenSigned(envelope, trusted, threshold)
	if err != nil {
		return nil, nil, err
	}
	return s.Manifest, s.Payload, nil
}

// OpenSigned is Open that also tells who signed. A signature by a key that is not
// trusted is passed over, so that one manifest can serve boot stages that trust
// different keys while keys are exchanged. A bad signature by a trusted key refuses the
// envelope whatever the others say. The payload is parsed only after it was verified.
func OpenSigned(envelope []byte, trusted []*mldsa.PublicKey, threshold int) (*Signed, error) {
	keys := make(map[[16]byte]*mldsa.PublicKey, len(trusted))
	for _, k := range trusted {
		keys[k.ID()] = k
	}
	if threshold < 1 || threshold > len(keys) {
		return nil, signatureError("trusted keys", "expected at least as many as the threshold of "+strconv.Itoa(threshold)+
			" and a threshold of at least 1, found "+strconv.Itoa(len(keys))+" keys")
	}
	payload, signatures, err := split(envelope)
	if err != nil {
		return nil, err
	}
	var good [][16]byte
	var unknown []string
	for _, s := range signatures {
		id := hex.EncodeToString(s.key[:])
		key, ok := keys[s.key]
		if !ok {
			unknown = append(unknown, id)
			continue
		}
		if !key.Verify(payload, []byte(Context), s.sig) {
			return nil, &Error{ErrSignature, "system manifest", "the signature by the trusted key " + id + " does not fit the text",
				"the text was changed after it was signed; install the image again"}
		}
		good = append(good, s.key)
	}
	if len(good) < threshold {
		reason := "expected signatures by " + strconv.Itoa(threshold) + " of " + strconv.Itoa(len(keys)) +
			" trusted keys, found " + strconv.Itoa(len(good))
		if len(unknown) > 0 {
			reason += " and signatures by unknown keys " + strings.Join(unknown, ", ")
		}
		return nil, signatureError("system manifest", reason)
	}
	m, err := Parse(payload)
	if err != nil {
		return nil, err
	}
	return &Signed{m, payload, good}, nil
}

type signature struct {
	key [16]byte
	sig []byte
}

// split takes an envelope apart and insists on its one form.
func split(envelope []byte) (payload []byte, signatures []signature, err error) {
	if len(envelope) > MaxSize {
		return nil, nil, formatError("system manifest", "size expected at most "+strconv.Itoa(MaxSize)+" bytes, found "+strconv.Itoa(len(envelope)))
	}
	head, tail, ok := bytes.Cut(envelope, []byte("\n\n"))
	if !ok {
		return nil, nil, &Error{ErrSignature, "system manifest", "no empty line and no signature after the text", remedySigned}
	}
	payload = envelope[:len(head)+1]
	first := bytes.Count(payload, []byte("\n")) + 2
	text, whole := strings.CutSuffix(string(tail), "\n")
	lines := strings.Split(text, "\n")
	if !whole {
		return nil, nil, lineError(first+len(lines)-1, "ends without a newline, so the signature was cut off")
	}
	if len(lines) > MaxSignatures {
		return nil, nil, lineError(first+MaxSignatures, "expected at most "+strconv.Itoa(MaxSignatures)+" signatures, found "+strconv.Itoa(len(lines)))
	}
	for i, line := range lines {
		s, ok := parseSignature(line)
		if !ok {
			return nil, nil, lineError(first+i, "expected \""+signaturePrefix+"<32 hex digits> <base64 of "+
				strconv.Itoa(mldsa.SignatureSize)+" bytes>\", found "+quote(line))
		}
		if i > 0 && bytes.Compare(signatures[i-1].key[:], s.key[:]) >= 0 {
			return nil, nil, lineError(first+i, "signatures expected in ascending order of key ids, one for each key")
		}
		signatures = append(signatures, s)
	}
	return payload, signatures, nil
}

func parseSignature(line string) (s signature, ok bool) {
	rest, ok := strings.CutPrefix(line, signaturePrefix)
	if !ok {
		return s, false
	}
	id, text, _ := strings.Cut(rest, " ")
	key, err := hex.DecodeString(id)
	if err != nil || len(key) != len(s.key) {
		return s, false
	}
	copy(s.key[:], key)
	if s.sig, err = base64.StdEncoding.DecodeString(text); err != nil || len(s.sig) != mldsa.SignatureSize {
		return s, false
	}
	// The decoders take upper case digits and stray carriage returns; the format does not.
	return s, s.line() == line
}

func (s signature) line() string {
	return signaturePrefix + hex.EncodeToString(s.key[:]) + " " + base64.StdEncoding.EncodeToString(s.sig)
}

// join is the inverse of split.
func join(payload []byte, signatures []signature) []byte {
	slices.SortFunc(signatures, func(a, b signature) int { return bytes.Compare(a.key[:], b.key[:]) })
	out := append(bytes.Clone(payload), '\n')
	for _, s := range signatures {
		out = append(out, s.line()+"\n"...)
	}
	return out
}

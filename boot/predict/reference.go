package predict

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"aios/boot/measure"
	"aios/captoken/mldsa"
)

const (
	// Version is the version of the format.
	Version = 1
	// MaxSize bounds the JSON text.
	MaxSize = 1 << 20

	// Context is the ML-DSA context string under which references are signed.
	Context = "aios reference values v1"

	signaturePrefix = "signature ml-dsa-65 "
)

var (
	// ErrReference is wrapped by every error about the content of a reference.
	ErrReference = errors.New("not a reference of AIOS")
	// ErrSignature says that a reference is not signed by a trusted key.
	ErrSignature = errors.New("reference without a good signature")
)

// Reference is what a good boot of one image looks like. It is the content of
// reference.json.
type Reference struct {
	Version         int     `json:"version"`          // of the format
	ImageSHA256     Hex     `json:"image_sha256"`     // of the whole disk
	Profile         string  `json:"profile"`          // of the firmware
	ManifestVersion uint64  `json:"manifest_version"` // of the system manifest
	ManifestSHA256  Hex     `json:"manifest_sha256"`  // of its payload
	ManifestKey     Hex     `json:"manifest_key"`     // id of the first key that signed it
	PCRs            PCRs    `json:"pcrs"`             // bank, index, value
	Events          []Event `json:"events"`           // in the order of each PCR
}

// Encode returns the JSON text. The same reference always has the same text.
func (r *Reference) Encode() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	return out.Bytes(), nil
}

// Parse reads a reference and checks that it agrees with itself: that the PCR values
// follow from the events and the digests from the data. It accepts exactly what Encode
// writes. It does not say where the text comes from: use Load for that.
func Parse(text []byte) (*Reference, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: size expected at most %d bytes, found %d", ErrReference, MaxSize, len(text))
	}
	r := new(Reference)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	again, err := r.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		return nil, fmt.Errorf("%w: the JSON is not in the form that aios writes", ErrReference)
	}
	return r, nil
}

var profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

func (r *Reference) check() error {
	if r.Version != Version {
		return fmt.Errorf("version expected %d found %d; this program is too old or too new for it", Version, r.Version)
	}
	if !profileName.MatchString(r.Profile) {
		return fmt.Errorf("profile: expected a name in lower case, found %q", r.Profile)
	}
	for _, f := range []struct {
		name string
		data Hex
		want int
	}{
		{"image_sha256", r.ImageSHA256, 32}, {"manifest_sha256", r.ManifestSHA256, 32}, {"manifest_key", r.ManifestKey, 16},
	} {
		if len(f.data) != f.want {
			return fmt.Errorf("%s: expected %d bytes found %d", f.name, f.want, len(f.data))
		}
	}
	if len(r.Events) == 0 {
		return errors.New("events: none")
	}
	for i, e := range r.Events {
		if e.PCR < 0 || e.PCR > 23 {
			return fmt.Errorf("event %d: PCR expected 0 to 23 found %d", i, e.PCR)
		}
		if len(e.Digests) != len(Banks) {
			return fmt.Errorf("event %d: expected digests for %v, found %d", i, Banks, len(e.Digests))
		}
		for _, b := range Banks {
			if len(e.Digests[b]) != b.Hash().Size() {
				return fmt.Errorf("event %d: %s digest expected %d bytes found %d", i, b, b.Hash().Size(), len(e.Digests[b]))
			}
			if len(e.Data) > 0 && !bytes.Equal(e.Digests[b], sum(b.Hash(), e.Data)) {
				return fmt.Errorf("event %d: the %s digest is not the hash of the data", i, b)
			}
		}
	}
	if err := r.checkManifest(); err != nil {
		return err
	}
	want := Replay(r.Events)
	if len(r.PCRs) != len(want) {
		return fmt.Errorf("pcrs: expected the banks %v, found %d banks", Banks, len(r.PCRs))
	}
	for bank, values := range want {
		if len(r.PCRs[bank]) != len(values) {
			return fmt.Errorf("pcrs: %s: expected %d values, one for each PCR of the events, found %d", bank, len(values), len(r.PCRs[bank]))
		}
		for pcr, v := range values {
			if found := r.PCRs[bank][pcr]; !bytes.Equal(found, v) {
				return fmt.Errorf("pcrs: %s PCR %d: the events give %s, found %s", bank, pcr, v, found)
			}
		}
	}
	return nil
}

// checkManifest insists that the manifest that the reference names is the one in PCR 9.
func (r *Reference) checkManifest() error {
	want := fmt.Sprintf("aios.manifest sha256:%s version=%d key=%s", r.ManifestSHA256, r.ManifestVersion, r.ManifestKey)
	for _, e := range r.Events {
		text, ok := measure.ParseTagged(e.Data)
		if !ok || e.PCR != measure.KernelPCR || !strings.HasPrefix(text, "aios.manifest ") {
			continue
		}
		if text != want {
			return fmt.Errorf("manifest: the events have %q, the fields say %q", text, want)
		}
		return nil
	}
	return fmt.Errorf("manifest: PCR %d has no event %q", measure.KernelPCR, want)
}

// Sign returns the detached signature of a reference text, a line of text. It signs only
// what Parse accepts, and deterministically.
func Sign(text []byte, key *mldsa.PrivateKey) ([]byte, error) {
	if _, err := Parse(text); err != nil {
		return nil, err
	}
	sig, err := key.Sign(text, []byte(Context))
	if err != nil {
		return nil, err
	}
	return signatureLine(key.Public().ID(), sig), nil
}

func signatureLine(id [16]byte, sig []byte) []byte {
	return []byte(signaturePrefix + hex.EncodeToString(id[:]) + " " + base64.StdEncoding.EncodeToString(sig) + "\n")
}

// Load verifies the detached signature by one of the trusted keys and reads the
// reference. Nothing is parsed before the signature is known to be good.
func Load(text, signature []byte, trusted []*mldsa.PublicKey) (*Reference, error) {
	if err := Verify(text, signature, trusted); err != nil {
		return nil, err
	}
	return Parse(text)
}

// Verify checks the detached signature alone.
func Verify(text, signature []byte, trusted []*mldsa.PublicKey) error {
	id, sig, err := parseSignature(signature)
	if err != nil {
		return err
	}
	for _, k := range trusted {
		if k.ID() != id {
			continue
		}
		if !k.Verify(text, []byte(Context), sig) {
			return fmt.Errorf("%w: the signature by the trusted key %x does not fit the text, which was changed after it was signed; build the image again", ErrSignature, id)
		}
		return nil
	}
	return fmt.Errorf("%w: signed by the key %x, which is not among the %d trusted keys; add the signer's public key or sign it with a trusted one", ErrSignature, id, len(trusted))
}

func parseSignature(line []byte) (id [16]byte, sig []byte, err error) {
	rest, ok := strings.CutPrefix(string(line), signaturePrefix)
	key, text, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
	raw, err1 := hex.DecodeString(key)
	sig, err2 := base64.StdEncoding.DecodeString(text)
	if ok && err1 == nil && err2 == nil && len(raw) == len(id) && len(sig) == mldsa.SignatureSize {
		copy(id[:], raw)
		if bytes.Equal(signatureLine(id, sig), line) {
			return id, sig, nil
		}
	}
	return id, nil, fmt.Errorf("%w: expected one line %q, found %d bytes of something else; use the file reference.json.sig of the image",
		ErrSignature, signaturePrefix+"<key id> <base64>", len(line))
}

// Value returns the predicted value of a PCR, or nil if it is not predicted.
func (r *Reference) Value(bank Bank, pcr int) []byte { return r.PCRs[bank][pcr] }

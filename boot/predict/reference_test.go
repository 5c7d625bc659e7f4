package predict

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"aios/boot/measure"
	"aios/captoken/mldsa"
)

func encode(t testing.TB, r *Reference) []byte {
	t.Helper()
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReferenceRoundTrip(t *testing.T) {
	r := predict(t, exampleInput(t))
	text := encode(t, r)
	back, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, r) {
		t.Error("another reference came out than went in")
	}
	if !bytes.Equal(encode(t, back), text) {
		t.Error("the text is not always the same")
	}
}

// The names in the file are an interface with other verifiers.
func TestReferenceFields(t *testing.T) {
	var fields map[string]any
	if err := json.Unmarshal(encode(t, predict(t, exampleInput(t))), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"version", "image_sha256", "profile", "manifest_version", "manifest_sha256", "manifest_key", "pcrs", "events"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("field %s is missing", name)
		}
		delete(fields, name)
	}
	if len(fields) != 0 {
		t.Errorf("unexpected fields %v", fields)
	}
}

func TestLoad(t *testing.T) {
	key, other := manifestKey(t, "a"), manifestKey(t, "b")
	trusted := []*mldsa.PublicKey{other.Public(), key.Public()}
	text := encode(t, predict(t, exampleInput(t)))
	sig, err := Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Sign(text, key); err != nil || !bytes.Equal(sig, again) {
		t.Errorf("signing again gives another signature (%v)", err)
	}
	if _, err := Load(text, sig, trusted); err != nil {
		t.Error(err)
	}
	foreign, err := key.Sign(text, []byte("aios system manifest v1"))
	if err != nil {
		t.Fatal(err)
	}
	longer := append(bytes.Clone(text), ' ')
	for _, c := range []struct {
		name      string
		text, sig []byte
		trusted   []*mldsa.PublicKey
		want      string
	}{
		{"changed text", bytes.Replace(text, []byte(`"manifest_version": 7`), []byte(`"manifest_version": 8`), 1), sig, trusted, "does not fit the text"},
		{"longer text", longer, sig, trusted, "does not fit the text"},
		{"unknown key", text, sig, trusted[:1], "not among the 1 trusted keys"},
		{"no trusted key", text, sig, nil, "not among the 0 trusted keys"},
		{"empty signature", text, nil, trusted, "expected one line"},
		{"signature cut", text, sig[:len(sig)-1], trusted, "expected one line"},
		{"signature twice", text, append(bytes.Clone(sig), sig...), trusted, "expected one line"},
		{"carriage return", text, bytes.Replace(sig, []byte("\n"), []byte("\r\n"), 1), trusted, "expected one line"},
		{"context of a manifest", text, signatureLine(key.Public().ID(), foreign), trusted, "does not fit the text"},
		{"claimed by another key", text, append([]byte(signaturePrefix+hexID(other)), sig[len(signaturePrefix)+32:]...), trusted, "does not fit the text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.text, c.sig, c.trusted)
			if !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want ErrSignature and %q", err, c.want)
			}
		})
	}
	if _, err := Sign(longer, key); !errors.Is(err, ErrReference) {
		t.Errorf("signing what does not parse: %v", err)
	}
}

func hexID(k *mldsa.PrivateKey) string {
	id := k.Public().ID()
	return Hex(id[:]).String()
}

// A reference that does not agree with itself is refused even if it is signed: the events
// would explain other values than those that are compared.
func TestParseRefuses(t *testing.T) {
	good := string(encode(t, predict(t, exampleInput(t))))
	edit := func(f func(*Reference)) string {
		r := predict(t, exampleInput(t))
		f(r)
		return string(encode(t, r))
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "EOF"},
		{"null", "null\n", "version expected 1 found 0"},
		{"no JSON", "hello", "invalid character"},
		{"other version", edit(func(r *Reference) { r.Version = 2 }), "version expected 1 found 2"},
		{"unknown field", strings.Replace(good, `"version"`, `"extra": 1, "version"`, 1), "unknown field"},
		{"field twice", strings.Replace(good, `"version": 1`, `"version": 1, "version": 1`, 1), "not in the form"},
		{"other case", strings.Replace(good, `"version"`, `"Version"`, 1), "not in the form"},
		{"upper case digits", strings.Replace(good, `"manifest_key": "`+hexID(manifestKey(t, "manifest")), `"manifest_key": "`+strings.ToUpper(hexID(manifestKey(t, "manifest"))), 1), "not in the form"},
		{"odd digits", edit(func(r *Reference) {})[:0] + strings.Replace(good, `"image_sha256": "`, `"image_sha256": "0`, 1), "odd length hex"},
		{"compact", strings.ReplaceAll(good, "\n", ""), "not in the form"},
		{"second document", good + good, "not in the form"},
		{"short image digest", edit(func(r *Reference) { r.ImageSHA256 = r.ImageSHA256[1:] }), "image_sha256: expected 32 bytes found 31"},
		{"no key", edit(func(r *Reference) { r.ManifestKey = nil }), "manifest_key"},
		{"profile", edit(func(r *Reference) { r.Profile = "../x" }), "profile"},
		{"no events", edit(func(r *Reference) { r.Events = nil }), "events: none"},
		{"event left out", edit(func(r *Reference) { r.Events = r.Events[1:] }), "the events give"},
		{"event data changed", edit(func(r *Reference) { r.Events[0].Data[0] ^= 1 }), "not the hash of the data"},
		{"application digest changed", edit(func(r *Reference) { r.Events[2].Digests[SHA384][0] ^= 1 }), "sha384 PCR 4: the events give"},
		{"PCR changed", edit(func(r *Reference) { r.PCRs[SHA256][7][0] ^= 1 }), "sha256 PCR 7: the events give"},
		{"PCR left out", edit(func(r *Reference) { delete(r.PCRs[SHA256], 7) }), "expected 5 values"},
		{"PCR added", edit(func(r *Reference) { r.PCRs[SHA256][12] = make([]byte, 32) }), "expected 5 values"},
		{"bank left out", edit(func(r *Reference) { delete(r.PCRs, SHA384) }), "expected the banks"},
		{"bank added", edit(func(r *Reference) { r.PCRs["sha1"] = nil }), "expected the banks"},
		{"digest left out", edit(func(r *Reference) { delete(r.Events[0].Digests, SHA384) }), "expected digests"},
		{"digest of another bank", edit(func(r *Reference) {
			d := r.Events[0].Digests
			d["sha512"] = d[SHA384]
			delete(d, SHA384)
		}), "sha384 digest expected 48 bytes found 0"},
		{"PCR 24", edit(func(r *Reference) { r.Events[0].PCR = 24 }), "PCR expected 0 to 23"},
		{"other manifest", edit(func(r *Reference) { r.ManifestSHA256[0] ^= 1 }), "manifest: the events have"},
		{"other manifest version", edit(func(r *Reference) { r.ManifestVersion++ }), "manifest: the events have"},
		{"too long", strings.Repeat(" ", MaxSize+1), "at most 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			if !errors.Is(err, ErrReference) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want ErrReference and %q", err, c.want)
			}
		})
	}
}

// What is accepted re-encodes to the same bytes, and its values follow from its events.
func FuzzParse(f *testing.F) {
	f.Add(encode(f, predict(f, exampleInput(f))))
	// A small one, so that mutations hit something.
	events := []Event{hashed(9, 6, measure.AppendTagged(nil, "aios.manifest sha256:"+strings.Repeat("00", 32)+" version=1 key="+strings.Repeat("00", 16)), "")}
	small := &Reference{Version, make(Hex, 32), "ovmf", 1, make(Hex, 32), make(Hex, 16), Replay(events), events}
	if _, err := Parse(encode(f, small)); err != nil {
		f.Fatal(err)
	}
	f.Add(encode(f, small))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrReference) {
				t.Errorf("%v is not ErrReference", err)
			}
			return
		}
		if !bytes.Equal(encode(t, r), text) {
			t.Error("accepted text re-encodes differently")
		}
		if !reflect.DeepEqual(Replay(r.Events), r.PCRs) {
			t.Error("accepted values that the events do not give")
		}
	})
}

package measure

import (
	"bytes"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"

	"aios/boot/manifest"
)

func sum(b byte) (s [32]byte) {
	for i := range s {
		s[i] = b
	}
	return s
}

// The texts are an interface with verifiers in the field: this is where they are
// written out.
func TestEvents(t *testing.T) {
	m := &manifest.Manifest{
		Version: 7,
		Kernel:  manifest.Image{File: "kernel.elf", SHA256: sum(0x11), Size: 100},
		Policy:  manifest.Image{File: "policy.tar.gz", SHA256: sum(0x22), Size: 200},
		Services: []manifest.Service{
			{Name: "zeta", Image: manifest.Image{File: "z.elf", SHA256: sum(0x33), Size: 300}},
			{Name: "attestd", Image: manifest.Image{File: "attestd.elf", SHA256: sum(0x44), Size: 400}},
		},
		Runtimes: []manifest.Runtime{{Name: "wasmhost", Image: manifest.Image{File: "w.elf", SHA256: sum(0x55), Size: 500}}},
		Agents: []manifest.Agent{
			{Name: "hello", Image: manifest.Image{File: "h.wasm", SHA256: sum(0x66), Size: 600}},
			{Name: "a", Image: manifest.Image{File: "a.wasm", SHA256: sum(0x77), Size: 700}},
		},
	}
	digits := func(s string) (out string) {
		for range 32 {
			out += s
		}
		return out
	}
	want := []struct {
		pcr  int
		text string
	}{
		{8, "aios.slot a"},
		// The SHA-256 of "abc", and of the empty string (FIPS 180-4 examples).
		{8, "aios.config sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{8, "aios.cmdline quiet  x=1"},
		{9, "aios.manifest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 version=7 key=000102030405060708090a0b0c0d0e0f"},
		{9, "aios.kernel kernel.elf sha256:" + digits("11") + " size=100"},
		{11, "aios.service zeta sha256:" + digits("33") + " size=300"},
		{11, "aios.service attestd sha256:" + digits("44") + " size=400"},
		{11, "aios.runtime wasmhost sha256:" + digits("55") + " size=500"},
		{11, "aios.agent hello sha256:" + digits("66") + " size=600"},
		{11, "aios.agent a sha256:" + digits("77") + " size=700"},
		{11, "aios.policy sha256:" + digits("22") + " size=200"},
	}
	key := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	got := Events("a", []byte("abc"), "quiet  x=1", nil, key, m)
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.PCR != want[i].pcr || e.Type != EventTag || e.Text() != want[i].text {
			t.Errorf("event %d = PCR %d type %d %q, want PCR %d %q", i, e.PCR, e.Type, e.Text(), want[i].pcr, want[i].text)
		}
	}
}

func TestTaggedBytes(t *testing.T) {
	want, _ := hex.DecodeString("534f49410300000061" + "6263")
	if got := AppendTagged(nil, "abc"); !bytes.Equal(got, want) {
		t.Errorf("AppendTagged = %x, want %x", got, want)
	}
}

func TestParseTaggedRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"header cut":      "534f4941030000",
		"other tag":       "534f494203000000616263",
		"text cut":        "534f4941030000006162",
		"text too long":   "534f49410300000061626364",
		"length negative": "534f4941ffffffff616263",
	} {
		data, _ := hex.DecodeString(text)
		if got, ok := ParseTagged(data); ok {
			t.Errorf("%s: accepted as %q", name, got)
		}
	}
}

// No two different texts have the same event data, so none have the same digest.
func TestTaggedRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		if got, ok := ParseTagged(AppendTagged(nil, text)); !ok || got != text {
			t.Fatalf("ParseTagged = %q, %v, want %q", got, ok, text)
		}
	})
}

func FuzzParseTagged(f *testing.F) {
	f.Add(AppendTagged(nil, "aios.slot a"))
	f.Add(AppendTagged(nil, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		if text, ok := ParseTagged(data); ok && !bytes.Equal(AppendTagged(nil, text), data) {
			t.Errorf("accepted %x, which re-encodes differently", data)
		}
	})
}

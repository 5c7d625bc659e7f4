package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestBundleRoundTrip(t *testing.T) {
	first, err := Bundle(Default())
	if err != nil {
		t.Fatal(err)
	}
	second, err := Bundle(Default())
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("two bundles of the same modules differ (%v)", err)
	}
	modules, err := LoadBundle(first)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(modules, Default()) {
		t.Error("other modules came back")
	}
	if _, err := Compile(context.Background(), modules); err != nil {
		t.Error(err)
	}
}

func TestBundleRefuses(t *testing.T) {
	many := map[string]string{}
	for i := range MaxModules + 1 {
		many["m"+strings.Repeat("x", i%50)+string(rune('a'+i/50))+".rego"] = "x"
	}
	for _, c := range []struct {
		name    string
		modules map[string]string
	}{
		{"none", nil},
		{"path", map[string]string{"../a.rego": "x"}},
		{"folder", map[string]string{"a/b.rego": "x"}},
		{"upper case", map[string]string{"A.rego": "x"}},
		{"other suffix", map[string]string{"a.txt": "x"}},
		{"empty module", map[string]string{"a.rego": ""}},
		{"large module", map[string]string{"a.rego": strings.Repeat("x", MaxModule+1)}},
		{"large bundle", map[string]string{"a.rego": strings.Repeat("x", MaxModule), "b.rego": strings.Repeat("x", MaxModule),
			"c.rego": strings.Repeat("x", MaxModule), "d.rego": strings.Repeat("x", MaxModule)}},
		{"many", many},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Bundle(c.modules); !errors.Is(err, ErrBundle) {
				t.Errorf("found %v, want ErrBundle", err)
			}
		})
	}
}

func zip(t testing.TB, data []byte, change func(*gzip.Header)) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if change != nil {
		change(&w.Header)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		body := []byte("x")
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		} else {
			body = nil
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestLoadBundleRefuses(t *testing.T) {
	plain := tar.Header{Typeflag: tar.TypeReg, Name: "b.rego", Mode: 0o644, Format: tar.FormatUSTAR}
	with := func(change func(*tar.Header)) tar.Header { h := plain; change(&h); return h }
	whole := archive(t, plain)
	if _, err := LoadBundle(zip(t, whole, nil)); err != nil {
		t.Fatalf("the plain archive, compressed, must load: %v", err)
	}
	packed := zip(t, whole, nil)
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"not gzip", whole},
		{"cut", packed[:len(packed)-1]},
		{"bytes after", append(bytes.Clone(packed), 0)},
		{"second member", append(bytes.Clone(packed), packed...)},
		{"gzip name", zip(t, whole, func(h *gzip.Header) { h.Name = "x" })},
		{"gzip time", zip(t, whole, func(h *gzip.Header) { h.ModTime = time.Unix(1, 0) })},
		{"bomb", zip(t, make([]byte, 64<<20), nil)},
		{"large", make([]byte, MaxBundle+1)},
		{"no module", zip(t, archive(t), nil)},
		{"not tar", zip(t, []byte("hello"), nil)},
		{"tar cut", zip(t, whole[:700], nil)},
		{"tar without end", zip(t, whole[:1024], nil)},
		{"bytes after tar", zip(t, append(bytes.Clone(whole), 1), nil)},
		{"absolute path", zip(t, archive(t, with(func(h *tar.Header) { h.Name = "/b.rego" })), nil)},
		{"parent", zip(t, archive(t, with(func(h *tar.Header) { h.Name = "../b.rego" })), nil)},
		{"link", zip(t, archive(t, with(func(h *tar.Header) { h.Typeflag = tar.TypeSymlink; h.Linkname = "/etc/passwd" })), nil)},
		{"folder", zip(t, archive(t, with(func(h *tar.Header) { h.Typeflag = tar.TypeDir; h.Name = "d/" })), nil)},
		{"twice", zip(t, archive(t, plain, plain), nil)},
		{"not sorted", zip(t, archive(t, plain, with(func(h *tar.Header) { h.Name = "a.rego" })), nil)},
		{"time", zip(t, archive(t, with(func(h *tar.Header) { h.ModTime = time.Unix(1, 0) })), nil)},
		{"mode", zip(t, archive(t, with(func(h *tar.Header) { h.Mode = 0o755 })), nil)},
		{"owner", zip(t, archive(t, with(func(h *tar.Header) { h.Uid = 1 })), nil)},
		{"PAX records", zip(t, archive(t, with(func(h *tar.Header) {
			h.Format = tar.FormatPAX
			h.PAXRecords = map[string]string{"AIOS.x": "y"}
		})), nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, err := LoadBundle(c.data); !errors.Is(err, ErrBundle) {
				t.Errorf("found %d modules and %v, want ErrBundle", len(m), err)
			}
		})
	}
}

// What loads is within bounds and packs again to a bundle with the same modules.
func FuzzLoadBundle(f *testing.F) {
	whole, err := Bundle(map[string]string{"a.rego": "package aios.attest\n", "b.rego": "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(zip(f, archive(f, tar.Header{Typeflag: tar.TypeReg, Name: "b.rego", Mode: 0o644, Format: tar.FormatUSTAR}), nil))
	f.Add(zip(f, archive(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "b.rego", Linkname: "/"}), nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		modules, err := LoadBundle(data)
		if err != nil {
			if !errors.Is(err, ErrBundle) {
				t.Fatal(err)
			}
			return
		}
		again, err := Bundle(modules)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := LoadBundle(again); err != nil || !maps.Equal(back, modules) {
			t.Fatalf("packs again to something else: %v", err)
		}
	})
}

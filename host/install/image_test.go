package install

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aios/boot/image"
	"aios/boot/manifest"
	"aios/boot/predict"
	"aios/boot/secureboot"
	"aios/captoken/mldsa"
	"aios/host/state"
)

// site is an installation with something to build an image from.
type site struct {
	d   *state.Dir
	k   *Keys
	sb  *secureboot.Keys
	src Source
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{d: openState(t)}
	var err error
	if s.k, err = EnsureKeys(s.d); err != nil {
		t.Fatal(err)
	}
	if s.sb, _, err = secureboot.EnsureKeys(s.d.Keys(), time.Now()); err != nil {
		t.Fatal(err)
	}
	s.src = Source{Target: t.TempDir(), Policy: []byte("policy")}
	s.put(t, "bootx64.efi", program(mldsa.EncodePublicKeys(s.k.Manifest.Public())))
	s.put(t, "kernel.elf", []byte("kernel"))
	for _, name := range TestPrograms().files() {
		s.put(t, name, []byte(name))
	}
	return s
}

func verifier(address string) *manifest.Verifier {
	key := make([]byte, mldsa.PublicKeySize)
	return &manifest.Verifier{Address: address, Grace: time.Minute, Identity: key, Issuer: key}
}

func (s *site) put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.src.Target, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) ensure(t *testing.T, force bool) *Image {
	t.Helper()
	i, err := EnsureImage(s.d, s.k, s.sb, s.src, force)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestImageIsBuiltOnlyWhenSomethingChanged(t *testing.T) {
	s := newSite(t)
	if i := s.ensure(t, false); !i.Built || i.Reference.ManifestVersion != 1 {
		t.Fatalf("first: built %v, version %d", i.Built, i.Reference.ManifestVersion)
	}
	if i := s.ensure(t, false); i.Built {
		t.Fatal("built again though nothing changed")
	}
	version := uint64(1)
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"kernel", func() { s.put(t, "kernel.elf", []byte("kernel 2")) }},
		{"service", func() { s.put(t, "attestd.elf", []byte("attestd 2")) }},
		{"runtime", func() { s.put(t, "wasmhost.elf", []byte("wasmhost 2")) }},
		{"agent", func() { s.put(t, "hello.wasm", []byte("hello 2")) }},
		{"verifier", func() { s.src.Verifier = verifier("10.0.2.2:8470") }},
		{"address of the verifier", func() { s.src.Verifier = verifier("10.0.2.2:8471") }},
		{"agents", func() { s.src.Programs = TestPrograms() }},
		{"policy", func() { s.src.Policy = []byte("policy 2") }},
		{"command line", func() { s.src.Cmdline = "x" }},
		{"disk gone", func() { os.Remove(s.d.Disk()) }},
		{"signature of the reference gone", func() { os.Remove(s.d.Reference() + ".sig") }},
	} {
		c.change()
		i := s.ensure(t, false)
		if !i.Built {
			t.Errorf("%s: not built again", c.name)
		}
		if i.Reference.ManifestVersion <= version && c.name != "signature of the reference gone" {
			t.Errorf("%s: version %d after %d", c.name, i.Reference.ManifestVersion, version)
		}
		version = i.Reference.ManifestVersion
	}
}

// A disk that somebody altered is told of, and neither mended nor hidden.
func TestAlteredDiskIsLeftAsItIs(t *testing.T) {
	s := newSite(t)
	if i := s.ensure(t, false); i.Altered() {
		t.Error("a new image is altered")
	}
	disk, err := os.ReadFile(s.d.Disk())
	if err != nil {
		t.Fatal(err)
	}
	disk[len(disk)/2] ^= 1
	if err := os.WriteFile(s.d.Disk(), disk, 0o600); err != nil {
		t.Fatal(err)
	}
	i := s.ensure(t, false)
	if i.Built || !i.Altered() {
		t.Errorf("built %v, altered %v", i.Built, i.Altered())
	}
	if now, _ := os.ReadFile(s.d.Disk()); !bytes.Equal(now, disk) {
		t.Error("the disk was changed")
	}
	reference, err := os.ReadFile(s.d.Reference())
	if err != nil {
		t.Fatal(err)
	}
	reference[len(reference)/2] ^= 1
	if err := os.WriteFile(s.d.Reference(), reference, 0o600); err != nil {
		t.Fatal(err)
	}
	if i, err := EnsureImage(s.d, s.k, s.sb, s.src, false); !errors.Is(err, predict.ErrSignature) {
		t.Errorf("altered reference values: %+v, %v", i, err)
	}
	if i := s.ensure(t, true); !i.Built || i.Altered() {
		t.Errorf("by force: built %v, altered %v", i.Built, i.Altered())
	}
}

func TestDiskHoldsWhatTheManifestNames(t *testing.T) {
	s := newSite(t)
	s.ensure(t, false)
	disk, err := os.ReadFile(s.d.Disk())
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := image.Read(disk, "/aios/a/manifest")
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := manifest.Open(envelope, []*mldsa.PublicKey{s.k.Manifest.Public()}, 1)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := image.Files(disk)
	sl := image.Slot{Name: "a", Files: map[string][]byte{}}
	for _, f := range files {
		sl.Files[filepath.Base(f.Path)] = f.Data
	}
	if err := sl.Check(m); err != nil {
		t.Error(err)
	}
	if len(m.Services) != 3 || len(m.Runtimes) != 1 || len(m.Agents) != 1 || m.Verifier != nil {
		t.Errorf("the manifest names %d services, %d runtimes, %d agents", len(m.Services), len(m.Runtimes), len(m.Agents))
	}
	delete(sl.Files, "hello.wasm")
	if err := sl.Check(m); err == nil || !strings.Contains(err.Error(), "hello.wasm, which is not there") {
		t.Errorf("an agent that is missing: %v", err)
	}
	sl.Files["hello.wasm"] = []byte("hello.wasm")
	sl.Files["kernel.elf"] = []byte("other")
	if err := sl.Check(m); !errors.Is(err, manifest.ErrDigest) {
		t.Errorf("an altered kernel: %v", err)
	}
	boot, _ := image.Read(disk, image.BootPath)
	if err := secureboot.Verify(boot, s.sb.Db); err != nil {
		t.Error(err)
	}
}

// A boot stage for another key would refuse our manifest: say so before a boot.
func TestBootStageOfAnotherInstallation(t *testing.T) {
	s := newSite(t)
	s.put(t, "bootx64.efi", program(nil))
	var e *OtherKeyError
	if _, err := EnsureImage(s.d, s.k, s.sb, s.src, false); !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	os.Remove(filepath.Join(s.src.Target, "kernel.elf"))
	s.put(t, "bootx64.efi", program(mldsa.EncodePublicKeys(s.k.Manifest.Public())))
	var n *NotBuiltError
	if _, err := EnsureImage(s.d, s.k, s.sb, s.src, false); !errors.As(err, &n) || n.File != "kernel.elf" {
		t.Fatalf("got %v", err)
	}
}

func TestReferenceOfAnotherKeyIsNotBelieved(t *testing.T) {
	s, other := newSite(t), newSite(t)
	s.ensure(t, false)
	if _, err := LoadReference(s.d.Reference(), other.k.Manifest.Public()); err == nil {
		t.Fatal("a reference was loaded that another key signed")
	}
}

// program is a PE32+ image with payload in its only section.
func program(payload []byte) []byte {
	const headers = 512
	size := (len(payload) + 511) / 512 * 512
	b := make([]byte, headers+size)
	p := func(at int, v uint32, n int) {
		for i := range n {
			b[at+i] = byte(v >> (8 * i))
		}
	}
	copy(b, "MZ")
	p(0x3c, 0x40, 4)
	copy(b[0x40:], "PE\x00\x00")
	const coff, opt = 0x44, 0x58
	p(coff, 0x8664, 2)
	p(coff+2, 1, 2)
	p(coff+16, 240, 2)
	p(coff+18, 0x22, 2)
	p(opt, 0x20b, 2)
	p(opt+32, 512, 4)
	p(opt+36, 512, 4)
	p(opt+56, uint32(headers+size), 4)
	p(opt+60, headers, 4)
	p(opt+68, 10, 2)
	p(opt+108, 16, 4)
	copy(b[opt+240:], ".text")
	for i, v := range []uint32{uint32(size), 512, uint32(size), headers} {
		p(opt+248+4*i, v, 4)
	}
	copy(b[headers:], payload)
	return bytes.Clone(b)
}

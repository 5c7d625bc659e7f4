package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs"
	"pgregory.net/rapid"
)

func sample() []File {
	return []File{
		{"/EFI/BOOT/BOOTX64.EFI", bytes.Repeat([]byte("MZ"), 50_000)},
		{"/aios/a/manifest", []byte("aios-manifest 2\n")},
		{"/aios/a/kernel.elf", bytes.Repeat([]byte{1, 2, 3}, 1_000_001)},
		{"/aios/a/policy.tar.gz", []byte("x")},
		{"/aios/a/empty", nil},
		{"/aios/b/manifest", []byte("other")},
		{"/aios/boot.conf", []byte("slot a\ncmdline \n")},
		{"/aios/boot.config", []byte("another that shortens alike")},
	}
}

func mustBuild(t testing.TB, files []File) []byte {
	t.Helper()
	disk, err := Build(files)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestFilesReadsWhatBuildWrote(t *testing.T) {
	got, err := Files(mustBuild(t, sample()))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, sample())
}

func same(t *testing.T, got, want []File) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	for _, w := range want {
		i := slices.IndexFunc(got, func(f File) bool { return f.Path == w.Path })
		if i < 0 || !bytes.Equal(got[i].Data, w.Data) {
			t.Errorf("%s is missing or different", w.Path)
		}
	}
}

// Another implementation reads the same.
func TestDiskfsReadsIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, mustBuild(t, sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := diskfs.Open(name, diskfs.WithOpenMode(diskfs.ReadOnly))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fs, err := d.GetFilesystem(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range sample() {
		if len(want.Data) == 0 {
			continue // it does not know that an empty file has no cluster
		}
		f, err := fs.OpenFile(want.Path, os.O_RDONLY)
		if err != nil {
			t.Errorf("%s: %v", want.Path, err)
			continue
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, want.Data) {
			t.Errorf("%s: %d bytes, want %d, %v", want.Path, len(got), len(want.Data), err)
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	a := sample()
	b := sample()
	slices.Reverse(b)
	if !bytes.Equal(mustBuild(t, a), mustBuild(t, b)) {
		t.Fatal("the same files in another order gave another image")
	}
	b[0].Data = append([]byte(nil), "changed"...)
	if bytes.Equal(mustBuild(t, a)[:4096], mustBuild(t, b)[:4096]) {
		t.Fatal("different images have the same identifiers")
	}
}

func TestReplace(t *testing.T) {
	disk, err := Replace(mustBuild(t, sample()), "/aios/a/manifest", []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read(disk, "/aios/a/manifest"); err != nil || string(got) != "new" {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := Replace(disk, "/aios/a/nothing", nil); !errors.Is(err, ErrFormat) {
		t.Fatalf("got %v", err)
	}
}

func TestBadPaths(t *testing.T) {
	for _, c := range []struct{ name, path string }{
		{"relative", "a"}, {"empty name", "/a//b"}, {"dot dot", "/../a"}, {"blank", "/a b"}, {"wildcard", "/a*"}, {"root", "/"},
		{"too long", "/" + strings.Repeat("x", maxName+1)},
	} {
		if _, err := Build([]File{{c.path, nil}}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.path)) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	for _, pair := range [][2]string{{"/a", "/a"}, {"/a", "/A"}, {"/a/b", "/a"}, {"/a/b", "/A/c"}} {
		if _, err := Build([]File{{pair[0], nil}, {pair[1], nil}}); err == nil {
			t.Errorf("%v was accepted, though FAT takes them for one", pair)
		}
	}
}

func TestRoundTripOfAnyFiles(t *testing.T) {
	name := rapid.StringMatching(`[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}[a-z0-9]`)
	rapid.Check(t, func(rt *rapid.T) {
		var files []File
		for i := range rapid.IntRange(0, 12).Draw(rt, "files") {
			path := fmt.Sprintf("/f%d/%s", rapid.IntRange(0, 2).Draw(rt, "folder"), name.Draw(rt, "name"))
			files = append(files, File{path + fmt.Sprint("-", i), bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 3000).Draw(rt, "size"))})
		}
		got, err := Files(mustBuild(t, files))
		if err != nil {
			rt.Fatal(err)
		}
		same(t, got, files)
	})
}

// A damaged disk is an error, never a hang or a crash.
func TestDamage(t *testing.T) {
	good := mustBuild(t, sample())
	part := partitionStart * sectorSize
	for _, c := range []struct {
		name   string
		damage func(d []byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"cut", func(d []byte) []byte { return d[:len(d)/2] }},
		{"partition table", func(d []byte) []byte { d[sectorSize+40] ^= 1; return d }},
		{"no FAT", func(d []byte) []byte { d[part+510] = 0; return d }},
		{"cluster size 0", func(d []byte) []byte { d[part+13] = 0; return d }},
		{"huge table", func(d []byte) []byte { binary.LittleEndian.PutUint32(d[part+36:], 1<<31); return d }},
		{"root outside", func(d []byte) []byte { binary.LittleEndian.PutUint32(d[part+44:], 1<<27); return d }},
		{"looping chain", func(d []byte) []byte {
			binary.LittleEndian.PutUint32(d[part+reservedSectors*sectorSize+8:], 2)
			return d
		}},
	} {
		if _, err := Files(c.damage(bytes.Clone(good))); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

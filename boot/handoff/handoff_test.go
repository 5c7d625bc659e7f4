package handoff

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// good is a structure that the kernel would accept.
func good() *Info {
	i := &Info{
		KernelPhys: 0x1000_0000, KernelSize: 4 << 20, KernelVirt: WindowStart,
		TablesPhys: 0x2000_0000, TablesSize: 7 * 4096,
		MemMapPhys: 0x2010_0000, MemMapSize: 48 * 100, MemDescSize: 48,
		RSDP:         0x5f77_e014,
		EventLogPhys: 0x2020_0000, EventLogSize: 60000,
		ManifestPhys: 0x2030_0000, ManifestSize: 500, ManifestKeyID: [16]byte{1, 2, 3},
		CmdlinePhys: 0x2031_0000, CmdlineSize: 20, Slot: 'a',
		Seed: [64]byte{9: 7}, UnixNanos: 1, TSCAtUnix: 2, BootEntryTSC: 3, HandoffTSC: 4,
		DMAPhys: 0x3000_0000, DMASize: DMASize, Floor: 6,
	}
	i.AddBlob("attestd", 0x3200_0000, 12<<20)
	i.AddBlob("policy", 0x3300_0000, 999)
	if err := i.Encode(make([]byte, EncodedSize)); err != nil {
		panic(err)
	}
	return i
}

// If the struct and the offsets part, the kernel's assembly reads the wrong fields.
func TestLayout(t *testing.T) {
	typ := reflect.TypeFor[Info]()
	if typ.Size() != EncodedSize {
		t.Errorf("struct takes %d bytes, the encoding %d", typ.Size(), EncodedSize)
	}
	want := map[string]uintptr{
		"MagicBytes": offMagic, "ManifestKeyID": offManifestKeyID, "Seed": offSeed, "Blobs": offBlobs,
	}
	i := new(Info)
	base := reflect.ValueOf(i).Pointer()
	seen := map[uintptr]bool{}
	for _, w := range i.words() {
		at := reflect.ValueOf(w.p).Pointer() - base
		if at != uintptr(w.off) {
			t.Errorf("word at struct offset %d is encoded at %d", at, w.off)
		}
		seen[at] = true
	}
	for f := range typ.NumField() {
		field := typ.Field(f)
		if off, ok := want[field.Name]; ok {
			if off != field.Offset {
				t.Errorf("%s at %d in the struct, %d encoded", field.Name, field.Offset, off)
			}
		} else if !seen[field.Offset] {
			t.Errorf("%s is not encoded", field.Name)
		}
	}
	if s := reflect.TypeFor[Blob]().Size(); s != blobSize {
		t.Errorf("Blob takes %d bytes, the encoding %d", s, blobSize)
	}
}

func TestRoundTrip(t *testing.T) {
	in := good()
	b := make([]byte, EncodedSize)
	if err := in.Encode(b); err != nil {
		t.Fatal(err)
	}
	out, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if *in != *out {
		t.Errorf("got %+v, want %+v", out, in)
	}
	if p, ok := out.Blob("policy"); !ok || p.Phys != 0x3300_0000 || p.Size != 999 {
		t.Errorf("policy blob: %+v %v", p, ok)
	}
	if _, ok := out.Blob("attest"); ok {
		t.Error("a prefix of a name found a blob")
	}
	if err := in.Encode(b[:EncodedSize-1]); !errors.Is(err, ErrFormat) {
		t.Errorf("short buffer: %v", err)
	}
	if _, err := Decode(b[:EncodedSize-1]); !errors.Is(err, ErrFormat) {
		t.Errorf("short input: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Info)
		text  string
	}{
		{"magic", func(i *Info) { i.MagicBytes[0] = 'X' }, "magic"},
		{"version", func(i *Info) { i.Version = 1 }, "different builds"},
		{"size", func(i *Info) { i.Size-- }, "different builds"},
		{"kernel elsewhere", func(i *Info) { i.KernelVirt = 0x1000_0000 }, "kernel mapped"},
		{"kernel span odd", func(i *Info) { i.KernelSize = 4096 }, "span"},
		{"kernel larger than the window", func(i *Info) { i.KernelSize = 256 << 20 }, "span"},
		{"kernel not aligned", func(i *Info) { i.KernelPhys += 4096 }, "multiple of"},
		{"kernel empty", func(i *Info) { i.KernelSize = 0 }, "kernel is empty"},
		{"kernel under the window", func(i *Info) { i.KernelPhys = WindowEnd - 2<<20 }, "window"},
		{"kernel runs into the window", func(i *Info) { i.KernelPhys = WindowStart - 2<<20 }, "window"},
		{"tables beyond 4 GiB", func(i *Info) { i.TablesPhys = MaxPhys }, "first 4 GiB"},
		{"tables run over 4 GiB", func(i *Info) { i.TablesPhys = MaxPhys - 4096 }, "first 4 GiB"},
		{"size wraps", func(i *Info) { i.ManifestSize = ^uint64(0) }, "first 4 GiB"},
		{"address 0", func(i *Info) { i.ManifestPhys = 0 }, "page 0"},
		{"descriptor too small", func(i *Info) { i.MemDescSize = 32 }, "memory map"},
		{"descriptor 0", func(i *Info) { i.MemDescSize = 0 }, "memory map"},
		{"map cut", func(i *Info) { i.MemMapSize-- }, "memory map"},
		{"no RSDP", func(i *Info) { i.RSDP = 0 }, "ACPI"},
		{"no log", func(i *Info) { i.EventLogSize = 0 }, "event log is empty"},
		{"slot", func(i *Info) { i.Slot = 'c' }, "slot"},
		{"dma size", func(i *Info) { i.DMASize = 4096 }, "DMA"},
		{"dma alignment", func(i *Info) { i.DMAPhys += 4096 }, "DMA"},
		{"too many blobs", func(i *Info) { i.BlobCount = MaxBlobs + 1 }, "images"},
		{"blob count too low", func(i *Info) { i.BlobCount = 1 }, "filled"},
		{"blob count too high", func(i *Info) { i.BlobCount = 3 }, "name"},
		{"blob twice", func(i *Info) { i.Blobs[1].Name = i.Blobs[0].Name }, "twice"},
		{"blob name hides a tail", func(i *Info) { i.Blobs[1].Name[31] = 'x' }, "name"},
		{"blob name upper case", func(i *Info) { i.Blobs[1].Name[0] = 'P' }, "name"},
		{"blob empty", func(i *Info) { i.Blobs[1].Size = 0 }, "policy is empty"},
		{"blobs overlap", func(i *Info) { i.Blobs[1].Phys = i.Blobs[0].Phys + i.Blobs[0].Size - 1 }, "overlaps"},
		{"blob over the kernel", func(i *Info) { i.Blobs[1].Phys = i.KernelPhys }, "overlaps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := good()
			if err := i.Check(); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.spoil(i)
			err := i.Check()
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want an error with %q", err, c.text)
			}
		})
	}
}

func TestAddBlobBounds(t *testing.T) {
	i := new(Info)
	for n := range MaxBlobs {
		if !i.AddBlob(strings.Repeat("s", n%32+1), 4096, 1) {
			t.Fatalf("blob %d refused", n)
		}
	}
	if i.AddBlob("one-more", 4096, 1) {
		t.Error("a blob over the limit was taken")
	}
	for _, name := range []string{"", "Upper", "a_b", "a/b", strings.Repeat("x", 33), "a\x00"} {
		if new(Info).AddBlob(name, 4096, 1) {
			t.Errorf("name %q was taken", name)
		}
	}
}

// Whatever Check accepts, no block of it can be hidden by the window or overlap another.
func TestAcceptedBlocksAreDisjoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := good()
		i.EventLogPhys = rapid.Uint64Range(0, 5<<30).Draw(t, "log")
		i.EventLogSize = rapid.Uint64Range(0, 1<<31).Draw(t, "size")
		if i.Check() != nil {
			return
		}
		owner := map[uint64]string{}
		for _, b := range i.blocks() {
			for page := b.phys &^ 4095; page < b.phys+b.size; page += 4096 {
				if page >= WindowStart && page < WindowEnd || page >= MaxPhys {
					t.Fatalf("%s holds page %#x", b.what, page)
				}
				if page >= b.phys && page+4096 <= b.phys+b.size {
					if o, ok := owner[page]; ok {
						t.Fatalf("page %#x belongs to %s and %s", page, o, b.what)
					}
					owner[page] = b.what
				}
			}
		}
	})
}

// What Decode accepts it encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	b := make([]byte, EncodedSize)
	good().Encode(b)
	f.Add(b)
	f.Add(b[:40])
	f.Fuzz(func(t *testing.T, in []byte) {
		i, err := Decode(in)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error outside ErrFormat: %v", err)
			}
			return
		}
		out := make([]byte, EncodedSize)
		if err := i.Encode(out); err != nil || !bytes.Equal(out, in[:EncodedSize]) {
			t.Fatalf("not canonical: %v", err)
		}
	})
}

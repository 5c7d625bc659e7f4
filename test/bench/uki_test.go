package main

import (
	"bytes"
	"compress/gzip"
	"debug/pe"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
	"testing"
)

// stubImage is a PE32+ image with headers of the given size and two sections,
// the one that comes last in the file being the lower one in memory.
func stubImage(headers int) []byte {
	le := binary.LittleEndian
	b := make([]byte, headers)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	coff := b[0x44:]
	le.PutUint16(coff[0:], 0x8664)
	le.PutUint16(coff[2:], 2)    // sections
	le.PutUint16(coff[16:], 240) // size of the optional header
	le.PutUint16(coff[18:], 0x22)
	opt := coff[20:]
	le.PutUint16(opt[0:], 0x20b)
	le.PutUint32(opt[32:], 0x1000) // section alignment
	le.PutUint32(opt[36:], 0x200)  // file alignment
	le.PutUint32(opt[56:], 0x9000) // size of the image
	le.PutUint32(opt[60:], uint32(headers))
	le.PutUint32(opt[108:], 16) // data directories
	for i, s := range []struct {
		name    string
		address uint32
	}{{".text", 0x8000}, {".data", 0x4000}} {
		h := opt[240+40*i:]
		copy(h, s.name)
		le.PutUint32(h[8:], 5)
		le.PutUint32(h[12:], s.address)
		le.PutUint32(h[16:], 5)
		le.PutUint32(h[20:], uint32(headers+5*i))
	}
	return append(b, "text\xccdata\xcc"...)
}

func TestUnify(t *testing.T) {
	stub := stubImage(0x400)
	linux := bytes.Repeat([]byte("kernel"), 1000)
	want := []section{{".cmdline", []byte("quiet")}, {".linux", linux}, {".initrd", []byte("ram disk")}}
	uki, err := unify(stub, want)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(uki))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Sections) != 5 || f.Sections[0].Name != ".text" || f.Sections[1].Name != ".data" {
		t.Fatalf("%d sections, want those of the stub and three more", len(f.Sections))
	}
	opt := f.OptionalHeader.(*pe.OptionalHeader64)
	free := uint32(0x9000) // behind the stub in memory
	for i, w := range want {
		s := f.Sections[2+i]
		data, err := s.Data()
		if err != nil || s.Name != w.name || !bytes.Equal(data[:s.VirtualSize], w.data) {
			t.Errorf("section %s: %d bytes of %s, %v", w.name, s.VirtualSize, s.Name, err)
		}
		if s.VirtualAddress < free || s.VirtualAddress%opt.SectionAlignment != 0 || s.Offset%opt.FileAlignment != 0 {
			t.Errorf("section %s lies at %#x of memory and %#x of the file", w.name, s.VirtualAddress, s.Offset)
		}
		free = s.VirtualAddress + s.VirtualSize
	}
	if opt.SizeOfImage < free || opt.SizeOfImage%opt.SectionAlignment != 0 {
		t.Errorf("size of the image %#x, want %#x or more", opt.SizeOfImage, free)
	}
	if len(uki)%8 != 0 {
		t.Errorf("%d bytes cannot be signed", len(uki))
	}
	if !bytes.Equal(stub, stubImage(0x400)) {
		t.Error("the stub was changed")
	}
}

func TestUnifyRefuses(t *testing.T) {
	long := stubImage(0x400)
	for _, c := range []struct {
		name string
		stub []byte
		want string
	}{
		{"no PE", []byte("#!/bin/sh"), "EFI stub"},
		{"no room for the headers of three sections", stubImage(0x200), "512 bytes, 528 are needed"},
		{"cut", long[:0x80], "EFI stub"},
	} {
		if _, err := unify(c.stub, []section{{".osrel", nil}, {".linux", nil}, {".initrd", nil}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestInitrd(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(initrd([]byte("program"), []byte("driver"))))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		mode, major, minor uint64
		data               string
	}
	got := map[string]entry{}
	pad := func(n int) int { return (n + 3) / 4 * 4 }
	for at := 0; ; { // newc, as cpio(5) has it
		field := func(i int) int {
			v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
		if string(b[at:at+6]) != "070701" {
			t.Fatalf("no entry at byte %d", at)
		}
		name := string(b[at+110 : at+110+field(11)-1])
		data := at + pad(110+field(11))
		if name == "TRAILER!!!" {
			break
		}
		got[name] = entry{uint64(field(1)), uint64(field(9)), uint64(field(10)), string(b[data : data+field(6)])}
		at = data + pad(field(6))
	}
	for name, want := range map[string]entry{
		"dev": {mode: 0o40755}, "proc": {mode: 0o40755}, "dev/console": {0o20600, 5, 1, ""}, "init": {0o100755, 0, 0, "program"},
		"modules": {mode: 0o40755}, "modules/00.ko": {0o100644, 0, 0, "driver"},
	} {
		if got[name] != want {
			t.Errorf("%s: %+v, want %+v", name, got[name], want)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d entries, want 6", len(got))
	}
}

package process

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"aios/kernel/abi"
)

func TestParseELF(t *testing.T) {
	text := part{va: 0x401000, size: 0x800, flags: flagR | flagX, data: []byte("text")}
	le := binary.LittleEndian
	patch := func(f func(b []byte)) []byte {
		b := testELF()
		f(b)
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		want string // in the error; "" accepts
	}{
		{"good", testELF(), ""},
		{"empty", nil, "no ELF header"},
		{"script", []byte(strings.Repeat("#!/bin/sh\n", 20)), "no ELF header"},
		{"32 bit", patch(func(b []byte) { b[4] = 1 }), "class 1"},
		{"big endian", patch(func(b []byte) { b[5] = 2 }), "data 2"},
		{"shared object", patch(func(b []byte) { b[16] = 3 }), "type 3"},
		{"arm", patch(func(b []byte) { b[18] = 183 }), "machine 183"},
		{"no headers", patch(func(b []byte) { b[56] = 0 }), "0 program headers"},
		{"many headers", patch(func(b []byte) { b[56] = 200 }), "200 program headers"},
		{"header size", patch(func(b []byte) { b[54] = 32 }), "of 32 bytes"},
		{"headers outside", patch(func(b []byte) { le.PutUint64(b[32:], 1<<63) }), "lie outside the file"},
		{"interpreter", patch(func(b []byte) { b[elfHeader] = 3 }), "type 0x3"},
		{"dynamic", patch(func(b []byte) { b[elfHeader] = 2 }), "type 0x2"},
		{"executable stack", patch(func(b []byte) {
			le.PutUint32(b[elfHeader+progHeader:], ptGNUStack)
			le.PutUint32(b[elfHeader+progHeader+4:], 7)
		}), "executable stack"},
		{"entry elsewhere", makeELF(0x402000, text, part{va: 0x402000, size: 8, flags: flagR}), "entry point 0x402000"},
		{"entry at the end", makeELF(0x401800, text), "entry point"},
		{"writable text", makeELF(0x401000, part{va: 0x401000, size: 8, flags: 7}), "writable and executable"},
		{"no access", makeELF(0x401000, text, part{va: 0x402000, size: 8}), "no access"},
		{"unknown flags", makeELF(0x401000, part{va: 0x401000, size: 8, flags: 0x105}), "unknown flags"},
		{"below the image", makeELF(0x1000, part{va: 0x1000, size: 8, flags: 5}), "lie outside 0x400000"},
		{"into the window", makeELF(0x401000, text, part{va: 0x3ffff000, size: 0x1001, flags: flagR}), "lie outside"},
		{"in the upper half", makeELF(0x401000, text, part{va: 1 << 63, size: 8, flags: flagR}), "lie outside"},
		{"huge", makeELF(0x401000, text, part{va: 0x402000, size: 1 << 63, flags: flagR}), "lie outside"},
		{"up to the window", makeELF(0x401000, text, part{va: 0x3ffff000, size: 0x1000, flags: flagR}), ""},
		{"file larger than memory", makeELF(0x401000, part{va: 0x401000, size: 2, flags: 5, data: []byte("abc")}), "3 bytes in the file"},
		{"bytes outside", patch(func(b []byte) { le.PutUint64(b[elfHeader+8:], 1<<40) }), "lie outside the file"},
		{"bytes wrap", patch(func(b []byte) { le.PutUint64(b[elfHeader+8:], ^uint64(0)) }), "lie outside the file"},
		{"overlap", makeELF(0x401000, text, part{va: 0x401400, size: 8, flags: flagR}), "shares a page"},
		{"shared page", makeELF(0x401000, text, part{va: 0x401900, size: 8, flags: flagR}), "shares a page"},
		{"not in order", makeELF(0x401000, text, part{va: 0x400000, size: 8, flags: flagR}), "shares a page"},
	} {
		img, err := parseELF(c.file)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if img != nil || !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Whatever is accepted loads without harm and keeps to its place.
func FuzzELF(f *testing.F) {
	f.Add(testELF())
	f.Add(makeELF(0x401000, part{va: 0x401000, size: 1 << 20, flags: 5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := parseELF(b)
		if err != nil {
			if !errors.Is(err, ErrImage) {
				t.Fatalf("%v is not ErrImage", err)
			}
			return
		}
		end := uint64(0)
		for _, s := range img.segments {
			if s.va < abi.ImageStart || s.va+s.size > abi.ImageEnd || s.va < end || s.prot&(Write|Exec) == Write|Exec || uint64(len(s.data)) > s.size {
				t.Fatalf("segment %+v", s)
			}
			end = pageUp(s.va + s.size)
		}
		m := newFake()
		before := m.frames
		space, _ := m.NewSpace()
		mem := newMemory(space, 64)
		if err := mem.load(img); err != nil && !errors.Is(err, errQuota) {
			t.Fatal(err)
		}
		if freed, expected := mem.destroy(); freed != expected || m.frames != before {
			t.Fatalf("freed %d of %d", freed, expected)
		}
	})
}

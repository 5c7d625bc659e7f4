package stage

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"aios/boot/handoff"
)

const testEntry = handoff.WindowStart + 0x1000

// header is a program header of testELF, in file order.
type header struct {
	kind, flags                  uint32
	offset, vaddr, filesz, memsz uint64
}

// testELF is a kernel of a text page and a data page with bss, changed by spoil.
func testELF(spoil func(b []byte, h []header) []header) []byte {
	b := make([]byte, 0x2004)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], testEntry)
	le.PutUint64(b[32:], elfHeader)
	le.PutUint16(b[52:], elfHeader)
	le.PutUint16(b[54:], programHeader)
	copy(b[0x1000:], "code")
	copy(b[0x2000:], "data")
	headers := []header{
		{ptLoad, 5, 0, handoff.WindowStart, 0x1100, 0x1100},
		{ptLoad, 6, 0x2000, handoff.WindowStart + 0x2000, 4, 0x300000},
		{0x6474e551, 6, 0, 0, 0, 0},
	}
	if spoil != nil {
		headers = spoil(b, headers)
	}
	for i, h := range headers {
		p := b[elfHeader+i*programHeader:]
		le.PutUint32(p, h.kind)
		le.PutUint32(p[4:], h.flags)
		le.PutUint64(p[8:], h.offset)
		le.PutUint64(p[16:], h.vaddr)
		le.PutUint64(p[24:], h.vaddr)
		le.PutUint64(p[32:], h.filesz)
		le.PutUint64(p[40:], h.memsz)
	}
	le.PutUint16(b[56:], uint16(len(headers)))
	return b
}

// The file that the tests call good is one for Go's own reader too.
func TestELFIsOne(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(testELF(nil)))
	if err != nil || f.Machine != elf.EM_X86_64 || len(f.Progs) != 3 || f.Entry != testEntry {
		t.Errorf("%v %+v", err, f)
	}
	segments, entry, end, err := parseELF(testELF(nil))
	if err != nil || len(segments) != 2 || entry != testEntry || end != handoff.WindowStart+0x302000 {
		t.Errorf("%v %d segments entry %#x end %#x", err, len(segments), entry, end)
	}
}

func TestELFRefuses(t *testing.T) {
	set := func(i int, f func(*header)) func([]byte, []header) []header {
		return func(_ []byte, h []header) []header { f(&h[i]); return h }
	}
	poke := func(at int, v ...byte) func([]byte, []header) []header {
		return func(b []byte, h []header) []header { copy(b[at:], v); return h }
	}
	for _, c := range []struct {
		name  string
		spoil func([]byte, []header) []header
		text  string
	}{
		{"magic", poke(0, 'X'), "no ELF header"},
		{"32-bit", poke(4, 1), "class 1"},
		{"big-endian", poke(5, 2), "data 2"},
		{"shared object", poke(16, 3), "type 3"},
		{"ARM", poke(18, 183), "machine 183"},
		{"header table beyond the file", poke(32, 0, 0, 1), "program headers"},
		{"header table wraps", poke(32, 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "program headers"},
		{"header size", poke(54, 57), "program headers"},
		{"no headers", func([]byte, []header) []header { return nil }, "0 program headers"},
		{"dynamic", set(2, func(h *header) { h.kind = ptDynamic }), "dynamically linked"},
		{"interpreter", set(2, func(h *header) { h.kind = ptInterp }), "dynamically linked"},
		{"below the window", set(0, func(h *header) { h.vaddr -= 0x1000 }), "expected within"},
		{"over the window's end", set(1, func(h *header) { h.memsz = 128 << 20 }), "expected within"},
		{"size wraps", set(1, func(h *header) { h.memsz = ^uint64(0) }), "expected within"},
		{"file longer than memory", set(1, func(h *header) { h.memsz = 3 }), "bytes of file in"},
		{"empty segment", set(1, func(h *header) { h.filesz, h.memsz = 0, 0 }), "bytes of file in"},
		{"file range outside", set(1, func(h *header) { h.filesz = 5 }), "of a file of"},
		{"offset outside", set(1, func(h *header) { h.offset = ^uint64(0) }), "of a file of"},
		{"segments share a page", set(1, func(h *header) { h.vaddr -= 0xf00 }), "on a page after"},
		{"segments out of order", func(_ []byte, h []header) []header { h[0], h[1] = h[1], h[0]; return h }, "on a page after"},
		{"writable and executable", set(1, func(h *header) { h.flags = 7 }), "writable and executable"},
		{"entry in data", poke(24, 0, 0x20), "entry point"},
		{"entry behind the file's bytes", poke(24, 0, 0x11), "entry point"},
		{"nothing to load", func(_ []byte, h []header) []header { return h[2:] }, "entry point"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, _, err := parseELF(testELF(c.spoil))
			if !errors.Is(err, errELF) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want an error with %q", err, c.text)
			}
		})
	}
}

// What is accepted can be loaded: every segment fits file and window, in order.
func FuzzELF(f *testing.F) {
	f.Add(testELF(nil))
	f.Add(testELF(nil)[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		segments, entry, end, err := parseELF(b)
		if err != nil {
			return
		}
		at := uint64(handoff.WindowStart)
		for _, s := range segments {
			if s.vaddr < at || s.vaddr+s.memsz > end || end > handoff.WindowEnd || s.filesz > s.memsz {
				t.Fatalf("segment %+v, end %#x", s, end)
			}
			_ = b[s.offset : s.offset+s.filesz]
			at = s.vaddr + s.memsz
		}
		if entry < handoff.WindowStart || entry >= end {
			t.Fatalf("entry %#x", entry)
		}
	})
}

package process

import (
	"encoding/binary"
	"errors"
	"fmt"

	"aios/kernel/abi"
)

// ErrImage reports a file that is not a program this kernel runs.
var ErrImage = errors.New("not a loadable program")

// segment is one PT_LOAD entry, checked.
type segment struct {
	va   uint64
	size uint64 // in memory
	prot Prot
	data []byte // what it starts with; the rest is zero
}

// image is a parsed static ELF executable.
type image struct {
	entry    uint64
	segments []segment // by address, no two in one page
}

// ELF constants (System V gABI, chapters 4 and 5; x86-64 psABI 4.1).
const (
	elfHeader  = 64
	progHeader = 56
	maxHeaders = 32

	ptLoad     = 1
	ptNote     = 4
	ptPhdr     = 6
	ptTLS      = 7
	ptGNUStack = 0x6474e551
	ptGNURelro = 0x6474e552
	ptGNUProp  = 0x6474e553

	flagX, flagW, flagR = 1, 2, 4
)

// parseELF accepts exactly what the kernel can run: ET_EXEC for x86-64 without
// interpreter or dynamic section, every segment inside the image range and
// never writable and executable at once.
func parseELF(f []byte) (*image, error) {
	bad := func(format string, args ...any) (*image, error) {
		return nil, fmt.Errorf("%w: %s", ErrImage, fmt.Sprintf(format, args...))
	}
	le := binary.LittleEndian
	if len(f) < elfHeader || string(f[:4]) != "\x7fELF" {
		return bad("no ELF header in %d bytes", len(f))
	}
	if f[4] != 2 || f[5] != 1 || f[6] != 1 {
		return bad("class %d, data %d, version %d; expected 64-bit little endian, version 1", f[4], f[5], f[6])
	}
	if typ, machine := le.Uint16(f[16:]), le.Uint16(f[18:]); typ != 2 || machine != 62 {
		return bad("type %d, machine %d; expected a static executable (2) for x86-64 (62); link without -buildmode=pie", typ, machine)
	}
	img := &image{entry: le.Uint64(f[24:])}
	off, size, n := le.Uint64(f[32:]), le.Uint16(f[54:]), int(le.Uint16(f[56:]))
	if size != progHeader || n == 0 || n > maxHeaders {
		return bad("%d program headers of %d bytes; expected 1 to %d of %d", n, size, maxHeaders, progHeader)
	}
	if off > uint64(len(f)) || uint64(len(f))-off < uint64(n)*progHeader {
		return bad("program headers at %#x lie outside the file of %d bytes", off, len(f))
	}
	for i := range n {
		h := f[off+uint64(i)*progHeader:]
		typ, flags := le.Uint32(h), le.Uint32(h[4:])
		switch typ {
		case ptLoad:
		case ptNote, ptPhdr, ptTLS, ptGNURelro, ptGNUProp:
			continue
		case ptGNUStack:
			if flags&flagX != 0 {
				return bad("it asks for an executable stack")
			}
			continue
		default:
			return bad("program header %d has type %#x; only static executables are run", i, typ)
		}
		s, err := parseSegment(f, h, flags)
		if err != nil {
			return bad("segment %d: %v", i, err)
		}
		if s.size == 0 {
			continue
		}
		if k := len(img.segments); k > 0 {
			if last := img.segments[k-1]; pageUp(last.va+last.size) > s.va&^(pageSize-1) {
				return bad("segment %d at %#x shares a page with the one before it, or lies below it", i, s.va)
			}
		}
		img.segments = append(img.segments, s)
	}
	for _, s := range img.segments {
		if s.prot&Exec != 0 && img.entry >= s.va && img.entry-s.va < s.size {
			return img, nil
		}
	}
	return bad("entry point %#x is not in an executable segment", img.entry)
}

func pageUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }

func parseSegment(f, h []byte, flags uint32) (segment, error) {
	le := binary.LittleEndian
	off, va, filesz, memsz := le.Uint64(h[8:]), le.Uint64(h[16:]), le.Uint64(h[32:]), le.Uint64(h[40:])
	s := segment{va: va, size: memsz}
	switch {
	case flags&^(flagX|flagW|flagR) != 0:
		return s, fmt.Errorf("unknown flags %#x", flags)
	case flags&flagW != 0 && flags&flagX != 0:
		return s, errors.New("writable and executable")
	case memsz == 0 && filesz == 0:
		return s, nil
	case filesz > memsz:
		return s, fmt.Errorf("%d bytes in the file, %d in memory", filesz, memsz)
	case off > uint64(len(f)) || filesz > uint64(len(f))-off:
		return s, fmt.Errorf("bytes %#x+%#x lie outside the file of %d bytes", off, filesz, len(f))
	case va < abi.ImageStart || va >= abi.ImageEnd || memsz > abi.ImageEnd-va:
		return s, fmt.Errorf("addresses %#x+%#x lie outside %#x..%#x", va, memsz, abi.ImageStart, abi.ImageEnd)
	case flags == 0:
		return s, errors.New("no access allowed")
	}
	s.data = f[off : off+filesz]
	s.prot = Read
	if flags&flagW != 0 {
		s.prot |= Write
	}
	if flags&flagX != 0 {
		s.prot |= Exec
	}
	return s, nil
}

// load maps the image's segments and copies what the file holds. Preconditions:
// no thread runs in the space yet.
func (m *memory) load(img *image) error {
	for _, s := range img.segments {
		m.mu.Lock()
		m.regions.set(s.va&^(pageSize-1), pageUp(s.va+s.size), s.prot)
		m.mu.Unlock()
		b := s.data
		// The pages are written through the kernel's view, so the access to
		// ask for is the one that the segment allows.
		if err := m.copy(s.va, len(b), Read, func(frame []byte) { b = b[copy(frame, b):] }); err != nil {
			return fmt.Errorf("load segment %#x+%#x: %w", s.va, s.size, err)
		}
	}
	return nil
}

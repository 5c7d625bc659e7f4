package stage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"aios/boot/efi"
	"aios/boot/handoff"
)

// kernelImage is the kernel in memory, ready to be mapped at the window.
type kernelImage struct {
	block efi.Block // 2 MiB aligned, whole large pages
	entry uint64    // virtual
}

// segment is a PT_LOAD header.
type segment struct {
	flags                        uint32
	offset, vaddr, filesz, memsz uint64
}

const (
	elfHeader     = 64
	programHeader = 56
	maxHeaders    = 64

	ptLoad, ptDynamic, ptInterp = 1, 2, 3
	pfExec, pfWrite             = 1, 2
)

var errELF = errors.New("not a kernel of AIOS")

// parseELF reads a static ELF executable for x86-64 that is linked for the kernel's window (System V ABI, ELF-64 object
// file format 1.5). Everything that would need a decision at run time is refused: relocation, an interpreter,
// overlapping segments, segments that are writable and executable.
func parseELF(file []byte) (segments []segment, entry, end uint64, err error) {
	fail := func(format string, args ...any) ([]segment, uint64, uint64, error) {
		return nil, 0, 0, fmt.Errorf("%w: "+format, append([]any{errELF}, args...)...)
	}
	if len(file) < elfHeader || string(file[:4]) != "\x7fELF" {
		return fail("no ELF header")
	}
	if file[4] != 2 || file[5] != 1 || file[6] != 1 {
		return fail("class %d data %d version %d, expected 64-bit little-endian version 1", file[4], file[5], file[6])
	}
	kind, machine := binary.LittleEndian.Uint16(file[16:]), binary.LittleEndian.Uint16(file[18:])
	if kind != 2 || machine != 62 {
		return fail("type %d machine %d, expected a fixed-address executable (2) for x86-64 (62)", kind, machine)
	}
	entry = binary.LittleEndian.Uint64(file[24:])
	table, size, count := binary.LittleEndian.Uint64(file[32:]), binary.LittleEndian.Uint16(file[54:]), binary.LittleEndian.Uint16(file[56:])
	if size != programHeader || count == 0 || count > maxHeaders || table > uint64(len(file)) ||
		uint64(count)*programHeader > uint64(len(file))-table {
		return fail("%d program headers of %d bytes at %#x in a file of %d", count, size, table, len(file))
	}
	end = handoff.WindowStart
	executable := false
	for i := range uint64(count) {
		h := file[table+i*programHeader:]
		s := segment{
			flags:  binary.LittleEndian.Uint32(h[4:]),
			offset: binary.LittleEndian.Uint64(h[8:]),
			vaddr:  binary.LittleEndian.Uint64(h[16:]),
			filesz: binary.LittleEndian.Uint64(h[32:]),
			memsz:  binary.LittleEndian.Uint64(h[40:]),
		}
		switch binary.LittleEndian.Uint32(h) {
		case ptDynamic, ptInterp:
			return fail("dynamically linked")
		case ptLoad:
		default:
			continue
		}
		switch {
		case s.filesz > s.memsz || s.memsz == 0:
			return fail("segment %d: %d bytes of file in %d bytes of memory", i, s.filesz, s.memsz)
		case s.offset > uint64(len(file)) || s.filesz > uint64(len(file))-s.offset:
			return fail("segment %d: bytes %#x+%#x of a file of %#x", i, s.offset, s.filesz, len(file))
		case s.vaddr < handoff.WindowStart || s.vaddr >= handoff.WindowEnd || s.memsz > handoff.WindowEnd-s.vaddr:
			return fail("segment %d: memory %#x+%#x, expected within %#x to %#x", i, s.vaddr, s.memsz, uint64(handoff.WindowStart), uint64(handoff.WindowEnd))
		case s.vaddr < (end+efi.PageSize-1)&^(efi.PageSize-1) && len(segments) > 0:
			return fail("segment %d: at %#x, expected on a page after the one before, which ends at %#x", i, s.vaddr, end)
		case s.flags&pfWrite != 0 && s.flags&pfExec != 0:
			return fail("segment %d: writable and executable", i)
		}
		end = s.vaddr + s.memsz
		segments = append(segments, s)
		if s.flags&pfExec != 0 && entry >= s.vaddr && entry < s.vaddr+s.filesz {
			executable = true
		}
	}
	if !executable {
		return fail("entry point %#x is not in an executable segment", entry)
	}
	return segments, entry, end, nil
}

// loadKernel copies the segments to memory of their own and clears the rest of it.
func (s *Stage) loadKernel(file []byte) (*kernelImage, error) {
	segments, entry, end, err := parseELF(file)
	if err != nil {
		return nil, err
	}
	span := (end - handoff.WindowStart + handoff.LargePage - 1) &^ (handoff.LargePage - 1)
	block, err := s.Firmware.Allocate(span, handoff.LargePage, window)
	if err != nil {
		return nil, err
	}
	filled := uint64(0)
	for _, g := range segments {
		at := g.vaddr - handoff.WindowStart
		clear(block.Data[filled:at])
		copy(block.Data[at:], file[g.offset:g.offset+g.filesz])
		filled = at + g.filesz
	}
	clear(block.Data[filled:])
	return &kernelImage{block, entry}, nil
}

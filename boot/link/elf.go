package link

import (
	"bytes"
	"debug/elf"
	"io"
	"slices"
)

// maxSegment bounds what a file may ask for, in bytes.
const maxSegment = 256 << 20

// read checks that file is a static x86-64 executable all of whose segments
// lie in [lo, hi), and takes it apart. Segments are page aligned in memory and
// never writable and executable at once.
func read(file []byte, lo, hi uint64) (*program, error) {
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, bad("not an ELF file: %v", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return nil, bad("%v %v %v, want a static x86-64 executable: build with CGO_ENABLED=0 GOOS=linux GOARCH=amd64", f.Class, f.Machine, f.Type)
	}
	p := &program{entry: f.Entry}
	for _, h := range f.Progs {
		switch h.Type {
		case elf.PT_INTERP, elf.PT_DYNAMIC, elf.PT_TLS:
			if h.Type == elf.PT_TLS && h.Memsz <= 8 {
				continue // Go's own slot, which the runtime sets up itself
			}
			return nil, bad("segment %v: the file is not static", h.Type)
		case elf.PT_LOAD:
		default:
			continue
		}
		if h.Memsz == 0 {
			continue
		}
		if h.Filesz > h.Memsz || h.Memsz > maxSegment || h.Vaddr < lo || h.Vaddr >= hi || h.Memsz > hi-h.Vaddr {
			return nil, bad("segment at %#x of %d bytes lies outside %#x..%#x: check the linker's -T", h.Vaddr, h.Memsz, lo, hi)
		}
		if h.Vaddr%4096 != 0 {
			return nil, bad("segment at %#x is not page aligned", h.Vaddr)
		}
		if h.Flags&(elf.PF_W|elf.PF_X) == elf.PF_W|elf.PF_X {
			return nil, bad("segment at %#x is writable and executable", h.Vaddr)
		}
		data := make([]byte, h.Filesz)
		if _, err := io.ReadFull(h.Open(), data); err != nil {
			return nil, bad("segment at %#x is cut short: %v", h.Vaddr, err)
		}
		p.segments = append(p.segments, segment{h.Vaddr, h.Memsz, data, h.Flags})
	}
	slices.SortFunc(p.segments, func(a, b segment) int { return int(int64(a.addr) - int64(b.addr)) })
	executable := false
	for _, s := range p.segments {
		if s.below(p.end) {
			return nil, bad("segments overlap at %#x", s.addr)
		}
		p.end = s.addr + s.size
		if s.flags&elf.PF_X != 0 && p.entry >= s.addr && p.entry < p.end {
			executable = true
		}
	}
	if !executable {
		return nil, bad("entry %#x is not in an executable segment: check the linker's -E", p.entry)
	}
	return p, nil
}

// Kernel checks a kernel ELF and returns it as a file of its own: header, program headers
// and segments, nothing else.
func Kernel(file []byte) ([]byte, error) {
	p, err := read(file, KernelStart, KernelEnd)
	if err != nil {
		return nil, err
	}
	return p.encode(), nil
}

// encode writes a minimal ELF64: segments page aligned in the file.
func (p *program) encode() []byte {
	const header, entry = 64, 56
	out := make([]byte, (header+entry*len(p.segments)+4095)&^4095)
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], uint16(elf.ET_EXEC))
	le.PutUint16(out[18:], uint16(elf.EM_X86_64))
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[24:], p.entry)
	le.PutUint64(out[32:], header)
	le.PutUint16(out[52:], header)
	le.PutUint16(out[54:], entry)
	le.PutUint16(out[56:], uint16(len(p.segments)))
	for i, s := range p.segments {
		h := out[header+entry*i:]
		le.PutUint32(h, uint32(elf.PT_LOAD))
		le.PutUint32(h[4:], uint32(s.flags))
		le.PutUint64(h[8:], uint64(len(out)))
		le.PutUint64(h[16:], s.addr)
		le.PutUint64(h[24:], s.addr)
		le.PutUint64(h[32:], uint64(len(s.data)))
		le.PutUint64(h[40:], s.size)
		le.PutUint64(h[48:], 4096)
		out = append(out, s.data...)
		if n := len(out) % 4096; n != 0 {
			out = append(out, make([]byte, 4096-n)...)
		}
	}
	return out
}

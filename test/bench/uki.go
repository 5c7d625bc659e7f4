package main

import (
	"bytes"
	"compress/gzip"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"io"
)

// section is what a unified kernel image carries beside systemd's EFI stub.
type section struct {
	name string
	data []byte
}

// unify appends sections to an EFI stub, which makes a unified kernel image
// (UAPI.5) of it. What objcopy does elsewhere is done here in place: the stub's
// headers have room for the few entries of the section table.
func unify(stub []byte, sections []section) ([]byte, error) {
	f, err := pe.NewFile(bytes.NewReader(stub))
	if err != nil {
		return nil, fmt.Errorf("EFI stub: %w", err)
	}
	opt, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		return nil, fmt.Errorf("EFI stub: not a 64-bit PE image")
	}
	const headerSize = 40 // of a section, PE format section 4
	coff := int(binary.LittleEndian.Uint32(stub[0x3c:])) + 4
	table := coff + 20 + int(f.SizeOfOptionalHeader)
	next := table + headerSize*len(f.Sections)
	if end := next + headerSize*len(sections); end > int(opt.SizeOfHeaders) {
		return nil, fmt.Errorf("EFI stub: its headers have %d bytes, %d are needed", opt.SizeOfHeaders, end)
	}
	up := func(n, to uint32) uint32 { return (n + to - 1) / to * to }
	out := bytes.Clone(stub)
	out = append(out, make([]byte, int(up(uint32(len(out)), opt.FileAlignment))-len(out))...)
	var address uint32
	for _, s := range f.Sections {
		address = max(address, up(s.VirtualAddress+s.VirtualSize, opt.SectionAlignment))
	}
	for _, s := range sections {
		size := up(uint32(len(s.data)), opt.FileAlignment)
		h := make([]byte, headerSize)
		copy(h[:8], s.name)
		le := binary.LittleEndian
		le.PutUint32(h[8:], uint32(len(s.data)))
		le.PutUint32(h[12:], address)
		le.PutUint32(h[16:], size)
		le.PutUint32(h[20:], uint32(len(out)))
		le.PutUint32(h[36:], 0x4000_0040) // initialised data, readable
		copy(out[next:], h)
		next += headerSize
		out = append(out, s.data...)
		out = append(out, make([]byte, int(size)-len(s.data))...)
		address = up(address+uint32(len(s.data)), opt.SectionAlignment)
	}
	binary.LittleEndian.PutUint16(out[coff+2:], uint16(len(f.Sections)+len(sections)))
	binary.LittleEndian.PutUint32(out[coff+20+56:], address) // SizeOfImage
	return out, nil
}

// initrd is a compressed archive (cpio, newc) with init, the console device, and
// kernel modules, whose names are in their order.
func initrd(init []byte, modules ...[]byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	inode := 0
	entry := func(name string, mode uint32, data []byte, major, minor int) {
		inode++
		pad := func(n int) { z.Write(make([]byte, (4-n%4)%4)) }
		io.WriteString(z, "070701")
		for _, v := range []int{inode, int(mode), 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0} {
			fmt.Fprintf(z, "%08x", v)
		}
		io.WriteString(z, name+"\x00")
		pad(110 + len(name) + 1)
		z.Write(data)
		pad(len(data))
	}
	entry("dev", 0o40755, nil, 0, 0)
	entry("proc", 0o40755, nil, 0, 0)
	entry("dev/console", 0o20600, nil, 5, 1)
	entry("init", 0o100755, init, 0, 0)
	if len(modules) > 0 {
		entry("modules", 0o40755, nil, 0, 0)
	}
	for i, m := range modules {
		entry(fmt.Sprintf("modules/%02d.ko", i), 0o100644, m, 0, 0)
	}
	entry("TRAILER!!!", 0, nil, 0, 0)
	z.Close()
	return b.Bytes()
}

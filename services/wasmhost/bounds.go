package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The decoder below makes room for as many things as a module says that there are,
// before it has seen one: a few bytes could ask for gigabytes, and the agent would end by
// its memory quota, which does not say why. So what a module says of lengths and counts
// is held to what is there first. Each thing takes a byte at least. Whatever else is
// wrong with a module is the decoder's to find.

// Sections of a module (WebAssembly core specification 2.0, 5.5.2) that have more counts
// in them than the one at their beginning.
const (
	sectionCustom  = 0
	sectionType    = 1
	sectionImport  = 2
	sectionExport  = 7
	sectionStart   = 8
	sectionElement = 9
	sectionData    = 11
	sectionCount   = 12 // of data segments: a number alone
)

// magic is how a module begins, with its version.
var magic = []byte("\x00asm\x01\x00\x00\x00")

// errBounds is what every error here is.
var errBounds = errors.New("a length or a count in it is more than there is of it")

// reader takes a module apart. After an error it is empty, and err says so.
type reader struct {
	b   []byte
	err error
}

// number reads an unsigned LEB128.
func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) fail() { r.b, r.err = nil, errBounds }

// length reads a number that is at most that of the bytes that follow.
func (r *reader) length() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

// skip passes over n bytes.
func (r *reader) skip(n int) {
	if n > len(r.b) {
		r.fail()
		return
	}
	r.b = r.b[n:]
}

// vector passes over bytes behind their length.
func (r *reader) vector() { r.skip(r.length()) }

// bounded checks a whole module.
func bounded(module []byte) error {
	if !bytes.HasPrefix(module, magic) {
		return nil // the decoder says so
	}
	r := &reader{b: module[len(magic):]}
	for len(r.b) > 0 && r.err == nil {
		id := r.b[0]
		r.skip(1)
		n := r.length()
		s := &reader{b: r.b[:n]}
		r.skip(n)
		if s.section(id); s.err != nil {
			return fmt.Errorf("section %d: %w", id, s.err)
		}
	}
	return r.err
}

func (r *reader) section(id byte) {
	switch id {
	case sectionCustom:
		r.vector() // its name
		return
	case sectionStart, sectionCount:
		return
	}
	for n := r.length(); n > 0 && r.err == nil; n-- {
		switch id {
		case sectionType:
			r.skip(1)
			r.vector() // parameters
			r.vector() // results
		case sectionImport:
			r.vector() // module
			r.vector() // name
			r.external()
		case sectionExport:
			r.vector() // name
			r.skip(1)
			r.number()
		case sectionElement:
			r.element()
		case sectionData:
			r.data()
		default:
			return
		}
	}
}

// external is what an import is of (5.5.5).
func (r *reader) external() {
	if len(r.b) == 0 {
		r.fail()
		return
	}
	kind := r.b[0]
	r.skip(1)
	switch kind {
	case 0, 4: // function, tag
		if kind == 4 {
			r.skip(1)
		}
		r.number()
	case 1: // table
		r.skip(1)
		r.limits()
	case 2: // memory
		r.limits()
	case 3: // global
		r.skip(2)
	}
}

func (r *reader) limits() {
	if r.number()&1 != 0 {
		r.number()
	}
	r.number()
}

// data is a segment of bytes (5.5.14): of a kind, for a memory, at an address.
func (r *reader) data() {
	kind := r.number()
	if kind == 2 {
		r.number()
	}
	if kind != 1 {
		r.expression()
	}
	r.vector()
}

// element is a segment of functions (5.5.12): three bits say what stands in it.
func (r *reader) element() {
	kind := r.number()
	if kind&1 == 0 {
		if kind&2 != 0 {
			r.number() // table
		}
		r.expression()
	}
	if kind&3 != 0 {
		r.skip(1)
	}
	for n := r.length(); n > 0 && r.err == nil; n-- {
		if kind&4 == 0 {
			r.number()
		} else {
			r.expression()
		}
	}
}

// expression is a constant one (3.3.13): the decoder knows these instructions alone.
func (r *reader) expression() {
	for r.err == nil {
		if len(r.b) == 0 {
			r.fail()
			return
		}
		op := r.b[0]
		r.skip(1)
		switch op {
		case 0x0b: // end
			return
		case 0x41, 0x42, 0x23, 0xd2: // i32.const, i64.const, global.get, ref.func
			r.number()
		case 0x43: // f32.const
			r.skip(4)
		case 0x44: // f64.const
			r.skip(8)
		case 0xd0: // ref.null
			r.skip(1)
		case 0xfd: // v128.const
			r.number()
			r.skip(16)
		}
	}
}

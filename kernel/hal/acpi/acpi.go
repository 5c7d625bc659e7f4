// Package acpi reads the tables by which firmware describes the machine (ACPI
// 6.5, section 5.2): the root pointer, the list of tables, and the processors
// and interrupt controllers of the MADT.
//
// The kernel asks for the processors before it has a heap, so nothing here
// allocates, and errors are constants. Firmware measured the tables, but that
// does not make them well formed: every length is checked before it is used.
package acpi

import "encoding/binary"

// Memory gives a view of n bytes of physical memory, or nil if not all of them
// can be read.
type Memory func(phys uint64, n int) []byte

// Error says what is wrong with the tables.
type Error string

func (e Error) Error() string { return string(e) }

const (
	ErrRoot     = Error("ACPI: no root pointer, or its signature or checksum is wrong")
	ErrList     = Error("ACPI: the list of tables (XSDT, RSDT) cannot be read, or its length or checksum is wrong")
	ErrNoTable  = Error("ACPI: no table of that name")
	ErrTable    = Error("ACPI: the table cannot be read, or its length or checksum is wrong")
	ErrTooShort = Error("ACPI: the table is too short for what it must hold")
	ErrEntry    = Error("ACPI: an entry of the table is shorter than its kind, or reaches beyond the table")
)

// Layout (5.2.5.3, 5.2.6).
const (
	rootSize    = 20 // of ACPI 1.0, which the first checksum covers
	rootSizeNew = 36
	headerSize  = 36
	maxTable    = 1 << 20
)

var le = binary.LittleEndian

// Tables is the list of tables of a machine.
type Tables struct {
	mem  Memory
	list []byte // the addresses
	step int    // bytes of one
}

// Open follows the root pointer to the list of tables: the XSDT, or the RSDT
// where there is no other.
func Open(mem Memory, root uint64) (Tables, error) {
	r := mem(root, rootSize)
	if len(r) < rootSize || string(r[:8]) != "RSD PTR " || sum(r) != 0 {
		return Tables{}, ErrRoot
	}
	at, step, signature := uint64(le.Uint32(r[16:])), 4, "RSDT"
	if r[15] >= 2 {
		r = mem(root, rootSizeNew)
		if len(r) < rootSizeNew {
			return Tables{}, ErrRoot
		}
		n := le.Uint32(r[20:])
		if n < rootSizeNew || n > 4096 {
			return Tables{}, ErrRoot
		}
		if r = mem(root, int(n)); len(r) < int(n) || sum(r) != 0 {
			return Tables{}, ErrRoot
		}
		if x := le.Uint64(r[24:]); x != 0 {
			at, step, signature = x, 8, "XSDT"
		}
	}
	list, ok := read(mem, at)
	if !ok || string(list[:4]) != signature {
		return Tables{}, ErrList
	}
	return Tables{mem, list[headerSize:], step}, nil
}

// Find returns the first table of that signature, with its header. Tables that
// cannot be read at all are passed over: they may be of another name.
func (t Tables) Find(signature string) ([]byte, error) {
	for rest := t.list; len(rest) >= t.step && t.step > 0; rest = rest[t.step:] {
		at := uint64(le.Uint32(rest))
		if t.step == 8 {
			at = le.Uint64(rest)
		}
		h := t.mem(at, headerSize)
		if len(h) < headerSize || string(h[:4]) != signature {
			continue
		}
		b, ok := read(t.mem, at)
		if !ok {
			return nil, ErrTable
		}
		return b, nil
	}
	return nil, ErrNoTable
}

// read gives a whole table if its checksum is right.
func read(mem Memory, at uint64) ([]byte, bool) {
	h := mem(at, headerSize)
	if len(h) < headerSize {
		return nil, false
	}
	n := le.Uint32(h[4:])
	if n < headerSize || n > maxTable {
		return nil, false
	}
	b := mem(at, int(n))
	if len(b) < int(n) || sum(b[:n]) != 0 {
		return nil, false
	}
	return b[:n:n], true
}

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

package acpi

import (
	"bytes"
	"slices"
	"testing"
)

// memory is physical memory of a test: pieces at addresses.
type memory map[uint64][]byte

func (m memory) view(at uint64, n int) []byte {
	for start, b := range m {
		if at >= start && at-start <= uint64(len(b)) && uint64(n) <= uint64(len(b))-(at-start) {
			return b[at-start:][:n]
		}
	}
	return nil
}

const (
	rootAt = 0xe0010
	listAt = 0x7f000000
	madtAt = 0x1_0000_1000 // above 4 GiB: only an XSDT can name it
	fadtAt = 0x7f002000
)

// fix makes the byte at i the one with which b sums up to zero.
func fix(b []byte, i int) {
	b[i] = 0
	b[i] = -sum(b)
}

func table(signature string, body ...byte) []byte {
	b := make([]byte, headerSize)
	copy(b, signature)
	b = append(b, body...)
	le.PutUint32(b[4:], uint32(len(b)))
	fix(b, 9)
	return b
}

func root(revision byte, rsdt uint32, xsdt uint64) []byte {
	b := make([]byte, rootSizeNew)
	copy(b, "RSD PTR ")
	b[15] = revision
	le.PutUint32(b[16:], rsdt)
	fix(b[:rootSize], 8)
	if revision < 2 {
		return b[:rootSize]
	}
	le.PutUint32(b[20:], rootSizeNew)
	le.PutUint64(b[24:], xsdt)
	fix(b, 32)
	return b
}

func list(addresses ...uint64) []byte {
	var b []byte
	for _, a := range addresses {
		b = le.AppendUint64(b, a)
	}
	return table("XSDT", b...)
}

var (
	cpu0     = []byte{0, 8, 0, 0, 1, 0, 0, 0}
	cpu3     = []byte{0, 8, 1, 3, 1, 0, 0, 0}
	disabled = []byte{0, 8, 2, 5, 0, 0, 0, 0}
	ioapic   = []byte{1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0}
	override = []byte{2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0}
	x2       = []byte{9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0}
)

func madt(entries ...[]byte) []byte {
	return table("APIC", append(make([]byte, 8), slices.Concat(entries...)...)...)
}

// machine is one with everything in place.
func machine() memory {
	return memory{
		rootAt: root(2, 0, listAt),
		listAt: list(fadtAt, madtAt),
		fadtAt: table("FACP", make([]byte, 200)...),
		madtAt: madt(cpu0, override, disabled, cpu3, ioapic, x2),
	}
}

// entries is what the kernel learns from a machine's tables.
func entries(m memory) (found []Entry, err error) {
	t, err := Open(m.view, rootAt)
	if err != nil {
		return nil, err
	}
	err = t.MADT(func(e Entry) { found = append(found, e) })
	return found, err
}

func TestMADT(t *testing.T) {
	want := []Entry{{Kind: Processor, APIC: 0}, {Kind: Processor, APIC: 3},
		{Kind: IOAPIC, APIC: 2, Address: 0xfec00000, First: 24}, {Kind: X2, APIC: 256}}
	got, err := entries(machine())
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// Tables as broken or hostile firmware might leave them. Whatever could be read
// before the fault counts.
func TestHostile(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(m memory)
		want    error
		entries int
	}{
		{"RSDT of ACPI 1.0", func(m memory) {
			m[rootAt] = root(0, listAt, 0)
			m[listAt] = table("RSDT", 0, 0x20, 0, 0x7f)
			m[0x7f002000] = madt(cpu0)
		}, nil, 1},
		{"no XSDT in a new root", func(m memory) {
			m[rootAt] = root(2, listAt, 0)
			m[listAt] = table("RSDT", 0, 0x20, 0, 0x7f)
			m[0x7f002000] = madt(cpu0)
		}, nil, 1},
		{"no root", func(m memory) { delete(m, rootAt) }, ErrRoot, 0},
		{"root's signature", func(m memory) { m[rootAt][0] = 'X' }, ErrRoot, 0},
		{"root's checksum", func(m memory) { m[rootAt][9]++ }, ErrRoot, 0},
		{"root's second checksum", func(m memory) { m[rootAt][33]++ }, ErrRoot, 0},
		{"new root cut off", func(m memory) { m[rootAt] = m[rootAt][:rootSize] }, ErrRoot, 0},
		{"root's length too small", func(m memory) { le.PutUint32(m[rootAt][20:], 35); fix(m[rootAt], 32) }, ErrRoot, 0},
		{"root's length huge", func(m memory) { le.PutUint32(m[rootAt][20:], 1<<32-1); fix(m[rootAt], 32) }, ErrRoot, 0},
		{"list in no memory", func(m memory) { m[rootAt] = root(2, 0, 1<<63) }, ErrList, 0},
		{"list at address 0", func(m memory) { m[rootAt] = root(2, 0, 0) }, ErrList, 0},
		{"list is another table", func(m memory) { copy(m[listAt], "RSDT"); fix(m[listAt], 9) }, ErrList, 0},
		{"list's checksum", func(m memory) { m[listAt][40]++ }, ErrList, 0},
		{"list shorter than its header", func(m memory) { le.PutUint32(m[listAt][4:], 35); fix(m[listAt], 9) }, ErrList, 0},
		{"list longer than memory", func(m memory) { le.PutUint32(m[listAt][4:], 4096); fix(m[listAt], 9) }, ErrList, 0},
		{"list's length huge", func(m memory) { le.PutUint32(m[listAt][4:], 1<<32-1); fix(m[listAt], 9) }, ErrList, 0},
		{"empty list", func(m memory) { m[listAt] = list() }, ErrNoTable, 0},
		{"half an address", func(m memory) { m[listAt] = table("XSDT", 0, 0x10, 0, 0) }, ErrNoTable, 0},
		{"a table in no memory is passed over", func(m memory) { m[listAt] = list(0, 1<<64-1, 1<<52, madtAt) }, nil, 4},
		{"the list lists itself", func(m memory) { m[listAt] = list(listAt, listAt) }, ErrNoTable, 0},
		{"MADT's checksum", func(m memory) { m[madtAt][50]++ }, ErrTable, 0},
		{"MADT longer than memory", func(m memory) { le.PutUint32(m[madtAt][4:], 8192) }, ErrTable, 0},
		{"MADT shorter than its header", func(m memory) { m[madtAt] = table("APIC", 1, 2, 3) }, ErrTooShort, 0},
		{"MADT without entries", func(m memory) { m[madtAt] = madt() }, nil, 0},
		{"entry of length 0", func(m memory) { m[madtAt] = madt(cpu0, []byte{0, 0, 0, 0}) }, ErrEntry, 1},
		{"entry of length 1", func(m memory) { m[madtAt] = madt(cpu0, []byte{7, 1, 0, 0}) }, ErrEntry, 1},
		{"entry beyond the table", func(m memory) { m[madtAt] = madt(cpu0, cpu3[:7]) }, ErrEntry, 1},
		{"half an entry's head", func(m memory) { m[madtAt] = madt(cpu0, []byte{0}) }, ErrEntry, 1},
		{"processor too short for its kind", func(m memory) { m[madtAt] = madt(cpu0, []byte{0, 4, 1, 1}) }, ErrEntry, 1},
		{"I/O APIC too short for its kind", func(m memory) { m[madtAt] = madt(cpu0, []byte{1, 8, 0, 0, 0, 0, 0, 0}) }, ErrEntry, 1},
		{"unknown kinds are passed over", func(m memory) { m[madtAt] = madt([]byte{200, 3, 0}, cpu0, []byte{0x7f, 2}) }, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := machine()
			c.change(m)
			found, err := entries(m)
			if err != c.want || len(found) != c.entries {
				t.Errorf("%d entries, error %v; want %d, %v", len(found), err, c.entries, c.want)
			}
		})
	}
}

// The kernel asks for the processors where there is no heap.
func TestNoAllocation(t *testing.T) {
	m := machine()
	view, count := m.view, 0
	n := testing.AllocsPerRun(100, func() {
		tables, err := Open(view, rootAt)
		if err == nil {
			err = tables.MADT(func(Entry) { count++ })
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tables.Find("NONE"); err != ErrNoTable {
			t.Fatal(err)
		}
	})
	if n != 0 || count == 0 {
		t.Errorf("%v allocations, %d entries", n, count)
	}
}

// Whatever lies in memory, reading it ends, and stays within the memory.
func FuzzTables(f *testing.F) {
	m := machine()
	flat := bytes.Join([][]byte{m[rootAt], m[listAt], m[fadtAt], m[madtAt]}, nil)
	f.Add(flat)
	low := memory{0: root(0, rootSize, 0)} // everything below 64 KiB, so that the fuzzer finds its way
	small := slices.Concat(low[0], table("RSDT", byte(rootSize+40), 0, 0, 0), madt(cpu0, ioapic))
	f.Add(small)
	f.Fuzz(func(t *testing.T, b []byte) {
		tables, err := Open(func(at uint64, n int) []byte {
			if n < 0 || at > uint64(len(b)) || uint64(n) > uint64(len(b))-at {
				return nil
			}
			return b[at:][:n]
		}, 0)
		if err != nil {
			return
		}
		count := 0
		tables.MADT(func(Entry) { count++ })
		if count > len(b) {
			t.Errorf("%d entries in %d bytes", count, len(b))
		}
		for _, name := range []string{"FACP", "TPM2", ""} {
			tables.Find(name)
		}
	})
}

// Package efitest is a UEFI firmware made of Go functions, for tests of boot/efi and boot/stage. It keeps the tables and
// structures in a simulated memory at the offsets of the UEFI specification 2.10, so that a wrong offset in the code
// under test reads nonsense here as it would on a machine.
package efitest

import (
	"encoding/binary"
	"fmt"
	"sort"

	"aios/boot/efi"
)

// Memory layout of the fake. RAM that AllocatePages gives is elsewhere.
const (
	tablesStart  = 0x0010_0000
	tablesSize   = 0x0002_0000
	ScratchStart = 0x0020_0000
	ScratchSize  = 64 << 10
	logStart     = 0x0100_0000
	logSize      = 2 << 20
	finalsStart  = 0x0200_0000
	finalsSize   = 4 << 20
	codeStart    = 0xf000_0000 // "addresses" of functions
)

// region is a piece of simulated memory.
type region struct {
	start uint64
	data  []byte
	pages map[uint64]bool // allocated pages; nil: all, for good
}

// Service is the body of a firmware function.
type Service func(args [8]uint64) efi.Status

// Machine implements efi.Machine.
type Machine struct {
	regions  []*region
	services []Service
	names    []string
	next     uint64 // bump pointer for tables
	exited   bool

	// Top is the end of the RAM from which AllocatePages gives, downwards.
	Top uint64
	// Fail makes the named services answer with these statuses, one a call, before they work again.
	Fail map[string][]efi.Status
	// Calls counts what was called.
	Calls map[string]int
}

func newMachine() *Machine {
	m := &Machine{Top: 0x6000_0000, next: tablesStart, Fail: map[string][]efi.Status{}, Calls: map[string]int{}}
	m.addRegion(tablesStart, tablesSize)
	m.addRegion(ScratchStart, ScratchSize)
	m.addRegion(logStart, logSize)
	m.addRegion(finalsStart, finalsSize)
	return m
}

func (m *Machine) addRegion(start, size uint64) *region {
	r := &region{start: start, data: make([]byte, size)}
	m.regions = append(m.regions, r)
	sort.Slice(m.regions, func(i, j int) bool { return m.regions[i].start < m.regions[j].start })
	return r
}

// Bytes panics outside of allocated memory, as the machine would fault.
func (m *Machine) Bytes(addr uint64, n int) []byte {
	for _, r := range m.regions {
		if addr < r.start || addr+uint64(n) > r.start+uint64(len(r.data)) {
			continue
		}
		for p := addr &^ (efi.PageSize - 1); r.pages != nil && p < addr+uint64(n); p += efi.PageSize {
			if !r.pages[p] {
				panic(fmt.Sprintf("efitest: page %#x was freed", p))
			}
		}
		return r.data[addr-r.start : addr-r.start+uint64(n) : addr-r.start+uint64(n)]
	}
	panic(fmt.Sprintf("efitest: no memory at %#x+%#x", addr, n))
}

// Call runs a registered function.
func (m *Machine) Call(fn uint64, args [8]uint64) efi.Status {
	i := int(fn-codeStart) / 16
	if fn < codeStart || fn%16 != 0 || i >= len(m.services) {
		panic(fmt.Sprintf("efitest: jump to %#x", fn))
	}
	name := m.names[i]
	if m.exited {
		panic("efitest: " + name + " called after ExitBootServices")
	}
	m.Calls[name]++
	if queue := m.Fail[name]; len(queue) > 0 {
		m.Fail[name] = queue[1:]
		if queue[0] != efi.Success {
			return queue[0]
		}
	}
	return m.services[i](args)
}

// AllocatedPages is how many pages AllocatePages gave and FreePages did not take back.
func (m *Machine) AllocatedPages() int {
	n := 0
	for _, r := range m.regions {
		n += len(r.pages)
	}
	return n
}

// function registers a service and returns its address.
func (m *Machine) function(name string, s Service) uint64 {
	m.services, m.names = append(m.services, s), append(m.names, name)
	return codeStart + uint64(len(m.services)-1)*16
}

// table reserves a structure.
func (m *Machine) table(n uint64) uint64 {
	at := m.next
	m.next += (n + 15) &^ 15
	if m.next > tablesStart+tablesSize {
		panic("efitest: too many tables")
	}
	return at
}

func (m *Machine) put64(at, v uint64)     { binary.LittleEndian.PutUint64(m.Bytes(at, 8), v) }
func (m *Machine) get64(at uint64) uint64 { return binary.LittleEndian.Uint64(m.Bytes(at, 8)) }

// text reads a CHAR16 string.
func (m *Machine) text(at uint64) string {
	var s []byte
	for {
		c := binary.LittleEndian.Uint16(m.Bytes(at, 2))
		if c == 0 {
			return string(s)
		}
		s = append(s, byte(c))
		at += 2
	}
}

func (m *Machine) allocatePages(a [8]uint64) efi.Status {
	const maxAddress, loaderData = 1, 2
	count, at := a[2], a[3]
	if a[0] != maxAddress || a[1] != loaderData || count == 0 {
		return efi.InvalidParameter
	}
	size := count * efi.PageSize
	end := min(m.Top, (m.get64(at)+1)&^(efi.PageSize-1))
	for i := len(m.regions) - 1; i >= 0; i-- {
		if r := m.regions[i]; r.start < end && r.start+uint64(len(r.data)) > end-size {
			end = r.start
		}
	}
	if end < size+0x1000_0000 {
		return efi.OutOfResources
	}
	r := m.addRegion(end-size, size)
	r.pages = map[uint64]bool{}
	for p := r.start; p < end; p += efi.PageSize {
		r.pages[p] = true
	}
	for i := range r.data {
		r.data[i] = 0xa5 // whatever was there before
	}
	m.put64(at, r.start)
	return efi.Success
}

func (m *Machine) freePages(a [8]uint64) efi.Status {
	for p := a[0]; p < a[0]+a[1]*efi.PageSize; p += efi.PageSize {
		found := false
		for _, r := range m.regions {
			if r.pages[p] {
				delete(r.pages, p)
				found = true
			}
		}
		if !found {
			return efi.NotFound
		}
	}
	return efi.Success
}

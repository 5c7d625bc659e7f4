package process

import "aios/kernel/abi"

// Where mmap puts what has no address of its own, and the first thread's stack.
const (
	mmapStart  = 0x7e0000000000
	mmapEnd    = 0x7ffff0000000
	stackEnd   = 0x7ffffff00000
	stackStart = stackEnd - 1<<20
)

// Linux's constants (asm-generic/mman.h).
const (
	mapShared         = 0x01
	mapPrivate        = 0x02
	mapFixed          = 0x10
	mapAnonymous      = 0x20
	mapNoReserve      = 0x4000
	mapPopulate       = 0x8000
	mapStack          = 0x20000
	mapFixedNoReplace = 0x100000
	mapKnown          = mapPrivate | mapFixed | mapAnonymous | mapNoReserve | mapPopulate | mapStack | mapFixedNoReplace

	madvNormal     = 0
	madvDontNeed   = 4
	madvFree       = 8
	madvHugePage   = 14
	madvNoHugePage = 15
	madvCollapse   = 25
)

// round makes a page-aligned range of an address and a length.
func round(va, n uint64) (start, end uint64, ok bool) {
	if va%pageSize != 0 || n == 0 || n > abi.UserTop {
		return 0, 0, false
	}
	n = (n + pageSize - 1) &^ (pageSize - 1)
	return va, va + n, userRange(va, n)
}

// protection checks what a program asks for: W^X, and executable memory only
// if its image may generate code.
func (m *memory) protection(prot uint64, codegen bool) (Prot, abi.Errno) {
	if prot&^7 != 0 {
		return 0, abi.Invalid
	}
	p := Prot(prot)
	if p&Exec != 0 && (p&Write != 0 || !codegen) {
		return 0, abi.Denied
	}
	return p, 0
}

// mmap maps private anonymous memory and returns its address.
func (m *memory) mmap(va, n, prot, flags uint64, codegen bool) (uint64, abi.Errno) {
	p, e := m.protection(prot, codegen)
	switch {
	case e != 0:
		return 0, e
	case flags&mapAnonymous == 0:
		return 0, abi.NoDevice
	case flags&mapShared != 0 || flags&mapPrivate == 0 || flags&^mapKnown != 0:
		return 0, abi.Invalid
	case n == 0 || n > abi.UserTop:
		return 0, abi.Invalid
	}
	n = (n + pageSize - 1) &^ (pageSize - 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.regions)+2 > maxRegions {
		return 0, abi.NoMemory
	}
	fixed := flags&(mapFixed|mapFixedNoReplace) != 0
	switch {
	case fixed && (va%pageSize != 0 || !userRange(va, n)):
		return 0, abi.Invalid
	case flags&mapFixedNoReplace != 0 && !m.regions.free(va, va+n):
		return 0, abi.Exists
	case fixed:
		m.drop(va, va+n)
	case va%pageSize == 0 && userRange(va, n) && m.regions.free(va, va+n):
		// the hint is good
	default:
		var ok bool
		if va, ok = m.regions.gap(n, mmapStart, mmapEnd); !ok {
			return 0, abi.NoMemory
		}
	}
	m.regions.set(va, va+n, p)
	return va, 0
}

func (m *memory) munmap(va, n uint64) abi.Errno {
	start, end, ok := round(va, n)
	if !ok {
		return abi.Invalid
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.regions)+1 > maxRegions {
		return abi.NoMemory
	}
	m.drop(start, end)
	m.regions.remove(start, end)
	return 0
}

func (m *memory) mprotect(va, n, prot uint64, codegen bool) abi.Errno {
	if n == 0 && va%pageSize == 0 {
		return 0
	}
	start, end, ok := round(va, n)
	if !ok {
		return abi.Invalid
	}
	p, e := m.protection(prot, codegen)
	if e != 0 {
		return e
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.regions.covered(start, end) || len(m.regions)+2 > maxRegions {
		return abi.NoMemory
	}
	m.regions.set(start, end, p)
	m.eachLeaf(start, end, func(_ *leaf, start, end uint64) {
		m.space.Protect(uintptr(start), uintptr(end-start), p)
	})
	return 0
}

func (m *memory) madvise(va, n, advice uint64) abi.Errno {
	if n == 0 && va%pageSize == 0 {
		return 0
	}
	start, end, ok := round(va, n)
	if !ok {
		return abi.Invalid
	}
	switch advice {
	case madvDontNeed, madvFree:
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.closed || !m.regions.covered(start, end) {
			return abi.NoMemory
		}
		m.drop(start, end)
		return 0
	case madvNormal, madvHugePage, madvNoHugePage, madvCollapse:
		return 0
	}
	return abi.Invalid
}

// maxMincore bounds the answer of one mincore: 1 GiB of addresses.
const maxMincore = 1 << 30

// mincore tells which pages are present, a byte each.
func (m *memory) mincore(va, n uint64) ([]byte, abi.Errno) {
	start, end, ok := round(va, n)
	if !ok {
		if va%pageSize != 0 || n == 0 {
			return nil, abi.Invalid
		}
		return nil, abi.NoMemory
	}
	if end-start > maxMincore {
		return nil, abi.Invalid
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.regions.covered(start, end) {
		return nil, abi.NoMemory
	}
	vec := make([]byte, (end-start)/pageSize)
	m.eachLeaf(start, end, func(l *leaf, from, to uint64) {
		for a := from; a < to; a += pageSize {
			if l.frames[a/pageSize%512] != nil {
				vec[(a-start)/pageSize] = 1
			}
		}
	})
	return vec, 0
}

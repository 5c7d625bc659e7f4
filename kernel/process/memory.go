package process

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"aios/kernel/abi"
)

const (
	pageSize = 4096
	leafSize = 512 * pageSize // what one page table covers
)

var (
	errFault = errors.New("address not mapped for this access")
	errQuota = errors.New("memory quota exhausted")
	errMap   = errors.New("no physical memory left")
)

// leaf mirrors one page table: the kernel's view of each frame that is present.
type leaf struct {
	present int
	frames  *[512]*[pageSize]byte
}

// memory is a process's address space: what may be there (regions) and what is
// (leaves). Pages come with the first touch and are charged then; so are the
// tables they need, which stay until the process ends.
type memory struct {
	space Space

	mu      sync.Mutex
	regions regions
	leaves  map[uint64]*leaf    // by address / 2 MiB
	dirs    map[uint64]struct{} // page directories, by address / 1 GiB
	tops    map[uint64]struct{} // PDPTs, by address / 512 GiB
	limit   int                 // frames
	pages   int                 // frames present
	peak    int                 // highest charge so far
	kernel  int                 // frames charged for what the kernel keeps: threads, mailbox
	closed  bool                // the space is gone
	inexact bool                // a failed Map may have left tables behind
}

func newMemory(s Space, limit int) *memory {
	return &memory{
		space:  s,
		limit:  limit,
		leaves: map[uint64]*leaf{},
		dirs:   map[uint64]struct{}{},
		tops:   map[uint64]struct{}{0: {}}, // every space has the first
	}
}

// userRange tells whether [va, va+n) lies in a program's part of the address space.
func userRange(va, n uint64) bool {
	switch {
	case va >= abi.ImageStart && va < abi.ImageEnd:
		return n <= abi.ImageEnd-va
	case va >= abi.UserStart && va < abi.UserTop:
		return n <= abi.UserTop-va
	}
	return false
}

// tables is how many table frames the space holds: root, PDPTs, directories, page tables.
func (m *memory) tables() int { return 1 + len(m.tops) + len(m.dirs) + len(m.leaves) }

// charged counts each page table twice: its mirror is the kernel's memory.
func (m *memory) charged() int { return m.pages + m.tables() + len(m.leaves) + m.kernel }

// chargeKernel takes n frames (negative: gives them back) for what the kernel
// keeps for the process.
func (m *memory) chargeKernel(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > 0 && m.charged()+n > m.limit {
		return errQuota
	}
	m.kernel += n
	m.peak = max(m.peak, m.charged())
	return nil
}

// page returns the frame at va for an access of the given kind, and makes it
// present. Preconditions: m.mu is held.
func (m *memory) page(va uint64, access Prot) (*[pageSize]byte, error) {
	if m.closed {
		return nil, errFault
	}
	r, ok := m.regions.find(va)
	if !ok || !allowed(r.prot, access) {
		return nil, errFault
	}
	l := m.leaves[va/leafSize]
	i := va / pageSize % 512
	if l != nil && l.frames[i] != nil {
		return l.frames[i], nil
	}
	need := 1
	if l == nil {
		need += 2
		if _, ok := m.dirs[va>>30]; !ok {
			need++
		}
		if _, ok := m.tops[va>>39]; !ok {
			need++
		}
	}
	if m.charged()+need > m.limit {
		return nil, errQuota
	}
	view, err := m.space.Map(uintptr(va&^(pageSize-1)), r.prot)
	if err != nil {
		m.inexact = true
		return nil, fmt.Errorf("%w: %v", errMap, err)
	}
	if l == nil {
		l = &leaf{frames: new([512]*[pageSize]byte)}
		m.leaves[va/leafSize] = l
		m.dirs[va>>30] = struct{}{}
		m.tops[va>>39] = struct{}{}
	}
	l.frames[i] = (*[pageSize]byte)(view)
	l.present++
	m.pages++
	m.peak = max(m.peak, m.charged())
	return l.frames[i], nil
}

// allowed tells whether a page with protection p admits the access. On x86-64
// whatever is mapped at all can be read.
func allowed(p, access Prot) bool {
	access &^= Read
	return p != 0 && p&access == access
}

// fault brings in the page at va. The error says why there is none.
func (m *memory) fault(va uint64, access Prot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.page(va, access)
	return err
}

// copyOut writes b to the program's memory at va.
func (m *memory) copyOut(va uint64, b []byte) error {
	return m.copy(va, len(b), Write, func(frame []byte) { b = b[copy(frame, b):] })
}

// copyIn fills b from the program's memory at va.
func (m *memory) copyIn(va uint64, b []byte) error {
	return m.copy(va, len(b), Read, func(frame []byte) { b = b[copy(b, frame):] })
}

// copy is the one place where user memory is touched: it calls f with the
// kernel's view of each piece of [va, va+n). The lock keeps the frames in
// place meanwhile, so f does nothing that can wait.
func (m *memory) copy(va uint64, n int, access Prot, f func(frame []byte)) error {
	if n == 0 {
		return nil
	}
	if !userRange(va, uint64(n)) {
		return errFault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for n > 0 {
		frame, err := m.page(va, access)
		if err != nil {
			return err
		}
		off := int(va % pageSize)
		k := min(n, pageSize-off)
		f(frame[off : off+k])
		va, n = va+uint64(k), n-k
	}
	return nil
}

// check tells whether all of [va, va+n) admits the access, without touching it.
func (m *memory) check(va, n uint64, access Prot) error {
	if n == 0 {
		return nil
	}
	if !userRange(va, n) {
		return errFault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for end := va + n; va < end; {
		r, ok := m.regions.find(va)
		if !ok || !allowed(r.prot, access) {
			return errFault
		}
		va = r.end
	}
	return nil
}

// eachLeaf calls f for the leaves with pages in [start, end), in order, with
// the part of the range that each covers. It takes time in proportion to what
// is present, not to the range: a program may reserve terabytes.
// Preconditions: m.mu is held.
func (m *memory) eachLeaf(start, end uint64, f func(l *leaf, start, end uint64)) {
	visit := func(k uint64) {
		if l := m.leaves[k]; l != nil && l.present > 0 {
			f(l, max(start, k*leafSize), min(end, (k+1)*leafSize))
		}
	}
	first, last := start/leafSize, (end-1)/leafSize
	if last-first < uint64(len(m.leaves)) {
		for k := first; k <= last; k++ {
			visit(k)
		}
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m.leaves)) {
		if k >= first && k <= last {
			visit(k)
		}
	}
}

// drop frees the pages in [start, end). Preconditions: m.mu is held.
func (m *memory) drop(start, end uint64) {
	m.eachLeaf(start, end, func(l *leaf, start, end uint64) {
		n := 0
		for va := start; va < end; va += pageSize {
			if f := &l.frames[va/pageSize%512]; *f != nil {
				*f = nil
				n++
			}
		}
		if n == 0 {
			return
		}
		m.space.Unmap(uintptr(start), uintptr(end-start))
		l.present -= n
		m.pages -= n
	})
}

// destroy frees the space and tells how many frames that freed and how many it
// should have.
func (m *memory) destroy() (freed, expected int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	expected = m.pages + m.tables()
	m.closed = true
	m.leaves, m.regions = nil, nil
	freed = m.space.Destroy()
	if m.inexact {
		expected = freed
	}
	return freed, expected
}

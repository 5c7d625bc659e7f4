//go:build aios

package metal

// The runtime's own address space: mmap and its kin. All of it lies in the
// high half, so that every process can share it and keep the low half for
// itself. Addresses are never reused; pages are given on first touch.

const (
	physmapBase = 0xffff800000000000 // PML4 slots 256..383
	heapBase    = 0xffffc00000000000 // PML4 slots 384..391: 4 TiB
	heapEnd     = 0xffffc40000000000
)

var heapNext uintptr = heapBase

// touch makes n bytes at a present; false if they are not mapped.
func touch(a, n uintptr) bool {
	if a < pageSize || a+n < a {
		return false
	}
	for p := a &^ (pageSize - 1); p < a+n; p += pageSize {
		if p < heapBase {
			if p < uintptr(windowStart) && !efiMode {
				return false
			}
			continue // the image, device memory, the physmap: always present
		}
		e := entry(rootTable, p, false, 0)
		if e == 0 {
			return false
		}
		if *p64(e)&ptePresent == 0 && (*p64(e)&pteLazy == 0 || !fill(e)) {
			return false
		}
	}
	return true
}

// mmap serves anonymous memory. A hint is taken only where it continues the
// last mapping (as the heap's arenas do); MAP_FIXED only inside the heap range.
func mmap(a, n uintptr, prot, flags uint64) int64 {
	const mapFixed, mapAnonymous = 0x10, 0x20
	if flags&mapAnonymous == 0 {
		return -enodev
	}
	n = (n + pageSize - 1) &^ (pageSize - 1)
	if n == 0 {
		return -einval
	}
	if flags&mapFixed != 0 {
		if a < heapBase || a+n > heapNext || a+n < a {
			return -einval
		}
		release(a, n)
	} else {
		if a != heapNext {
			a = heapNext
			if n >= 1<<21 {
				a = (a + 1<<21 - 1) &^ (1<<21 - 1)
			}
		}
		if n > heapEnd-a {
			return -enomem
		}
		heapNext = a + n
	}
	if prot&7 != 0 {
		f := protFlags(prot) | pteLazy
		for p := a; p < a+n; p += pageSize {
			e := entry(rootTable, p, true, 0)
			if e == 0 {
				return -enomem
			}
			*p64(e) = f
		}
	}
	return int64(a)
}

// each calls f for every entry of [a, a+n) that a table exists for.
func each(a, n uintptr, f func(e uintptr)) {
	for p := a; p < a+n; {
		e := entry(rootTable, p, false, 0)
		if e == 0 {
			p = (p &^ (1<<21 - 1)) + 1<<21
			continue
		}
		f(e)
		p += pageSize
	}
}

func hide(e uintptr) {
	if *p64(e)&ptePresent != 0 {
		*p64(e) = *p64(e)&^ptePresent | pteKept
		hidden++
	}
}

func drop(e uintptr) {
	if *p64(e)&pteKept != 0 {
		freeFrame(uintptr(*p64(e) & pteAddr))
	}
	*p64(e) = 0
}

func dropToLazy(e uintptr) {
	if *p64(e)&pteKept != 0 {
		v := *p64(e)
		freeFrame(uintptr(v & pteAddr))
		*p64(e) = v&(pteNX|pteWrite) | pteLazy
	}
}

// hidden counts the entries changed since the last flush.
var hidden uint64

// flushAll forgets the translations that hide has taken away: those of the
// space with the given root, or of all (0).
func flushAll(root uint64) {
	if hidden == 0 {
		return
	}
	hidden = 0
	writeCR3(thisCPU().cr3)
	flushOthers(root)
}

// release unmaps [a, a+n): no CPU can reach a frame when it is freed.
func release(a, n uintptr) {
	each(a, n, hide)
	flushAll(0)
	each(a, n, drop)
}

func munmap(a, n uintptr) int64 {
	n = (n + pageSize - 1) &^ (pageSize - 1)
	if a < heapBase || a+n > heapEnd || a+n < a {
		return -einval
	}
	release(a, n)
	return 0
}

// madvise: MADV_DONTNEED and MADV_FREE give the frames back at once.
func madvise(a, n uintptr, advice uint64) int64 {
	if advice != 4 && advice != 8 {
		return 0
	}
	if a < heapBase || a+n > heapEnd || a+n < a {
		return -einval
	}
	each(a, n&^(pageSize-1), hide)
	flushAll(0)
	each(a, n&^(pageSize-1), dropToLazy)
	return 0
}

func mprotect(a, n uintptr, prot uint64) int64 {
	if a < heapBase || a+n > heapEnd || a+n < a {
		return -einval
	}
	n = (n + pageSize - 1) &^ (pageSize - 1)
	for p := a; p < a+n; p += pageSize {
		e := entry(rootTable, p, prot&7 != 0, 0)
		if e == 0 {
			if prot&7 != 0 {
				return -enomem
			}
			continue
		}
		v := *p64(e)
		switch {
		case v&(ptePresent|pteKept) != 0:
			hidden++
			v = v&pteAddr | protFlags(prot) | ptePresent
			if prot&7 == 0 {
				v = v&^ptePresent | pteKept
			}
		case prot&7 != 0:
			v = protFlags(prot) | pteLazy
		default:
			v = 0
		}
		*p64(e) = v
	}
	flushAll(0)
	return 0
}

//go:build aios

package metal

import "unsafe"

// Page-table entries (Intel SDM 3A, 4.5).
const (
	ptePresent = 1 << 0
	pteWrite   = 1 << 1
	pteUser    = 1 << 2
	pteNoCache = 1<<3 | 1<<4 // PWT, PCD
	pteLarge   = 1 << 7
	pteLazy    = 1 << 9  // ours: mapped, no frame yet
	pteKept    = 1 << 10 // ours: has a frame, inaccessible
	pteNX      = 1 << 63
	pteAddr    = 0x000ffffffffff000
)

// entry walks root to the 4 KiB entry for va, making tables on the way if
// create is set. It returns 0 where there is none (or a large page).
func entry(root uint64, va uintptr, create bool, user uint64) uintptr {
	t := uintptr(root)
	for s := uint(39); s > 12; s -= 9 {
		e := phys(t) + (va>>s&511)*8
		v := *p64(e)
		if v&ptePresent == 0 {
			if !create {
				return 0
			}
			f := frame()
			if f == 0 {
				return 0
			}
			v = uint64(f) | ptePresent | pteWrite | user
			*p64(e) = v
		} else if v&pteLarge != 0 {
			return 0
		}
		t = uintptr(v & pteAddr)
	}
	return phys(t) + (va>>12&511)*8
}

// mapLarge maps one 2 MiB page.
func mapLarge(root uint64, va, pa uintptr, flags uint64) {
	t := uintptr(root)
	for s := uint(39); s > 21; s -= 9 {
		e := phys(t) + (va>>s&511)*8
		if *p64(e)&ptePresent == 0 {
			*p64(e) = uint64(mustFrame()) | ptePresent | pteWrite
		}
		t = uintptr(*p64(e) & pteAddr)
	}
	*p64(phys(t) + (va>>21&511)*8) = uint64(pa) | flags | pteLarge | ptePresent
}

// mapSmall maps one 4 KiB page of the kernel.
func mapSmall(root uint64, va, pa uintptr, flags uint64) {
	e := entry(root, va, true, 0)
	if e == 0 {
		die("cannot map a kernel page", thisCPU().thread())
	}
	*p64(e) = uint64(pa) | flags | ptePresent
}

func protFlags(prot uint64) uint64 {
	v := uint64(0)
	if prot&2 != 0 {
		v |= pteWrite
	}
	if prot&4 == 0 {
		v |= pteNX
	}
	return v
}

// fill gives a lazy entry its frame.
func fill(e uintptr) bool {
	f := frame()
	if f == 0 {
		return false
	}
	*p64(e) = uint64(f) | *p64(e)&^pteLazy | ptePresent
	return true
}

// ramView is the kernel's view of RAM at a physical address, nil if not all of
// it is mapped: for addresses that others have written down.
func ramView(pa uint64, n int) []byte {
	const top = 1 << 46 // of the physmap
	if pa == 0 || n <= 0 || pa >= top || uint64(n) > top-pa {
		return nil
	}
	for va := phys(uintptr(pa)) &^ (1<<21 - 1); va < phys(uintptr(pa))+uintptr(n); va += 1 << 21 {
		if !mappedLarge(va) {
			return nil
		}
	}
	// Safety: the range is mapped, as just seen.
	return unsafe.Slice(p8(phys(uintptr(pa))), n)
}

// mappedLarge tells whether the kernel has a 2 MiB page at va.
func mappedLarge(va uintptr) bool {
	t := uintptr(rootTable)
	for s := uint(39); s >= 21; s -= 9 {
		v := *p64(phys(t) + (va>>s&511)*8)
		if v&ptePresent == 0 {
			return false
		}
		if v&pteLarge != 0 {
			return s == 21
		}
		t = uintptr(v & pteAddr)
	}
	return false
}

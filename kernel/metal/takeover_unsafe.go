//go:build aios

package metal

import (
	"aios/boot/handoff"
)

var (
	bootInfo handoff.Info
	lowPage  uintptr // a page below 1 MiB for the trampoline, 0: none
)

// EFI memory types that are RAM after ExitBootServices (UEFI 2.10, 7.2.1).
const (
	efiLoaderCode   = 1
	efiConventional = 7
	efiACPIReclaim  = 9
	efiACPINVS      = 10
	efiRuntimeData  = 6
)

func ramType(t uint32) bool {
	return t >= efiLoaderCode && t <= efiConventional || t == efiACPIReclaim || t == efiACPINVS
}

// usable types are free for the taking once the firmware's services are gone;
// what boot handed over lies in loader memory and is reserved by range.
func usable(t uint32) bool {
	return t >= efiLoaderCode && t <= 4 || t == efiConventional
}

// takeOver builds the kernel's own tables from what boot left, moves onto them,
// and gives all of the firmware's free memory to the frame allocator.
func takeOver(info, end uintptr) {
	src := (*handoff.Info)(ptr(info))
	bootInfo = *src
	src.Seed = [64]byte{}
	b := &bootInfo
	if string(b.MagicBytes[:]) != handoff.Magic || b.Version != handoff.Version {
		puts("aios kernel: hand-over is not of this version\n")
		poweroff(102)
	}
	for i := 0; i < 8; i++ {
		rngSeed(i, *p64(addr(&b.Seed) + uintptr(i)*8))
	}
	b.Seed = [64]byte{}

	reserve(0, 1<<20)
	reserve(uintptr(b.KernelPhys), uintptr(b.KernelSize))
	reserve(uintptr(b.EventLogPhys), uintptr(b.EventLogSize))
	reserve(uintptr(b.ManifestPhys), uintptr(b.ManifestSize))
	reserve(uintptr(b.CmdlinePhys), uintptr(b.CmdlineSize))
	reserve(uintptr(b.DMAPhys), uintptr(b.DMASize))
	for i := uint64(0); i < b.BlobCount && i < handoff.MaxBlobs; i++ {
		reserve(uintptr(b.Blobs[i].Phys), uintptr(b.Blobs[i].Size))
	}

	// Until the tables are switched only identity-mapped frames below 4 GiB and
	// outside the window can be reached: start with the largest such region.
	var first region
	eachDescriptor(func(t uint32, start, size uintptr) {
		if t != efiConventional || start < 1<<20 {
			if t == efiConventional && start < 0x9f000 && start+size > 0x2000 {
				lowPage = max(start, 0x1000)
			}
			return
		}
		widest(&first, start, min(start+size, handoff.WindowStart))
		widest(&first, max(start, handoff.WindowEnd), min(start+size, handoff.MaxPhys))
	})
	addRegion(first.next, first.end)

	root := uint64(mustFrame())
	offset := uintptr(b.KernelPhys) - kernelBase
	rootTable = root
	protectImage(kernelBase, end, offset)
	for i := uintptr(1); i < 4; i++ {
		tableFor(root, i<<30)
	}
	for p := uintptr(b.DMAPhys); p < uintptr(b.DMAPhys+b.DMASize); p += 1 << 21 {
		mapLarge(root, p, p, pteWrite|pteNX)
	}
	eachDescriptor(func(t uint32, start, size uintptr) {
		if !ramType(t) {
			return
		}
		for p := start &^ (1<<21 - 1); p < start+size; p += 1 << 21 {
			// The image is reached through its window alone, which keeps W^X true.
			if p < uintptr(b.KernelPhys) || p >= uintptr(b.KernelPhys+b.KernelSize) {
				mapLarge(root, physmapBase+p, p, pteWrite|pteNX)
			}
		}
	})
	for va := uintptr(heapBase); va < heapEnd; va += 1 << 39 {
		e := uintptr(root) + (va>>39&511)*8
		*p64(e) = uint64(mustFrame()) | ptePresent | pteWrite
	}
	physOffset = physmapBase
	writeCR3(root)

	reserve(first.next, first.end-first.next)
	eachDescriptor(func(t uint32, start, size uintptr) {
		if usable(t) {
			addRegion(start, start+size)
		}
	})
	if framesLost > 0 {
		puts("aios kernel: WARNING reason=\"the firmware's memory map is in too many pieces\" remedy=\"none: some memory is not used\"\n")
	}
	keepReserve()
}

func widest(r *region, start, end uintptr) {
	if end > start && end-start > r.end-r.next {
		*r = region{start, end}
	}
}

// eachDescriptor walks the firmware's memory map (EFI_MEMORY_DESCRIPTOR).
func eachDescriptor(f func(t uint32, start, size uintptr)) {
	b := &bootInfo
	for o := uint64(0); o+40 <= b.MemMapSize; o += b.MemDescSize {
		d := phys(uintptr(b.MemMapPhys + o))
		f(*p32(d), uintptr(*p64(d + 8)), uintptr(*p64(d + 24))<<12)
	}
}

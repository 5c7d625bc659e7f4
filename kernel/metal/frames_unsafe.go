//go:build aios

package metal

// Physical frames: regions that have never been handed out, cut from the low
// end, and a free list threaded through the frames themselves. A frame is
// zeroed when it is handed out, so nothing of its former owner survives.

const (
	pageSize   = 4096
	maxRegions = 256
)

type region struct{ next, end uintptr }

var (
	regions     [maxRegions]region
	nregions    int
	freeList    uintptr // physical address of the first free frame
	framesTotal uint64
	framesUsed  uint64
	framesLost  uint64  // of firmware's, for which there was no region left
	kept        uint64  // frames that programs cannot have
	lowTable    uintptr // a spare frame below 4 GiB for the first PML4
)

func zeroFrame(p uintptr) {
	q := (*[512]uint64)(ptr(phys(p)))
	for i := range q {
		q[i] = 0
	}
}

// frame returns the physical address of a zeroed frame, or 0 when memory is out.
func frame() uintptr {
	p := freeList
	if p != 0 {
		freeList = uintptr(*p64(phys(p)))
	} else {
		for i := 0; i < nregions; i++ {
			if r := &regions[i]; r.next < r.end {
				p = r.next
				r.next += pageSize
				break
			}
		}
	}
	if p == 0 {
		return 0
	}
	framesUsed++
	zeroFrame(p)
	return p
}

// keepReserve sets aside what only the kernel can have: a sixteenth, at most
// 64 MiB. Without it a program with a large quota could take the frame that the
// kernel's next page fault needs, and with it the machine.
func keepReserve() { kept = min(framesTotal/16, 64<<20/pageSize) }

// plenty tells whether programs may have another frame.
func plenty() bool { return framesTotal-framesUsed > kept }

// mustFrame is for the kernel's own tables, without which there is no way on.
func mustFrame() uintptr {
	p := frame()
	if p == 0 {
		die("out of physical memory", thisCPU().thread())
	}
	return p
}

func freeFrame(p uintptr) {
	framesUsed--
	*p64(phys(p)) = uint64(freeList)
	freeList = p
}

// addRegion gives [start, end) to the allocator, less the reserved ranges.
func addRegion(start, end uintptr) {
	start = (start + pageSize - 1) &^ (pageSize - 1)
	end &^= pageSize - 1
	for i := 0; i < nreserved; i++ {
		r := reserved[i]
		if r.end <= start || r.next >= end {
			continue
		}
		if r.next > start {
			addRegion(start, r.next)
		}
		start = r.end
		if start >= end {
			return
		}
	}
	if start >= end {
		return
	}
	switch {
	case nregions > 0 && regions[nregions-1].end == start:
		regions[nregions-1].end = end
	case nregions < maxRegions:
		regions[nregions] = region{start, end}
		nregions++
	default:
		framesLost += uint64(end-start) / pageSize
		return
	}
	framesTotal += uint64(end-start) / pageSize
}

// Ranges that hold what the boot stage handed over.
var (
	reserved  [64]region
	nreserved int
)

func reserve(start, size uintptr) {
	if size == 0 {
		return
	}
	if nreserved == len(reserved) {
		die("more was handed over than can be kept apart from free memory", nil)
	}
	reserved[nreserved] = region{start &^ (pageSize - 1), (start + size + pageSize - 1) &^ (pageSize - 1)}
	nreserved++
}

//go:build aios

package ring0

import (
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"

	"aios/kernel/metal"
)

// exhaustion gives a program all that there is: every page gets a frame of its
// own, above 4 GiB too, and the kernel keeps enough to go on.
func exhaustion() error {
	debug.FreeOSMemory()
	total, before := metal.Frames()
	s, err := metal.NewSpace()
	if err != nil {
		return err
	}
	pages, highest, err := fill(s)
	if err == nil {
		err = kernelGoesOn()
	}
	s.Destroy()
	if err != nil {
		return err
	}
	_, after := metal.Frames()
	switch free := total - before; {
	case uint64(pages) < free-free/8:
		return fmt.Errorf("a program got %d of %d free frames", pages, free)
	case after > before+4096:
		return fmt.Errorf("%d frames in use before, %d after", before, after)
	case total>>18 >= 4 && highest < 1<<32:
		return fmt.Errorf("%d MiB of memory, but the highest frame is at %#x", total>>8, highest)
	}
	return nil
}

// fill maps and writes pages until memory is out; no two may share a frame.
func fill(s *metal.Space) (pages, highest uintptr, err error) {
	const base, limit = 1 << 40, 1 << 30 // pages: 4 TiB
	seen := make([]uint64, 1<<17)        // a bit for each frame of the first 32 GiB
	for ; pages < limit; pages++ {
		b, err := s.Map(base+pages*4096, 3)
		if errors.Is(err, syscall.ENOMEM) {
			return pages, highest, nil
		} else if err != nil {
			return 0, 0, err
		}
		b[0], b[4095] = 1, 1
		at := physOf(b)
		highest = max(highest, at)
		if n := at >> 12; n/64 < uintptr(len(seen)) {
			if seen[n/64]>>(n%64)&1 != 0 {
				return 0, 0, fmt.Errorf("page %d has the frame at %#x, as an earlier one", pages, at)
			}
			seen[n/64] |= 1 << (n % 64)
		}
	}
	return 0, 0, errors.New("memory does not end")
}

// kernelGoesOn uses memory and threads of the kernel itself.
func kernelGoesOn() error {
	b := make([]byte, 8<<20)
	for i := range b {
		b[i] = 1
	}
	return threads()
}

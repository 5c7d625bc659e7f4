//go:build aios

package ring0

import (
	"encoding/binary"
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

// fill maps pages until memory is out, marks each, and then finds every mark again.
func fill(s *metal.Space) (pages, highest uintptr, err error) {
	const base, limit = 1 << 40, 1 << 30 // pages: 4 TiB
	for ; pages < limit; pages++ {
		b, err := s.Map(base+pages*4096, 3)
		if errors.Is(err, syscall.ENOMEM) {
			break
		} else if err != nil {
			return 0, 0, err
		}
		highest = max(highest, physOf(b))
		binary.LittleEndian.PutUint64(b[8*(pages%512):], uint64(pages)+1)
	}
	for i := range pages {
		b, err := s.Map(base+i*4096, 3)
		if err != nil {
			return 0, 0, fmt.Errorf("page %d, which is there: %w", i, err)
		}
		if v := binary.LittleEndian.Uint64(b[8*(i%512):]); v != uint64(i)+1 {
			return 0, 0, fmt.Errorf("page %d at %#x holds the mark %d: two pages share a frame", i, physOf(b), v)
		}
	}
	return pages, highest, nil
}

// kernelGoesOn uses memory and threads of the kernel itself.
func kernelGoesOn() error {
	b := make([]byte, 8<<20)
	for i := range b {
		b[i] = 1
	}
	return threads()
}

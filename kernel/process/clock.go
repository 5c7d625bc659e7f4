package process

import (
	"fmt"

	"aios/kernel/vdso"
)

// clockAt is the page that the program reads the time from: behind the first
// thread's stack, with a gap, in the same page table.
const clockAt = stackEnd + pageSize

// loadClock gives the program the vDSO, a page of its own: code that it may run
// and not write, as its image's is.
func (m *memory) loadClock(c vdso.Clock) error {
	m.mu.Lock()
	m.regions.set(clockAt, clockAt+pageSize, Read|Exec)
	m.mu.Unlock()
	var page [vdso.PageSize]byte
	vdso.Fill(&page, c)
	b := page[:]
	// Written through the kernel's view, as a segment of the image is.
	if err := m.copy(clockAt, len(b), Read, func(frame []byte) { b = b[copy(frame, b):] }); err != nil {
		return fmt.Errorf("load the clock: %w", err)
	}
	return nil
}

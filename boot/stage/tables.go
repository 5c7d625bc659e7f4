package stage

import (
	"encoding/binary"

	"aios/boot/handoff"
)

// Page-table bits (Intel SDM 3A, 4.5.4).
const (
	present  = 1 << 0
	writable = 1 << 1
	large    = 1 << 7
)

const (
	tablePage   = 4096
	tablesPages = 6 // PML4, PDPT, four page directories
	tablesSize  = tablesPages * tablePage
)

// buildTables fills b, at the physical address phys, with the tables that the kernel is entered on: the first 4 GiB one
// to one in 2 MiB pages, and the kernel's image at its window instead of what is there. Access rights are the
// kernel's business: its first act is to build tables of its own.
func buildTables(b []byte, phys, image, size uint64) {
	clear(b[:tablesSize])
	put := func(page, index int, v uint64) {
		binary.LittleEndian.PutUint64(b[page*tablePage+index*8:], v)
	}
	put(0, 0, phys+tablePage|present|writable)
	for gib := range 4 {
		put(1, gib, phys+uint64(2+gib)*tablePage|present|writable)
		for i := range 512 {
			at := uint64(gib)<<30 | uint64(i)<<21
			if at >= handoff.WindowStart && at < handoff.WindowStart+size {
				at = image + at - handoff.WindowStart
			}
			put(2+gib, i, at|present|writable|large)
		}
	}
}

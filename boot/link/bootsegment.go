package link

import "encoding/binary"

var le = binary.LittleEndian

// Layout of the boot segment: PML4, PDPT, four page directories, the page
// table of the first 2 MiB, and the GDT that efiEntry loads.
const (
	segPML4 = 0x0000
	segPDPT = 0x1000
	segPD   = 0x2000
	segPT0  = 0x6000
	segGDT  = 0x7800
	segGDTR = 0x7880
	segLen  = 0x8000
)

// bootSegment is the first page tables of the boot stage: 4 GiB identity
// mapped, the last one uncached since devices live there. kernel/metal then
// splits the image's part for W^X and takes page 0 away.
func bootSegment() []byte {
	b := make([]byte, segLen)
	put := func(off int, v uint64) { le.PutUint64(b[off:], v) }
	const table, large, noCache = 3, 0x83, 1 << 4
	put(segPML4, BootSegment+segPDPT|table)
	for i := range 4 {
		put(segPDPT+8*i, uint64(BootSegment+segPD+0x1000*i)|table)
		for j := range 512 {
			v := uint64(i)<<30 | uint64(j)<<21 | large
			if i == 3 {
				v |= noCache
			}
			put(segPD+0x1000*i+8*j, v)
		}
	}
	put(segPD, BootSegment+segPT0|table)
	for j := range 512 {
		put(segPT0+8*j, uint64(j)<<12|table)
	}
	put(segGDT+8, 0x00209a0000000000)  // 0x08: 64-bit code
	put(segGDT+16, 0x0000920000000000) // 0x10: data
	le.PutUint16(b[segGDTR:], 23)
	put(segGDTR+2, BootSegment+segGDT)
	return b
}

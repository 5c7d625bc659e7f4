//go:build aios

package metal

import "aios/kernel/hal/acpi"

// The I/O APICs (82093AA): the kernel's devices use MSI-X, so every pin is
// masked. What firmware left open would interrupt somebody who does not know
// the device.

var (
	ioapics  [8]uintptr
	nioapics int
)

// noteIOAPIC takes an address of the MADT if devices can be there at all.
func noteIOAPIC(e acpi.Entry) {
	const devices = 0xc0000000 // the last GiB below 4 GiB
	a := uintptr(e.Address)
	if a >= devices && a&^(pageSize-1) != lapicBase && nioapics < len(ioapics) {
		ioapics[nioapics] = a
		nioapics++
	}
}

func maskIOAPICs() {
	const selector, window = 0x00, 0x10
	const version, table, masked = 1, 0x10, 1 << 16
	for _, a := range ioapics[:nioapics] {
		page := a &^ (pageSize - 1)
		mapSmall(rootTable, page, page, pteWrite|pteNX|pteNoCache)
		*p32(a + selector) = version
		pins := *p32(a + window)>>16&0xff + 1
		for i := uint32(0); i < pins; i++ {
			*p32(a + selector) = table + 2*i
			*p32(a + window) = masked
		}
	}
}

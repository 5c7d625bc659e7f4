//go:build aios

package pcibus

import (
	"fmt"
	"sync"

	"github.com/usbarmory/tamago/soc/intel/pci"

	"aios/kernel/metal"
)

// The configuration mechanism is a pair of ports: one access at a time.
var mu sync.Mutex

const (
	commandIO     = 1 << 0
	commandMemory = 1 << 1
	commandMaster = 1 << 2
)

// Open finds a device on bus 0, maps its memory and lets it master the bus.
func Open(vendor, device uint16) (*pci.Device, error) {
	mu.Lock()
	defer mu.Unlock()
	d := pci.Probe(0, vendor, device)
	if d == nil {
		return nil, fmt.Errorf("no PCI device %04x:%04x on bus 0", vendor, device)
	}
	command := d.Read(0, pci.Command)
	d.Write(0, pci.Command, command&^(commandIO|commandMemory)) // while the registers are sized
	type window struct {
		base uint
		size uint64
	}
	var windows []window
	for n := 0; n < 6; n++ {
		off := uint32(pci.Bar0 + 4*n)
		low := d.Read(0, off)
		if low&1 != 0 || low == 0 { // I/O space or unused
			continue
		}
		size := uint64(0xffffffff_00000000)
		base := uint(low &^ 0xf)
		wide := low>>1&3 == 2
		d.Write(0, off, 0xffffffff)
		size |= uint64(d.Read(0, off) &^ 0xf)
		d.Write(0, off, low)
		if wide {
			high := d.Read(0, off+4)
			base |= uint(high) << 32
			d.Write(0, off+4, 0xffffffff)
			size = size&0xffffffff | uint64(d.Read(0, off+4))<<32
			d.Write(0, off+4, high)
			n++
		}
		windows = append(windows, window{base, -size})
	}
	d.Write(0, pci.Command, command|commandMemory|commandMaster)
	for _, w := range windows {
		if w.base == 0 || w.size == 0 || w.size > 16<<20 {
			continue
		}
		if _, err := metal.MapDevice(uintptr(w.base), int(w.size)); err != nil {
			return nil, fmt.Errorf("PCI device %04x:%04x: memory at %#x (%d bytes): %w", vendor, device, w.base, w.size, err)
		}
	}
	return d, nil
}

//go:build aios

package main

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"aios/boot/efi"
	"aios/kernel/metal"
)

// callArea is the head of the scratch memory, which metal.EFICall uses itself.
const callArea = 64

// machine is kernel/metal as boot/efi and boot/stage see it.
type machine struct{}

// scratchStart is where the memory for firmware arguments begins.
// Safety: only the address is taken; metal maps the region one to one.
func scratchStart() uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(metal.EFIScratch())))) + callArea
}

func (machine) Call(fn uint64, args [8]uint64) efi.Status {
	return efi.Status(metal.EFICall(uintptr(fn), &args))
}

// Bytes is a view of physical memory.
// Safety: the boot stage's tables map the first 4 GiB one to one, and n is checked to stay below that.
func (machine) Bytes(addr uint64, n int) []byte {
	if addr == 0 || n < 0 || addr > efi.MaxAddress || uint64(n) > efi.MaxAddress-addr {
		panic(fmt.Sprintf("memory %#x+%#x is out of reach", addr, n))
	}
	return metal.Bytes(uintptr(addr), n)
}

func (machine) Line(text string)                    { os.Stdout.WriteString(text + "\n") }
func (machine) EntryTSC() uint64                    { return metal.EntryTSC() }
func (machine) TSC() uint64                         { return metal.TSC() }
func (machine) Duration(ticks uint64) time.Duration { return metal.Nanos(ticks) }
func (machine) Random(b []byte)                     { metal.Random(b) }

func (machine) Enter(tables, entry, info uint64) {
	metal.EnterKernel(uintptr(tables), uintptr(entry), uintptr(info))
}

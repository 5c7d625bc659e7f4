//go:build aios

package tpmio

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Mapped are the registers at an address where device memory is mapped.
type Mapped struct{ base uintptr }

// At gives the registers of a TPM mapped at virtual address base.
func At(base uintptr) Mapped { return Mapped{base} }

// Safety: the caller of At vouches for Size bytes of device memory at base;
// offsets stay below that. A volatile byte access needs no more than a plain
// load or store through a pointer that the compiler cannot see through.
func (m Mapped) Read8(off uint32) uint8     { return *(*uint8)(unsafe.Pointer(m.base + uintptr(off))) }
func (m Mapped) Write8(off uint32, v uint8) { *(*uint8)(unsafe.Pointer(m.base + uintptr(off))) = v }
func (m Mapped) Read32(off uint32) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(m.base + uintptr(off))))
}
func (m Mapped) Write32(off uint32, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(m.base+uintptr(off))), v)
}

// Monotonic is the Clock of the runtime.
type Monotonic struct{}

var started = time.Now()

func (Monotonic) Now() time.Duration    { return time.Since(started) }
func (Monotonic) Sleep(d time.Duration) { time.Sleep(d) }

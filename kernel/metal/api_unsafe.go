//go:build aios

package metal

import (
	"fmt"
	"sync/atomic"
	sys "syscall"
	"time"
	"unsafe"

	"aios/boot/handoff"
	"aios/kernel/vdso"
)

// Error is a failed call into the layer below.
type Error struct {
	Op    string
	Errno sys.Errno
}

func (e *Error) Error() string { return "metal: " + e.Op + ": " + e.Errno.Error() }
func (e *Error) Unwrap() error { return e.Errno }

func call(op string, n, a, b, c, d uintptr) (uintptr, error) {
	r, _, e := sys.RawSyscall6(n, a, b, c, d, 0, 0)
	if e != 0 {
		return 0, &Error{op, e}
	}
	return r, nil
}

// Boot is what the boot stage handed over. The seed in it is spent.
func Boot() *handoff.Info { return &bootInfo }

// Bytes is the kernel's view of n bytes of RAM at a physical address.
// Safety: only RAM that the boot stage listed is mapped; the caller owns it.
func Bytes(pa uintptr, n int) []byte { return unsafe.Slice((*byte)(ptr(phys(pa))), n) }

// MapDevice maps n bytes of device memory, uncached, at a virtual address equal
// to the physical one, as tamago's drivers expect.
func MapDevice(pa uintptr, n int) (uintptr, error) {
	return call("map device memory", sysMapDevice, pa, uintptr(n), 0, 0)
}

// DMA is the region for device buffers: identity mapped, below 4 GiB.
func DMA() (start uintptr, size int) { return uintptr(bootInfo.DMAPhys), int(bootInfo.DMASize) }

var nextVector uint8 = vecDevice

// AllocVector reserves an interrupt vector; it panics when all 160 are taken.
func AllocVector() uint8 {
	if nextVector >= vecDeviceEnd {
		panic("metal: no interrupt vector left")
	}
	nextVector++
	return nextVector - 1
}

// WaitIRQ blocks until the interrupt count of vec differs from seen, and returns it.
func WaitIRQ(vec uint8, seen uint32) uint32 {
	w := &irqCount[vec]
	for {
		if n := atomic.LoadUint32(w); n != seen {
			return n
		}
		sys.Syscall(sysWaitIRQ, uintptr(vec), uintptr(seen), 0)
	}
}

// SinceReset is the time since this image was entered.
func SinceReset() time.Duration { return time.Duration(now()) }

// CoarseNow is SinceReset as of the last tick, a load instead of a division.
func CoarseNow() uint64 { return coarseNS }

// Nanos converts a difference of time-stamp counters.
func Nanos(tsc uint64) time.Duration { return time.Duration(tscNanos(tsc)) }

// Since is the time from reset to a reading of the time-stamp counter.
func Since(tsc uint64) time.Duration { return time.Duration(tscNanos(tsc - tscBoot)) }

// Clock is what SinceReset and the wall clock are computed from. It never changes.
func Clock() vdso.Clock { return vdso.Clock{Start: tscBoot, Hz: tscHz, Wall: wallBase} }

// TSC reads the time-stamp counter.
func TSC() uint64 { return rdtsc() }

// CPUs is the number of processors in use.
func CPUs() int { return ncpus }

// Frames reports physical memory in 4 KiB frames.
func Frames() (total, used uint64) { return framesTotal, framesUsed }

// SetFast installs what answers abi.SysNull and abi.SysClockRead in the SYSCALL
// entry: it gets the context's Fast word, the number, the handle and the
// time-stamp counter (Since), and returns the result and 1, or the number and 0 to take the long way. It runs
// in trap context (see the package comment).
func SetFast(f func(table, number, handle, tsc uint64) (uint64, uint64)) { fastFn = f }

// Random fills b from the kernel's generator.
func Random(b []byte) {
	for len(b) > 0 {
		k := min(len(b), 256)
		sys.RawSyscall(sysGetrandom, uintptr(unsafe.Pointer(&b[0])), uintptr(k), 0)
		b = b[k:]
	}
}

// EFICall runs a firmware service on the firmware's own stack and tables.
// All pointers in args must be identity-mapped (EFIScratch).
func EFICall(fn uintptr, args *[8]uint64) (status uint64) {
	s := EFIScratch()
	copy(unsafe.Slice((*uint64)(unsafe.Pointer(&s[0])), 8), args[:])
	r1, _, e := sys.RawSyscall(sysEFICall, fn, uintptr(unsafe.Pointer(&s[0])), 0)
	if e != 0 { // RawSyscall takes the highest statuses for errnos
		return -uint64(e)
	}
	return uint64(r1)
}

// EFIScratch is memory that the firmware sees at the same address. Its first
// 64 bytes belong to EFICall.
func EFIScratch() []byte { return unsafe.Slice((*byte)(ptr(efiScratch)), efiScratchSz) }

// EntryTSC is the counter when the image was entered.
func EntryTSC() uint64 { return entryTSC }

// String of an Exit, for logs.
func (x Exit) String() string {
	switch x {
	case ExitSyscall:
		return "system call"
	case ExitFault:
		return "fault"
	case ExitQuantum:
		return "end of quantum"
	case ExitKick:
		return "kick"
	}
	return fmt.Sprintf("exit %d", uint64(x))
}

// XCR0 is the vector state that the kernel keeps for programs (Intel SDM 1,
// 13.3), 0 where the CPU has no XSAVE.
func XCR0() uint64 { return uint64(xcr0) }

// Control is what one CPU's control registers hold.
type Control struct {
	APIC           uint32 // of the CPU
	CR0, CR4, EFER uint64
}

// ReadControl reads those of the CPU that it happens to run on.
func ReadControl() Control {
	// No preemption can come between: the fields are read in one system call.
	var c Control
	call("read the control registers", sysControl, uintptr(unsafe.Pointer(&c)), 0, 0, 0)
	return c
}

// NeedsIsolation tells whether ring 3 can read the kernel's pages through this
// CPU's speculation (Meltdown): an Intel processor that does not say that it
// cannot (RDCL_NO, Intel SDM 4, IA32_ARCH_CAPABILITIES). The kernel's pages are
// mapped in every program's tables; there is no isolation from them.
func NeedsIsolation() bool {
	const genuineIntel = 0x756e6547 // "Genu"
	if _, vendor, _, _ := cpuid(0, 0); vendor != genuineIntel {
		return false
	}
	const capabilities, msr, safe = 1 << 29, 0x10a, 1
	_, _, _, d := cpuid(7, 0)
	return d&capabilities == 0 || rdmsr(msr)&safe == 0
}

// CPUID is the instruction.
func CPUID(leaf, sub uint32) (a, b, c, d uint32) { return cpuid(leaf, sub) }

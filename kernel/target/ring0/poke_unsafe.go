//go:build aios

package ring0

import (
	"unsafe"

	"aios/kernel/metal"
)

// Safety: the address is meant to fault; SetPanicOnFault turns that into a panic.
func poke(a uintptr) { *(*byte)(unsafe.Pointer(a)) = 0xcc }

func pcOf(f func() []Case) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

func constantAddr() uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(constant))) }

// physOf is the physical address behind a view that metal.Bytes gave.
// Safety: addresses are only compared.
func physOf(view []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(view))) - uintptr(unsafe.Pointer(unsafe.SliceData(metal.Bytes(0, 1))))
}

// Safety: builds a func value that points into the heap; calling it must fault.
func heapNotExecutable() error {
	code := make([]byte, 4096)
	code[0] = 0xc3
	p := unsafe.Pointer(&code[0])
	pp := &p
	return faults(func() { (*(*func())(unsafe.Pointer(&pp)))() })
}

// Safety: as poke.
//
//go:noinline
func peek(a uintptr) byte { return *(*byte)(unsafe.Pointer(a)) }

// Safety: a func value is a pointer to a code pointer; calling it must fault.
func jump(a uintptr) {
	p := unsafe.Pointer(&a)
	(*(*func())(unsafe.Pointer(&p)))()
}

// calledFrom is a stack frame that has no caller's frame: a saved frame pointer
// and a return address.
var calledFrom [2]uintptr

// frame is a frame pointer for a program of ring 3, which has none of its own: the
// trace of a kernel that failed to enter it must be seen to follow it.
func frame() uint64 {
	calledFrom[1] = pcOf(memoryCases) + 1
	return uint64(uintptr(unsafe.Pointer(&calledFrom)))
}

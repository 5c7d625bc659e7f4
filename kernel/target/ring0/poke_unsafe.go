//go:build aios

package ring0

import "unsafe"

// Safety: the address is meant to fault; SetPanicOnFault turns that into a panic.
func poke(a uintptr) { *(*byte)(unsafe.Pointer(a)) = 0xcc }

func pcOf(f func() []Case) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

func constantAddr() uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(constant))) }

// Safety: builds a func value that points into the heap; calling it must fault.
func heapNotExecutable() error {
	code := make([]byte, 4096)
	code[0] = 0xc3
	p := unsafe.Pointer(&code[0])
	pp := &p
	return faults(func() { (*(*func())(unsafe.Pointer(&pp)))() })
}

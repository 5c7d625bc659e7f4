package aios

import (
	"syscall"
	"unsafe"

	"aios/kernel/abi"
)

// The system calls themselves: package syscall executes SYSCALL with whatever
// number it is given. What can wait goes through Syscall6, which tells the Go
// scheduler; what cannot, through RawSyscall6.
//
// Safety: a slice's address is turned into a uintptr in the argument list of
// Syscall6, which keeps the slice alive and in place until the call returns
// (package unsafe, rule 4). The kernel checks every address it is given.

// pointer is the address of b's first byte, nil for an empty one.
func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func result(r uintptr, e syscall.Errno) (uint64, error) {
	if e != 0 {
		return 0, abi.Errno(e)
	}
	return uint64(r), nil
}

// quick makes a call without further arguments that does not wait.
func quick(n abi.Number, h abi.Handle) (uint64, error) {
	r, _, e := syscall.RawSyscall6(uintptr(n), uintptr(h), 0, 0, 0, 0, 0)
	return result(r, e)
}

// bytesCall makes a call that takes bytes, or, if b is nil, one number.
func bytesCall(n abi.Number, h abi.Handle, b []byte, number ...uint64) (uint64, error) {
	if len(number) == 1 {
		r, _, e := syscall.Syscall6(uintptr(n), uintptr(h), uintptr(number[0]), 0, 0, 0, 0)
		return result(r, e)
	}
	r, _, e := syscall.Syscall6(uintptr(n), uintptr(h), uintptr(pointer(b)), uintptr(len(b)), 0, 0, 0)
	return result(r, e)
}

// timedCall makes a call that takes bytes and a timeout.
func timedCall(n abi.Number, h abi.Handle, b []byte, timeout uint64) (uint64, error) {
	r, _, e := syscall.Syscall6(uintptr(n), uintptr(h), uintptr(pointer(b)), uintptr(len(b)), uintptr(timeout), 0, 0)
	return result(r, e)
}

func blobCall(h abi.Handle, off int64, b []byte) (uint64, error) {
	r, _, e := syscall.Syscall6(uintptr(abi.CallBlobRead), uintptr(h), uintptr(off), uintptr(pointer(b)), uintptr(len(b)), 0, 0)
	return result(r, e)
}

func attestCall(h abi.Handle, op uint64, request, response []byte) (uint64, error) {
	r, _, e := syscall.Syscall6(uintptr(abi.CallAttest), uintptr(h), uintptr(op),
		uintptr(pointer(request)), uintptr(len(request)), uintptr(pointer(response)), uintptr(len(response)))
	return result(r, e)
}

func authorityCall(h abi.Handle, op uint64, request, response []byte) (uint64, error) {
	r, _, e := syscall.Syscall6(uintptr(abi.CallAuthority), uintptr(h), uintptr(op),
		uintptr(pointer(request)), uintptr(len(request)), uintptr(pointer(response)), uintptr(len(response)))
	return result(r, e)
}

func sendCall(h abi.Handle, b, handles []byte, count int, timeout uint64) (uint64, error) {
	r, _, e := syscall.Syscall6(uintptr(abi.CallIPCSend), uintptr(h), uintptr(pointer(b)), uintptr(len(b)),
		uintptr(pointer(handles)), uintptr(count), uintptr(timeout))
	return result(r, e)
}

func recvCall(h abi.Handle, b, info []byte, timeout uint64) (uint64, error) {
	r, _, e := syscall.Syscall6(uintptr(abi.CallIPCRecv), uintptr(h), uintptr(pointer(b)), uintptr(len(b)),
		uintptr(pointer(info)), uintptr(len(info)), uintptr(timeout))
	return result(r, e)
}

// Raw makes any call with any arguments, for tests of the kernel.
func Raw(n uint64, h abi.Handle, a ...uint64) (uint64, error) {
	var w [5]uintptr
	for i := range a {
		w[i] = uintptr(a[i])
	}
	r, _, e := syscall.Syscall6(uintptr(n), uintptr(h), w[0], w[1], w[2], w[3], w[4])
	return result(r, e)
}

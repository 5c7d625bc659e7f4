package main

import (
	"syscall"
	"unsafe"

	"aios/kernel/abi"
)

// What a round trip is made of: the bare calls, without the Go scheduler's knowing,
// as test/bench/peer reads and writes its pipes.
//
// Safety: the addresses are turned into uintptr in the argument list, which keeps
// the memory alive and in place until the call returns (package unsafe, rule 4).

func sendOne(h abi.Handle, b []byte) error {
	_, _, e := syscall.RawSyscall6(uintptr(abi.CallIPCSend), uintptr(h), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, ^uintptr(0))
	return errorOf(e)
}

func receiveOne(h abi.Handle, b []byte) (int, error) {
	var info [abi.IPCInfo]byte
	for {
		n, _, e := syscall.RawSyscall6(uintptr(abi.CallIPCRecv), uintptr(h), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			uintptr(unsafe.Pointer(&info)), uintptr(len(info)), ^uintptr(0))
		if e != syscall.EINTR { // the Go scheduler is impatient, and signals
			return int(n), errorOf(e)
		}
	}
}

func errorOf(e syscall.Errno) error {
	if e != 0 {
		return abi.Errno(e)
	}
	return nil
}

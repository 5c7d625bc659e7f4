//go:build wasip1

package agent

import (
	"unsafe"

	"aios/kernel/abi"
)

// The functions of the host module "aios", as services/wasmhost has them. Each returns
// 0 or an errno of package abi; what it has to tell goes where a pointer says.
//
// Safety: a pointer is an offset in this module's own memory, which the host checks
// against the memory's size, and it keeps what it points to alive for the call.

//go:wasmimport aios log
func hostLog(text unsafe.Pointer, n uint32) uint32

//go:wasmimport aios clock
func hostClock(nanoseconds *uint64) uint32

//go:wasmimport aios capability
func hostCapability(name unsafe.Pointer, n uint32, handle *uint64) uint32

//go:wasmimport aios send
func hostSend(endpoint uint64, data unsafe.Pointer, n uint32, handles unsafe.Pointer, count uint32, timeout uint64, number *uint64) uint32

//go:wasmimport aios receive
func hostReceive(data unsafe.Pointer, n uint32, timeout uint64, info *[abi.IPCInfo]byte) uint32

//go:wasmimport aios reply
func hostReply(endpoint *uint64) uint32

//go:wasmimport aios close
func hostClose(handle uint64) uint32

//go:wasmimport aios derive
func hostDerive(handle uint64, rights uint32, derived *uint64) uint32

//go:wasmimport aios copy
func hostCopy(handle uint64, copied *uint64) uint32

//go:wasmimport aios revoke
func hostRevoke(handle uint64, count *uint64) uint32

//go:wasmimport aios quote
func hostQuote(nonce unsafe.Pointer, n uint32, response unsafe.Pointer, room uint32, written *uint32) uint32

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func failed(errno uint32) error {
	if errno != 0 {
		return abi.Errno(errno)
	}
	return nil
}

package main

import (
	"fmt"
	"math"
	"syscall"

	"github.com/tetratelabs/wazero/experimental"
)

// pageSize is that of WebAssembly.
const pageSize = 64 << 10

// hostMemory is what the runtime needs beside the module's memory: for the code, its
// own heap and stacks.
const hostMemory = 64 << 20

// guestMemory is the most that a module can have within the process's quota, in pages.
// One that asks for more is refused by memory.grow, instead of ended by the kernel.
func guestMemory(quota uint64) uint32 {
	const most = 1 << 16 // 4 GiB, which is all that a module can address
	if quota <= hostMemory {
		return 1 // and it does not fit: the module will be refused, with a reason
	}
	return uint32(min((quota-hostMemory)/pageSize, most))
}

// resident is RLIMIT_RSS, in which the kernel tells a process its memory quota.
const resident = 5

func memoryQuota() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(resident, &l); err != nil {
		return 0, fmt.Errorf("ask for the memory quota: %w", err)
	}
	return min(l.Cur, math.MaxInt64), nil
}

// linear is a module's memory: a stretch of addresses as long as it can ever become. The
// kernel fills and charges a page when it is touched, so growing neither copies nor
// needs room for two.
type linear []byte

// reserve implements experimental.MemoryAllocator.
func reserve(_, most uint64) experimental.LinearMemory {
	if most == 0 {
		return linear(nil)
	}
	b, err := syscall.Mmap(-1, 0, int(most), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return linear(nil)
	}
	return linear(b)
}

func (l linear) Reallocate(size uint64) []byte {
	if size > uint64(len(l)) {
		return nil
	}
	return l[:size:len(l)]
}

func (l linear) Free() {
	if len(l) > 0 {
		syscall.Munmap(l) // the process ends with its module anyway
	}
}

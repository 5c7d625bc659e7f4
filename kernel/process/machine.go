// Package process runs programs in ring 3: it loads a static ELF into an
// address space of its own, serves its threads, and takes everything back when
// it ends, down to the last frame.
//
// A program is an ordinary static Linux x86-64 executable. What its runtime
// needs of an operating system (memory, threads, futexes, signals, time) is
// served by an allow-list of Linux calls, the personality, charged to the
// process's quota; there are no files, no sockets and no other processes in
// it. Everything else goes through the AIOS calls of package abi, each of
// which names a handle that is checked first.
//
// Each ring-3 thread is served by one goroutine, which enters ring 3, handles
// what made it come out, and enters again. User memory is reached only through
// copyIn and copyOut (memory.go).
//
// The package knows the hardware only as a Machine, so that all of it runs
// under go test.
package process

import (
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/vdso"
)

// Prot is a page's protection, with the bits of mmap.
type Prot uint8

const (
	Read  Prot = 1
	Write Prot = 2
	Exec  Prot = 4
)

// Machine is what the package needs of the hardware.
type Machine interface {
	NewSpace() (Space, error)
	Now() time.Duration // since boot, monotonic
	Clock() vdso.Clock  // what programs compute Now and Wall from
	Wall() time.Time
	Random([]byte)
	CPUs() int
	XCR0() uint64 // vector state that XRSTOR loads; 0 where there is only FXRSTOR
}

// Space is one ring-3 address space. Addresses are page aligned and within the
// ranges of package abi. Calls other than Run and Kick are serialised by the
// caller, and Destroy comes after all runs have ended.
type Space interface {
	// Map makes the page at va present and returns the kernel's view of its
	// frame: a zeroed one, or the one that was there.
	Map(va uintptr, p Prot) (frame []byte, err error)
	// Unmap frees the frames in [va, va+n), which lies within one 2 MiB table,
	// and returns how many there were; no CPU can reach them afterwards.
	Unmap(va, n uintptr) int
	// Protect changes the pages that are present in [va, va+n), which lies
	// within one 2 MiB table. Protection 0 hides them but keeps what they hold.
	Protect(va, n uintptr, p Prot)
	// Destroy frees all frames and tables and returns their number.
	Destroy() int

	// NewThread returns a register frame and the kernel's view of its vector
	// state (an XSAVE area in standard form). Calls that the entry code can
	// answer itself check their handles in table.
	NewThread(table *cap.Table) (ctx *abi.UserContext, vector []byte, err error)
	// FreeThread gives both back; ctx is not running.
	FreeThread(ctx *abi.UserContext)
	// Run enters ring 3 until one of the reasons of abi.Exit.
	Run(ctx *abi.UserContext) abi.Exit
	// Kick makes the Run of ctx return, or its next one if none is under way.
	Kick(ctx *abi.UserContext)
}

package abi

// UserContext is the register state of one ring-3 thread, shared between the
// goroutine that serves it and the entry code. Its layout is fixed: the first
// 22 words are the frame that the entry pushes.
type UserContext struct {
	R15, R14, R13, R12, R11, R10, R9, R8, BP, DI, SI, DX, CX, BX, AX uint64
	Vec, Err, RIP, CS, Flags, SP, SS                                 uint64

	CR3    uint64 // physical address of the space's PML4
	Quota  int64  // nanoseconds that one run may last
	CR2    uint64 // address of the last page fault
	Reason uint64 // why the last run ended: Exit* below
	FS     uint64 // FS base
	FX     uint64 // physical address of the vector state (XSAVE area, one page)
	Fast   uint64 // address of the capability table for calls answered in the entry, 0: none
	Kicked uint64 // set by a kick that came while the thread was not in ring 3
	ID     uint64 // of the process, for those that it sends messages to
	Began  int64  // nanoseconds since boot at which the call of the last run began, 0: just now
}

package abi

// Exit is why a run in ring 3 ended.
type Exit uint64

const (
	ExitSyscall Exit = iota // SYSCALL: number and arguments are in the registers
	ExitFault               // exception Vec with error code Err, address CR2
	ExitQuantum             // Quota is used up
	ExitKick                // another thread asked for it
)

// UserTop is the end of what a program can map: the top page stays free, since
// SYSRET to the end of the canonical range faults in ring 0 (Intel SDM 2B).
const UserTop = 0x7fffffffe000

// The first GiB belongs to the program's image and PML4 slots 1 to 255 to its
// memory; the kernel's window and the devices lie between the two.
const (
	ImageStart = 0x400000
	ImageEnd   = 0x40000000
	UserStart  = 1 << 39
)

// FlagsUser are the RFLAGS bits that ring 3 may choose: CF PF AF ZF SF DF OF.
const FlagsUser = 0xcd5

// Sizes of the XSAVE area for x87, SSE and AVX (Intel SDM 1, 13.4).
const VectorSize = 832

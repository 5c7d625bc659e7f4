//go:build aios

package metal

import (
	sys "syscall"
	"unsafe"

	"aios/kernel/abi"
)

// Prot is a page's protection: 1 read, 2 write, 4 execute, as in mmap.
type Prot = uint64

// Space is the address space of one ring-3 program. Its methods may be called
// from any goroutine; the caller keeps Destroy apart from everything else.
type Space struct{ root uintptr }

// NewSpace makes an empty one. The error is ENOMEM when frames are out.
func NewSpace() (*Space, error) {
	r, err := call("make an address space", sysNewSpace, 0, 0, 0, 0)
	if err != nil {
		return nil, err
	}
	return &Space{r}, nil
}

// Root is the physical address of the PML4, for UserContext.CR3.
func (s *Space) Root() uint64 { return uint64(s.root) }

// Map makes the page at va present with protection p, zeroed if it is new, and
// returns the kernel's view of it. Addresses outside a program's range and
// writable and executable at once are EINVAL.
func (s *Space) Map(va uintptr, p Prot) ([]byte, error) {
	f, err := call("map a page", sysMapUser, s.root, va&^(pageSize-1), uintptr(p), 0)
	if err != nil {
		return nil, err
	}
	return Bytes(f, pageSize), nil
}

// Unmap frees the frames of [va, va+n) and returns how many there were. No CPU
// can reach them when it returns.
func (s *Space) Unmap(va, n uintptr) int {
	r, err := call("unmap", sysUnmapUser, s.root, va, n, 0)
	if err != nil {
		return 0
	}
	return int(r)
}

// Protect changes the pages that are present in [va, va+n).
func (s *Space) Protect(va, n uintptr, p Prot) error {
	_, err := call("protect", sysProtectUser, s.root, va, n, uintptr(p))
	return err
}

// Destroy frees every frame and table. No thread may run in the space any more.
func (s *Space) Destroy() int {
	r, err := call("destroy an address space", sysDestroySpace, s.root, 0, 0, 0)
	if err != nil {
		return 0
	}
	s.root = 0
	return int(r)
}

// NewVectorState gives a frame initialised as XRSTOR wants it, for
// UserContext.FX, and the kernel's view of it. Vector state of another program
// never shows through: XSTATE_BV is zero.
func NewVectorState() (pa uint64, view []byte, err error) {
	f, err := call("allocate vector state", sysFrame, 0, 0, 0, 0)
	if err != nil {
		return 0, nil, err
	}
	if f == 0 {
		return 0, nil, &Error{"allocate vector state", sys.ENOMEM}
	}
	view = Bytes(f, pageSize)
	view[0], view[1] = 0x7f, 0x03   // FCW
	view[24], view[25] = 0x80, 0x1f // MXCSR
	return uint64(f), view, nil
}

// FreeVectorState gives it back.
func FreeVectorState(pa uint64) {
	call("free vector state", sysFreeFrame, uintptr(pa), 0, 0, 0)
}

// RunUser enters ring 3 with ctx until a system call, a fault, the end of
// ctx.Quota or a Kick. The caller's thread is in a system call meanwhile.
func RunUser(ctx *abi.UserContext) Exit {
	_, _, e := sys.Syscall(sysRunUser, uintptr(unsafe.Pointer(ctx)), 0, 0)
	if e != 0 {
		return ExitFault
	}
	return Exit(ctx.Reason)
}

// Kick makes the RunUser of ctx return ExitKick; if none is under way, the next
// one does so at once.
func Kick(ctx *abi.UserContext) {
	call("kick", sysKick, uintptr(unsafe.Pointer(ctx)), 0, 0, 0)
}

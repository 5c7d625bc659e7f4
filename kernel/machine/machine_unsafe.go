//go:build aios

package machine

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/metal"
	"aios/kernel/process"
	"aios/kernel/vdso"
)

// Machine implements process.Machine.
type Machine struct{}

// New installs the fast path of the SYSCALL entry and returns the machine.
func New() Machine {
	metal.SetFast(fast)
	cap.Barrier = metal.Barrier
	ipc.Unpark = func(thread uint64, b *ipc.Mailbox) { metal.Unpark(thread, place(b)) }
	metal.SetHot(hot)
	return Machine{}
}

func (Machine) NewSpace() (process.Space, error) {
	s, err := metal.NewSpace()
	if err != nil {
		return nil, err
	}
	return &space{s}, nil
}

func (Machine) Now() time.Duration { return metal.SinceReset() }
func (Machine) Clock() vdso.Clock  { return metal.Clock() }
func (Machine) Wall() time.Time    { return time.Now() }
func (Machine) Random(b []byte)    { metal.Random(b) }
func (Machine) CPUs() int          { return metal.CPUs() }
func (Machine) XCR0() uint64       { return metal.XCR0() }

type space struct{ s *metal.Space }

// Each thread of a program holds one of the kernel's own while it runs. The
// bound on all programs together leaves the kernel enough of them, since its
// runtime gives up when it is refused one.
const maxThreads = metal.MaxThreads - 256

var threads atomic.Int64

func (s *space) Map(va uintptr, p process.Prot) ([]byte, error) { return s.s.Map(va, metal.Prot(p)) }
func (s *space) Unmap(va, n uintptr) int                        { return s.s.Unmap(va, n) }
func (s *space) Protect(va, n uintptr, p process.Prot) {
	// The protections that process asks for are never writable and executable.
	if err := s.s.Protect(va, n, metal.Prot(p)); err != nil {
		panic(err)
	}
}
func (s *space) Destroy() int { return s.s.Destroy() }

func (s *space) NewThread(table *cap.Table) (*abi.UserContext, []byte, error) {
	if threads.Add(1) > maxThreads {
		threads.Add(-1)
		return nil, nil, fmt.Errorf("all %d threads of the host's programs are taken", maxThreads)
	}
	fx, view, err := metal.NewVectorState()
	if err != nil {
		threads.Add(-1)
		return nil, nil, err
	}
	// Safety: the process keeps table alive for as long as its threads run, and
	// Go's collector does not move it; the entry reads it as an address.
	return &abi.UserContext{CR3: s.s.Root(), FX: fx, Fast: uint64(uintptr(unsafe.Pointer(table)))}, view[:abi.VectorSize], nil
}

func (s *space) FreeThread(ctx *abi.UserContext) {
	metal.FreeVectorState(ctx.FX)
	threads.Add(-1)
}

func (s *space) Run(ctx *abi.UserContext) abi.Exit { return abi.Exit(metal.RunUser(ctx)) }
func (s *space) Kick(ctx *abi.UserContext)         { metal.Kick(ctx) }

// fast answers Null and ClockRead in trap context: the capability check first.
// Anything it does not know goes the long way, and so does a call of an agent that
// is refused, so that the reason can be told.
func fast(table, number, handle, tsc uint64) (uint64, uint64) {
	// Safety: NewThread put the address there.
	t := (*cap.Table)(unsafe.Pointer(uintptr(table)))
	typ, rights := abi.TypeNone, abi.Rights(0)
	switch abi.Number(number) {
	case abi.CallNull:
	case abi.CallClockRead:
		typ, rights = abi.TypeClock, abi.RightRead
	default:
		return number, 0
	}
	now := metal.Since(tsc)
	if e := t.Check(abi.Handle(handle), typ, rights, now); e != 0 {
		if t.Gate() != nil {
			return number, 0
		}
		return -uint64(e), 1
	}
	if typ == abi.TypeNone {
		return 0, 1
	}
	return uint64(now), 1
}

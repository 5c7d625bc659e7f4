package process

import (
	"fmt"
	"sync/atomic"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
)

// thread is one ring-3 thread. Fields without a note belong to the goroutine
// that serves it.
type thread struct {
	p      *Process
	tid    int
	ctx    *abi.UserContext
	vector []byte // XSAVE area

	mask     uint64        // blocked signals
	pending  atomic.Uint64 // sent and not yet delivered; set by any thread
	wake     chan struct{} // a token when pending has changed
	altStack altStack
	clearTID uint64        // CLONE_CHILD_CLEARTID
	setTID   func(tid int) // tells the program the thread's id before the thread runs
	buffer   []byte        // for transfers
	caller   ipc.Caller    // for messages, and how it waits for them
	parking  parking
}

// vectorInit is the initial state of an XSAVE area: FCW, MXCSR, no component
// in use (Intel SDM 1, 13.6).
func vectorInit(v []byte) {
	clear(v)
	v[0], v[1] = 0x7f, 0x03
	v[24], v[25] = 0x80, 0x1f
}

// newThread makes a thread that starts as a copy of parent (nil: with all
// registers zero) and charges it.
func (p *Process) newThread(parent *thread) (*thread, error) {
	if err := p.mem.chargeKernel(threadFrames); err != nil {
		return nil, err
	}
	ctx, vector, err := p.mem.space.NewThread(&p.caps)
	if err != nil {
		p.mem.chargeKernel(-threadFrames)
		return nil, fmt.Errorf("make a thread: %w", err)
	}
	t := &thread{p: p, ctx: ctx, vector: vector, wake: make(chan struct{}, 1)}
	t.parking = parking{t: t, token: make(chan struct{}, 1)}
	t.caller = ipc.Caller{ID: ipc.ID(p.cfg.PID), Memory: userMemory{p}, Table: &p.caps, Waiter: &t.parking}
	if parent != nil {
		copyRegisters(ctx, parent.ctx)
		copy(vector, parent.vector)
		t.mask = parent.mask
	} else {
		vectorInit(vector)
	}
	ctx.Quota = int64(quantum)
	ctx.ID = uint64(p.cfg.PID)
	return t, nil
}

// copyRegisters copies what belongs to the program; the rest of the context is
// the machine's.
func copyRegisters(dst, src *abi.UserContext) {
	keep := *dst
	*dst = *src
	dst.CR3, dst.FX, dst.Fast, dst.Kicked = keep.CR3, keep.FX, keep.Fast, keep.Kicked
}

// start gives the thread its id and its goroutine. It fails when the process
// is ending or has too many threads.
func (p *Process) start(t *thread) (tid int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dying.Load() || len(p.threads) >= p.cfg.Threads {
		return 0, false
	}
	t.tid = p.nextTID
	p.nextTID++
	p.threads[t.tid] = t
	p.wg.Add(1)
	go t.serve()
	return t.tid, true
}

// discard gives back a thread that does not run.
func (t *thread) discard() {
	t.p.mem.space.FreeThread(t.ctx)
	t.p.mem.chargeKernel(-threadFrames)
}

// serve runs the thread until it or its process ends.
func (t *thread) serve() {
	p := t.p
	defer p.wg.Done()
	if t.setTID != nil {
		t.setTID(t.tid)
	}
	for t.step() {
	}
	p.mu.Lock()
	delete(p.threads, t.tid)
	last := len(p.threads) == 0
	p.mu.Unlock()
	t.discard()
	if last {
		p.end("exit status 0", true) // unless there is a reason already
	}
}

// step enters ring 3 once and handles what ended that; false ends the thread.
func (t *thread) step() bool {
	p := t.p
	if p.dying.Load() || !t.deliver() {
		return false
	}
	switch p.mem.space.Run(t.ctx) {
	case abi.ExitSyscall:
		return t.syscall()
	case abi.ExitFault:
		return t.fault()
	}
	return true // quantum or kick
}

// syscall serves one call. RCX and R11 come back as SYSCALL left them.
func (t *thread) syscall() bool {
	c := t.ctx
	number := c.AX
	c.CX, c.R11 = c.RIP, c.Flags
	args := [6]uint64{c.DI, c.SI, c.DX, c.R10, c.R8, c.R9}
	switch number {
	case sysRtSigreturn:
		return t.sigreturn()
	case sysExit:
		t.exit()
		return false
	}
	if number >= abi.FirstCall {
		c.AX = t.call(number, args)
	} else {
		c.AX = t.linux(number, args)
	}
	return true
}

// exit ends this thread alone, and tells who waits for it.
func (t *thread) exit() {
	if t.clearTID != 0 && t.p.copyOut(t.clearTID, []byte{0, 0, 0, 0}) == 0 {
		t.p.futexes.wake(t.clearTID, 1, ^uint32(0))
	}
	t.p.mu.Lock()
	last := len(t.p.threads) == 1
	t.p.mu.Unlock()
	if last {
		t.p.end(exitReason(uint32(t.ctx.DI)&0xff), t.ctx.DI&0xff == 0)
	}
}

func exitReason(code uint32) string { return fmt.Sprintf("exit status %d", code) }

// Exceptions (Intel SDM 3, 6.15) and bits of the page-fault error code.
const (
	vecDivide     = 0
	vecDebug      = 1
	vecBreakpoint = 3
	vecOverflow   = 4
	vecBound      = 5
	vecInvalid    = 6
	vecProtection = 13
	vecPageFault  = 14
	vecX87        = 16
	vecAlignment  = 17
	vecSIMD       = 19

	faultPresent = 1
	faultWrite   = 2
	faultFetch   = 16
)

// fault handles an exception: a missing page comes in, anything else becomes
// the signal that Linux would send, or the end of the process.
func (t *thread) fault() bool {
	c := t.ctx
	if c.Vec != vecPageFault {
		s, ok := exceptionSignal(c)
		if !ok {
			t.p.end(fmt.Sprintf("exception %d at %#x", c.Vec, c.RIP), false)
			return false
		}
		return t.raise(s, fmt.Sprintf("%s at %#x", exceptionName(c.Vec), c.RIP))
	}
	access, verb := Read, "read of"
	switch {
	case c.Err&faultFetch != 0:
		access, verb = Exec, "execution of"
	case c.Err&faultWrite != 0:
		access, verb = Write, "write to"
	}
	s := siginfo{signal: sigSEGV, code: segvMapErr, addr: c.CR2}
	if userRange(c.CR2, 1) {
		err := t.p.mem.fault(c.CR2, access)
		if err == nil {
			return true
		}
		if err != errFault {
			t.p.memoryError(err)
			return false
		}
		if c.Err&faultPresent != 0 || t.p.mem.mapped(c.CR2) {
			s.code = segvAccErr
		}
	}
	return t.raise(s, fmt.Sprintf("page fault: %s %#x at %#x", verb, c.CR2, c.RIP))
}

// mapped tells whether a region holds va.
func (m *memory) mapped(va uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.regions.find(va)
	return ok
}

func exceptionSignal(c *abi.UserContext) (siginfo, bool) {
	switch c.Vec {
	case vecDivide:
		return siginfo{signal: sigFPE, code: 1, addr: c.RIP}, true
	case vecX87, vecSIMD:
		return siginfo{signal: sigFPE, code: 7, addr: c.RIP}, true
	case vecDebug, vecBreakpoint:
		return siginfo{signal: sigTRAP, code: siKernel}, true
	case vecOverflow, vecBound, vecProtection:
		return siginfo{signal: sigSEGV, code: siKernel}, true
	case vecInvalid:
		return siginfo{signal: sigILL, code: 2, addr: c.RIP}, true
	case vecAlignment:
		return siginfo{signal: sigBUS, code: 1, addr: c.CR2}, true
	}
	return siginfo{}, false
}

func exceptionName(vec uint64) string {
	switch vec {
	case vecDivide:
		return "division error"
	case vecBreakpoint:
		return "breakpoint"
	case vecInvalid:
		return "invalid instruction"
	case vecProtection:
		return "general protection fault"
	case vecAlignment:
		return "misaligned access"
	case vecX87, vecSIMD:
		return "floating-point error"
	}
	return fmt.Sprintf("exception %d", vec)
}

// outcome is how a wait ended.
type outcome int

const (
	woken outcome = iota
	timedOut
	interrupted // a signal is to be delivered
	ending      // the process is
)

// forever is a wait without a time limit.
const forever = time.Duration(-1)

// wait blocks until ch yields, d is over, a signal comes or the process ends.
func (t *thread) wait(ch <-chan struct{}, d time.Duration) outcome {
	var timeout <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		if t.pending.Load()&^t.mask != 0 {
			return interrupted
		}
		select {
		case <-ch:
			return woken
		case <-timeout:
			return timedOut
		case <-t.p.ctx.Done():
			return ending
		case <-t.wake: // look at pending again
		}
	}
}

func (o outcome) errno() abi.Errno {
	switch o {
	case timedOut:
		return abi.TimedOut
	case interrupted:
		return abi.Interrupted
	case ending:
		return abi.Canceled
	}
	return 0
}

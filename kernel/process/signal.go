package process

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"

	"aios/kernel/abi"
)

// Signals (Linux x86-64). A program has only its own: from its own threads,
// and from its own faults.
const (
	sigILL   = 4
	sigTRAP  = 5
	sigBUS   = 7
	sigFPE   = 8
	sigKILL  = 9
	sigSEGV  = 11
	sigCHLD  = 17
	sigCONT  = 18
	sigSTOP  = 19
	sigURG   = 23
	sigWINCH = 28
	sigMax   = 64

	siKernel   = 0x80
	siTkill    = -6
	segvMapErr = 1
	segvAccErr = 2

	saOnStack   = 0x08000000
	saRestorer  = 0x04000000
	saNoDefer   = 0x40000000
	saResetHand = 0x80000000

	handlerDefault = 0
	handlerIgnore  = 1

	ssOnStack  = 1
	ssDisable  = 2
	minSigStck = 2048
)

// unblockable can be neither caught nor blocked.
const unblockable = 1<<(sigKILL-1) | 1<<(sigSTOP-1)

// ignoredByDefault are the signals whose default is to do nothing.
const ignoredByDefault = 1<<(sigCHLD-1) | 1<<(sigCONT-1) | 1<<(sigURG-1) | 1<<(sigWINCH-1)

type siginfo struct {
	signal int
	code   int32
	addr   uint64
}

// action is struct kernel_sigaction.
type action struct{ handler, flags, restorer, mask uint64 }

const actionSize = 32

type signalTable struct {
	mu      sync.Mutex
	actions [sigMax + 1]action
}

func (s *signalTable) get(n int) action {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.actions[n]
}

func (s *signalTable) set(n int, a action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actions[n] = a
}

// altStack is where handlers run that ask for it; size 0: none.
type altStack struct{ base, size uint64 }

func (a altStack) holds(sp uint64) bool { return sp > a.base && sp-a.base <= a.size }

// send makes a signal pending for t and sees to it that t notices. The caller
// holds p.mu, so that t is not freed meanwhile.
func (t *thread) send(n int) {
	t.pending.Or(1 << (n - 1))
	select {
	case t.wake <- struct{}{}:
	default:
	}
	t.p.mem.space.Kick(t.ctx)
}

// deliver takes the pending signals that are not blocked, and makes the first
// that has a handler the next thing that the thread does. False: the process
// is ending.
func (t *thread) deliver() bool {
	for {
		set := t.pending.Load() &^ t.mask
		if set == 0 {
			return true
		}
		n := bits.TrailingZeros64(set) + 1
		t.pending.And(^uint64(1 << (n - 1)))
		a := t.p.signals.get(n)
		switch {
		case a.handler == handlerIgnore && 1<<(n-1)&unblockable == 0:
		case a.handler == handlerDefault || 1<<(n-1)&unblockable != 0:
			if 1<<(n-1)&ignoredByDefault == 0 {
				t.p.end(fmt.Sprintf("signal %d", n), false)
				return false
			}
		default:
			return t.push(siginfo{signal: n, code: siTkill, addr: uint64(t.p.cfg.PID)}, a)
		}
	}
}

// raise delivers a fault of the thread's own making. Without a handler, or
// with the signal blocked, the process ends for the reason given.
func (t *thread) raise(s siginfo, reason string) bool {
	a := t.p.signals.get(s.signal)
	if a.handler <= handlerIgnore || t.mask&(1<<(s.signal-1)) != 0 {
		t.p.end(reason, false)
		return false
	}
	return t.push(s, a)
}

// The signal frame (Linux arch/x86/include/uapi/asm/sigcontext.h, ucontext.h):
// return address, ucontext {flags, link, stack, registers, mask}, siginfo; the
// vector state lies above it.
const (
	ucontextAt = 8
	stackAt    = ucontextAt + 16
	gregsAt    = ucontextAt + 40
	maskAt     = gregsAt + 256
	siginfoAt  = maskAt + 8
	frameSize  = siginfoAt + 128

	redZone = 128 // below the stack pointer, the program's own (psABI 3.2.2)
)

// Words of the register block.
const (
	gregSP      = 15
	gregIP      = 16
	gregFlags   = 17
	gregSegs    = 18
	gregErr     = 19
	gregTrap    = 20
	gregMask    = 21
	gregCR2     = 22
	gregVector  = 23
	gregCount   = 24
	userSegs    = 0x002b | 0x23<<48 // cs, gs, fs, ss
	flagsAlways = 0x202             // bit 1 and IF
)

// registers lists the general registers in the frame's order.
func registers(c *abi.UserContext) [gregSP + 1]*uint64 {
	return [...]*uint64{&c.R8, &c.R9, &c.R10, &c.R11, &c.R12, &c.R13, &c.R14, &c.R15,
		&c.DI, &c.SI, &c.BP, &c.BX, &c.DX, &c.AX, &c.CX, &c.SP}
}

// push writes a signal frame to the program's stack and turns the thread to
// the handler. False: there is no room, and the process ends.
func (t *thread) push(s siginfo, a action) bool {
	c := t.ctx
	fail := func(why string) bool {
		t.p.end(fmt.Sprintf("signal %d at %#x: %s", s.signal, c.RIP, why), false)
		return false
	}
	if a.flags&saRestorer == 0 {
		return fail("its handler has no restorer")
	}
	sp := c.SP - redZone
	if a.flags&saOnStack != 0 && t.altStack.size != 0 && !t.altStack.holds(c.SP) {
		sp = t.altStack.base + t.altStack.size
	}
	vectorAt := (sp - abi.VectorSize) &^ 63
	at := (vectorAt-frameSize)&^15 - 8 // as after a call (psABI 3.2.2)

	le := binary.LittleEndian
	f := make([]byte, frameSize)
	le.PutUint64(f, a.restorer)
	le.PutUint64(f[stackAt:], t.altStack.base)
	le.PutUint64(f[stackAt+8:], t.altStackFlags(c.SP))
	le.PutUint64(f[stackAt+16:], t.altStack.size)
	greg := func(i int, v uint64) { le.PutUint64(f[gregsAt+8*i:], v) }
	for i, r := range registers(c) {
		greg(i, *r)
	}
	greg(gregIP, c.RIP)
	greg(gregFlags, c.Flags)
	greg(gregSegs, userSegs)
	greg(gregErr, c.Err)
	greg(gregTrap, c.Vec)
	greg(gregMask, t.mask)
	greg(gregCR2, c.CR2)
	greg(gregVector, vectorAt)
	le.PutUint64(f[maskAt:], t.mask)
	le.PutUint32(f[siginfoAt:], uint32(s.signal))
	le.PutUint32(f[siginfoAt+8:], uint32(s.code))
	le.PutUint64(f[siginfoAt+16:], s.addr)
	if t.p.copyOut(vectorAt, t.vector[:abi.VectorSize]) != 0 || t.p.copyOut(at, f) != 0 {
		return fail("no room on the stack for its handler")
	}

	if a.flags&saResetHand != 0 {
		t.p.signals.set(s.signal, action{})
	}
	t.mask |= a.mask
	if a.flags&saNoDefer == 0 {
		t.mask |= 1 << (s.signal - 1)
	}
	t.mask &^= unblockable
	vectorInit(t.vector)
	c.DI, c.SI, c.DX, c.AX = uint64(s.signal), at+siginfoAt, at+ucontextAt, 0
	c.SP, c.RIP, c.Flags = at, a.handler, flagsAlways
	return true
}

// sigreturn goes back to what a handler interrupted. The frame is the
// program's to write, so nothing in it is trusted: the program counter must lie
// in its own part, segments are not taken at all, of the flags only those that
// ring 3 may choose, and the vector state is made safe to load.
func (t *thread) sigreturn() bool {
	c := t.ctx
	bad := func(why string) bool {
		t.p.end(fmt.Sprintf("rt_sigreturn at %#x: %s", c.RIP, why), false)
		return false
	}
	f := make([]byte, siginfoAt-ucontextAt)
	if t.p.copyIn(c.SP, f) != 0 { // the return address is gone already
		return bad("the frame is not readable")
	}
	le := binary.LittleEndian
	greg := func(i int) uint64 { return le.Uint64(f[gregsAt-ucontextAt+8*i:]) }
	if !userRange(greg(gregIP), 1) {
		return bad(fmt.Sprintf("it returns to %#x, which is not the program's", greg(gregIP)))
	}
	vector := make([]byte, abi.VectorSize)
	if at := greg(gregVector); at == 0 {
		vectorInit(vector)
	} else if t.p.copyIn(at, vector) != 0 {
		return bad("the vector state is not readable")
	}
	t.makeVectorSafe(vector)
	copy(t.vector, vector)
	for i, r := range registers(c) {
		*r = greg(i)
	}
	c.RIP = greg(gregIP)
	c.Flags = greg(gregFlags)&abi.FlagsUser | flagsAlways
	t.mask = le.Uint64(f[maskAt-ucontextAt:]) &^ unblockable
	return true
}

// makeVectorSafe keeps XRSTOR from faulting in ring 0: reserved bits of MXCSR,
// components that the machine has not enabled, the compacted format and the
// rest of the header are cleared (Intel SDM 1, 13.8.1 and 10.2.3).
func (t *thread) makeVectorSafe(v []byte) {
	le := binary.LittleEndian
	const mxcsr, mxcsrMask, header = 24, 28, 512
	mask := le.Uint32(t.vector[mxcsrMask:]) // as the processor stored it
	if mask == 0 {
		mask = 0xffbf
	}
	le.PutUint32(v[mxcsr:], le.Uint32(v[mxcsr:])&mask)
	le.PutUint32(v[mxcsrMask:], mask)
	components := le.Uint64(v[header:]) & t.p.machine.XCR0()
	clear(v[header : header+64])
	le.PutUint64(v[header:], components)
}

func (t *thread) altStackFlags(sp uint64) uint64 {
	switch {
	case t.altStack.size == 0:
		return ssDisable
	case t.altStack.holds(sp):
		return ssOnStack
	}
	return 0
}

// rtSigaction serves rt_sigaction(signal, new, old, size of a mask).
func (t *thread) rtSigaction(n, newAt, oldAt, size uint64) abi.Errno {
	if n == 0 || n > sigMax || size != 8 {
		return abi.Invalid
	}
	le := binary.LittleEndian
	var next action
	if newAt != 0 {
		if 1<<(n-1)&uint64(unblockable) != 0 {
			return abi.Invalid
		}
		var b [actionSize]byte
		if e := t.p.copyIn(newAt, b[:]); e != 0 {
			return e
		}
		next = action{le.Uint64(b[:]), le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[24:])}
		if next.handler > handlerIgnore && !userRange(next.handler, 1) {
			return abi.Fault
		}
	}
	if oldAt != 0 {
		old := t.p.signals.get(int(n))
		var b []byte
		for _, w := range [...]uint64{old.handler, old.flags, old.restorer, old.mask} {
			b = le.AppendUint64(b, w)
		}
		if e := t.p.copyOut(oldAt, b); e != 0 {
			return e
		}
	}
	if newAt != 0 {
		t.p.signals.set(int(n), next)
	}
	return 0
}

// rtSigprocmask serves rt_sigprocmask(how, new, old, size of a mask).
func (t *thread) rtSigprocmask(how, newAt, oldAt, size uint64) abi.Errno {
	if size != 8 {
		return abi.Invalid
	}
	next := t.mask
	var b [8]byte
	if newAt != 0 {
		if e := t.p.copyIn(newAt, b[:]); e != 0 {
			return e
		}
		switch v := binary.LittleEndian.Uint64(b[:]); how {
		case 0:
			next |= v
		case 1:
			next &^= v
		case 2:
			next = v
		default:
			return abi.Invalid
		}
	}
	if oldAt != 0 {
		binary.LittleEndian.PutUint64(b[:], t.mask)
		if e := t.p.copyOut(oldAt, b[:]); e != 0 {
			return e
		}
	}
	t.mask = next &^ unblockable
	return 0
}

// sigaltstack serves sigaltstack(new, old).
func (t *thread) sigaltstack(newAt, oldAt uint64) abi.Errno {
	le := binary.LittleEndian
	next := t.altStack
	var b [24]byte
	if newAt != 0 {
		if e := t.p.copyIn(newAt, b[:]); e != 0 {
			return e
		}
		base, flags, size := le.Uint64(b[:]), le.Uint32(b[8:]), le.Uint64(b[16:])
		switch {
		case t.altStack.size != 0 && t.altStack.holds(t.ctx.SP):
			return abi.Permission
		case flags&ssDisable != 0:
			next = altStack{}
		case flags&^ssOnStack != 0:
			return abi.Invalid
		case size < minSigStck:
			return abi.NoMemory
		case !userRange(base, size):
			return abi.Fault
		default:
			next = altStack{base, size}
		}
	}
	if oldAt != 0 {
		clear(b[:])
		le.PutUint64(b[:], t.altStack.base)
		le.PutUint32(b[8:], uint32(t.altStackFlags(t.ctx.SP)))
		le.PutUint64(b[16:], t.altStack.size)
		if e := t.p.copyOut(oldAt, b[:]); e != 0 {
			return e
		}
	}
	t.altStack = next
	return 0
}

// tgkill sends a signal to a thread of this process. There is no other.
func (p *Process) tgkill(pid, tid, n uint64) abi.Errno {
	if n > sigMax {
		return abi.Invalid
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.threads[int(int32(tid))]
	if int32(pid) != int32(p.cfg.PID) || t == nil {
		return abi.NoProcess
	}
	if n != 0 {
		t.send(int(n))
	}
	return 0
}

// kill sends a signal to the process: to its longest-lived thread.
func (p *Process) kill(pid, n uint64) abi.Errno {
	p.mu.Lock()
	tid := -1
	for id := range p.threads {
		if tid < 0 || id < tid {
			tid = id
		}
	}
	p.mu.Unlock()
	return p.tgkill(pid, uint64(tid), n)
}

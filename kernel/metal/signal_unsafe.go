//go:build aios

package metal

// Signals of the runtime's own threads: faults in Go code become panics, and
// tgkill(SIGURG) preempts, both through a genuine rt_sigframe.

type sigaction struct{ handler, flags, restorer, mask uint64 }

var actions [65]sigaction

const (
	sigFPE  = 8
	sigILL  = 4
	sigTRAP = 5
	sigSEGV = 11
)

// raise delivers a synchronous fault to the thread that caused it.
func raise(t *thread, sig, code, addr uint64) {
	if t.tid == 0 || actions[sig].handler < 2 || t.mask&(1<<(sig-1)) != 0 {
		die("fatal fault in ring 0", t)
	}
	pushSignal(t, sig, code, addr)
}

// deliver pushes the first pending signal that is not blocked.
func deliver(t *thread) {
	for s := uint64(1); s <= 64; s++ {
		b := uint64(1) << (s - 1)
		if t.pending&b == 0 || t.mask&b != 0 {
			continue
		}
		t.pending &^= b
		if actions[s].handler < 2 {
			continue
		}
		const siTkill = -6 & (1<<32 - 1)
		pushSignal(t, s, siTkill, 0)
		return
	}
}

// Layout of the frame: restorer, ucontext {40 bytes head, 256 mcontext, mask}, siginfo.
const (
	ucOff       = 8
	mcOff       = ucOff + 40
	maskOff     = mcOff + 256
	infoOff     = maskOff + 8
	sigFrame    = infoOff + 128 + 8
	redZone     = 128
	mcRegisters = 24
)

func pushSignal(t *thread, sig, code, fault uint64) {
	sp := uintptr(t.sp) - redZone
	if t.altSP != 0 && !(t.sp > t.altSP && t.sp <= t.altSP+t.altSize) {
		sp = uintptr(t.altSP + t.altSize)
	}
	sp = (sp-sigFrame)&^15 - 8
	if !touch(sp, sigFrame+16) {
		die("no room for a signal frame", t)
	}
	for p := sp; p < sp+sigFrame; p += 8 {
		*p64(p) = 0
	}
	a := &actions[sig]
	*p64(sp) = a.restorer
	*p64(sp + ucOff + 16) = t.altSP
	*p64(sp + ucOff + 32) = t.altSize
	r := [mcRegisters]uint64{t.r8, t.r9, t.r10, t.r11, t.r12, t.r13, t.r14, t.r15, t.di, t.si, t.bp, t.bx, t.dx, t.ax, t.cx, t.sp, t.rip, t.flags, 0, t.err, t.vec, 0, fault, 0}
	for i := range r {
		*p64(sp + mcOff + uintptr(i)*8) = r[i]
	}
	*p64(sp + maskOff) = t.mask
	*p32(sp + infoOff) = uint32(sig)
	*p32(sp + infoOff + 8) = uint32(code)
	*p64(sp + infoOff + 16) = fault
	t.mask |= a.mask | 1<<(sig-1)
	t.inSignal++
	t.sigFX = t.fxv
	if t.fxv != 0 { // keep the interrupted vector state
		*(*[fxSize]byte)(ptr(addr(t) + offFX2)) = *(*[fxSize]byte)(ptr(addr(t) + offFX))
		t.fxv = 0
	}
	t.di, t.si, t.dx, t.ax = sig, uint64(sp+infoOff), uint64(sp+ucOff), 0
	t.sp, t.rip, t.flags = uint64(sp), a.handler, kernelFlags
}

func sigreturn(t *thread) {
	m := uintptr(t.sp) - 8 + mcOff // the handler's RET has popped the restorer
	g := func(i uintptr) uint64 { return *p64(m + i*8) }
	t.r8, t.r9, t.r10, t.r11, t.r12, t.r13, t.r14, t.r15 = g(0), g(1), g(2), g(3), g(4), g(5), g(6), g(7)
	t.di, t.si, t.bp, t.bx, t.dx, t.ax, t.cx = g(8), g(9), g(10), g(11), g(12), g(13), g(14)
	mask := *p64(m - mcOff + maskOff)
	t.sp, t.rip, t.flags = g(15), g(16), g(17)
	t.mask = mask
	t.inSignal--
	if t.sigFX != 0 {
		*(*[fxSize]byte)(ptr(addr(t) + offFX)) = *(*[fxSize]byte)(ptr(addr(t) + offFX2))
		t.fxv, t.sigFX = 1, 0
	}
}

//go:build aios

package metal

// The personality: the Linux system calls that the Go runtime makes.

const (
	enoent    = 2
	eagain    = 11
	enomem    = 12
	efault    = 14
	enodev    = 19
	einval    = 22
	enosys    = 38
	ebadf     = 9
	etimedout = 110
)

const sysGetrandom = 318

// Calls of our own, far above Linux's numbers; ring 0 only.
const (
	sysRunUser = 0x8000 + iota
	sysWaitIRQ
	sysNewSpace
	sysMapUser
	sysUnmapUser
	sysProtectUser
	sysDestroySpace
	sysKick
	sysFrame
	sysFreeFrame
	sysMapDevice
	sysEFICall
	sysControl
	sysUnpark
	sysBarrier
)

var (
	unknown   [512]bool
	eventN    uint64 // the runtime's eventfd, which wakes its netpoller
	eventData uint64
)

func timespec(p uintptr) int64 {
	if !touch(p, 16) {
		return 0
	}
	return int64(*p64(p))*1e9 + int64(*p64(p + 8))
}

// serve answers one call; t.ax is the result unless the thread blocks.
func serve(t *thread) {
	r := int64(0)
	a0, a1, a2 := uintptr(t.di), uintptr(t.si), uintptr(t.dx)
	switch t.ax {
	case 0: // read
		r = -ebadf
		if t.di == 4 {
			r = -eagain
			if eventN != 0 && touch(a1, 8) {
				*p64(a1) = eventN
				eventN = 0
				r = 8
			}
		}
	case 1: // write
		r = write(t)
	case 9:
		r = mmap(a0, a1, t.dx, t.r10)
	case 10:
		r = mprotect(a0, a1, t.dx)
	case 11:
		r = munmap(a0, a1)
	case 13: // rt_sigaction
		if t.di == 0 || t.di > 64 {
			r = -einval
			break
		}
		old := actions[t.di]
		if t.si != 0 {
			if !touch(a1, 32) {
				r = -efault
				break
			}
			actions[t.di] = *(*sigaction)(ptr(a1))
		}
		if t.dx != 0 && touch(a2, 32) {
			*(*sigaction)(ptr(a2)) = old
		}
	case 14: // rt_sigprocmask
		old := t.mask
		if t.si != 0 && touch(a1, 8) {
			switch v := *p64(a1); t.di {
			case 0:
				t.mask |= v
			case 1:
				t.mask &^= v
			default:
				t.mask = v
			}
		}
		if t.dx != 0 && touch(a2, 8) {
			*p64(a2) = old
		}
	case 15:
		sigreturn(t)
		return
	case 24: // sched_yield
		t.ax = 0
		if efiMode {
			expire()
		}
		pick()
		return
	case 28:
		r = madvise(a0, a1, t.dx)
	case 35: // nanosleep
		t.ax = 0
		block(t, stSleep, now()+timespec(a0))
		return
	case 39, 186: // getpid, gettid
		r = 1
		if t.ax == 186 {
			r = int64(t.tid)
		}
	case 56:
		r = clone(t)
	case 60: // exit
		t.state = stFree
		return
	case 3, 72, 102, 104, 107, 108: // close, fcntl, get*id
	case 131:
		sigaltstack(t)
	case 158: // arch_prctl
		const archSetFS = 0x1002
		if t.di != archSetFS {
			r = -einval
			break
		}
		t.fs = t.si
	case 202:
		if futex(t, &r) {
			return
		}
	case 204: // sched_getaffinity
		if t.si < 8 || !touch(a2, 8) {
			r = -efault
			break
		}
		*p64(a2) = 1<<uint(ncpus) - 1
		r = 8
	case 228: // clock_gettime
		v := now()
		if t.di == 0 || t.di == 5 {
			v += wallBase
		}
		if !touch(a1, 16) {
			r = -efault
			break
		}
		*p64(a1) = uint64(v / 1e9)
		*p64(a1 + 8) = uint64(v % 1e9)
	case 231, 62: // exit_group, kill(self)
		if uint8(t.di) != 0 {
			stopOthers()
			failed("panic of its own program; the trace is above")
		}
		poweroff(uint8(t.di))
	case 232, 281: // epoll_wait, epoll_pwait
		t.epBuf = a1
		ms := int64(int32(t.r10))
		if eventN > 0 {
			epollReady(t)
			return
		}
		if ms == 0 {
			break
		}
		t.ax = 0
		wake := int64(0)
		if ms > 0 {
			wake = now() + ms*1e6
		}
		block(t, stEpoll, wake)
		return
	case 233: // epoll_ctl: only the eventfd can be watched
		if t.dx != 4 || !touch(uintptr(t.r10), 12) {
			r = -1
			break
		}
		eventData = *p64(uintptr(t.r10) + 4)
	case 234: // tgkill
		if t.si != 0 && t.si < uint64(nthreads) && t.dx != 0 && t.dx <= 64 {
			signalThread(asThread(threads[t.si]), t.dx)
		}
	case 257, 2: // openat, open
		r = -enoent
	case 290: // eventfd2
		r = 4
	case 291: // epoll_create1
		r = 3
	case 302: // prlimit64
		if t.r10 != 0 && touch(uintptr(t.r10), 16) {
			*p64(uintptr(t.r10)) = 1024
			*p64(uintptr(t.r10) + 8) = 1024
		}
	case sysGetrandom:
		if !touch(a0, a1) {
			r = -efault
			break
		}
		rngStir()
		rngFill(a0, a1)
		r = int64(a1)
	case 157, 222, 334: // prctl, timer_create, rseq: the runtime does without
		r = -einval
	default:
		if t.ax >= sysRunUser {
			own(t)
			return
		}
		r = -enosys
		if t.ax < 512 && !unknown[t.ax] {
			unknown[t.ax] = true
			puts("aios kernel: runtime asked for unserved system call ")
			putHex(t.ax)
			puts("\n")
		}
	}
	t.ax = uint64(r)
}

// write puts file descriptors 1 and 2 on the console.
func write(t *thread) int64 {
	a, n := uintptr(t.si), uintptr(t.dx)
	if t.di == 4 { // eventfd
		eventN++
		for i := 1; i < nthreads; i++ {
			if x := asThread(threads[i]); x.state == stEpoll {
				epollReady(x)
				x.wake = 0
				ready(x)
			}
		}
		return 8
	}
	if t.di > 2 {
		return -ebadf
	}
	if !touch(a, n) {
		return -efault
	}
	for i := uintptr(0); i < n; i++ {
		c := *p8(a + i)
		if c == '\n' {
			putc('\r')
		}
		putc(c)
	}
	return int64(n)
}

func epollReady(t *thread) {
	if !touch(t.epBuf, 12) {
		t.ax = 0
		return
	}
	*p32(t.epBuf) = 1
	*p64(t.epBuf + 4) = eventData
	t.ax = 1
}

func clone(t *thread) int64 {
	const setTLS = 0x80000
	c := newThread()
	if c == nil {
		return -eagain
	}
	c.r15, c.r14, c.r13, c.r12, c.r11, c.r10, c.r9, c.r8 = t.r15, t.r14, t.r13, t.r12, t.r11, t.r10, t.r9, t.r8
	c.bp, c.di, c.si, c.dx, c.cx, c.bx = t.bp, t.di, t.si, t.dx, t.cx, t.bx
	c.rip, c.cs, c.flags, c.ss = t.rip, t.cs, t.flags, t.ss
	c.sp, c.ax = t.si, 0
	c.fs = t.fs
	if t.di&setTLS != 0 {
		c.fs = t.r8
	}
	c.mask = t.mask
	id := int64(c.tid)
	ready(c)
	return id
}

func sigaltstack(t *thread) {
	const disabled = 2
	if p := uintptr(t.si); p != 0 && touch(p, 24) {
		*p64(p) = t.altSP
		*p64(p + 8) = 0
		if t.altSP == 0 {
			*p64(p + 8) = disabled
		}
		*p64(p + 16) = t.altSize
	}
	if p := uintptr(t.di); p != 0 && touch(p, 24) {
		t.altSP, t.altSize = *p64(p), *p64(p + 16)
		if *p32(p + 8)&disabled != 0 {
			t.altSP, t.altSize = 0, 0
		}
	}
}

// futex reports whether the thread now blocks.
func futex(t *thread, r *int64) bool {
	a := uintptr(t.di)
	if !touch(a, 4) {
		*r = -efault
		return false
	}
	switch t.si & 127 {
	case 0: // FUTEX_WAIT
		if *p32(a) != uint32(t.dx) {
			*r = -eagain
			return false
		}
		wake := int64(0)
		if t.r10 != 0 {
			wake = now() + timespec(uintptr(t.r10))
		}
		t.futex = a
		block(t, stFutex, wake)
		return true
	case 1: // FUTEX_WAKE
		*r = futexWake(a, int(int32(t.dx)))
	default:
		*r = -enosys
	}
	return false
}

// signalThread marks sig pending and, if the thread runs elsewhere, makes its
// CPU notice.
func signalThread(t *thread, sig uint64) {
	if t.state == stFree {
		return
	}
	t.pending |= 1 << (sig - 1)
	if t.cpu != 0 && t.cpu-1 != thisCPU().index {
		sendIPI(cpus[t.cpu-1].apic, vecReschedule)
	}
}

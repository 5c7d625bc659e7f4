package process

import (
	"encoding/binary"
	"runtime"
	"time"

	"aios/kernel/abi"
)

// The personality: the Linux x86-64 calls that a program's runtime makes. It
// is an allow-list; what is not here is NoCall, and counted.
const (
	sysRead             = 0
	sysWrite            = 1
	sysClose            = 3
	sysMmap             = 9
	sysMprotect         = 10
	sysMunmap           = 11
	sysRtSigaction      = 13
	sysRtSigprocmask    = 14
	sysRtSigreturn      = 15
	sysSchedYield       = 24
	sysMincore          = 27
	sysMadvise          = 28
	sysNanosleep        = 35
	sysGetpid           = 39
	sysClone            = 56
	sysExit             = 60
	sysKill             = 62
	sysFcntl            = 72
	sysSigaltstack      = 131
	sysPrctl            = 157
	sysArchPrctl        = 158
	sysGettid           = 186
	sysFutex            = 202
	sysSchedGetaffinity = 204
	sysSetTidAddress    = 218
	sysClockGettime     = 228
	sysExitGroup        = 231
	sysEpollWait        = 232
	sysEpollCtl         = 233
	sysTgkill           = 234
	sysOpenat           = 257
	sysEpollPwait       = 281
	sysEventfd2         = 290
	sysEpollCreate1     = 291
	sysPrlimit64        = 302
	sysGetrandom        = 318
)

const (
	cloneVM           = 0x100
	cloneFS           = 0x200
	cloneFiles        = 0x400
	cloneSighand      = 0x800
	cloneThread       = 0x10000
	cloneSysVSem      = 0x40000
	cloneSetTLS       = 0x80000
	cloneParentSetTID = 0x100000
	cloneClearTID     = 0x200000
	cloneDetached     = 0x400000
	cloneChildSetTID  = 0x1000000
	cloneNeeded       = cloneVM | cloneSighand | cloneThread
	cloneKnown        = cloneNeeded | cloneFS | cloneFiles | cloneSysVSem | cloneSetTLS |
		cloneParentSetTID | cloneClearTID | cloneDetached | cloneChildSetTID

	archSetFS = 0x1002
	archGetFS = 0x1003

	futexWait        = 0
	futexWake        = 1
	futexWaitBitset  = 9
	futexWakeBitset  = 10
	futexPrivate     = 128
	futexRealtime    = 256
	futexOpMask      = ^uint64(futexPrivate | futexRealtime)
	futexAllBits     = 1<<32 - 1
	clockRealtime    = 0
	clockMonotonic   = 1
	clockMonoRaw     = 4
	clockRealCoarse  = 5
	clockMonoCoarse  = 6
	clockBoot        = 7
	fcntlGetFD       = 1
	fcntlSetFD       = 2
	fcntlGetFL       = 3
	openReadWrite    = 2
	maxRandom        = 1 << 20
	rlimitStack      = 3
	rlimitResident   = 5
	rlimitNoFile     = 7
	rlimitUnlimited  = ^uint64(0)
	longestSleepSecs = 1 << 32 // sleeps beyond a century are cut to it
)

// linux serves one call of the personality and returns what goes into RAX.
func (t *thread) linux(number uint64, a [6]uint64) uint64 {
	v, e := t.personality(number, a)
	if e != 0 {
		return e.Result()
	}
	return v
}

func (t *thread) personality(number uint64, a [6]uint64) (uint64, abi.Errno) {
	p := t.p
	switch number {
	case sysMmap:
		return p.mem.mmap(a[0], a[1], a[2], a[3], p.cfg.CodeGen)
	case sysMprotect:
		return 0, p.mem.mprotect(a[0], a[1], a[2], p.cfg.CodeGen)
	case sysMunmap:
		return 0, p.mem.munmap(a[0], a[1])
	case sysMadvise:
		return 0, p.mem.madvise(a[0], a[1], a[2])
	case sysMincore:
		vec, e := p.mem.mincore(a[0], a[1])
		if e != 0 {
			return 0, e
		}
		return 0, p.copyOut(a[2], vec)

	case sysClone:
		return t.clone(a[0], a[1], a[2], a[3], a[4])
	case sysExitGroup:
		code := uint32(a[0]) & 0xff
		p.end(exitReason(code), code == 0)
		return 0, 0
	case sysGetpid:
		return uint64(p.cfg.PID), 0
	case sysGettid:
		return uint64(t.tid), 0
	case sysSetTidAddress:
		t.clearTID = a[0]
		return uint64(t.tid), 0
	case sysSchedYield:
		runtime.Gosched()
		return 0, 0
	case sysSchedGetaffinity:
		return t.affinity(a[1], a[2])
	case sysArchPrctl:
		return 0, t.archPrctl(a[0], a[1])
	case sysPrctl:
		return 0, abi.Invalid // the runtime stops naming its mappings

	case sysFutex:
		return t.futex(a)
	case sysNanosleep:
		return 0, t.nanosleep(a[0])
	case sysClockGettime:
		return 0, t.clockGettime(a[0], a[1])
	case sysGetrandom:
		return t.getrandom(a[0], a[1], a[2])

	case sysRtSigaction:
		return 0, t.rtSigaction(a[0], a[1], a[2], a[3])
	case sysRtSigprocmask:
		return 0, t.rtSigprocmask(a[0], a[1], a[2], a[3])
	case sysSigaltstack:
		return 0, t.sigaltstack(a[0], a[1])
	case sysTgkill:
		return 0, p.tgkill(a[0], a[1], a[2])
	case sysKill:
		return 0, p.kill(a[0], a[1])

	case sysRead:
		return t.read(a[0], a[1], a[2])
	case sysWrite:
		return t.write(a[0], a[1], a[2])
	case sysClose:
		return 0, p.files.close(a[0])
	case sysFcntl:
		return t.fcntl(a[0], a[1])
	case sysOpenat:
		return 0, abi.NoEntry // there are no files
	case sysEventfd2:
		if a[1]&^(efdNonblock|efdCloexec) != 0 {
			return 0, abi.Invalid
		}
		return p.files.add(&eventFD{count: a[0] & 0xffffffff})
	case sysEpollCreate1:
		if a[0]&^efdCloexec != 0 {
			return 0, abi.Invalid
		}
		return p.files.add(&epollSet{interest: map[uint64]epollInterest{}})
	case sysEpollCtl:
		return 0, t.epollCtl(a[0], a[1], a[2], a[3])
	case sysEpollWait, sysEpollPwait:
		if number == sysEpollPwait && a[4] != 0 {
			return 0, abi.Invalid // no mask for the time of the wait
		}
		return t.epollWait(a[0], a[1], a[2], int32(a[3]))
	case sysPrlimit64:
		return 0, t.prlimit(a[0], a[1], a[2], a[3])
	}
	p.unknown.add(number)
	return 0, abi.NoCall
}

// clone makes a thread. There is no fork: a new process comes from an image.
func (t *thread) clone(flags, stack, parentTID, childTID, tls uint64) (uint64, abi.Errno) {
	p := t.p
	if flags&cloneNeeded != cloneNeeded || flags&^cloneKnown != 0 {
		return 0, abi.Invalid
	}
	if flags&cloneSetTLS != 0 && !userRange(tls, 1) {
		return 0, abi.Permission
	}
	child, err := p.newThread(t)
	if err != nil {
		return 0, abi.Again
	}
	child.ctx.AX = 0
	if stack != 0 {
		child.ctx.SP = stack
	}
	if flags&cloneSetTLS != 0 {
		child.ctx.FS = tls
	}
	if flags&cloneClearTID != 0 {
		child.clearTID = childTID
	}
	child.setTID = func(tid int) {
		b := binary.LittleEndian.AppendUint32(nil, uint32(tid))
		if flags&cloneParentSetTID != 0 {
			p.copyOut(parentTID, b)
		}
		if flags&cloneChildSetTID != 0 {
			p.copyOut(childTID, b)
		}
	}
	tid, ok := p.start(child)
	if !ok {
		child.discard()
		return 0, abi.Again
	}
	return uint64(tid), 0
}

func (t *thread) affinity(n, at uint64) (uint64, abi.Errno) {
	if n < 8 {
		return 0, abi.Invalid
	}
	cpus := min(t.p.machine.CPUs(), 64)
	return 8, t.p.copyOut(at, binary.LittleEndian.AppendUint64(nil, 1<<cpus-1))
}

func (t *thread) archPrctl(op, addr uint64) abi.Errno {
	switch op {
	case archSetFS:
		if !userRange(addr, 1) {
			return abi.Permission
		}
		t.ctx.FS = addr
		return 0
	case archGetFS:
		return t.p.copyOut(addr, binary.LittleEndian.AppendUint64(nil, t.ctx.FS))
	}
	return abi.Invalid
}

// timespec reads a struct timespec.
func (t *thread) timespec(at uint64) (time.Duration, abi.Errno) {
	var b [16]byte
	if e := t.p.copyIn(at, b[:]); e != 0 {
		return 0, e
	}
	sec, nsec := int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:]))
	if sec < 0 || nsec < 0 || nsec >= 1e9 {
		return 0, abi.Invalid
	}
	return time.Duration(min(sec, longestSleepSecs))*time.Second + time.Duration(nsec), 0
}

// futex serves the waits and wakes of FUTEX_WAIT, _WAKE and their bitset forms.
func (t *thread) futex(a [6]uint64) (uint64, abi.Errno) {
	addr, op, val, timeoutAt := a[0], a[1]&futexOpMask, uint32(a[2]), a[3]
	if addr%4 != 0 {
		return 0, abi.Invalid
	}
	if !userRange(addr, 4) {
		return 0, abi.Fault
	}
	bits := uint32(futexAllBits)
	if op == futexWaitBitset || op == futexWakeBitset {
		if bits = uint32(a[5]); bits == 0 {
			return 0, abi.Invalid
		}
	}
	switch op {
	case futexWake, futexWakeBitset:
		return uint64(t.p.futexes.wake(addr, int(int32(val)), bits)), 0
	case futexWait, futexWaitBitset:
	default:
		t.p.unknown.add(sysFutex)
		return 0, abi.NoCall
	}
	d := forever
	if timeoutAt != 0 {
		var e abi.Errno
		if d, e = t.timespec(timeoutAt); e != 0 {
			return 0, e
		}
		if op == futexWaitBitset { // a point in time
			now := t.p.machine.Now()
			if a[1]&futexRealtime != 0 {
				now = time.Duration(t.p.machine.Wall().UnixNano())
			}
			d = max(0, d-now)
		}
	}
	var e abi.Errno
	w := t.p.futexes.wait(addr, bits, func() bool {
		var b [4]byte
		e = t.p.copyIn(addr, b[:])
		return e == 0 && binary.LittleEndian.Uint32(b[:]) == val
	})
	if e != 0 {
		return 0, e
	}
	if w == nil {
		return 0, abi.Again
	}
	if o := t.wait(w.ch, d); o != woken && !t.p.futexes.leave(addr, w) {
		return 0, o.errno()
	}
	return 0, 0
}

func (t *thread) nanosleep(at uint64) abi.Errno {
	d, e := t.timespec(at)
	if e != 0 {
		return e
	}
	if o := t.wait(nil, d); o != timedOut {
		return o.errno()
	}
	return 0
}

func (t *thread) clockGettime(clock, at uint64) abi.Errno {
	var ns uint64
	switch clock {
	case clockRealtime, clockRealCoarse:
		ns = uint64(t.p.machine.Wall().UnixNano())
	case clockMonotonic, clockMonoRaw, clockMonoCoarse, clockBoot:
		ns = uint64(t.p.machine.Now())
	default:
		return abi.Invalid
	}
	b := binary.LittleEndian.AppendUint64(nil, ns/1e9)
	return t.p.copyOut(at, binary.LittleEndian.AppendUint64(b, ns%1e9))
}

func (t *thread) getrandom(at, n, flags uint64) (uint64, abi.Errno) {
	if flags&^7 != 0 {
		return 0, abi.Invalid
	}
	n = min(n, maxRandom)
	var chunk [512]byte
	for done := uint64(0); done < n; {
		b := chunk[:min(n-done, uint64(len(chunk)))]
		t.p.machine.Random(b)
		if e := t.p.copyOut(at+done, b); e != 0 {
			return 0, e
		}
		done += uint64(len(b))
	}
	return n, 0
}

// read serves eventfds; standard input is at its end.
func (t *thread) read(fd, at, n uint64) (uint64, abi.Errno) {
	if fd == 0 {
		return 0, 0
	}
	if n < 8 {
		return 0, abi.Invalid
	}
	if e := t.p.memoryError(t.p.mem.check(at, 8, Write)); e != 0 {
		return 0, e
	}
	v, e := t.p.files.readEvent(fd)
	if e != 0 {
		return 0, e
	}
	return 8, t.p.copyOut(at, binary.LittleEndian.AppendUint64(nil, v))
}

// write serves eventfds, and standard output and error, which are the log
// capability if the process has one.
func (t *thread) write(fd, at, n uint64) (uint64, abi.Errno) {
	if fd == 1 || fd == 2 {
		if t.p.log == nil {
			return 0, abi.BadHandle
		}
		if e := t.mayPrint(n); e != 0 {
			return 0, e
		}
		b := t.scratch(min(n, abi.MaxTransfer))
		if e := t.p.copyIn(at, b); e != 0 {
			return 0, e
		}
		t.p.log.write(b)
		return uint64(len(b)), 0
	}
	if n < 8 {
		return 0, abi.Invalid
	}
	var b [8]byte
	if e := t.p.copyIn(at, b[:]); e != 0 {
		return 0, e
	}
	return 8, t.p.files.writeEvent(fd, binary.LittleEndian.Uint64(b[:]))
}

// mayPrint checks what a program prints as if it came by Log, so that who holds a token
// has no second way to the log.
func (t *thread) mayPrint(n uint64) abi.Errno {
	p := t.p
	if p.caps.Gate() == nil {
		return 0
	}
	d := &abi.Calls[abi.CallLog-abi.FirstCall]
	_, e := p.caps.Lookup(p.logHandle, d.Type, d.Right, p.machine.Now())
	if e == 0 {
		e = t.charge(d, [6]uint64{2: min(n, abi.MaxTransfer)})
	}
	if e != 0 {
		t.refused(d, e)
	}
	return e
}

// scratch returns n bytes that last until the thread's next call.
func (t *thread) scratch(n uint64) []byte {
	if uint64(cap(t.buffer)) < n {
		t.buffer = make([]byte, n)
	}
	return t.buffer[:n]
}

func (t *thread) fcntl(fd, op uint64) (uint64, abi.Errno) {
	if !t.p.files.isOpen(fd) {
		return 0, abi.BadHandle
	}
	switch op {
	case fcntlGetFD, fcntlSetFD:
		return 0, 0
	case fcntlGetFL:
		return openReadWrite, 0
	}
	return 0, abi.Invalid
}

// prlimit answers questions about the process's own limits; none can be set.
func (t *thread) prlimit(pid, resource, newAt, oldAt uint64) abi.Errno {
	if pid != 0 && pid != uint64(t.p.cfg.PID) {
		return abi.NoProcess
	}
	if resource > 15 {
		return abi.Invalid
	}
	if newAt != 0 {
		return abi.Permission
	}
	if oldAt == 0 {
		return 0
	}
	limit := rlimitUnlimited
	switch resource {
	case rlimitStack:
		limit = stackEnd - stackStart
	case rlimitResident: // which is what the quota bounds
		limit = uint64(t.p.cfg.Memory)
	case rlimitNoFile:
		limit = firstFD + maxFDs
	}
	b := binary.LittleEndian.AppendUint64(nil, limit)
	return t.p.copyOut(oldAt, binary.LittleEndian.AppendUint64(b, limit))
}

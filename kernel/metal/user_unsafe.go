//go:build aios

package metal

// Ring 3, below the goroutines: RunUser swaps the calling thread's registers
// for the program's until a system call, a fault, the end of the quantum or a
// kick; address spaces are page tables whose upper half is the kernel's own.

// userContext mirrors abi.UserContext, without its package's types.
type userContext struct {
	frame  [22]uint64
	cr3    uint64
	quota  int64
	cr2    uint64
	reason uint64
	fs     uint64
	fx     uint64 // physical address of the program's vector state
	fast   uint64 // capability table for calls answered in the entry, or 0
	kicked uint64 // a kick that came while the program was not in ring 3
	id     uint64 // of the program, for those that it sends to
	began  int64  // when the call began that the program left ring 3 for, 0: now
}

const (
	exitSyscall = iota
	exitFault
	exitQuantum
	exitKick
)

// flagsUser are the RFLAGS bits that ring 3 may choose: CF PF AF ZF SF DF OF.
const flagsUser = 0xcd5

const userTop = 0x7fffffffe000 // the top page stays unmapped (SYSRET, Intel SDM 2B)

func runUser(t *thread) {
	p := uintptr(t.di)
	if !touch(p, 256) {
		t.ax = 1<<64 - efault
		return
	}
	c := (*userContext)(ptr(p))
	if c.kicked != 0 {
		c.kicked = 0
		c.reason = exitKick
		t.ax = 0
		return
	}
	kf := (*[22]uint64)(ptr(addr(t)))
	t.ksave, t.ksfs = *kf, t.fs
	*kf = c.frame
	t.vec, t.err = vecSyscall, 0
	t.cs, t.ss = userCS, userSS
	t.flags = t.flags&flagsUser | 0x202
	if t.rip >= userTop {
		t.rip = 0 // faults in ring 3, not on the way there
	}
	if t.fs = c.fs; t.fs >= userTop {
		t.fs = 0
	}
	t.cr3 = c.cr3
	t.user = p
	t.fast = uintptr(c.fast)
	t.id = c.id
	c.began, t.began = 0, 0
	t.deadline = now() + c.quota
	t.fxp = phys(uintptr(c.fx))
	t.fxv = 1
	t.kicked = 0
}

// userTick ends the run of a program whose quantum is over or that was kicked.
func userTick(t *thread) {
	if t.user == 0 {
		return
	}
	switch {
	case t.kicked != 0:
		exitUser(t, exitKick)
	case t.vec == vecTimer && now() >= t.deadline:
		exitUser(t, exitQuantum)
	}
}

func userTrap(t *thread) {
	if t.vec == vecSyscall {
		// Safety: a Hot is a thread by another name.
		if t.kicked == 0 && t.fast != 0 && hotFn((*Hot)(ptr(addr(t)))) {
			return
		}
		exitUser(t, exitSyscall)
		return
	}
	exitUser(t, exitFault)
}

// exitUser gives the thread its kernel registers back, as if RunUser's call returned.
func exitUser(t *thread, reason uint64) {
	c := (*userContext)(ptr(t.user))
	kf := (*[22]uint64)(ptr(addr(t)))
	c.frame = *kf
	if reason == exitFault && t.vec == vecPageFault {
		c.cr2 = readCR2() // else it holds an address of somebody else's
	}
	c.reason = reason
	c.fs = t.fs
	c.began, t.began = t.began, 0
	*kf = t.ksave
	t.fs = t.ksfs
	t.cr3 = rootTable
	t.user, t.fast, t.fxp, t.fxv, t.kicked = 0, 0, 0, 0, 0
	t.ax = 0
}

// kick makes the RunUser of context p return; if it is not in ring 3 now, its
// next RunUser returns at once. A parked one returns with its call, to go the long
// way: it is for the goroutine to say how the wait ends.
func kick(p uintptr) {
	for i := 1; i < nthreads; i++ {
		t := asThread(threads[i])
		if t.state == stFree || t.user != p {
			continue
		}
		t.kicked = 1
		if t.state == stParked {
			unpark(t)
		} else if t.cpu == 0 {
			// Waiting for a CPU with its program's registers: it is the kernel's now.
			userQueue.remove(t)
			exitUser(t, exitKick)
			ready(t)
		} else if t.cpu-1 != thisCPU().index {
			sendIPI(cpus[t.cpu-1].apic, vecReschedule)
		}
		return
	}
	if touch(p, 256) {
		(*userContext)(ptr(p)).kicked = 1
	}
}

// newSpace returns a PML4 whose low half is empty but for the kernel's window
// and the local APIC, supervisor only.
func newSpace() int64 {
	if !plenty() {
		return -enomem
	}
	root, pdpt := frame(), frame()
	if root == 0 || pdpt == 0 {
		if root != 0 {
			freeFrame(root)
		}
		return -enomem
	}
	for i := uintptr(256); i < 512; i++ {
		*p64(phys(root) + i*8) = *p64(phys(uintptr(rootTable)) + i*8)
	}
	k := uintptr(*p64(phys(uintptr(rootTable))) & pteAddr)
	for i := uintptr(1); i < 4; i++ { // 1..4 GiB: window and devices
		*p64(phys(pdpt) + i*8) = *p64(phys(k) + i*8)
	}
	*p64(phys(root)) = uint64(pdpt) | ptePresent | pteWrite | pteUser
	return int64(root)
}

// userRange tells whether a page belongs to a program: the first GiB above
// 4 MiB, and PML4 slots 1 to 255 short of the top.
func userRange(va uintptr) bool {
	return va >= 0x400000 && va < 0x40000000 || va >= 1<<39 && va < userTop
}

// mapUser maps one page, or changes nothing if one is there, and returns its frame.
func mapUser(root uint64, va uintptr, prot uint64) int64 {
	if !userRange(va) || prot&6 == 6 {
		return -einval
	}
	e := entry(root, va, plenty(), pteUser)
	if e == 0 {
		return -enomem
	}
	if *p64(e)&ptePresent == 0 {
		if *p64(e)&pteKept != 0 {
			*p64(e) = *p64(e)&pteAddr | protFlags(prot) | ptePresent | pteUser
		} else {
			f := uintptr(0)
			if plenty() {
				f = frame()
			}
			if f == 0 {
				return -enomem
			}
			*p64(e) = uint64(f) | protFlags(prot) | ptePresent | pteUser
		}
	}
	return int64(*p64(e) & pteAddr)
}

// eachUser calls f for every entry with a frame in [va, va+n); f returns the new entry.
func eachUser(root uint64, va, n uintptr, f func(v uint64) uint64) (count int64) {
	for p := va &^ (pageSize - 1); p < va+n; {
		if !userRange(p) {
			return
		}
		e := entry(root, p, false, 0)
		if e == 0 {
			p = (p &^ (1<<21 - 1)) + 1<<21
			continue
		}
		if v := *p64(e); v&(ptePresent|pteKept) != 0 {
			*p64(e) = f(v)
			count++
		}
		p += pageSize
	}
	return
}

func hideUser(v uint64) uint64 { hidden++; return v&^ptePresent | pteKept }

func dropUser(v uint64) uint64 {
	freeFrame(uintptr(v & pteAddr))
	return 0
}

func unmapUser(root uint64, va, n uintptr) int64 {
	eachUser(root, va, n, hideUser)
	flushAll(root)
	return eachUser(root, va, n, dropUser)
}

var newProt uint64

func reprotect(v uint64) uint64 {
	hidden++
	if newProt&7 == 0 {
		return v&^ptePresent | pteKept
	}
	return v&pteAddr | protFlags(newProt) | ptePresent | pteUser
}

func protectUser(root uint64, va, n uintptr, prot uint64) int64 {
	if prot&6 == 6 {
		return -einval
	}
	newProt = prot
	r := eachUser(root, va, n, reprotect)
	flushAll(root)
	return r
}

// destroySpace frees every frame and table of a space that no thread runs in,
// and returns how many it freed.
func destroySpace(root uint64) int64 {
	flushOthers(root) // a CPU that has just left it may still hold it in CR3
	n := int64(0)
	for i := uintptr(0); i < 256; i++ {
		e := *p64(phys(uintptr(root)) + i*8)
		if e&ptePresent == 0 {
			continue
		}
		n += freeTables(uintptr(e&pteAddr), 2, i == 0)
	}
	freeFrame(uintptr(root))
	return n + 1
}

// freeTables frees a table of the given level (2: PDPT, 1: PD, 0: PT) and all below it.
func freeTables(t uintptr, level int, first bool) int64 {
	n := int64(0)
	for i := uintptr(0); i < 512; i++ {
		e := *p64(phys(t) + i*8)
		if first && i > 0 {
			break // entries 1.. of the first PDPT are the kernel's
		}
		switch {
		case e&(ptePresent|pteKept) == 0:
		case level == 0:
			freeFrame(uintptr(e & pteAddr))
			n++
		case e&ptePresent != 0:
			n += freeTables(uintptr(e&pteAddr), level-1, false)
		}
	}
	freeFrame(t)
	return n + 1
}

// mapDevice maps device memory uncached with virtual == physical.
func mapDevice(pa, n uintptr) int64 {
	for p := pa &^ (pageSize - 1); p < pa+n; p += pageSize {
		if p >= 1<<47 || p < uintptr(windowEnd) && p+pageSize > uintptr(windowStart) {
			return -einval
		}
		e := entry(rootTable, p, true, 0)
		if e == 0 {
			return -enomem
		}
		*p64(e) = uint64(p) | ptePresent | pteWrite | pteNX | pteNoCache
	}
	return int64(pa)
}

// own serves the calls that Linux does not have.
func own(t *thread) {
	r := int64(-enosys)
	switch t.ax {
	case sysRunUser:
		runUser(t)
		return
	case sysWaitIRQ:
		w := &irqCount[t.di&255]
		if *w != uint32(t.si) {
			r = 0
			break
		}
		t.ax = 0
		t.futex = addr(w)
		block(t, stFutex, 0)
		return
	case sysNewSpace:
		r = newSpace()
	case sysMapUser:
		r = mapUser(t.di, uintptr(t.si), t.dx)
	case sysUnmapUser:
		r = unmapUser(t.di, uintptr(t.si), uintptr(t.dx))
	case sysProtectUser:
		r = protectUser(t.di, uintptr(t.si), uintptr(t.dx), t.r10)
	case sysDestroySpace:
		r = destroySpace(t.di)
	case sysKick:
		kick(uintptr(t.di))
		r = 0
	case sysFrame:
		if r = 0; plenty() {
			r = int64(frame())
		}
	case sysFreeFrame:
		freeFrame(uintptr(t.di))
		r = 0
	case sysMapDevice:
		r = mapDevice(uintptr(t.di), uintptr(t.si))
	case sysUnpark:
		if x := parkedThread(t.di, uintptr(t.si)); x != nil {
			unpark(x)
		}
		r = 0
	case sysBarrier: // who is asked by hotFn holds the lock, which is ours now
		r = 0
	case sysControl:
		if r = -efault; touch(uintptr(t.di), 32) {
			*(*Control)(ptr(uintptr(t.di))) = Control{uint32(thisCPU().apic), readCR0(), readCR4(), rdmsr(0xc0000080)}
			r = 0
		}
	case sysEFICall:
		if efiMode {
			t.ax = efiCall(uintptr(t.di), uintptr(t.si))
			return
		}
	}
	t.ax = uint64(r)
}

// fastNone leaves every call to the slow path.
func fastNone(table, number, handle, tsc uint64) (uint64, uint64) { return number, 0 }

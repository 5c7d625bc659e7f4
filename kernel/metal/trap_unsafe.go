//go:build aios

package metal

// trap is called by the entry code with the frame of the interrupted thread;
// when it returns, the CPU leaves for percpu.cur.
func trap(t *thread) {
	if t.vec == vecFlush { // its sender holds the lock and waits
		serveFlush()
		eoi()
		return
	}
	lock()
	owed := thisCPU().owed
	switch v := t.vec; {
	case v == vecSpurious:
	case v == vecTimer:
		eoi()
		coarseNS = uint64(now())
		expire()
		userTick(t)
		pick()
	case v >= vecDevice && v < vecDeviceEnd:
		eoi()
		irq(v)
		userTick(t)
	case v == vecReschedule:
		eoi()
		userTick(t)
		if thisCPU().cur == thisCPU().idle {
			pick()
		}
	case v >= vecTimer && v < vecSyscall: // of a device that firmware set up, or spurious
		if *lapic(lapicISR + uintptr(v>>5)<<4)>>(v&31)&1 != 0 {
			eoi()
		}
	case t.user != 0:
		userTrap(t)
	case v == vecSyscall:
		serve(t)
	case v == vecPageFault:
		pageFault(t)
	default:
		exception(t)
	}
	c := thisCPU()
	if n := c.thread(); n.state != stRunning || n.user != 0 && kernelQueue.head != 0 {
		pick()
	}
	if owed != 0 {
		if c.owed = 0; userQueue.head != 0 {
			wakeCPU(false)
		}
	}
	if n := c.thread(); n.pending&^n.mask != 0 && n.user == 0 && c.cur != c.idle {
		deliver(n)
	}
	unlock()
}

// pageFault gives a lazily mapped page its frame; anything else is the
// program's fault.
func pageFault(t *thread) {
	a := uintptr(readCR2())
	if a >= heapBase && a < heapEnd {
		if e := entry(rootTable, a, false, 0); e != 0 {
			v := *p64(e)
			if v&ptePresent != 0 && (t.err&2 == 0 || v&pteWrite != 0) && (t.err&16 == 0 || v&pteNX == 0) {
				invlpg(a) // another CPU has filled it
				return
			}
			if v&pteLazy != 0 && v&ptePresent == 0 {
				if !fill(e) {
					die("out of physical memory", t)
				}
				return
			}
		}
	}
	code := uint64(1) // SEGV_MAPERR
	if t.err&1 != 0 {
		code = 2 // SEGV_ACCERR
	}
	raise(t, sigSEGV, code, uint64(a))
}

func exception(t *thread) {
	switch t.vec {
	case 0:
		raise(t, sigFPE, 1, t.rip)
	case 3:
		raise(t, sigTRAP, 0x80, 0)
	case 6:
		raise(t, sigILL, 2, t.rip)
	case 13:
		raise(t, sigSEGV, 0x80, 0)
	default:
		die("unhandled exception", t)
	}
}

// Interrupt counts, each a futex word for WaitIRQ.
var irqCount [256]uint32

func irq(v uint64) {
	irqCount[v&255]++
	futexWake(addr(&irqCount[v&255]), MaxThreads)
}

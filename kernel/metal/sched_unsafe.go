//go:build aios

package metal

// Runtime threads: one FIFO of ready threads for all CPUs, a millisecond tick,
// and a table that is scanned for time-outs and futex waiters.

var (
	threads   [MaxThreads]uintptr // *thread, in frames of the physmap, made on demand
	nthreads  = 1                 // slots in use so far; 0 is never one
	readyHead uintptr
	readyTail uintptr
	nextWake  int64 = 1<<63 - 1 // no sleeper is due before this
)

// newThread returns a zeroed thread that is in the table, or nil.
func newThread() *thread {
	for i := 1; i < MaxThreads; i++ {
		if threads[i] == 0 {
			f := frame()
			if f == 0 {
				return nil
			}
			threads[i] = phys(f)
			nthreads = max(nthreads, i+1)
		}
		t := asThread(threads[i])
		if t.state == stFree {
			*t = thread{}
			t.tid = uint64(i)
			t.cr3 = rootTable
			return t
		}
	}
	return nil
}

// newIdle makes the thread that a CPU runs when there is nothing to do.
func newIdle(c *percpu, pc uintptr) {
	t := asThread(phys(mustFrame()))
	t.rip, t.cs, t.flags, t.ss = uint64(pc), kernelCS, kernelFlags, kernelSS
	t.sp = uint64(phys(mustFrame())) + pageSize
	t.cr3 = rootTable
	t.state = stRunning
	c.idle = addr(t)
}

// ready puts t at the tail of the queue and wakes a CPU that idles.
func ready(t *thread) {
	t.state = stReady
	t.next = 0
	if readyTail == 0 {
		readyHead = addr(t)
	} else {
		asThread(readyTail).next = addr(t)
	}
	readyTail = addr(t)
	if ncpus == 1 {
		return
	}
	me := thisCPU().index
	for i := 0; i < ncpus; i++ {
		if c := &cpus[i]; c.index != me && c.online != 0 && c.cur == c.idle {
			sendIPI(c.apic, vecReschedule)
			return
		}
	}
}

// pick chooses what this CPU runs next; the current thread, if it can go on,
// goes to the tail first.
func pick() {
	c := thisCPU()
	t := c.thread()
	if c.cur != c.idle && t.state == stRunning {
		if readyHead == 0 {
			return
		}
		t.cpu = 0
		ready(t)
	} else if c.cur != c.idle {
		t.cpu = 0
	}
	if readyHead == 0 {
		c.cur = c.idle
		return
	}
	n := asThread(readyHead)
	readyHead = n.next
	if readyHead == 0 {
		readyTail = 0
	}
	n.next = 0
	n.state = stRunning
	n.cpu = c.index + 1
	c.cur = addr(n)
}

// block takes the calling thread off its CPU until wakeup, or until wake.
func block(t *thread, state uint64, wake int64) {
	t.state = state
	t.wake = wake
	if wake != 0 {
		nextWake = min(nextWake, wake)
	}
}

func wakeup(t *thread, result int64) {
	t.ax = uint64(result)
	t.wake = 0
	t.futex = 0
	ready(t)
}

// expire wakes the sleepers that are due.
func expire() {
	n := now()
	if n < nextWake {
		return
	}
	nextWake = 1<<63 - 1
	for i := 1; i < nthreads; i++ {
		t := asThread(threads[i])
		if t.state < stFutex || t.wake == 0 {
			continue
		}
		if t.wake > n {
			nextWake = min(nextWake, t.wake)
			continue
		}
		if t.state == stFutex {
			wakeup(t, -etimedout)
		} else {
			wakeup(t, 0)
		}
	}
}

func futexWake(a uintptr, n int) int64 {
	woken := 0
	for i := 1; i < nthreads && woken < n; i++ {
		if t := asThread(threads[i]); t.state == stFutex && t.futex == a {
			wakeup(t, 0)
			woken++
		}
	}
	return int64(woken)
}

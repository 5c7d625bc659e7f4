//go:build aios

package metal

// Runtime threads: two queues of ready threads for all CPUs, a millisecond
// tick, and a table that is scanned for time-outs and futex waiters.
//
// Threads that are in ring 3 wait in a queue of their own, and the kernel's come
// first: however many programs want the CPUs, the kernel does not wait for them.
// So that its own long work (a collection) does not lock them out, every eighth
// choice goes to a program.

var (
	threads  [MaxThreads]uintptr // *thread, in frames of the physmap, made on demand
	nthreads = 1                 // slots in use so far; 0 is never one
	kernelQueue,
	userQueue queue
	choices  uint64
	nextWake int64 = 1<<63 - 1 // no sleeper is due before this
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

// queue is a FIFO, linked by thread.next.
type queue struct{ head, tail uintptr }

func (q *queue) put(t *thread) {
	t.next = 0
	if q.tail == 0 {
		q.head = addr(t)
	} else {
		asThread(q.tail).next = addr(t)
	}
	q.tail = addr(t)
}

func (q *queue) take() *thread {
	t := asThread(q.head)
	q.head = t.next
	if q.head == 0 {
		q.tail = 0
	}
	t.next = 0
	return t
}

// remove takes out t, which is in q.
func (q *queue) remove(t *thread) {
	if q.head == addr(t) {
		q.take()
		return
	}
	p := asThread(q.head)
	for p.next != addr(t) {
		p = asThread(p.next)
	}
	if p.next = t.next; p.next == 0 {
		q.tail = addr(p)
	}
	t.next = 0
}

// ready puts t at the tail of its queue and wakes a CPU that idles; for a thread
// of the kernel, one that is in ring 3 will do.
func ready(t *thread) {
	t.state = stReady
	if t.user != 0 {
		userQueue.put(t)
	} else {
		kernelQueue.put(t)
	}
	wakeCPU(t.user == 0)
}

// readySoon is ready for a program that this CPU's own, which has sent it a message,
// will most likely make room for at once, to wait for the answer. No CPU is told
// before this one enters the kernel again; the tick sees to it in any case.
func readySoon(t *thread) {
	t.state = stReady
	userQueue.put(t)
	thisCPU().owed = 1
}

// wakeCPU makes another CPU look at the queues: one that idles or, if the kernel has
// something to run, one that is in ring 3.
func wakeCPU(kernel bool) {
	if ncpus == 1 {
		return
	}
	me := thisCPU().index
	inUser := -1
	for i := 0; i < ncpus; i++ {
		c := &cpus[i]
		switch {
		case c.index == me || c.online == 0:
		case c.cur == c.idle:
			sendIPI(c.apic, vecReschedule)
			return
		case c.thread().user != 0:
			inUser = i
		}
	}
	if kernel && inUser >= 0 {
		sendIPI(cpus[inUser].apic, vecReschedule)
	}
}

// pick chooses what this CPU runs next; the current thread, if it can go on,
// goes to the tail first.
func pick() {
	c := thisCPU()
	t := c.thread()
	if c.cur != c.idle && t.state == stRunning {
		if kernelQueue.head == 0 && userQueue.head == 0 {
			return
		}
		t.cpu = 0
		ready(t)
	} else if c.cur != c.idle {
		t.cpu = 0
	}
	choices++
	q := &kernelQueue
	if q.head == 0 || userQueue.head != 0 && choices%8 == 0 {
		q = &userQueue
	}
	if q.head == 0 {
		c.cur = c.idle
		return
	}
	n := q.take()
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
		switch t.state {
		case stFutex:
			wakeup(t, -etimedout)
		case stParked:
			unpark(t)
		default:
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

//go:build aios

package metal

// Short messages in trap context: a program that waits for one is parked in its
// own system call, its registers in its thread's frame, and who sends to it copies
// the message straight into its memory. Neither goes through a goroutine.
//
// All of this runs under the big lock, as every change of a page table does: what
// is found mapped stays so until the trap is over. Memory is reached through the
// kernel's own view of its frames, so nothing here can fault.

// Hot is the system call of a program in trap context. It is valid until the
// function that SetHot installed returns.
type Hot struct{ t thread }

// Number, Table and Program are the call's number, the context's Fast word, and its ID.
func (h *Hot) Number() uint64  { return h.t.ax }
func (h *Hot) Table() uintptr  { return h.t.fast }
func (h *Hot) Program() uint64 { return h.t.id }

// Thread names the calling thread: not 0, and nobody else's while it is parked.
func (h *Hot) Thread() uint64 { return h.t.tid }

// Args are the call's arguments; the first is the handle.
func (h *Hot) Args() [6]uint64 { return [6]uint64{h.t.di, h.t.si, h.t.dx, h.t.r10, h.t.r8, h.t.r9} }

// Return makes v the call's result: the program goes on.
func (h *Hot) Return(v uint64) { h.t.ax = v }

// Park takes the program off its CPU until Deliver, a kick, or until (0: never). At
// comes from what it waits for: Unpark and Parked have to name the same.
func (h *Hot) Park(at uintptr, began, until int64) {
	h.t.parked, h.t.began = at, began
	block(&h.t, stParked, until)
}

// parkedThread is the thread of that name if it is parked at at.
func parkedThread(name uint64, at uintptr) *thread {
	if name == 0 || name >= uint64(nthreads) {
		return nil
	}
	if t := asThread(threads[name]); t.state == stParked && t.parked == at {
		return t
	}
	return nil
}

// Parked tells whether a thread is parked at at. Trap context only.
func Parked(name uint64, at uintptr) bool { return parkedThread(name, at) != nil }

// unpark makes a parked thread's call one that has just left ring 3: the goroutine
// that serves it takes the long way.
func unpark(t *thread) {
	t.parked, t.wake = 0, 0
	exitUser(t, exitSyscall)
	ready(t)
}

// infoWords is the length of what a receiver is told of a message, in words
// (abi.IPCInfo): sender, number, length, and handles, of which there are none.
const infoWords = 11

// Reaches tells whether n bytes at from of the caller can be delivered to a thread
// that is parked at at: it is, it has the room, and every page is there.
func (h *Hot) Reaches(name uint64, at uintptr, from, n uint64) bool {
	r := parkedThread(name, at)
	return r != nil && n <= r.dx && n <= maxHot &&
		userSpan(h.t.cr3, uintptr(from), uintptr(n), 0) &&
		userSpan(r.cr3, uintptr(r.si), uintptr(n), pteWrite) &&
		userSpan(r.cr3, uintptr(r.r10), infoWords*8, pteWrite)
}

// maxHot bounds a message: it lies on the trap stack on its way.
const maxHot = 64

// Deliver copies the message and what is to be known of it, and lets the receiver
// go on with the message's length. Preconditions: Reaches.
func (h *Hot) Deliver(name uint64, from, n, number uint64) {
	r := asThread(threads[name])
	var message [maxHot]byte
	copyUser(h.t.cr3, uintptr(from), message[:n], false)
	copyUser(r.cr3, uintptr(r.si), message[:n], true)
	info := [infoWords]uint64{h.t.id, number, n}
	// Safety: the array's own bytes.
	copyUser(r.cr3, uintptr(r.r10), (*[infoWords * 8]byte)(ptr(addr(&info)))[:], true)
	r.parked, r.wake, r.began = 0, 0, 0
	r.ax = n
	readySoon(r)
}

// userPage gives the kernel's view of what a program has at va, 0 if it has nothing
// there, or not with the bit in need (pteWrite, or none).
func userPage(root uint64, va uintptr, need uint64) uintptr {
	if !userRange(va) {
		return 0
	}
	e := entry(root, va, false, 0)
	if e == 0 {
		return 0
	}
	need |= ptePresent | pteUser
	v := *p64(e)
	if v&need != need {
		return 0
	}
	return phys(uintptr(v&pteAddr)) + va&(pageSize-1)
}

// userSpan tells whether all of [va, va+n) is there; n is less than a page.
func userSpan(root uint64, va, n uintptr, need uint64) bool {
	if n == 0 {
		return true
	}
	last := va + n - 1
	return last >= va && userPage(root, va, need) != 0 && (last^va < pageSize || userPage(root, last, need) != 0)
}

// copyUser copies to or from a program. Preconditions: userSpan, for the access.
func copyUser(root uint64, va uintptr, b []byte, out bool) {
	for len(b) > 0 {
		n := min(uintptr(len(b)), pageSize-va&(pageSize-1))
		// Safety: userSpan found the page; the lock keeps it.
		page := (*[pageSize]byte)(ptr(userPage(root, va&^(pageSize-1), 0)))
		at := page[va&(pageSize-1):][:n]
		if out {
			copy(at, b)
		} else {
			copy(b, at)
		}
		va, b = va+n, b[n:]
	}
}

// hotNone leaves every call to the goroutines.
func hotNone(*Hot) bool { return false }

// SetHot installs what is asked about each system call of a program before it
// leaves ring 3: false, and nothing has happened. It runs in trap context.
func SetHot(f func(*Hot) bool) { hotFn = f }

// Unpark sends a parked thread the long way, if it is parked at at.
func Unpark(name uint64, at uintptr) { call("unpark", sysUnpark, uintptr(name), at, 0, 0) }

// Barrier returns when every call that the function of SetHot was being asked about
// has been answered.
func Barrier() { call("wait for trap context", sysBarrier, 0, 0, 0, 0) }

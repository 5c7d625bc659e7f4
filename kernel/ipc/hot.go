package ipc

import (
	"sync"
	"sync/atomic"
)

// A short message to a receiver that waits for it already need not lie in a slot:
// the machine copies it from one program to the other, in trap context, and this
// file is what it asks about the mailbox. Whatever is not plain goes the long way,
// through Send and Receive; who has been parked is then sent that way too.
//
// What is called in trap context does not wait, does not allocate, stores no
// pointers and wakes no goroutine.

// Unpark is what the machine offers to send a parked thread the long way: its call
// to Receive begins anew. It is called with the mailbox locked, and does nothing if
// the thread is not parked at this mailbox any more.
var Unpark = func(thread uint64, b *Mailbox) {}

// lock is a mutex that trap context can have too, if it is free.
type lock struct {
	mu   sync.Mutex
	held atomic.Bool
}

func (l *lock) Lock() {
	l.mu.Lock()
	for !l.held.CompareAndSwap(false, true) {
		// Trap context, on another processor: it is about to leave.
	}
}

func (l *lock) Unlock() {
	l.held.Store(false)
	l.mu.Unlock()
}

// try takes the lock in trap context, done gives it back.
func (l *lock) try() bool { return l.held.CompareAndSwap(false, true) }
func (l *lock) done()     { l.held.Store(false) }

// TryPark tells whether a thread may be parked as the one that waits for the next
// message, and notes its name: nobody waits before it, and there is nothing to
// receive. Parked says whether the thread noted before, if any, waits still. Trap
// context only.
func (b *Mailbox) TryPark(thread uint64, parked func(thread uint64, b *Mailbox) bool) bool {
	if !b.mu.try() {
		return false
	}
	ok := !b.closed && !b.ready() && b.receivers.head == nil && (b.parked == 0 || !parked(b.parked, b))
	if ok {
		b.parked = thread
	}
	b.mu.done()
	return ok
}

// Offer begins a short message in trap context: it returns the mailbox, locked,
// the parked thread that is to have the message, and the number that it will
// have; nil, if a message has to go the long way. Either Delivered or Withdrawn
// follows.
func (e *Endpoint) Offer() (b *Mailbox, thread uint64, id MessageID) {
	b = e.port.box.Load()
	if b == nil || e.seen.Load() != b || !b.mu.try() {
		return nil, 0, 0
	}
	if b.parked == 0 || b.closed || b.stopped || e.closed.Load() || b.free == nil || b.ready() || b.senders.head != nil {
		b.mu.done()
		return nil, 0, 0
	}
	return b, b.parked, b.last + 1
}

// Delivered ends what Offer began.
func (b *Mailbox) Delivered() {
	b.last++
	b.parked = 0
	b.mu.done()
}

// Withdrawn does too: the message goes the long way.
func (b *Mailbox) Withdrawn() { b.mu.done() }

// unpark sends who is parked the long way. Preconditions: b.mu is held.
func (b *Mailbox) unpark() {
	if b.parked != 0 {
		Unpark(b.parked, b)
		b.parked = 0
	}
}

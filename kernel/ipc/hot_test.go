package ipc

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"aios/kernel/abi"
	"aios/kernel/cap"
)

// fakeTrap is trap context: one lock, and the threads that are parked.
type fakeTrap struct {
	mu     sync.Mutex
	parked map[uint64]*fakeParked
}

type fakeParked struct {
	at  *Mailbox
	end chan MessageID // the message's number, or 0: take the long way
}

func newTrap(t *testing.T) *fakeTrap {
	f := &fakeTrap{parked: map[uint64]*fakeParked{}}
	old := Unpark
	Unpark = func(thread uint64, b *Mailbox) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.end(thread, b, 0)
	}
	t.Cleanup(func() { Unpark = old })
	return f
}

// end lets a thread go on that is parked at b. Preconditions: f.mu is held.
func (f *fakeTrap) end(thread uint64, b *Mailbox, id MessageID) {
	if p := f.parked[thread]; p != nil && p.at == b {
		delete(f.parked, thread)
		p.end <- id
	}
}

// is tells whether a thread is parked at b. Preconditions: f.mu is held.
func (f *fakeTrap) is(thread uint64, b *Mailbox) bool {
	p := f.parked[thread]
	return p != nil && p.at == b
}

// park is a receive in trap context.
func (f *fakeTrap) park(thread uint64, b *Mailbox) (chan MessageID, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !b.TryPark(thread, f.is) {
		return nil, false
	}
	p := &fakeParked{b, make(chan MessageID, 1)}
	f.parked[thread] = p
	return p.end, true
}

// kick sends a thread the long way without the mailbox's knowing.
func (f *fakeTrap) kick(thread uint64, b *Mailbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(thread, b, 0)
}

// send is one in trap context.
func (f *fakeTrap) send(e *Endpoint) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, thread, id := e.Offer()
	if b == nil {
		return false
	}
	if !f.is(thread, b) {
		b.Withdrawn()
		return false
	}
	f.end(thread, b, id)
	b.Delivered()
	return true
}

// ready makes a mailbox, an endpoint that was used before, and who uses it.
func ready(t *testing.T) (p *Port, b *Mailbox, e *Endpoint, sender, receiver *peer) {
	p = &Port{}
	b, e, sender, receiver = open(t, p, Limits{2, MaxMessage}), p.Endpoint(2), newPeer(2), newPeer(1)
	_, errno := sender.send(e, "first")
	is(t, "first send", errno, 0)
	_, _, errno = receiver.receive(b, false)
	is(t, "first receive", errno, 0)
	return p, b, e, sender, receiver
}

func TestHotDelivery(t *testing.T) {
	f := newTrap(t)
	_, b, e, sender, receiver := ready(t)
	end, ok := f.park(7, b)
	if !ok || !f.send(e) || <-end != 2 {
		t.Fatal("the second message was not delivered to who is parked")
	}
	if f.send(e) {
		t.Error("nobody is parked any more")
	}
	id, errno := sender.send(e, "third")
	is(t, "the long way", errno, 0)
	if _, i, errno := receiver.receive(b, false); id != 3 || i.Message != 3 || errno != 0 {
		t.Errorf("message %d, received as %d, %v", id, i.Message, errno)
	}
}

// Who was parked, and was sent the long way by others, gets nothing in trap context,
// and is in nobody's way.
func TestNoLongerParked(t *testing.T) {
	f := newTrap(t)
	_, b, e, sender, receiver := ready(t)
	end, _ := f.park(7, b)
	f.kick(7, b)
	if f.send(e) || <-end != 0 {
		t.Error("delivered to who is not parked any more")
	}
	if b.mu.held.Load() {
		t.Fatal("the mailbox stays locked")
	}
	_, errno := sender.send(e, "the long way")
	is(t, "send", errno, 0)
	_, _, errno = receiver.receive(b, false)
	is(t, "receive", errno, 0)
}

// Who is parked goes the long way as soon as there is news that it cannot be handed.
func TestUnpark(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *Port, b *Mailbox, e *Endpoint, sender *peer)
	}{
		{"a message that is queued", func(_ *Port, _ *Mailbox, e *Endpoint, sender *peer) { sender.send(e, "x") }},
		{"the end of an endpoint", func(_ *Port, _ *Mailbox, e *Endpoint, _ *peer) { e.HandleClosed() }},
		{"the end of the mailbox", func(_ *Port, b *Mailbox, _ *Endpoint, _ *peer) { b.Close() }},
	} {
		f := newTrap(t)
		p, b, e, sender, _ := ready(t)
		end, _ := f.park(7, b)
		c.do(p, b, e, sender)
		select {
		case id := <-end:
			if id != 0 {
				t.Errorf("%s: delivered as %d", c.name, id)
			}
		default:
			t.Errorf("%s: still parked", c.name)
		}
	}
}

func TestNotParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name string
			do   func(f *fakeTrap, b *Mailbox, e *Endpoint, sender, receiver *peer)
			want bool
		}{
			{"nothing in the way", func(*fakeTrap, *Mailbox, *Endpoint, *peer, *peer) {}, true},
			{"a message", func(_ *fakeTrap, _ *Mailbox, e *Endpoint, sender, _ *peer) { sender.send(e, "x") }, false},
			{"the end of an endpoint", func(_ *fakeTrap, _ *Mailbox, e *Endpoint, _, _ *peer) { e.HandleClosed() }, false},
			{"a closed mailbox", func(_ *fakeTrap, b *Mailbox, _ *Endpoint, _, _ *peer) { b.Close() }, false},
			{"another that is parked", func(f *fakeTrap, b *Mailbox, _ *Endpoint, _, _ *peer) { f.park(8, b) }, false},
			{"another that was", func(f *fakeTrap, b *Mailbox, _ *Endpoint, _, _ *peer) { f.park(8, b); f.kick(8, b) }, true},
			{"the lock", func(_ *fakeTrap, b *Mailbox, _ *Endpoint, _, _ *peer) { b.mu.Lock() }, false},
			{"one that waits", func(_ *fakeTrap, b *Mailbox, _ *Endpoint, _, receiver *peer) {
				go receiver.receive(b, true)
				synctest.Wait()
			}, false},
		} {
			f := newTrap(t)
			_, b, e, sender, receiver := ready(t)
			c.do(f, b, e, sender, receiver)
			if _, ok := f.park(7, b); ok != c.want {
				t.Errorf("%s: parked %v, want %v", c.name, ok, c.want)
			}
			receiver.parker.end <- abi.Canceled
		}
	})
}

func TestNotOffered(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *Port, b *Mailbox, e *Endpoint) *Endpoint // that is sent through
		want bool
	}{
		{"nothing in the way", func(_ *Port, _ *Mailbox, e *Endpoint) *Endpoint { return e }, true},
		{"an endpoint that was not used before", func(p *Port, _ *Mailbox, _ *Endpoint) *Endpoint { return p.Endpoint(2) }, false},
		{"a closed endpoint", func(_ *Port, _ *Mailbox, e *Endpoint) *Endpoint { e.closed.Store(true); return e }, false},
		{"no mailbox", func(p *Port, _ *Mailbox, e *Endpoint) *Endpoint { p.box.Store(nil); return e }, false},
		{"another mailbox", func(p *Port, _ *Mailbox, e *Endpoint) *Endpoint {
			p.box.Store(nil)
			p.Open(DefaultLimits, NewQuota(1<<20), NewPool(0))
			return e
		}, false},
		{"a stopped owner", func(_ *Port, b *Mailbox, e *Endpoint) *Endpoint { b.Stop(); return e }, false},
		{"the lock", func(_ *Port, b *Mailbox, e *Endpoint) *Endpoint { b.mu.Lock(); return e }, false},
		{"no free place", func(_ *Port, b *Mailbox, e *Endpoint) *Endpoint { b.free = nil; return e }, false},
		{"who waits for room", func(_ *Port, b *Mailbox, e *Endpoint) *Endpoint { b.senders.add(&Caller{}); return e }, false},
		{"a message before it", func(_ *Port, b *Mailbox, e *Endpoint) *Endpoint { b.queue.add(&slot{}); return e }, false},
	} {
		f := newTrap(t)
		p, b, e, _, _ := ready(t)
		end, _ := f.park(7, b)
		if ok := f.send(c.do(p, b, e)); ok != c.want || ok != (len(end) == 1) {
			t.Errorf("%s: sent %v, %d delivered, want %v", c.name, ok, len(end), c.want)
		}
	}
}

// The collector does not see what trap context holds: the mailbox waits for it after
// the port has stopped leading there.
func TestCloseWaitsForTrapContext(t *testing.T) {
	var p Port
	b := open(t, &p, DefaultLimits)
	old := cap.Barrier
	defer func() { cap.Barrier = old }()
	n := 0
	cap.Barrier = func() {
		if n++; p.box.Load() != nil {
			t.Error("the port still leads to the mailbox")
		}
	}
	if b.Close(); n != 1 {
		t.Errorf("waited %d times", n)
	}
}

func TestHotAllocatesNothing(t *testing.T) {
	_, b, e, _, _ := ready(t)
	never := func(uint64, *Mailbox) bool { return false }
	if n := testing.AllocsPerRun(100, func() {
		if !b.TryPark(7, never) {
			t.Fatal("not parked")
		}
		if box, _, _ := e.Offer(); box == nil {
			t.Fatal("not offered")
		}
		b.Delivered()
	}); n != 0 {
		t.Errorf("%v allocations in trap context", n)
	}
}

// Both ways at once, with kicks: each message arrives once, and each thread's in the
// order of their numbers.
func TestHotBesideLong(t *testing.T) {
	if hot := besideLong(t, 1); hot == 0 {
		t.Error("none went through trap context: this tests nothing")
	}
	besideLong(t, 2) // one of them is mostly not parked, and then the other is not
}

// besideLong returns how many went through trap context.
func besideLong(t *testing.T, receivers int) int {
	f := newTrap(t)
	var p Port
	b := open(t, &p, Limits{4, MaxMessage})
	const senders, each = 3, 3000
	var under atomic.Int64 // messages that are under way
	got := make(chan MessageID, senders*each)
	var wait, sending sync.WaitGroup
	for i := range receivers {
		wait.Go(func() {
			r, last := newPeer(1), MessageID(0)
			for {
				id := MessageID(0)
				if end, ok := f.park(uint64(i+1), b); ok {
					id = <-end
				}
				if id == 0 {
					_, info, e := r.receive(b, true)
					if e == abi.BadHandle {
						return
					} else if e != 0 {
						t.Error(e)
						return
					}
					id = info.Message
				}
				if id <= last {
					t.Errorf("message %d after %d", id, last)
				}
				last = id
				under.Add(-1)
				got <- id
			}
		})
	}
	hot := 0
	for range senders {
		sending.Go(func() {
			s, e := newPeer(2), p.Endpoint(2)
			for i := range each {
				if i%50 == 0 {
					f.kick(uint64(i/50%receivers+1), b)
				}
				for i%4 != 0 && under.Load() > 0 { // else nobody would ever be parked
					runtime.Gosched()
				}
				under.Add(1)
				if f.send(e) {
					f.mu.Lock()
					hot++
					f.mu.Unlock()
				} else if _, errno := s.sendWait(e, fmt.Sprint(i), true); errno != 0 {
					t.Error(errno)
					return
				}
			}
		})
	}
	sending.Wait()
	seen := map[MessageID]bool{}
	for range senders * each {
		id := <-got
		if seen[id] || id == 0 || id > senders*each {
			t.Errorf("message %d, seen %v", id, seen[id])
		}
		seen[id] = true
	}
	b.Close()
	wait.Wait()
	t.Logf("%d of %d in trap context", hot, senders*each)
	return hot
}

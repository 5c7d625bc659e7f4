package ipc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"aios/kernel/abi"
)

func is(t *testing.T, what string, got, want abi.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d (%v), want %d", what, got, got, want)
	}
}

func TestSlotBytes(t *testing.T) {
	if n := int(reflect.TypeFor[slot]().Size()); n != slotBytes {
		t.Errorf("a slot has %d bytes, charged are %d", n, slotBytes)
	}
}

func TestOpen(t *testing.T) {
	var p Port
	q, pool := NewQuota(200000), NewPool(1)
	for _, c := range []struct {
		name string
		l    Limits
		want abi.Errno
	}{
		{"no message", Limits{0, MaxMessage}, abi.Invalid},
		{"too many messages", Limits{maxMessages + 1, MaxMessage}, abi.Invalid},
		{"no room for the longest message", Limits{1, MaxMessage - 1}, abi.Invalid},
		{"more than the quota", Limits{240, MaxMessage}, abi.NoMemory},
		{"good", Limits{16, MaxMessage}, 0},
		{"a second one", Limits{16, MaxMessage}, abi.Exists},
	} {
		_, e := p.Open(c.l, q, pool)
		is(t, c.name, e, c.want)
	}
	if want := 16 * slotCost; q.Used() != want {
		t.Errorf("charged %d, want %d", q.Used(), want)
	}
	b := p.box.Load()
	if b.Close() != 0 || b.Close() != 0 || q.Used() != 0 {
		t.Errorf("%d bytes charged after Close", q.Used())
	}
	if _, e := p.Open(DefaultLimits, q, pool); e != 0 {
		t.Errorf("open again: %v", e)
	}
}

// Sizes around every bound arrive as they were sent, and cost what they should.
func TestSizes(t *testing.T) {
	var p Port
	q := NewQuota(1 << 20)
	b, _ := p.Open(DefaultLimits, q, NewPool(4))
	a, r := newPeer(7), newPeer(8)
	e := p.Endpoint(a.ID)
	for i, n := range []int{0, 1, Short - 1, Short, Short + 1, pageSize - 1, pageSize, pageSize + 1, 3*pageSize + 5, MaxMessage - 1, MaxMessage} {
		text := strings.Repeat(fmt.Sprint(n, "."), n/2+1)[:n]
		id, errno := a.send(e, text)
		if errno != 0 || id != MessageID(i+1) {
			t.Fatalf("%d bytes: number %d, %v", n, id, errno)
		}
		want := 0
		if n > Short {
			want = (n + pageSize - 1) / pageSize * pageSize
		}
		if got := q.Used() - DefaultLimits.Cost(); got != want {
			t.Errorf("%d bytes are charged as %d, want %d", n, got, want)
		}
		got, info, errno := r.receive(b, false)
		if errno != 0 || got != text || info != (Info{7, id, n, 0}) {
			t.Fatalf("%d bytes: received %d, %+v, %v", n, len(got), info, errno)
		}
		if q.Used() != DefaultLimits.Cost() {
			t.Errorf("%d bytes: %d are charged when all was received", n, q.Used())
		}
	}
}

// Each refusal, and that it changes nothing.
func TestSendRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(a *peer, e *Endpoint, h abi.Handle) abi.Errno
		want abi.Errno
	}{
		{"65,537 bytes, before they are read", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := e.Send(a.Caller, Outgoing{At: badAt, Size: MaxMessage + 1}, true)
			return errno
		}, abi.MessageSize},
		{"2^64-1 bytes", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := e.Send(a.Caller, Outgoing{At: dataAt, Size: ^uint64(0)}, true)
			return errno
		}, abi.MessageSize},
		{"nine handles, before they are read", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := e.Send(a.Caller, Outgoing{Handles: badAt, HandleCount: 9}, true)
			return errno
		}, abi.MessageSize},
		{"handles that cannot be read", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := e.Send(a.Caller, Outgoing{Handles: badAt, HandleCount: 1}, true)
			return errno
		}, abi.Fault},
		{"short bytes that cannot be read", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			a.putHandles([]abi.Handle{h})
			_, errno := e.Send(a.Caller, Outgoing{badAt, 3, handlesAt, 1}, true)
			return errno
		}, abi.Fault},
		{"long bytes that cannot be read to their end", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			a.putHandles([]abi.Handle{h})
			_, errno := e.Send(a.Caller, Outgoing{dataAt + 2*pageSize, MaxMessage, handlesAt, 1}, true)
			return errno
		}, abi.Fault},
		{"a handle that is none", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := a.send(e, "x", h, 77)
			return errno
		}, abi.BadHandle},
		{"a handle twice", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := a.send(e, "x", h, h)
			return errno
		}, abi.BadHandle},
		{"a handle that may not be passed on", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := a.send(e, "x", h, a.table.insert(blob(&object{}, fixed)))
			return errno
		}, abi.Denied},
		{"a closed endpoint", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			e.HandleClosed()
			_, errno := a.send(e, "x", h)
			return errno
		}, abi.BadHandle},
		{"a closed mailbox", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			e.port.box.Load().Close()
			_, errno := a.send(e, "x", h)
			return errno
		}, abi.Pipe},
		{"a port without a mailbox", func(a *peer, e *Endpoint, h abi.Handle) abi.Errno {
			_, errno := a.send(new(Port).Endpoint(1), "x", h)
			return errno
		}, abi.Pipe},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Port
			b := open(t, &p, DefaultLimits)
			a := newPeer(1)
			o := &object{}
			h := a.table.insert(blob(o, abi.RightRead))
			is(t, "send", c.send(a, p.Endpoint(1), h), c.want)
			if b.bytes != 0 || b.queue.head != nil || b.last != 0 {
				t.Errorf("%d bytes charged, head %v, last number %d", b.bytes, b.queue.head, b.last)
			}
			if a.table.find(h) == nil || o.closed != 0 {
				t.Error("the sender lost its handle")
			}
		})
	}
}

// Each refusal to receive, and that the message is still there afterwards.
func TestReceiveRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Incoming
		full bool
		want abi.Errno
		info bool
	}{
		{"no room for the info", Incoming{dataAt, MaxMessage, infoAt, InfoSize - 1}, false, abi.MessageSize, false},
		{"no room for the bytes", Incoming{dataAt, 99, infoAt, InfoSize}, false, abi.MessageSize, true},
		{"bad address", Incoming{badAt, 100, infoAt, InfoSize}, false, abi.Fault, false},
		{"bad address of the info", Incoming{dataAt, 100, badAt, InfoSize}, false, abi.Fault, false},
		{"no room for the info of a message that is too long", Incoming{dataAt, 99, badAt, InfoSize}, false, abi.Fault, false},
		{"no room for the handles", Incoming{dataAt, 100, infoAt, InfoSize}, true, abi.TooManyFiles, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Port
			b := open(t, &p, DefaultLimits)
			a, r := newPeer(5), newPeer(6)
			o := &object{}
			text := strings.Repeat("m", 100)
			if _, errno := a.send(p.Endpoint(5), text, a.table.insert(blob(o, 0))); errno != 0 {
				t.Fatal(errno)
			}
			var filler []abi.Handle
			for c.full {
				h := r.table.insert(blob(&object{}, 0))
				if h == 0 {
					break
				}
				filler = append(filler, h)
			}
			info, errno := b.Receive(r.Caller, c.in, true)
			is(t, "receive", errno, c.want)
			if want := (Info{5, 1, 100, 0}); c.info && info != want || !c.info && info != (Info{}) {
				t.Errorf("info %+v", info)
			}
			if b.bytes != pageSize || o.closed != 0 {
				t.Errorf("%d bytes charged, closed %d times", b.bytes, o.closed)
			}
			if len(filler) > 0 {
				r.table.close(filler[0])
			}
			got, info, errno := r.receive(b, false)
			if errno != 0 || got != text || info != (Info{5, 1, 100, 1}) {
				t.Fatalf("then: %q, %+v, %v", got, info, errno)
			}
			if h := r.received(info); r.table.find(h[0]) == nil || r.table.find(h[0]).c.Object != o {
				t.Errorf("handle %#x is not the object", h)
			}
			_, _, errno = r.receive(b, false)
			is(t, "and then", errno, abi.Again)
		})
	}
}

// A message that could not be delivered goes back to where it was.
func TestPutBack(t *testing.T) {
	var q slotQueue
	s := make([]slot, 6)
	for i := range s {
		s[i].id = MessageID(i)
		q.add(&s[i])
	}
	taken := []*slot{q.take(), q.take(), q.take()}
	for _, i := range []int{1, 0, 2} {
		q.putBack(taken[i])
	}
	for i := range s {
		if got := q.take(); got != &s[i] {
			t.Fatalf("number %d came in place of %d", got.id, i)
		}
	}
	q.putBack(&s[3])
	q.add(&s[4])
	if q.take() != &s[3] || q.take() != &s[4] || q.head != nil || q.tail != nil {
		t.Error("put back into an empty queue")
	}
}

// What happens while a message is being copied, with no lock held.
func TestDuringCopy(t *testing.T) {
	for _, c := range []struct {
		name    string
		receive bool
		at      uint64
		do      func(b *Mailbox, e *Endpoint)
		want    abi.Errno
		closed  int // how often the object in the message was closed
	}{
		{"the mailbox closes under a send", false, dataAt, func(b *Mailbox, e *Endpoint) { b.Close() }, abi.Pipe, 0},
		{"the endpoint closes under a send", false, dataAt, func(b *Mailbox, e *Endpoint) { e.HandleClosed() }, abi.BadHandle, 0},
		{"the mailbox closes under a send that faults", false, badAt, func(b *Mailbox, e *Endpoint) { b.Close() }, abi.Fault, 0},
		{"the mailbox closes under a receive", true, dataAt, func(b *Mailbox, e *Endpoint) { b.Close() }, 0, 0},
		{"the mailbox closes under a receive that faults", true, badAt, func(b *Mailbox, e *Endpoint) { b.Close() }, abi.Fault, 1},
		{"the endpoint closes under a receive", true, dataAt, func(b *Mailbox, e *Endpoint) { e.HandleClosed() }, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Port
			q, pool := NewQuota(1<<20), NewPool(4)
			b, _ := p.Open(DefaultLimits, q, pool)
			a, r := newPeer(1), newPeer(2)
			e, o := p.Endpoint(1), &object{}
			h := a.table.insert(blob(o, 0))
			a.putHandles([]abi.Handle{h})
			out := Outgoing{dataAt, 2 * pageSize, handlesAt, 1}
			in := wholeMessage
			var errno abi.Errno
			if c.receive {
				e.Send(a.Caller, out, false)
				r.mem.during = func() { c.do(b, e) }
				in.At = c.at
				_, errno = b.Receive(r.Caller, in, false)
			} else {
				a.mem.during = func() { c.do(b, e) }
				out.At = c.at
				_, errno = e.Send(a.Caller, out, false)
			}
			is(t, "the call", errno, c.want)
			if (a.table.find(h) != nil) == c.receive {
				t.Errorf("the sender has its handle: %v", !c.receive)
			}
			if n := r.table.used(); n != map[bool]int{true: 1}[c.receive && c.want == 0] {
				t.Errorf("the receiver has %d handles", n)
			}
			b.Close()
			if o.closed != c.closed || q.Used() != 0 || len(pool.free) != 2 {
				t.Errorf("closed %d times, %d bytes charged, %d pages in the pool", o.closed, q.Used(), len(pool.free))
			}
		})
	}
}

// Nothing of an earlier message is in the block of a later one.
func TestInfoIsCleared(t *testing.T) {
	var p Port
	b := open(t, &p, DefaultLimits)
	a, r := newPeer(1), newPeer(2)
	e := p.Endpoint(1)
	a.send(e, "with a handle", a.table.insert(blob(&object{}, 0)))
	r.receive(b, false)
	a.send(e, "without")
	r.receive(b, false)
	if h := r.mem.info[24:]; !bytes.Equal(h, make([]byte, len(h))) {
		t.Errorf("handles: %x", h)
	}
}

// Handles move: out of the sender's table when sent, into the receiver's when
// received, closed if neither.
func TestHandles(t *testing.T) {
	var p Port
	b := open(t, &p, DefaultLimits)
	a, r := newPeer(1), newPeer(2)
	e := p.Endpoint(1)
	var objects [MaxHandles]*object
	var handles []abi.Handle
	for i := range objects {
		objects[i] = &object{name: i}
		handles = append(handles, a.table.insert(blob(objects[i], abi.RightRead)))
	}
	if _, errno := a.send(e, "all", handles...); errno != 0 {
		t.Fatal(errno)
	}
	for _, h := range handles {
		if a.table.find(h) != nil {
			t.Errorf("the sender still has %#x", h)
		}
	}
	_, info, _ := r.receive(b, false)
	got := r.received(info)
	if len(got) != MaxHandles {
		t.Fatalf("%d handles", len(got))
	}
	for i, h := range got {
		if s := r.table.find(h); s == nil || s.c != (blob(objects[i], abi.RightRead)) {
			t.Errorf("handle %d: %+v", i, s)
		}
	}
	if _, errno := r.send(e, "back", got[:3]...); errno != 0 {
		t.Fatal(errno)
	}
	if b.Close() != 1 {
		t.Error("not one message was dropped")
	}
	for i, o := range objects {
		if want := map[bool]int{true: 1}[i < 3]; o.closed != want {
			t.Errorf("object %d was closed %d times, want %d", i, o.closed, want)
		}
	}
}

// start makes a blocking call in a goroutine, and returns where its error comes.
func start(f func() abi.Errno) chan abi.Errno {
	done := make(chan abi.Errno, 1)
	go func() { done <- f() }()
	return done
}

// waits tells whether a call is under way, once everything has come to rest.
func waits(t *testing.T, what string, done chan abi.Errno) {
	t.Helper()
	synctest.Wait()
	if len(done) != 0 {
		t.Errorf("%s does not wait: %v", what, <-done)
	}
}

// ended is the result of a call that must be over.
func ended(t *testing.T, what string, done chan abi.Errno, want abi.Errno) {
	t.Helper()
	synctest.Wait()
	select {
	case got := <-done:
		is(t, what, got, want)
	default:
		t.Errorf("%s still waits", what)
	}
}

// Who waits for room is served in order, and a short message does not overtake.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Port
		b := open(t, &p, Limits{4, MaxMessage})
		a, c, d, r := newPeer(1), newPeer(2), newPeer(3), newPeer(9)
		ea, ec, ed := p.Endpoint(1), p.Endpoint(2), p.Endpoint(3)
		long := strings.Repeat("l", MaxMessage)
		a.send(ea, "first page"+strings.Repeat(".", 100))
		_, errno := c.send(ec, long)
		is(t, "no room for the bytes", errno, abi.Again)
		first := start(func() abi.Errno { _, e := c.sendWait(ec, long, true); return e })
		waits(t, "a long message", first)
		_, errno = a.send(ea, "short")
		is(t, "a short one that does not wait", errno, abi.Again)
		second := start(func() abi.Errno { _, e := d.sendWait(ed, "short", true); return e })
		waits(t, "a short message behind it", second)
		r.receive(b, false)
		ended(t, "the long message", first, 0)
		ended(t, "the short message", second, 0)
		_, i, _ := r.receive(b, false)
		_, j, _ := r.receive(b, false)
		if i.From+j.From != 2+3 || i.Message != 2 || j.Message != 3 { // copied side by side: either may be first
			t.Errorf("%+v, then %+v", i, j)
		}
		for range 4 {
			_, errno = a.send(ea, "")
			is(t, "fill", errno, 0)
		}
		_, errno = a.send(ea, "")
		is(t, "no room for a message", errno, abi.Again)
	})
}

// The one that waits for room gives up; the next one must not be left asleep.
func TestGivingUpWakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Port
		b := open(t, &p, Limits{4, 2 * MaxMessage})
		a, c := newPeer(1), newPeer(2)
		ea, ec := p.Endpoint(1), p.Endpoint(2)
		long := strings.Repeat("l", MaxMessage)
		a.send(ea, long)
		a.send(ea, "x"+long[:pageSize-1])
		first := start(func() abi.Errno { _, e := a.sendWait(ea, long, true); return e })
		waits(t, "the first", first)
		second := start(func() abi.Errno { _, e := c.sendWait(ec, "short", true); return e })
		waits(t, "the second", second)
		a.parker.end <- abi.TimedOut
		ended(t, "the first", first, abi.TimedOut)
		ended(t, "the second", second, 0)
		if b.senders.head != nil || b.bytes != MaxMessage+pageSize {
			t.Errorf("%d bytes charged", b.bytes)
		}
	})
}

// What a call that waits sees of the end of a peer, of a handle, of itself.
func TestWaitEnds(t *testing.T) {
	type world struct {
		p    *Port
		b    *Mailbox
		e    *Endpoint
		a, r *peer
	}
	for _, c := range []struct {
		name string
		send bool // the sender waits, else the receiver
		do   func(w *world)
		want abi.Errno
	}{
		{"the receiver dies", true, func(w *world) { w.b.Close() }, abi.Pipe},
		{"the receiver is stopped", true, func(w *world) { w.b.Stop() }, abi.Again},
		{"the endpoint is closed", true, func(w *world) { w.e.HandleClosed() }, abi.BadHandle},
		{"the sender is killed", true, func(w *world) { w.a.parker.end <- abi.Canceled }, abi.Canceled},
		{"the sender's time is over", true, func(w *world) { w.a.parker.end <- abi.TimedOut }, abi.TimedOut},
		{"there is room", true, func(w *world) { newPeer(9).receive(w.b, false) }, 0},
		{"the only peer dies", false, func(w *world) { w.e.HandleClosed() }, abi.Pipe},
		{"the mailbox is closed", false, func(w *world) { w.b.Close() }, abi.BadHandle},
		{"the receiver is killed", false, func(w *world) { w.r.parker.end <- abi.Canceled }, abi.Canceled},
		{"a signal comes", false, func(w *world) { w.r.parker.end <- abi.Interrupted }, abi.Interrupted},
		{"a message comes", false, func(w *world) { w.a.send(w.e, "x") }, 0},
		{"woken for nothing", false, func(w *world) { w.r.parker.Wake(); synctest.Wait(); w.a.send(w.e, "x") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{p: &Port{}, a: newPeer(1), r: newPeer(2)}
				w.b, w.e = open(t, w.p, Limits{1, MaxMessage}), w.p.Endpoint(1)
				var calls []chan abi.Errno
				if c.send {
					w.a.send(w.e, "fills the mailbox")
					calls = append(calls, start(func() abi.Errno { _, e := w.a.sendWait(w.e, "x", true); return e }))
				} else {
					calls = append(calls, start(func() abi.Errno { _, _, e := w.r.receive(w.b, true); return e }))
				}
				waits(t, "the call", calls[0])
				c.do(w)
				ended(t, "the call", calls[0], c.want)
				if w.b.senders.head != nil || w.b.receivers.head != nil {
					t.Error("somebody is still in a queue")
				}
			})
		})
	}
}

// Wait sees the same as Receive and takes nothing.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Port
		b := open(t, &p, DefaultLimits)
		a, r, r2 := newPeer(1), newPeer(2), newPeer(2)
		e := p.Endpoint(1)
		waiting := start(func() abi.Errno { return b.Wait(r.Caller, true) })
		waits(t, "Wait", waiting)
		both := start(func() abi.Errno { return b.Wait(r2.Caller, true) })
		waits(t, "Wait", both)
		a.send(e, "x")
		ended(t, "Wait", waiting, 0)
		ended(t, "the other Wait", both, 0)
		is(t, "Wait with a message", b.Wait(r.Caller, true), 0)
		r.receive(b, false)
		e.HandleClosed()
		is(t, "Wait with an endpoint gone", b.Wait(r.Caller, true), 0)
		_, i, errno := r.receive(b, false)
		is(t, "receive", errno, abi.Pipe)
		if i.From != 1 {
			t.Errorf("%+v", i)
		}
		is(t, "Wait that does not wait", b.Wait(r.Caller, false), abi.Again)
		b.HandleClosed()
		is(t, "Wait when closed", b.Wait(r.Caller, true), abi.BadHandle)
	})
}

// A stopped receiver holds nobody up, and keeps what there is room for.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Port
		b := open(t, &p, Limits{1, MaxMessage})
		a, r := newPeer(1), newPeer(2)
		e := p.Endpoint(1)
		b.Stop()
		_, errno := a.sendWait(e, "room", true)
		is(t, "with room", errno, 0)
		_, errno = a.sendWait(e, "none", true)
		is(t, "without", errno, abi.Again)
		b.Resume()
		done := start(func() abi.Errno { _, e := a.sendWait(e, "later", true); return e })
		waits(t, "after Resume", done)
		r.receive(b, false)
		ended(t, "with room again", done, 0)
	})
}

// The messages of a sender that is gone arrive before the news that it is gone,
// and those that others sent after that arrive behind.
func TestDeparture(t *testing.T) {
	var p Port
	b := open(t, &p, DefaultLimits)
	a, c, r := newPeer(1), newPeer(2), newPeer(3)
	ea, ec := p.Endpoint(1), p.Endpoint(2)
	a.send(ea, "a1")
	c.send(ec, "c1")
	a.send(ea, "a2")
	ea.HandleClosed()
	ea.HandleClosed() // closes once
	c.send(ec, "c2")
	for _, want := range []struct {
		text string
		from ID
		e    abi.Errno
	}{{"a1", 1, 0}, {"c1", 2, 0}, {"a2", 1, 0}, {"", 1, abi.Pipe}, {"c2", 2, 0}, {"", 0, abi.Again}} {
		text, i, e := r.receive(b, false)
		if text != want.text || i.From != want.from || e != want.e {
			t.Errorf("%q of %d, %v; want %+v", text, i.From, e, want)
		}
	}
	ec.HandleClosed()
	bad := wholeMessage
	bad.Info = badAt
	_, e := b.Receive(r.Caller, bad, false)
	is(t, "info cannot be written", e, abi.Fault)
	_, i, e := r.receive(b, false)
	if i.From != 2 || e != abi.Pipe {
		t.Errorf("the news was lost: %+v, %v", i, e)
	}
}

// More departures than are remembered are told as one of nobody in particular.
func TestManyDepartures(t *testing.T) {
	var d departures
	for i := range 20 {
		d.add(ID(i+1), MessageID(i))
	}
	for i := range 15 {
		if got := d.take(); got != (departure{ID(i + 1), MessageID(i)}) {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if got := d.take(); got != (departure{0, 19}) || d.n != 0 {
		t.Errorf("last: %+v, %d left", got, d.n)
	}
	for i := range 16 {
		d.add(ID(i+1), MessageID(i))
	}
	first := d.take()
	d.add(17, 16)
	d.putBack(first)
	if d.n != 16 || d.list[0] != first || d.list[14].who != 15 || d.list[15] != (departure{0, 16}) {
		t.Errorf("put back into a full list: %+v", d)
	}
}

// An endpoint outlives the service behind it; its holder is told once that it
// talks to somebody new.
func TestRestart(t *testing.T) {
	var p Port
	a, r := newPeer(1), newPeer(2)
	e, unused := p.Endpoint(1), p.Endpoint(1)
	send := func(e *Endpoint, want abi.Errno) {
		t.Helper()
		_, errno := a.send(e, "x")
		is(t, "send", errno, want)
	}
	send(e, abi.Pipe)
	b := open(t, &p, DefaultLimits)
	send(e, 0)
	b.Close()
	send(e, abi.Pipe)
	b = open(t, &p, DefaultLimits)
	send(e, abi.Pipe)
	send(e, 0)
	send(unused, 0)
	if _, i, errno := r.receive(b, false); errno != 0 || i.Message != 1 {
		t.Errorf("%+v %v", i, errno)
	}
}

// An endpoint travels like any other object, and whoever holds it last is who is gone.
func TestEndpointMoves(t *testing.T) {
	var p, pc Port
	b, bc := open(t, &p, DefaultLimits), open(t, &pc, DefaultLimits)
	a, c, r := newPeer(1), newPeer(2), newPeer(3)
	e := p.Endpoint(1)
	h := a.table.insert(blob(e, abi.RightWrite))
	if _, errno := a.send(pc.Endpoint(1), "for you", h); errno != 0 {
		t.Fatal(errno)
	}
	_, i, _ := c.receive(bc, false)
	got := c.table.find(c.received(i)[0]).c.Object.(*Endpoint)
	c.send(got, "from the new holder")
	c.table.closeAll()
	if text, i, errno := r.receive(b, false); text != "from the new holder" || i.From != 2 || errno != 0 {
		t.Errorf("%q %+v %v", text, i, errno)
	}
	if _, i, errno := r.receive(b, false); i.From != 2 || errno != abi.Pipe {
		t.Errorf("%+v %v", i, errno)
	}
}

// An endpoint that is sent to its own mailbox, which then closes, ends too.
func TestEndpointInItsOwnMailbox(t *testing.T) {
	var p Port
	b := open(t, &p, DefaultLimits)
	a := newPeer(1)
	e := p.Endpoint(1)
	h := a.table.insert(blob(e, abi.RightWrite))
	if _, errno := a.send(e, "myself", h); errno != 0 {
		t.Fatal(errno)
	}
	if b.Close() != 1 || !e.closed.Load() {
		t.Error("the endpoint is still open")
	}
}

func TestQuotaIsExact(t *testing.T) {
	q := NewQuota(100)
	if q.charge(101) || !q.charge(100) || q.charge(1) || !q.charge(0) || q.Used() != 100 {
		t.Errorf("%d of 100 bytes charged", q.Used())
	}
	q.refund(1)
	if q.charge(2) || !q.charge(1) {
		t.Error("after a refund")
	}
	defer func() {
		if recover() == nil {
			t.Error("more was given back than charged")
		}
	}()
	q.refund(101)
}

// The quota of a process bounds its mailboxes, whatever their own limits say.
func TestQuota(t *testing.T) {
	var p, p2 Port
	q := NewQuota(2*DefaultLimits.Cost() + MaxMessage)
	pool := NewPool(16)
	b, _ := p.Open(DefaultLimits, q, pool)
	b2, _ := p2.Open(DefaultLimits, q, pool)
	a, r := newPeer(1), newPeer(2)
	e, e2 := p.Endpoint(1), p2.Endpoint(1)
	long := strings.Repeat("l", MaxMessage)
	_, errno := a.send(e, long)
	is(t, "first", errno, 0)
	_, errno = a.sendWait(e2, long[:Short+1], true)
	is(t, "the other mailbox", errno, abi.NoMemory)
	_, errno = a.send(e2, long[:Short])
	is(t, "what lies in a slot is paid", errno, 0)
	r.receive(b, false)
	_, errno = a.send(e2, long)
	is(t, "after the first was received", errno, 0)
	b.Close()
	b2.Close()
	if q.Used() != 0 {
		t.Errorf("%d bytes charged in the end", q.Used())
	}
}

// Who waits for the quota is not forgotten when another mailbox has the rest of
// it: it waits as long as something here is still to be received.
func TestWaitForQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p, p2 Port
		q := NewQuota(2*DefaultLimits.Cost() + MaxMessage)
		pool := NewPool(16)
		b, _ := p.Open(DefaultLimits, q, pool)
		b2, _ := p2.Open(DefaultLimits, q, pool)
		a, c, r := newPeer(1), newPeer(2), newPeer(3)
		e := p.Endpoint(1)
		page := strings.Repeat("p", pageSize)
		a.send(p2.Endpoint(1), strings.Repeat(page, 14))
		a.send(e, page)
		a.send(e, "short")
		_, errno := a.send(e, page+page)
		is(t, "no quota, but something to wait for", errno, abi.Again)
		first := start(func() abi.Errno { _, e := a.sendWait(e, page+page+page, true); return e })
		waits(t, "the first", first)
		second := start(func() abi.Errno { _, e := c.sendWait(p.Endpoint(2), page+page, true); return e })
		waits(t, "the second", second)
		r.receive(b, false)
		ended(t, "three pages", first, abi.NoMemory)
		ended(t, "two pages", second, 0)
		b2.Close()
		_, errno = a.send(e, page+page+page)
		is(t, "three pages then", errno, 0)
	})
}

func TestPoolIsBounded(t *testing.T) {
	pool := NewPool(3)
	var pages [8]*page
	pool.get(pages[:])
	for i, p := range pages {
		if p == nil {
			t.Fatalf("page %d is nil", i)
		}
	}
	known := pages
	pool.put(pages[:])
	if len(pool.free) != 3 || pages != [8]*page{} {
		t.Errorf("%d pages kept", len(pool.free))
	}
	pool.get(pages[:2])
	if pool.free[:3][1] != nil || pool.free[:3][2] != nil {
		t.Error("the pool holds on to pages that it gave away")
	}
	if len(pool.free) != 1 || pages[0] != known[1] || pages[1] != known[2] {
		t.Error("pages are not used again")
	}
}

// A short message allocates nothing, with or without waiting; a long one
// nothing once the pool has pages.
func TestNoAllocation(t *testing.T) {
	var p Port
	b := open(t, &p, DefaultLimits)
	a, r := newPeer(1), newPeer(2)
	e := p.Endpoint(1)
	for _, n := range []uint64{0, Short, pageSize, MaxMessage} {
		if got := testing.AllocsPerRun(100, func() {
			e.Send(a.Caller, Outgoing{At: dataAt, Size: n}, true)
			b.Receive(r.Caller, wholeMessage, true)
		}); got != 0 {
			t.Errorf("%d bytes: %v allocations", n, got)
		}
	}
	h := a.table.insert(blob(&object{}, 0))
	from, to := a, r
	if got := testing.AllocsPerRun(100, func() { // to and fro
		for k := range 8 {
			from.mem.handles[k] = byte(h >> (8 * k))
		}
		_, sent := e.Send(from.Caller, Outgoing{At: dataAt, Size: 1, Handles: handlesAt, HandleCount: 1}, true)
		_, got := b.Receive(to.Caller, wholeMessage, true)
		if sent != 0 || got != 0 {
			t.Fatal(sent, got)
		}
		h = abi.Handle(binary.LittleEndian.Uint64(to.mem.info[24:]))
		from, to = to, from
	}); got != 0 {
		t.Errorf("a handle: %v allocations", got)
	}
}

// Many threads at once, for the race detector: every message arrives once, in
// order for each sender, and in the end nothing is charged.
func TestRace(t *testing.T) {
	const senders, each = 4, 500
	var p Port
	q := NewQuota(1 << 20)
	b, _ := p.Open(Limits{8, 2 * MaxMessage}, q, NewPool(8))
	var wg, rg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			a := newPeer(ID(i + 1))
			e := p.Endpoint(a.ID)
			for n := range each {
				a.mem.data[0], a.mem.data[1] = byte(n), byte(n>>8)
				size := uint64(2 + n*n%MaxMessage%(100+n*100))
				if _, errno := e.Send(a.Caller, Outgoing{At: dataAt, Size: min(size, MaxMessage)}, true); errno != 0 {
					t.Error(errno)
					return
				}
			}
			e.HandleClosed()
		})
	}
	var mu sync.Mutex
	got := map[ID]map[int]MessageID{}
	ends := 0
	for range 2 {
		rg.Go(func() {
			r := newPeer(100)
			for {
				_, i, errno := r.receive(b, true)
				mu.Lock()
				switch errno {
				case 0:
					n := int(r.mem.data[0]) | int(r.mem.data[1])<<8
					if got[i.From] == nil {
						got[i.From] = map[int]MessageID{}
					}
					if _, twice := got[i.From][n]; twice {
						t.Errorf("message %d of %d came twice", n, i.From)
					}
					got[i.From][n] = i.Message
				case abi.Pipe:
					if ends++; ends == senders {
						b.Close()
					}
				case abi.BadHandle:
					mu.Unlock()
					return
				default:
					t.Error(errno)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	rg.Wait()
	for from := ID(1); from <= senders; from++ {
		last := MessageID(0)
		for n := range each {
			id, ok := got[from][n]
			if !ok || id <= last {
				t.Fatalf("message %d of %d: number %d after %d, there: %v", n, from, id, last, ok)
			}
			last = id
		}
	}
	if q.Used() != 0 {
		t.Errorf("%d bytes charged in the end", q.Used())
	}
}

func BenchmarkSendReceive(b *testing.B) {
	for _, n := range []uint64{64, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var p Port
			box := open(b, &p, DefaultLimits)
			a, r := newPeer(1), newPeer(2)
			e := p.Endpoint(1)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, errno := e.Send(a.Caller, Outgoing{At: dataAt, Size: n}, false); errno != 0 {
					b.Fatal(errno)
				}
				if _, errno := box.Receive(r.Caller, wholeMessage, false); errno != 0 {
					b.Fatal(errno)
				}
			}
		})
	}
}

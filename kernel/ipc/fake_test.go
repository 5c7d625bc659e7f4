package ipc

import (
	"sync"
	"testing"

	"aios/kernel/abi"
	"aios/kernel/cap"
)

// fakeTable is a Table of a few handles.
type fakeTable struct {
	mu    sync.Mutex
	slots [9]fakeSlot
}

type fakeSlot struct {
	generation uint32
	reserved   bool
	used       bool
	c          cap.Capability
}

// blob is a capability of the tests.
func blob(object any, rights abi.Rights) cap.Capability {
	return cap.Capability{Object: object, Type: abi.TypeBlob, Rights: rights}
}

// fixed is a right of the tests: the handle may not be passed on.
const fixed = abi.Rights(1 << 23)

func (t *fakeTable) find(h abi.Handle) *fakeSlot {
	if int(h.Index()) >= len(t.slots) {
		return nil
	}
	if s := &t.slots[h.Index()]; s.used && s.generation == h.Generation() {
		return s
	}
	return nil
}

func (t *fakeTable) Take(handles []abi.Handle, into []cap.Capability) abi.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, h := range handles {
		s := t.find(h)
		switch {
		case s == nil:
			return abi.BadHandle
		case s.c.Rights&fixed != 0:
			return abi.Denied
		}
		for _, before := range handles[:i] {
			if before == h {
				return abi.BadHandle
			}
		}
	}
	for i, h := range handles {
		s := t.find(h)
		into[i] = s.c
		*s = fakeSlot{generation: s.generation}
	}
	return 0
}

func (t *fakeTable) Reserve(handles []abi.Handle) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for i := range t.slots {
		if s := &t.slots[i]; !s.used && !s.reserved && n < len(handles) {
			s.reserved = true
			s.generation++
			handles[n] = abi.MakeHandle(uint32(i), s.generation)
			n++
		}
	}
	if n == len(handles) {
		return true
	}
	for _, h := range handles[:n] {
		t.slots[h.Index()].reserved = false
	}
	return false
}

func (t *fakeTable) Fill(h abi.Handle, c cap.Capability) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[h.Index()]
	if !s.reserved || s.used || s.generation != h.Generation() {
		panic("Fill of a handle that was not reserved")
	}
	*s = fakeSlot{s.generation, false, true, c}
}

func (t *fakeTable) Release(handles []abi.Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range handles {
		t.slots[h.Index()].reserved = false
	}
}

// insert grants an object; 0 if the table is full.
func (t *fakeTable) insert(c cap.Capability) abi.Handle {
	var h [1]abi.Handle
	if !t.Reserve(h[:]) {
		return 0
	}
	t.Fill(h[0], c)
	return h[0]
}

func (t *fakeTable) used() int {
	n := 0
	for i := range t.slots {
		if t.slots[i].used || t.slots[i].reserved {
			n++
		}
	}
	return n
}

// close closes a handle as the kernel does.
func (t *fakeTable) close(h abi.Handle) {
	var c [1]cap.Capability
	t.mu.Lock()
	s := t.find(h)
	if s == nil {
		t.mu.Unlock()
		return
	}
	c[0] = s.c
	*s = fakeSlot{generation: s.generation}
	t.mu.Unlock()
	c[0].Drop()
}

func (t *fakeTable) closeAll() {
	for i := range t.slots {
		t.close(abi.MakeHandle(uint32(i), t.slots[i].generation))
	}
}

// object is something that is passed about, and counts how often it was closed.
type object struct {
	name   int
	closed int
}

func (o *object) HandleClosed() { o.closed++ }

// Addresses of fakeMemory.
const (
	dataAt    = 0x1000
	infoAt    = 0x100000
	handlesAt = 0x200000
	badAt     = 0x300000
)

// fakeMemory is the memory of one thread.
type fakeMemory struct {
	data    [MaxMessage + 1]byte
	info    [InfoSize]byte
	handles [8 * MaxHandles]byte
	during  func() // called when a message is copied
}

func (m *fakeMemory) at(at uint64, n int) []byte {
	for _, r := range []struct {
		base uint64
		b    []byte
	}{{dataAt, m.data[:]}, {infoAt, m.info[:]}, {handlesAt, m.handles[:]}} {
		if at >= r.base && at+uint64(n) <= r.base+uint64(len(r.b)) {
			return r.b[at-r.base:][:n]
		}
	}
	return nil
}

func (m *fakeMemory) CopyIn(at uint64, b []byte) abi.Errno {
	if m.during != nil && (at < infoAt || at >= badAt) {
		m.during()
	}
	from := m.at(at, len(b))
	if from == nil {
		return abi.Fault
	}
	copy(b, from)
	return 0
}

func (m *fakeMemory) CopyOut(at uint64, b []byte) abi.Errno {
	if m.during != nil && (at < infoAt || at >= badAt) {
		m.during()
	}
	to := m.at(at, len(b))
	if to == nil {
		return abi.Fault
	}
	copy(to, b)
	return 0
}

// parker is a Waiter that a test can end.
type parker struct {
	wake  chan struct{}
	end   chan abi.Errno
	dying chan struct{} // closed when the process is ended; nil: it is not
}

func newParker() *parker {
	return &parker{wake: make(chan struct{}, 1), end: make(chan abi.Errno, 1)}
}

func (p *parker) Wait() abi.Errno {
	select {
	case <-p.wake:
		return 0
	case e := <-p.end:
		return e
	case <-p.dying:
		return abi.Canceled
	}
}

func (p *parker) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// peer is a process with one thread, for the tests that need no more.
type peer struct {
	*Caller
	mem    *fakeMemory
	table  *fakeTable
	parker *parker
}

func newPeer(id ID) *peer {
	p := &peer{mem: &fakeMemory{}, table: &fakeTable{}, parker: newParker()}
	p.Caller = &Caller{ID: id, Memory: p.mem, Table: p.table, Waiter: p.parker}
	return p
}

// thread is another thread of the same process.
func (p *peer) thread() *peer {
	q := newPeer(p.ID)
	q.table = p.table
	q.Caller.Table = p.table
	return q
}

func (p *peer) send(e *Endpoint, text string, handles ...abi.Handle) (MessageID, abi.Errno) {
	return p.sendWait(e, text, false, handles...)
}

func (p *peer) sendWait(e *Endpoint, text string, wait bool, handles ...abi.Handle) (MessageID, abi.Errno) {
	copy(p.mem.data[:], text)
	p.putHandles(handles)
	return e.Send(p.Caller, Outgoing{dataAt, uint64(len(text)), handlesAt, uint64(len(handles))}, wait)
}

func (p *peer) putHandles(handles []abi.Handle) {
	for i, h := range handles[:min(len(handles), MaxHandles)] {
		for k := range 8 {
			p.mem.handles[8*i+k] = byte(h >> (8 * k))
		}
	}
}

var wholeMessage = Incoming{dataAt, MaxMessage, infoAt, InfoSize}

func (p *peer) receive(b *Mailbox, wait bool) (string, Info, abi.Errno) {
	i, e := b.Receive(p.Caller, wholeMessage, wait)
	return string(p.mem.data[:i.Size]), i, e
}

// received are the handles that came with the last message.
func (p *peer) received(i Info) []abi.Handle {
	var out []abi.Handle
	for k := range i.Handles {
		h := abi.Handle(0)
		for j := range 8 {
			h |= abi.Handle(p.mem.info[24+8*k+j]) << (8 * j)
		}
		out = append(out, h)
	}
	return out
}

func open(t testing.TB, p *Port, l Limits) *Mailbox {
	t.Helper()
	b, e := p.Open(l, NewQuota(4<<20), NewPool(32))
	if e != 0 {
		t.Fatal(e)
	}
	return b
}

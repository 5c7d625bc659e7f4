// Package cap is a process's capability space: the table that turns a handle
// into an object, and says no.
//
// A lookup is the first thing that every system call does. It compares the
// handle's generation, the object's type and the rights with one word, and, if
// the table hangs from a [Gate], looks at the token's end, the lease, the
// revocation epoch and the quotas. It takes no lock and allocates nothing;
// [Table.Check] may run in trap context, where there is no heap.
package cap

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"aios/kernel/abi"
)

// Capacity is how many handles a process can hold: one page of records.
const Capacity = 256

// maxGeneration is where a slot retires, so that a closed handle never
// becomes valid again by wrapping round.
const maxGeneration = 1<<32 - 1

// ErrFull reports that no slot is free.
var ErrFull = errors.New("handle table is full")

// record is one slot. state packs generation (32 bits), type (8) and rights
// (24) so that a check reads them as one; a free slot has type none.
type record struct {
	state  atomic.Uint64
	object atomic.Pointer[any]
	via    atomic.Pointer[via] // gates of others; nil: none
}

func pack(generation uint32, t abi.Type, r abi.Rights) uint64 {
	return uint64(generation)<<32 | uint64(t)<<24 | uint64(r&0xffffff)
}

// Table holds a process's handles. The zero value is an empty table. Lookups
// may run beside changes.
type Table struct {
	records [Capacity]record
	nodes   [Capacity]atomic.Pointer[node] // in the derivation tree; nil: in none
	gate    *Gate                          // that all handles hang from; nil: from none

	mu    sync.Mutex
	limit Limit    // nil: none
	used  int      // slots below this have been handed out before
	free  []uint32 // of those, closed ones that may be used again
}

// Limit says which rights on an object a table may hold at all. It is called with the
// table locked.
type Limit func(Capability) abi.Rights

// Hang makes all handles, present and to come, hang from a gate, and bounds their
// rights. Preconditions: nobody uses the table yet.
func (t *Table) Hang(g *Gate, l Limit) { t.gate, t.limit = g, l }

// Gate is what the handles hang from, nil for none.
func (t *Table) Gate() *Gate { return t.gate }

// Check tells whether h names an object of type t (TypeNone: any) with all the
// given rights, and may be used at now, since boot. The result is 0, BadHandle,
// WrongType, Denied, Lapsed or Quota, in that order of precedence.
func (t *Table) Check(h abi.Handle, typ abi.Type, rights abi.Rights, now time.Duration) abi.Errno {
	i := h.Index()
	if i >= Capacity {
		return abi.BadHandle
	}
	r := &t.records[i]
	for {
		state := r.state.Load()
		if e := check(state, h, typ, rights); e != 0 {
			return e
		}
		if e := t.gates(r, typ, int64(now)); e != 0 || r.state.Load() == state {
			return e
		} // closed or restricted meanwhile: the gates may be the next holder's
	}
}

// gates asks the gate that the table hangs from, and those that what is in r came through.
func (t *Table) gates(r *record, typ abi.Type, now int64) abi.Errno {
	if t.gate != nil {
		if e := t.gate.check(metered(typ), now); e != 0 {
			return e
		}
	}
	if v := r.via.Load(); v != nil {
		return v.check(now)
	}
	return 0
}

// metered tells whether calls on objects of a type count against the quotas of
// messages and their bytes: a line of the log is a message to whoever reads it.
func metered(t abi.Type) bool { return t == abi.TypeEndpoint || t == abi.TypeLog }

func check(state uint64, h abi.Handle, typ abi.Type, rights abi.Rights) abi.Errno {
	have := abi.Type(state >> 24)
	switch {
	case uint32(state>>32) != h.Generation() || have == abi.TypeNone:
		return abi.BadHandle
	case typ != abi.TypeNone && have != typ:
		return abi.WrongType
	case abi.Rights(state)&0xffffff&rights != rights:
		return abi.Denied
	}
	return 0
}

// Lookup is Check that also returns the object.
func (t *Table) Lookup(h abi.Handle, typ abi.Type, rights abi.Rights, now time.Duration) (any, abi.Errno) {
	object, _, e := t.lookup(h, typ, rights, now)
	return object, e
}

// Held is Check for a call that gives h up and does nothing else: what came from another
// agent can be closed when that one's token has ended, or nobody could ever be rid of it.
func (t *Table) Held(h abi.Handle, now time.Duration) abi.Errno {
	if h.Index() >= Capacity {
		return abi.BadHandle
	}
	if e := check(t.records[h.Index()].state.Load(), h, abi.TypeNone, 0); e != 0 || t.gate == nil {
		return e
	}
	return t.gate.check(false, int64(now))
}

// lookup also returns the record's state, for who has to see that it is so still.
func (t *Table) lookup(h abi.Handle, typ abi.Type, rights abi.Rights, now time.Duration) (any, uint64, abi.Errno) {
	i := h.Index()
	if i >= Capacity {
		return nil, 0, abi.BadHandle
	}
	r := &t.records[i]
	for {
		state := r.state.Load()
		if e := check(state, h, typ, rights); e != 0 {
			return nil, 0, e
		}
		if e := t.gates(r, typ, int64(now)); e != 0 {
			return nil, 0, e
		}
		object := r.object.Load()
		if r.state.Load() == state {
			return *object, state, 0
		} // closed or restricted meanwhile; the object may be the next holder's
	}
}

// Pin is a call that is under way.
type Pin struct{ node *node }

// Enter is Lookup for a call that does not run in trap context: until [Pin.Leave], no
// revocation of what it found returns.
func (t *Table) Enter(h abi.Handle, typ abi.Type, rights abi.Rights, now time.Duration) (any, Pin, abi.Errno) {
	for {
		object, state, e := t.lookup(h, typ, rights, now)
		if e != 0 {
			return nil, Pin{}, e
		}
		n := t.nodes[h.Index()].Load()
		if n != nil {
			n.pin()
		}
		if t.records[h.Index()].state.Load() == state {
			return object, Pin{n}, 0
		}
		if n != nil { // it was closed, or revoked, before it was pinned
			n.unpin()
		}
	}
}

// Leave ends the call.
func (p Pin) Leave() {
	if p.node != nil {
		p.node.unpin()
	}
}

// Insert gives object a handle. Preconditions: typ is not TypeNone.
func (t *Table) Insert(object any, typ abi.Type, rights abi.Rights) (abi.Handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.take()
	if !ok {
		return 0, ErrFull
	}
	t.fill(h, Capability{Object: object, Type: typ, Rights: rights})
	return h, nil
}

// take finds a slot and the handle that it will have. Preconditions: t.mu is held.
func (t *Table) take() (abi.Handle, bool) {
	var i uint32
	switch n := len(t.free); {
	case n > 0:
		i = t.free[n-1]
		t.free = t.free[:n-1]
	case t.used < Capacity:
		i = uint32(t.used)
		t.used++
	default:
		return 0, false
	}
	return abi.MakeHandle(i, uint32(t.records[i].state.Load()>>32)+1), true
}

// fill makes a handle of take valid, if what it is for was not revoked on its way; else
// it is one that was closed, and fill says false. Preconditions: t.mu is held.
func (t *Table) fill(h abi.Handle, c Capability) bool {
	r := &t.records[h.Index()]
	if n := c.node; n != nil {
		n.slot = h.Index()
		n.table.Store(t)
		if n.dead.Load() { // read after it is said where n is, before anybody can use it: see kill
			n.table.Store(nil)
			r.state.Store(pack(h.Generation(), abi.TypeNone, 0))
			t.forget(h)
			return false
		}
	}
	t.nodes[h.Index()].Store(c.node)
	r.via.Store(c.via)
	r.object.Store(&c.Object)
	r.state.Store(pack(h.Generation(), c.Type, t.bound(c)))
	return true
}

// bound is what of a capability's rights the table may hold. Preconditions: t.mu is held.
func (t *Table) bound(c Capability) abi.Rights {
	if t.limit == nil {
		return c.Rights
	}
	return c.Rights & t.limit(c)
}

// Restrict sets the limit, and takes from the handles that are there what it does not
// admit. Nothing gives it back to them.
func (t *Table) Restrict(l Limit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = l
	for i := range t.used {
		r := &t.records[i]
		state := r.state.Load()
		typ := abi.Type(state >> 24)
		if typ == abi.TypeNone {
			continue
		}
		c := Capability{Object: *r.object.Load(), Type: typ, Rights: abi.Rights(state) & 0xffffff}
		r.state.Store(pack(uint32(state>>32), typ, t.bound(c)))
	}
}

// Close makes the handle invalid for good and tells whether it was valid. The
// object learns of it, if it is a Closer.
func (t *Table) Close(h abi.Handle) bool {
	t.mu.Lock()
	c, ok := t.remove(h)
	t.mu.Unlock()
	if ok {
		c.Drop()
	}
	return ok
}

// remove takes a capability out. Preconditions: t.mu is held.
func (t *Table) remove(h abi.Handle) (Capability, bool) {
	if h.Index() >= Capacity || check(t.records[h.Index()].state.Load(), h, abi.TypeNone, 0) != 0 {
		return Capability{}, false
	}
	c := t.empty(h)
	Barrier()
	t.forget(h)
	return c, true
}

// empty makes a handle invalid. Its slot is not free before forget, which has to come
// after Barrier. Preconditions: t.mu is held, and the handle is valid.
func (t *Table) empty(h abi.Handle) Capability {
	r := &t.records[h.Index()]
	state := r.state.Load()
	n := t.nodes[h.Index()].Load()
	c := Capability{*r.object.Load(), abi.Type(state >> 24), abi.Rights(state) & 0xffffff, r.via.Load(), n}
	r.state.Store(pack(h.Generation(), abi.TypeNone, 0))
	t.nodes[h.Index()].Store(nil)
	if n != nil {
		n.table.Store(nil)
	}
	return c
}

// forget drops what an empty slot refers to, and frees it. Preconditions: t.mu is held.
func (t *Table) forget(h abi.Handle) {
	r := &t.records[h.Index()]
	r.object.Store(&none)
	r.via.Store(nil)
	if h.Generation() != maxGeneration {
		t.free = append(t.free, h.Index())
	}
}

// Barrier returns when every Lookup in trap context that began before, and all use
// of what it found, is over. The collector does not see what trap context holds, so
// the table drops no reference before. The machine sets it; elsewhere there is no
// trap context.
var Barrier = func() {}

// none stands in a closed slot, so that a lookup that races finds something to read.
var none any

// CloseAll closes every handle, revokes what was derived from them, and returns how
// many there were.
func (t *Table) CloseAll() int {
	n := 0
	for i := range t.records {
		if d := t.nodes[i].Load(); d != nil {
			d.revoke()
		}
		state := t.records[i].state.Load()
		if t.Close(abi.MakeHandle(uint32(i), uint32(state>>32))) {
			n++
		}
	}
	return n
}

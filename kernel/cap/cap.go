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
}

func pack(generation uint32, t abi.Type, r abi.Rights) uint64 {
	return uint64(generation)<<32 | uint64(t)<<24 | uint64(r&0xffffff)
}

// Table holds a process's handles. The zero value is an empty table. Lookups
// may run beside changes.
type Table struct {
	records [Capacity]record
	gate    *Gate // that all handles hang from; nil: from none

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
	if e := check(t.records[i].state.Load(), h, typ, rights); e != 0 || t.gate == nil {
		return e
	}
	return t.gate.check(metered(typ), int64(now))
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
	i := h.Index()
	if i >= Capacity {
		return nil, abi.BadHandle
	}
	r := &t.records[i]
	for {
		state := r.state.Load()
		if e := check(state, h, typ, rights); e != 0 {
			return nil, e
		}
		if t.gate != nil {
			if e := t.gate.check(metered(typ), int64(now)); e != 0 {
				return nil, e
			}
		}
		object := r.object.Load()
		if r.state.Load() == state {
			return *object, 0
		} // closed or restricted meanwhile; the object may be the next holder's
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
	t.fill(h, Capability{object, typ, rights})
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

// fill makes a handle of take valid. Preconditions: t.mu is held.
func (t *Table) fill(h abi.Handle, c Capability) {
	r := &t.records[h.Index()]
	r.object.Store(&c.Object)
	r.state.Store(pack(h.Generation(), c.Type, t.bound(c)))
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
		c := Capability{*r.object.Load(), typ, abi.Rights(state) & 0xffffff}
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
	if h.Index() >= Capacity {
		return Capability{}, false
	}
	r := &t.records[h.Index()]
	state := r.state.Load()
	if check(state, h, abi.TypeNone, 0) != 0 {
		return Capability{}, false
	}
	c := Capability{*r.object.Load(), abi.Type(state >> 24), abi.Rights(state) & 0xffffff}
	r.state.Store(pack(h.Generation(), abi.TypeNone, 0))
	Barrier()
	r.object.Store(&none)
	if h.Generation() != maxGeneration {
		t.free = append(t.free, h.Index())
	}
	return c, true
}

// Barrier returns when every Lookup in trap context that began before, and all use
// of what it found, is over. The collector does not see what trap context holds, so
// the table drops no reference before. The machine sets it; elsewhere there is no
// trap context.
var Barrier = func() {}

// none stands in a closed slot, so that a lookup that races finds something to read.
var none any

// CloseAll closes every handle and returns how many there were.
func (t *Table) CloseAll() int {
	n := 0
	for i := range t.records {
		state := t.records[i].state.Load()
		if t.Close(abi.MakeHandle(uint32(i), uint32(state>>32))) {
			n++
		}
	}
	return n
}

package cap

import "aios/kernel/abi"

// Capability is an object with what may be done to it, out of any table: on its
// way from one to another.
type Capability struct {
	Object any
	Type   abi.Type
	Rights abi.Rights

	via  *via  // gates that it came through
	node *node // in the derivation tree; nil: in none
}

// Closer is an object that is told when the handle on it is gone: closed by its
// holder, with its holder, or in a message that nobody will receive.
type Closer interface{ HandleClosed() }

// Drop ends a capability that is in no table. No lock is held: the object may
// take its own.
func (c Capability) Drop() {
	c.closed()
	if c.node != nil {
		c.node.leave()
	}
}

// closed tells the object, once.
func (c Capability) closed() {
	if c.node != nil && c.node.told.Swap(true) {
		return
	}
	if o, ok := c.Object.(Closer); ok {
		o.HandleClosed()
	}
}

// Take moves capabilities out of the table, all or none. What is no handle, or
// is named twice, is BadHandle; what lacks RightTransfer is Denied; what has come
// through too many agents is TooDeep. What leaves an agent's table stays bound to that
// agent's token.
func (t *Table) Take(handles []abi.Handle, into []Capability) abi.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, h := range handles {
		if h.Index() >= Capacity {
			return abi.BadHandle
		}
		// The call that moves them was let through the gate.
		if e := check(t.records[h.Index()].state.Load(), h, abi.TypeNone, abi.RightTransfer); e != 0 {
			return e
		}
		if t.gate != nil && t.records[h.Index()].via.Load().full(t.gate) {
			return abi.TooDeep
		}
		for _, before := range handles[:i] {
			if before == h {
				return abi.BadHandle
			}
		}
	}
	for i, h := range handles {
		into[i], _ = t.remove(h)
		if t.gate != nil {
			into[i].via = into[i].via.through(t.gate)
		}
	}
	return 0
}

// Reserve finds slots for as many handles as there are to be, or none and says
// false. The handles are not valid: each becomes so with Fill, or goes back with
// Release.
func (t *Table) Reserve(handles []abi.Handle) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range handles {
		h, ok := t.take()
		if !ok {
			t.release(handles[:i])
			return false
		}
		handles[i] = h
	}
	return true
}

// Fill gives a reserved handle its object. If that was revoked on its way, the handle
// is one that was closed.
func (t *Table) Fill(h abi.Handle, c Capability) {
	t.mu.Lock()
	ok := t.fill(h, c)
	t.mu.Unlock()
	if !ok {
		c.Drop()
	}
}

// Release gives reserved handles back; they were never valid.
func (t *Table) Release(handles []abi.Handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(handles)
}

// release does it. Preconditions: t.mu is held.
func (t *Table) release(handles []abi.Handle) {
	for _, h := range handles {
		t.free = append(t.free, h.Index())
	}
}

package cap

import (
	"time"

	"aios/kernel/abi"
)

// Deriver is an object that is made anew for each handle on it, because it is told of
// that handle's end.
type Deriver interface {
	Closer
	Derive() any
}

// derived is the object of a capability derived from one on o: o itself, or one that it
// makes; false, if there can be one handle on it only.
func derived(o any) (any, bool) {
	switch o := o.(type) {
	case Deriver:
		return o.Derive(), true
	case Closer:
		return nil, false
	}
	return o, true
}

// Derive makes a handle with some of h's rights, as seL4's Mint does. It hangs from h
// in the derivation tree: [Table.Revoke] of h ends it, wherever it was moved. Errors: those of Lookup; Denied for a right that h has not;
// WrongType for an object that can have one handle only; TooDeep; Again while what
// hangs from h is being revoked; TooManyFiles.
func (t *Table) Derive(h abi.Handle, rights abi.Rights, now time.Duration) (abi.Handle, abi.Errno) {
	return t.grow(h, now, func(c Capability) (*node, abi.Rights, abi.Errno) {
		n := c.node
		switch {
		case rights&^c.Rights != 0:
			return nil, 0, abi.Denied
		case n.parent.doomed():
			return nil, 0, abi.BadHandle // it is as good as revoked
		case n.revokers > 0:
			return nil, 0, abi.Again
		case n.depth() >= MaxDepth:
			return nil, 0, abi.TooDeep
		}
		return n, rights, 0
	})
}

// Copy makes a handle with h's rights beside it: what ends the one by revocation ends
// the other. Errors are those of Derive.
func (t *Table) Copy(h abi.Handle, now time.Duration) (abi.Handle, abi.Errno) {
	return t.grow(h, now, func(c Capability) (*node, abi.Rights, abi.Errno) {
		n := c.node
		if n.parent.doomed() {
			return nil, 0, abi.BadHandle
		}
		if n.parent == nil { // two roots hang from the tombstone of what neither was derived from
			top := &node{family: n.family}
			top.gone.Store(true)
			top.add(n)
		}
		return n.parent, c.Rights, 0
	})
}

// grow makes a handle in the table for what is derived from h, where place says: under
// which node, and with which rights. It is called with the tree and the table locked.
func (t *Table) grow(h abi.Handle, now time.Duration, place func(Capability) (*node, abi.Rights, abi.Errno)) (abi.Handle, abi.Errno) {
	n, e := t.root(h, now)
	if e != 0 {
		return 0, e
	}
	n.family.mu.Lock()
	defer n.family.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.records[h.Index()]
	state := r.state.Load()
	if check(state, h, abi.TypeNone, 0) != 0 || t.nodes[h.Index()].Load() != n {
		return 0, abi.BadHandle // closed meanwhile
	}
	c := Capability{*r.object.Load(), abi.Type(state >> 24), abi.Rights(state) & 0xffffff, r.via.Load(), n}
	object, ok := derived(c.Object)
	if !ok || !c.Type.Derivable() {
		return 0, abi.WrongType
	}
	new, ok := t.take()
	if !ok {
		return 0, abi.TooManyFiles
	}
	parent, rights, e := place(c)
	if e != 0 {
		t.release([]abi.Handle{new})
		return 0, e
	}
	child := &node{family: n.family, object: object}
	parent.add(child)
	t.fill(new, Capability{object, c.Type, rights, c.via, child})
	return new, 0
}

// root finds the node of a handle, or makes it the root of a family.
func (t *Table) root(h abi.Handle, now time.Duration) (*node, abi.Errno) {
	if _, e := t.Lookup(h, abi.TypeNone, 0, now); e != 0 {
		return nil, e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := h.Index()
	if check(t.records[i].state.Load(), h, abi.TypeNone, 0) != 0 {
		return nil, abi.BadHandle
	}
	n := t.nodes[i].Load()
	if n == nil {
		n = &node{family: new(family), slot: i}
		n.table.Store(t)
		t.nodes[i].Store(n)
	}
	return n, 0
}

package cap

import (
	"sync"
	"sync/atomic"
)

// MaxDepth is how many times what was derived can be derived from again: it bounds
// how long a walk to the root takes.
const MaxDepth = 32

// node is a capability's place in the derivation tree, whether it is a handle in a
// table or on its way in a message. A capability from which nothing was derived, and
// which was not derived, has none.
//
// A node whose capability is gone while others hang from it stays as a tombstone, so
// that whoever stands above can revoke them still. A tombstone above a single node is
// taken out of the way: there are fewer tombstones than capabilities.
type node struct {
	family *family

	// Under family.mu.
	parent, child, next, prev *node // prev of a first child is nil
	revokers                  int   // revocations under way of what hangs from it
	object                    any   // of a capability that was derived; nil when that is gone

	// Where it is. The table is stored with its lock held, and nil while it is on its
	// way or gone; the slot belongs to the table, under its lock.
	table atomic.Pointer[Table]
	slot  uint32

	gone    atomic.Bool                   // closed: it is a tombstone, once no call uses it
	dead    atomic.Bool                   // revoked: it will be no handle any more
	told    atomic.Bool                   // the object knows of its end
	pins    atomic.Int32                  // calls that use it
	drained atomic.Pointer[chan struct{}] // closed when pins is 0, for who revokes it
}

// family is all that descends from one capability. Locks are taken in this order:
// steps, mu, that of a table.
type family struct {
	steps sync.Mutex // held for a step of a revocation with all that belongs to it
	mu    sync.Mutex // of the tree
}

// add hangs c from n. Preconditions: family.mu is held.
func (n *node) add(c *node) {
	c.parent, c.next = n, n.child
	if n.child != nil {
		n.child.prev = c
	}
	n.child = c
}

// cut takes n, from which nothing hangs, out of the tree. Preconditions: family.mu is held.
func (n *node) cut() {
	p := n.parent
	if p == nil {
		return
	}
	n.replace(nil)
	p.tidy()
}

// replace puts with, which has no place, or nothing in n's place. What hangs from n
// stays there. Preconditions: family.mu is held.
func (n *node) replace(with *node) {
	before, after := &n.parent.child, n.next
	if n.prev != nil {
		before = &n.prev.next
	}
	if with != nil {
		with.parent, with.prev, with.next = n.parent, n.prev, n.next
		*before = with
	} else {
		with, *before = n.prev, n.next
	}
	if after != nil {
		after.prev = with
	}
	n.parent, n.prev, n.next = nil, nil, nil
}

// tidy takes n out if it is a tombstone that nobody needs: what a call uses still has to
// be found by who revokes it. Preconditions: family.mu is held.
func (n *node) tidy() {
	if !n.gone.Load() || n.pins.Load() != 0 || n.revokers > 0 {
		return
	}
	switch c := n.child; {
	case c == nil:
		n.cut()
	case c.next == nil && n.parent == nil: // a root
		n.child, c.parent = nil, nil
	case c.next == nil:
		n.child = nil
		n.replace(c)
	}
}

// leave says that n's capability is gone.
func (n *node) leave() {
	n.gone.Store(true)
	n.family.mu.Lock()
	defer n.family.mu.Unlock()
	n.object = nil
	n.tidy()
}

// depth is how many nodes stand above n. Preconditions: family.mu is held.
func (n *node) depth() int {
	d := 0
	for n = n.parent; n != nil; n = n.parent {
		d++
	}
	return d
}

// doomed tells whether what hangs from n or from a node above it is being revoked.
// Preconditions: family.mu is held.
func (n *node) doomed() bool {
	for ; n != nil; n = n.parent {
		if n.revokers > 0 {
			return true
		}
	}
	return false
}

// pin keeps a revocation from returning until unpin.
func (n *node) pin() { n.pins.Add(1) }

func (n *node) unpin() {
	if n.pins.Add(-1) != 0 {
		return
	}
	n.wake()
	if n.gone.Load() {
		n.leave() // again: it could not be tidied before
	}
}

// wake has who drains n look at its pins again.
func (n *node) wake() {
	if done := n.drained.Swap(nil); done != nil {
		close(*done)
	}
}

// drain waits until nobody pins n who did when it was killed. Preconditions: it was
// killed, so that whoever pins it from now on finds that and lets go. A wake may come
// late, when somebody else has pinned n since: so the pins have the last word.
func (n *node) drain() {
	for {
		done := make(chan struct{})
		n.drained.Store(&done)
		if n.pins.Load() == 0 {
			return
		}
		<-done
	}
}

package cap

import (
	"runtime"
	"time"

	"aios/kernel/abi"
)

// revokeStep is how many capabilities one step of a revocation ends, with the tree
// locked. Between steps others go on.
const revokeStep = 32

// Revoke ends everything that was derived from h, and from that in turn, wherever it
// is: handles in any table, and capabilities in messages that were not received. h
// itself stays. It returns how many there were. When it has returned none of them can
// be used, and no call that used one has an effect any more.
//
// While it is under way nothing new can be derived from what it ends, so it ends: see
// docs/capability-model.md.
func (t *Table) Revoke(h abi.Handle, now time.Duration) (int, abi.Errno) {
	if _, e := t.Lookup(h, abi.TypeNone, 0, now); e != 0 {
		return 0, e
	}
	t.mu.Lock()
	n := t.nodes[h.Index()].Load()
	if check(t.records[h.Index()].state.Load(), h, abi.TypeNone, 0) != 0 {
		t.mu.Unlock()
		return 0, abi.BadHandle
	}
	t.mu.Unlock()
	if n == nil {
		return 0, 0
	}
	count, ok := n.revoke()
	if !ok { // closed meanwhile
		return 0, abi.BadHandle
	}
	return count, 0
}

// victim is a handle that is no more, and whose slot is not free yet.
type victim struct {
	node   *node
	table  *Table // nil: it was on its way in a message, or its handle was closed
	handle abi.Handle
	c      Capability
}

// revoke ends what hangs from n. It is false if n was closed: what hung from it may hang
// from another node now.
func (n *node) revoke() (count int, ok bool) {
	f := n.family
	f.mu.Lock()
	if n.gone.Load() {
		f.mu.Unlock()
		return 0, false
	}
	n.revokers++
	f.mu.Unlock()
	for {
		var batch [revokeStep]victim
		f.steps.Lock()
		f.mu.Lock()
		k, ended := n.step(batch[:])
		done := n.child == nil
		f.mu.Unlock()
		end(batch[:k])
		f.steps.Unlock()
		count += ended
		if done {
			break
		}
		runtime.Gosched()
	}
	f.mu.Lock()
	n.revokers--
	n.tidy()
	f.mu.Unlock()
	return count, true
}

// step takes nodes that hang from n out of the tree, the lowest first, and makes their
// handles invalid. It returns how many it put into the batch, and how many of them were
// capabilities still, not only used by a call. Preconditions: family.mu is held.
func (n *node) step(into []victim) (k, ended int) {
	for at := n; k < len(into); {
		for at.child != nil {
			at = at.child
		}
		if at == n {
			break
		}
		low := at
		at = low.parent
		switch {
		case !low.gone.Load():
			into[k] = low.kill()
			k++
			ended++
		case low.pins.Load() != 0:
			into[k] = victim{node: low}
			k++
		}
		low.replace(nil)
	}
	return k, ended
}

// kill makes sure that n is no handle and never will be. Whoever receives it reads dead
// after it said where n is; here it is the other way round, so one of both sees it.
// Preconditions: family.mu is held.
func (n *node) kill() victim {
	n.dead.Store(true)
	for {
		t := n.table.Load()
		if t == nil {
			return victim{node: n, c: Capability{Object: n.object, node: n}}
		}
		if v, ok := t.kill(n); ok {
			return v
		} // it has moved meanwhile
	}
}

func (t *Table) kill(n *node) (victim, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.table.Load() != t {
		return victim{}, false
	}
	h := abi.MakeHandle(n.slot, uint32(t.records[n.slot].state.Load()>>32))
	return victim{n, t, h, t.empty(h)}, true
}

// end gives back what a step left: when it returns, nobody uses any of it.
func end(batch []victim) {
	if len(batch) == 0 {
		return
	}
	Barrier()
	for i := range batch {
		v := &batch[i]
		if v.table != nil { // else who receives it finds that it is dead
			v.table.mu.Lock()
			v.table.forget(v.handle)
			v.table.mu.Unlock()
		}
		v.c.closed() // wakes who waits in a call on it
	}
	for i := range batch {
		batch[i].node.drain()
	}
}

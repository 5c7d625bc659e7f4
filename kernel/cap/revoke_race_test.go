package cap

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"aios/kernel/abi"
)

// inFlight is a capability derived from root, on its way from one table.
func inFlight(t *testing.T, tab *Table, root abi.Handle) Capability {
	t.Helper()
	var c [1]Capability
	if e := tab.Take([]abi.Handle{must(t)(tab.Derive(root, allOf, 0))}, c[:]); e != 0 {
		t.Fatal(e)
	}
	return c[0]
}

// What was revoked on its way is never a valid handle, not for the moment in which it
// arrives either: another thread of the receiver can guess which one it will be.
func TestRevokedNeverArrives(t *testing.T) {
	var from, to Table
	root := insert(t, &from, "blob", abi.TypeBlob, allOf)
	var guess atomic.Uint64
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			h := abi.Handle(guess.Load())
			if _, pin, e := to.Enter(h, abi.TypeBlob, 0, 0); e == 0 {
				t.Errorf("%#x is used after it was revoked", h)
				pin.Leave()
				return
			}
		}
	})
	for range 5000 {
		c := inFlight(t, &from, root)
		if n, e := from.Revoke(root, 0); n != 1 || e != 0 {
			t.Fatalf("revoked %d, %v", n, e)
		}
		var h [1]abi.Handle
		to.Reserve(h[:])
		guess.Store(uint64(h[0]))
		to.Fill(h[0], c)
	}
	stop.Store(true)
	wg.Wait()
}

// A revocation waits for each call that is pinned, however many come and go beside it.
func TestRevokeWaitsForEach(t *testing.T) {
	var tab Table
	root := insert(t, &tab, "blob", abi.TypeBlob, allOf)
	for range 3000 {
		child := must(t)(tab.Derive(root, allOf, 0))
		var returned atomic.Bool
		var wg sync.WaitGroup
		var running atomic.Int32
		for range 4 {
			wg.Go(func() {
				running.Add(1)
				for {
					_, pin, e := tab.Enter(child, abi.TypeBlob, 0, 0)
					if e != 0 {
						return
					}
					runtime.Gosched()
					if returned.Load() {
						t.Error("a call goes on after the revocation has returned")
					}
					pin.Leave()
				}
			})
		}
		for running.Load() != 4 {
			runtime.Gosched()
		}
		tab.Revoke(root, 0)
		returned.Store(true)
		wg.Wait()
	}
}

// A wake that comes late does not end the wait for a call that was pinned since.
func TestDrainLooksAgain(t *testing.T) {
	n := new(node)
	n.pin()
	done := make(chan struct{})
	go func() { n.drain(); close(done) }()
	armed := func() bool {
		for n.drained.Load() == nil {
			select {
			case <-done:
				return false
			default:
				runtime.Gosched()
			}
		}
		return true
	}
	if !armed() {
		t.Fatal("it did not wait")
	}
	n.wake() // of an unpin before
	if !armed() {
		t.Fatal("it was over beside a call")
	}
	n.unpin()
	<-done
}

// Who revokes what another thread closes at the same time is told the truth: that the
// handle was no more, or that nothing is left.
func TestRevokeBesideClose(t *testing.T) {
	var tab Table
	root := insert(t, &tab, "blob", abi.TypeBlob, allOf)
	for range 3000 {
		h := must(t)(tab.Derive(root, allOf, 0))
		child := must(t)(tab.Derive(h, allOf, 0))
		var wg sync.WaitGroup
		wg.Go(func() { tab.Close(h) })
		n, e := tab.Revoke(h, 0)
		if left := tab.Check(child, abi.TypeBlob, 0, 0) == 0; left == (e == 0) || e == 0 && n != 1 {
			t.Fatalf("revoked %d, %v; what hangs from it is left: %v", n, e, left)
		}
		wg.Wait()
		tab.Close(child)
	}
}

// waker is an object on which a call waits for its end.
type waker struct {
	once   sync.Once
	closed chan struct{}
}

func (w *waker) HandleClosed() { w.once.Do(func() { close(w.closed) }) }
func (w *waker) Derive() any   { return &waker{closed: make(chan struct{})} }

// A call that waits on what has left in a message is woken by the revocation, which
// else would wait for a receiver who never comes.
func TestRevokeWakesBehindMessage(t *testing.T) {
	var tab Table
	root := insert(t, &tab, &waker{closed: make(chan struct{})}, abi.TypeEndpoint, allOf)
	child := must(t)(tab.Derive(root, allOf, 0))
	o, pin, e := tab.Enter(child, abi.TypeEndpoint, abi.RightWrite, 0)
	if e != 0 {
		t.Fatal(e)
	}
	var c [1]Capability
	if e := tab.Take([]abi.Handle{child}, c[:]); e != 0 {
		t.Fatal(e)
	}
	go func() {
		<-o.(*waker).closed
		pin.Leave()
	}()
	if n, e := tab.Revoke(root, 0); n != 1 || e != 0 {
		t.Errorf("revoked %d, %v", n, e)
	}
	c[0].Drop()
}

package cap

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aios/kernel/abi"
)

const allOf = abi.RightRead | abi.RightWrite | abi.RightTransfer

// closer is an object with one handle; each derived one has its own.
type closer struct {
	closed  atomic.Int32
	derived *closer
}

func (c *closer) HandleClosed() { c.closed.Add(1) }

func (c *closer) Derive() any {
	c.derived = &closer{}
	return c.derived
}

// single is one that there can be one handle on.
type single struct{}

func (single) HandleClosed() {}

func must(t testing.TB) func(h abi.Handle, e abi.Errno) abi.Handle {
	return func(h abi.Handle, e abi.Errno) abi.Handle {
		t.Helper()
		if e != 0 {
			t.Fatal(e)
		}
		return h
	}
}

func insert(t testing.TB, tab *Table, object any, typ abi.Type, rights abi.Rights) abi.Handle {
	t.Helper()
	h, err := tab.Insert(object, typ, rights)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// move is a message from one table to another.
func move(t testing.TB, from, to *Table, h abi.Handle) abi.Handle {
	t.Helper()
	var c [1]Capability
	if e := from.Take([]abi.Handle{h}, c[:]); e != 0 {
		t.Fatal(e)
	}
	return arrive(t, to, c[0])
}

func arrive(t testing.TB, to *Table, c Capability) abi.Handle {
	t.Helper()
	var h [1]abi.Handle
	if !to.Reserve(h[:]) {
		t.Fatal("the table is full")
	}
	to.Fill(h[0], c)
	return h[0]
}

func TestDerive(t *testing.T) {
	var tab Table
	root := insert(t, &tab, "blob", abi.TypeBlob, abi.RightRead|abi.RightTransfer)
	child := must(t)(tab.Derive(root, abi.RightRead, 0))
	none := must(t)(tab.Derive(child, 0, 0))
	mailbox := insert(t, &tab, single{}, abi.TypeMailbox, allOf)
	fixed := insert(t, &tab, single{}, abi.TypeBlob, allOf)
	for _, c := range []struct {
		name   string
		h      abi.Handle
		rights abi.Rights
		want   abi.Errno
	}{
		{"fewer rights", root, abi.RightRead, 0},
		{"the same rights", root, abi.RightRead | abi.RightTransfer, 0},
		{"a right that it has not", root, abi.RightWrite, abi.Denied},
		{"a right that its ancestor has", child, abi.RightTransfer, abi.Denied},
		{"a right that does not exist", root, 1 << 31, abi.Denied},
		{"nothing of nothing", none, 0, 0},
		{"something of nothing", none, abi.RightRead, abi.Denied},
		{"a closed handle", 0, 0, abi.BadHandle},
		{"what has one handle by its type", mailbox, 0, abi.WrongType},
		{"what has one handle by its object", fixed, 0, abi.WrongType},
	} {
		h, e := tab.Derive(c.h, c.rights, 0)
		if e != c.want || e != 0 && h != 0 {
			t.Errorf("%s: %#x, %v, want %v", c.name, h, e, c.want)
		}
		if e != 0 {
			continue
		}
		for _, r := range []abi.Rights{abi.RightRead, abi.RightWrite, abi.RightInvoke, abi.RightControl, abi.RightTransfer} {
			if has := tab.Check(h, abi.TypeBlob, r, 0) == 0; has != (c.rights&r != 0) {
				t.Errorf("%s: right %v: %v", c.name, r, has)
			}
		}
	}
}

func TestDeriveBounds(t *testing.T) {
	var tab Table
	h := insert(t, &tab, "blob", abi.TypeBlob, allOf)
	first := h
	for range MaxDepth {
		h = must(t)(tab.Derive(h, allOf, 0))
	}
	if _, e := tab.Derive(h, 0, 0); e != abi.TooDeep {
		t.Errorf("deeper than %d: %v", MaxDepth, e)
	}
	for range Capacity - MaxDepth - 1 {
		must(t)(tab.Copy(h, 0))
	}
	for _, do := range []func() (abi.Handle, abi.Errno){
		func() (abi.Handle, abi.Errno) { return tab.Copy(h, 0) },
		func() (abi.Handle, abi.Errno) { return tab.Derive(first, 0, 0) },
	} {
		if _, e := do(); e != abi.TooManyFiles {
			t.Errorf("in a full table: %v", e)
		}
	}
	if n, e := tab.Revoke(first, 0); e != 0 || n != Capacity-1 {
		t.Errorf("revoked %d, %v", n, e)
	}
	for range Capacity - 1 {
		must(t)(tab.Derive(first, 0, 0))
	}
}

// A family over three tables, with one of it in a message and one closed in between.
func TestRevoke(t *testing.T) {
	var a, b, c Table
	object := &closer{}
	root := insert(t, &a, object, abi.TypeEndpoint, allOf)
	kept := must(t)(a.Copy(root, 0))
	middle := must(t)(a.Derive(root, allOf, 0))
	sibling := must(t)(a.Copy(middle, 0))
	low := must(t)(a.Derive(middle, allOf, 0))
	lowObject := object.derived
	var flight [1]Capability
	sent := must(t)(a.Derive(low, allOf, 0))
	if e := a.Take([]abi.Handle{sent}, flight[:]); e != 0 {
		t.Fatal(e)
	}
	inB := move(t, &a, &b, must(t)(a.Derive(low, allOf, 0)))
	inC := move(t, &b, &c, must(t)(b.Derive(inB, abi.RightWrite|abi.RightTransfer, 0)))
	if !b.Close(inB) || !a.Close(middle) {
		t.Fatal("close")
	}
	if c.Check(inC, abi.TypeEndpoint, abi.RightWrite, 0) != 0 {
		t.Fatal("what was derived from a handle goes on when that is closed")
	}
	n, e := a.Revoke(root, 0)
	if e != 0 || n != 4 { // sibling, low, in the message, in c
		t.Errorf("revoked %d, %v, want 4", n, e)
	}
	for _, x := range []struct {
		name string
		tab  *Table
		h    abi.Handle
		want abi.Errno
	}{
		{"the root", &a, root, 0}, {"its copy", &a, kept, 0}, {"a copy below it", &a, sibling, abi.BadHandle},
		{"derived twice", &a, low, abi.BadHandle}, {"moved twice", &c, inC, abi.BadHandle},
		{"on its way in a message", &b, arrive(t, &b, flight[0]), abi.BadHandle},
	} {
		if e := x.tab.Check(x.h, abi.TypeEndpoint, 0, 0); e != x.want {
			t.Errorf("%s: %v, want %v", x.name, e, x.want)
		}
	}
	if object.closed.Load() != 0 || lowObject.closed.Load() != 1 || flight[0].Object.(*closer).closed.Load() != 1 {
		t.Error("each object learns of its end, once")
	}
	if n, e := a.Revoke(root, 0); n != 0 || e != 0 {
		t.Errorf("again: %d, %v", n, e)
	}
	must(t)(a.Derive(root, allOf, 0))
}

// However much was derived and closed, what is kept of it is bounded by what is held.
func TestTombstones(t *testing.T) {
	var tab Table
	root := insert(t, &tab, "blob", abi.TypeBlob, allOf)
	h := must(t)(tab.Derive(root, allOf, 0))
	for range 10 * MaxDepth {
		next := must(t)(tab.Derive(h, allOf, 0))
		tab.Close(h)
		h = next
	}
	n := tab.nodes[h.Index()].Load()
	if d := n.depth(); d != 1 || n.parent != tab.nodes[root.Index()].Load() {
		t.Errorf("depth %d after closing all between", d)
	}
	if k, _ := tab.Revoke(root, 0); k != 1 || tab.Check(h, abi.TypeBlob, 0, 0) != abi.BadHandle {
		t.Errorf("revoked %d", k)
	}
}

// A process's end ends what was derived from its handles.
func TestCloseAllRevokes(t *testing.T) {
	var a, b Table
	root := insert(t, &a, "blob", abi.TypeBlob, allOf)
	lent := move(t, &a, &b, must(t)(a.Derive(root, allOf, 0)))
	given := move(t, &a, &b, root)
	if n := a.CloseAll(); n != 0 {
		t.Errorf("%d handles were open", n)
	}
	if b.Check(lent, abi.TypeBlob, 0, 0) != 0 || b.Check(given, abi.TypeBlob, 0, 0) != 0 {
		t.Error("what moved away with all that hangs from it is the other's")
	}
	keep := insert(t, &a, "other", abi.TypeBlob, allOf)
	lent = move(t, &a, &b, must(t)(a.Derive(keep, allOf, 0)))
	if n := a.CloseAll(); n != 1 || b.Check(lent, abi.TypeBlob, 0, 0) != abi.BadHandle {
		t.Error("what hangs from a handle ends with the process that holds it")
	}
}

// A revocation waits for a call that found its handle before.
func TestRevokeWaitsForCalls(t *testing.T) {
	for _, closes := range []bool{false, true} {
		var tab Table
		root := insert(t, &tab, "blob", abi.TypeBlob, allOf)
		child := must(t)(tab.Derive(root, allOf, 0))
		_, pin, e := tab.Enter(child, abi.TypeBlob, abi.RightRead, 0)
		if e != 0 {
			t.Fatal(e)
		}
		if closes {
			tab.Close(child) // the call goes on
		}
		var returned atomic.Bool
		done := make(chan struct{})
		go func() {
			tab.Revoke(root, 0)
			returned.Store(true)
			close(done)
		}()
		for tab.Check(child, abi.TypeBlob, 0, 0) == 0 {
			runtime.Gosched()
		}
		if _, e := tab.Derive(root, 0, 0); e != abi.Again && !closes {
			t.Errorf("derive from what is being revoked: %v", e)
		}
		if returned.Load() {
			t.Error("the revocation returned beside a call")
		}
		pin.Leave()
		<-done
		if _, _, e := tab.Enter(child, abi.TypeBlob, 0, 0); e != abi.BadHandle {
			t.Errorf("after it returned: %v", e)
		}
	}
}

// What leaves an agent's table is bound to its token, whoever holds it.
func TestVia(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(l *Lease, g *Gate)
		at     time.Duration
		want   abi.Errno
	}{
		{"open", func(*Lease, *Gate) {}, second, 0},
		{"the token ends", func(*Lease, *Gate) {}, 30 * second, abi.Lapsed},
		{"the lease is over", func(l *Lease, _ *Gate) { l.End() }, second, abi.Lapsed},
		{"its epoch is revoked", func(l *Lease, _ *Gate) { l.Epoch(4) }, second, abi.Lapsed},
		{"shut", func(_ *Lease, g *Gate) { g.Shut() }, second, abi.Lapsed},
		{"recalled", func(_ *Lease, g *Gate) { g.Recall() }, second, abi.Lapsed},
		{"its quota is used up", func(_ *Lease, g *Gate) { g.Charge(100, second) }, second, 0},
	} {
		l, g, agent, _, _ := gated(Terms{Until: 30 * second, Epoch: 3, Messages: 2, Bytes: 100})
		var b, third Table
		blob := insert(t, agent, "blob", abi.TypeEndpoint, allOf)
		lent := must(t)(agent.Derive(blob, allOf, 0))
		moved := move(t, &b, &third, move(t, agent, &b, lent))
		derived := must(t)(third.Derive(moved, allOf, 0))
		given := move(t, agent, &b, blob)
		c.change(l, g)
		for _, x := range []struct {
			what string
			tab  *Table
			h    abi.Handle
		}{{"lent", &third, moved}, {"derived from it", &third, derived}, {"given", &b, given}} {
			_, e := x.tab.Lookup(x.h, abi.TypeEndpoint, abi.RightRead, c.at)
			if e != c.want || x.tab.Check(x.h, abi.TypeEndpoint, abi.RightRead, c.at) != e {
				t.Errorf("%s: %s: %v, want %v", c.name, x.what, e, c.want)
			}
		}
	}
}

// To and fro between agents adds nothing, and there is an end to passing on.
func TestViaBound(t *testing.T) {
	l := new(Lease)
	l.Begin(minute)
	var tabs [maxVia + 2]Table
	for i := range tabs {
		tabs[i].Hang(l.Gate(Terms{Until: minute}), nil)
	}
	h := insert(t, &tabs[0], "blob", abi.TypeBlob, allOf)
	for range 50 {
		h = move(t, &tabs[1], &tabs[0], move(t, &tabs[0], &tabs[1], h))
	}
	for i := range maxVia {
		h = move(t, &tabs[i], &tabs[i+1], h)
	}
	var c [1]Capability
	if e := tabs[maxVia].Take([]abi.Handle{h}, c[:]); e != abi.TooDeep {
		t.Errorf("through %d agents: %v", maxVia+1, e)
	}
	if e := tabs[maxVia].Check(h, abi.TypeBlob, 0, 0); e != 0 {
		t.Errorf("it stays where it was: %v", e)
	}
}

// Threads derive, move and use what is revoked over and over. Once a revocation has
// returned, no use of what there was when it began begins or goes on.
func TestRevokeRace(t *testing.T) {
	var tabs [3]Table
	root := insert(t, &tabs[0], "blob", abi.TypeBlob, allOf)
	var begun, returned atomic.Uint64 // revocations
	var uses atomic.Uint64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for at, h := 0, root; !stop.Load(); {
				to := (at + 1 + w) % len(tabs)
				child, e := tabs[at].Derive(h, allOf, 0)
				var c [1]Capability
				var in [1]abi.Handle
				if e == 0 {
					e = tabs[at].Take([]abi.Handle{child}, c[:])
				}
				if e == 0 && !tabs[to].Reserve(in[:]) {
					c[0].Drop()
					e = abi.TooManyFiles
				}
				if e != 0 { // revoked, or there is no room, or it is too deep: begin again
					at, h = 0, root
					continue
				}
				known := begun.Load() // those after this one see what is in the message
				tabs[to].Fill(in[0], c[0])
				at, h = to, in[0]
				for range 3 {
					_, pin, e := tabs[at].Enter(h, abi.TypeBlob, abi.RightRead, 0)
					if e == 0 && returned.Load() > known {
						t.Error("it is used after a revocation has returned")
					}
					if e == 0 {
						uses.Add(1)
						pin.Leave()
					}
				}
			}
		})
	}
	for i := range uint64(50) {
		before := uses.Load()
		begun.Store(i + 1)
		if _, e := tabs[0].Revoke(root, 0); e != 0 {
			t.Error(e)
		}
		returned.Store(i + 1)
		for uses.Load() == before { // so that there is something to revoke
			runtime.Gosched()
		}
	}
	stop.Store(true)
	wg.Wait()
	tabs[0].Revoke(root, 0)
	for i, want := range []int{1, 0, 0} {
		if n := tabs[i].CloseAll(); n != want {
			t.Errorf("table %d: %d handles are left, want %d", i, n, want)
		}
	}
}

func BenchmarkDeriveClose(b *testing.B) {
	var tab Table
	root := insert(b, &tab, "blob", abi.TypeBlob, allOf)
	for b.Loop() {
		h, e := tab.Derive(root, allOf, 0)
		if e != 0 {
			b.Fatal(e)
		}
		tab.Close(h)
	}
}

func BenchmarkRevoke(b *testing.B) {
	var tab Table
	root := insert(b, &tab, "blob", abi.TypeBlob, allOf)
	for b.Loop() {
		for range Capacity - 1 {
			tab.Derive(root, allOf, 0)
		}
		if n, _ := tab.Revoke(root, 0); n != Capacity-1 {
			b.Fatal(n)
		}
	}
}

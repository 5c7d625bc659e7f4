package cap

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aios/kernel/abi"

	"pgregory.net/rapid"
)

const (
	second = time.Second
	minute = time.Minute
)

// gated is a table behind a gate, with an endpoint, a log and a clock in it.
func gated(terms Terms) (l *Lease, g *Gate, tab *Table, endpoint, clock abi.Handle) {
	l, tab = new(Lease), new(Table)
	l.Begin(minute)
	g = l.Gate(terms)
	tab.Hang(g, nil)
	endpoint, _ = tab.Insert("endpoint", abi.TypeEndpoint, abi.RightWrite)
	clock, _ = tab.Insert("clock", abi.TypeClock, abi.RightRead)
	return
}

// Each thing that a check looks at shuts the handle by itself.
func TestGate(t *testing.T) {
	terms := Terms{Until: 30 * second, Epoch: 3, Messages: 2, Bytes: 100}
	for _, c := range []struct {
		name        string
		change      func(l *Lease, g *Gate)
		at          time.Duration
		send, clock abi.Errno
	}{
		{"open", func(*Lease, *Gate) {}, second, 0, 0},
		{"the last moment of the token", func(*Lease, *Gate) {}, 30*second - 1, 0, 0},
		{"the token ends", func(*Lease, *Gate) {}, 30 * second, abi.Lapsed, abi.Lapsed},
		{"the lease ends first", func(l *Lease, _ *Gate) { l.Renew(2 * second) }, 2 * second, abi.Lapsed, abi.Lapsed},
		{"the last moment of the lease", func(l *Lease, _ *Gate) { l.Renew(2 * second) }, 2*second - 1, 0, 0},
		{"the lease is renewed", func(l *Lease, _ *Gate) { l.Renew(2 * second); l.Renew(minute) }, 3 * second, 0, 0},
		{"the lease is over", func(l *Lease, _ *Gate) { l.End() }, second, abi.Lapsed, abi.Lapsed},
		{"another lease", func(l *Lease, _ *Gate) { l.Begin(minute) }, second, abi.Lapsed, abi.Lapsed},
		{"its epoch is good", func(l *Lease, _ *Gate) { l.Epoch(3) }, second, 0, 0},
		{"its epoch is revoked", func(l *Lease, _ *Gate) { l.Epoch(4) }, second, abi.Lapsed, abi.Lapsed},
		{"an epoch never goes back", func(l *Lease, _ *Gate) { l.Epoch(4); l.Epoch(1) }, second, abi.Lapsed, abi.Lapsed},
		{"shut", func(_ *Lease, g *Gate) { g.Shut() }, second, abi.Lapsed, abi.Lapsed},
		{"shut, for good", func(_ *Lease, g *Gate) { g.Shut(); g.Move(terms) }, second, abi.Lapsed, abi.Lapsed},
		{"moved", func(_ *Lease, g *Gate) { g.Move(Terms{Until: 40 * second, Epoch: 3, Messages: 2, Bytes: 1}) }, 35 * second, 0, 0},
		{"moved to the past", func(_ *Lease, g *Gate) { g.Move(Terms{Until: -second, Messages: 1, Bytes: 1}) }, second, abi.Lapsed, abi.Lapsed},
		{"no messages", func(_ *Lease, g *Gate) { g.Move(Terms{Until: minute, Epoch: 3, Bytes: 1}) }, second, abi.Quota, 0},
		{"no bytes", func(_ *Lease, g *Gate) { g.Move(Terms{Until: minute, Epoch: 3, Messages: 1}) }, second, abi.Quota, 0},
		{"messages are used up", func(_ *Lease, g *Gate) { g.Charge(1, second); g.Charge(1, second) }, second, abi.Quota, 0},
		{"bytes are used up", func(_ *Lease, g *Gate) { g.Charge(100, second) }, second, abi.Quota, 0},
		{"and come back", func(_ *Lease, g *Gate) { g.Charge(100, second) }, 2 * second, 0, 0},
	} {
		l, g, tab, endpoint, clock := gated(terms)
		c.change(l, g)
		_, e := tab.Lookup(endpoint, abi.TypeEndpoint, abi.RightWrite, c.at)
		if e != c.send || tab.Check(endpoint, abi.TypeEndpoint, abi.RightWrite, c.at) != e {
			t.Errorf("%s: an endpoint: %v, want %v", c.name, e, c.send)
		}
		_, e = tab.Lookup(clock, abi.TypeClock, abi.RightRead, c.at)
		if e != c.clock || tab.Check(clock, abi.TypeClock, abi.RightRead, c.at) != e {
			t.Errorf("%s: a clock: %v, want %v", c.name, e, c.clock)
		}
		if e := tab.Check(clock, abi.TypeClock, abi.RightWrite, c.at); e != abi.Denied {
			t.Errorf("%s: what the handle never admitted: %v", c.name, e)
		}
	}
}

// Who holds no token is under no lease.
func TestNoGate(t *testing.T) {
	var tab Table
	h, _ := tab.Insert("log", abi.TypeLog, abi.RightWrite)
	if e := tab.Check(h, abi.TypeLog, abi.RightWrite, 1<<62); e != 0 || tab.Gate() != nil {
		t.Errorf("a service's log: %v", e)
	}
}

// However the calls come, no more passes than the rate, a second's worth and one
// message of debt.
func TestMeter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Uint64Range(1, 1<<20).Draw(t, "rate")
		var m Meter
		m.set(rate)
		now, passed, largest := int64(rapid.Int64Range(0, 1<<50).Draw(t, "start")), uint64(0), uint64(0)
		start := now
		for range rapid.IntRange(1, 300).Draw(t, "calls") {
			now += rapid.Int64Range(0, int64(second)/2).Draw(t, "pause")
			n := rapid.Uint64Range(0, 1<<16).Draw(t, "n")
			if empty := m.empty(now); m.take(n, now) == empty {
				t.Fatalf("empty: %v, and taking says the same", empty)
			} else if !empty {
				passed, largest = passed+n, max(largest, n)
			}
		}
		// Rounding: a nanosecond in each call.
		if most := rate*uint64(now-start)/uint64(second) + rate + largest + 300*(rate/uint64(second)+1); passed > most {
			t.Fatalf("%d in %d ns at %d a second, at most %d", passed, now-start, rate, most)
		}
		if now += int64(minute); m.take(1, now+int64(largest*uint64(second)/rate)) == false {
			t.Fatal("after a rest it is still empty")
		}
	})
}

func TestLimit(t *testing.T) {
	var tab, other Table
	tab.Hang(nil, func(c Capability) abi.Rights {
		if c.Object == "forbidden" {
			return 0
		}
		return abi.RightRead | abi.RightTransfer
	})
	const rw = abi.RightRead | abi.RightWrite | abi.RightTransfer
	good, _ := tab.Insert("good", abi.TypeBlob, rw)
	bad, _ := tab.Insert("forbidden", abi.TypeBlob, rw)
	is := func(what string, h abi.Handle, r abi.Rights, want abi.Errno) {
		t.Helper()
		if e := tab.Check(h, abi.TypeBlob, r, 0); e != want {
			t.Errorf("%s: %v, want %v", what, e, want)
		}
	}
	is("read", good, abi.RightRead, 0)
	is("write", good, abi.RightWrite, abi.Denied)
	is("nothing, of what is forbidden", bad, 0, 0)
	is("read what is forbidden", bad, abi.RightRead, abi.Denied)
	tab.Restrict(func(Capability) abi.Rights { return abi.RightTransfer })
	is("read, after it was restricted", good, abi.RightRead, abi.Denied)
	tab.Restrict(func(Capability) abi.Rights { return abi.AllRights })
	is("nothing comes back", good, abi.RightRead, abi.Denied)

	// What comes in a message is bounded too: passing a handle to and fro widens nothing.
	tab.Restrict(func(Capability) abi.Rights { return abi.RightRead })
	from, _ := other.Insert("good", abi.TypeBlob, rw)
	var moved [1]Capability
	other.Take([]abi.Handle{from}, moved[:])
	slot := make([]abi.Handle, 1)
	tab.Reserve(slot)
	tab.Fill(slot[0], moved[0])
	is("read what came", slot[0], abi.RightRead, 0)
	is("write what came", slot[0], abi.RightWrite, abi.Denied)
	closed, _ := tab.Insert("gone", abi.TypeBlob, rw)
	tab.Close(closed)
	tab.Restrict(func(Capability) abi.Rights { return 0 })
	is("a closed handle", closed, 0, abi.BadHandle)
}

// A lookup beside a restriction finds the object or is denied, and never a bad handle.
func TestRestrictRace(t *testing.T) {
	var tab Table
	h, _ := tab.Insert("x", abi.TypeBlob, abi.RightRead|abi.RightWrite)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			if o, e := tab.Lookup(h, abi.TypeBlob, abi.RightRead, 0); e != 0 || o != "x" {
				t.Errorf("%v, %v", o, e)
				return
			}
		}
	})
	for range 2000 {
		tab.Restrict(func(Capability) abi.Rights { return abi.RightRead })
	}
	stop.Store(true)
	wg.Wait()
}

// A check beside a change of leases never lets the old lease's gate through on the
// new lease's time.
func TestLeaseRace(t *testing.T) {
	var l Lease
	var wg sync.WaitGroup
	for i := range 2000 {
		end := time.Duration(i+1) * second
		l.Begin(end)
		g := l.Gate(Terms{Until: 1 << 60})
		wg.Go(func() {
			for g.check(false, int64(end-1)) == 0 {
			}
			if e := g.check(false, int64(end)); e != abi.Lapsed {
				t.Errorf("past the end of its lease: %v", e)
			}
		})
		l.Renew(end)
	}
	l.End()
	wg.Wait()
}

// everything is a table whose check looks at all there is.
func everything(b testing.TB) (*Table, abi.Handle) {
	b.Helper()
	_, _, tab, h, _ := gated(Terms{Until: minute, Epoch: 1, Messages: 1000, Bytes: 1 << 20})
	return tab, h
}

func TestGateNoAllocation(t *testing.T) {
	tab, h := everything(t)
	if n := testing.AllocsPerRun(100, func() { tab.Lookup(h, abi.TypeEndpoint, abi.RightWrite, second); tab.Gate().Charge(1, second) }); n != 0 {
		t.Fatalf("a check allocates %v times", n)
	}
}

// BenchmarkCheck is a check with everything looked at: generation, type, rights, the
// token's end, epoch and lease, and both quotas.
func BenchmarkCheck(b *testing.B) {
	tab, h := everything(b)
	b.ReportAllocs()
	for b.Loop() {
		if e := tab.Check(h, abi.TypeEndpoint, abi.RightWrite, second); e != 0 {
			b.Fatal(e)
		}
	}
}

func BenchmarkCheckParallel(b *testing.B) {
	tab, h := everything(b)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if e := tab.Check(h, abi.TypeEndpoint, abi.RightWrite, second); e != 0 {
				b.Fatal(e)
			}
		}
	})
}

// BenchmarkCheckVia is one of a handle that came from another agent.
func BenchmarkCheckVia(b *testing.B) {
	from, h := everything(b)
	c := Capability{Object: "endpoint", Type: abi.TypeEndpoint, Rights: abi.RightWrite, via: (*via)(nil).through(from.gate)}
	to, _ := everything(b)
	h = arrive(b, to, c)
	b.ReportAllocs()
	for b.Loop() {
		if e := to.Check(h, abi.TypeEndpoint, abi.RightWrite, second); e != 0 {
			b.Fatal(e)
		}
	}
}

// BenchmarkCheckContended is one beside a thread that derives and revokes in the same
// table without a pause.
func BenchmarkCheckContended(b *testing.B) {
	tab, h := everything(b)
	root, _ := tab.Insert("blob", abi.TypeBlob, abi.RightRead)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			tab.Derive(root, abi.RightRead, second)
			tab.Revoke(root, second)
		}
	})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if e := tab.Check(h, abi.TypeEndpoint, abi.RightWrite, second); e != 0 {
				b.Fatal(e)
			}
		}
	})
	stop.Store(true)
	wg.Wait()
}

// BenchmarkCharge takes a message out of both quotas.
func BenchmarkCharge(b *testing.B) {
	_, g, _, _, _ := gated(Terms{Until: minute, Messages: 1 << 40, Bytes: 1 << 40})
	b.ReportAllocs()
	now := time.Duration(0)
	for b.Loop() {
		now += 100
		if e := g.Charge(64, now); e != 0 {
			b.Fatal(e)
		}
	}
}

package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/cap"
)

// What ends an agent shuts its handles too, each in more than one way: here are the ones
// that do not need the process to die, nor its own gate to be shut.
func TestHostWide(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(m *machine)
		want   abi.Errno
	}{
		{"nothing", func(*machine) {}, 0},
		{"the lease is revoked", func(m *machine) {
			m.revoke(theLease(captoken.ID{1}))
		}, abi.Lapsed},
		{"the epoch rises", func(m *machine) { m.v.Epoch++; m.revoke(nil) }, abi.Lapsed},
		{"another lease", func(m *machine) { m.v.LeaseID = captoken.ID{8}; m.attest() }, abi.Lapsed},
		{"renewed, past the first end", func(m *machine) { time.Sleep(m.v.Duration); m.attest(); time.Sleep(grace) }, 0},
		{"not renewed", func(m *machine) { time.Sleep(m.v.Duration + grace) }, abi.Lapsed},
	} {
		on(t, func(m *machine) {
			m.attest()
			var table cap.Table
			table.Hang(m.lease.Gate(cap.Terms{Until: time.Hour}), nil)
			h, _ := table.Insert("clock", abi.TypeClock, abi.RightRead)
			c.change(m)
			if e := table.Check(h, abi.TypeClock, abi.RightRead, m.c.Now()); e != c.want {
				t.Errorf("%s: %v, want %v", c.name, e, c.want)
			}
		})
	}
}

// Whoever is told to end can do nothing more, however long its process takes to die; and
// why it ends is what was said first.
func TestDying(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		m.linger = time.Minute
		p := m.run("hello", nil)
		ended := make(chan struct{})
		go func() {
			m.call(abi.AuthorityOrders, m.orders(Orders{Sequence: 1, Agents: []string{"hello"}})...)
			close(ended)
		}()
		synctest.Wait()
		asked := m.c.Now()
		if e := p.check("CLOCK", abi.TypeClock, abi.RightRead, asked); e != abi.Lapsed {
			t.Errorf("a handle of the dying: %v", e)
		}
		time.Sleep(time.Second)
		command := captoken.ID{5}
		f := m.must(abi.AuthorityKill, command[:], []byte("hello"))
		<-ended
		if r := m.dead(p, captoken.CauseCommand); r.Asked != asked || r.Frames != 1000 || r.Command != command {
			t.Errorf("the command's receipt, which tells of the end by orders: %+v", r)
		}
		if r, err := captoken.ParseReceipt(f[0]); err != nil || r.Gone != asked+time.Minute {
			t.Errorf("%+v, %v", r, err)
		}
		if !m.said("cause=revoked frames_freed=1000") {
			t.Error("the log does not say that orders ended it")
		}
	})
}

// What a call ends is on the log when it returns, however slow that is.
func TestGoneOnLog(t *testing.T) {
	for _, c := range []struct {
		name  string
		lease captoken.ID
		end   func(m *machine)
	}{
		{"orders", captoken.ID{1}, func(m *machine) { m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 1, All: true})...) }},
		{"a command", captoken.ID{1}, func(m *machine) {
			command := captoken.ID{5}
			m.must(abi.AuthorityKill, command[:], nil)
		}},
		{"another lease", captoken.ID{8}, func(m *machine) { m.attest() }},
	} {
		on(t, func(m *machine) {
			m.attest()
			m.run("hello", nil)
			m.slow = make(chan struct{})
			m.v.LeaseID = c.lease
			ended := make(chan struct{})
			go func() { c.end(m); close(ended) }()
			synctest.Wait()
			select {
			case <-ended:
				t.Errorf("%s: it returned before the log had the line", c.name)
			default:
			}
			close(m.slow)
			<-ended
			if !m.said("agent gone agent=hello instance=1") {
				t.Errorf("%s: the log does not say that it is gone", c.name)
			}
		})
	}
}

// While an instance is dying no other one starts, whatever is installed since.
func TestStartWhileDying(t *testing.T) {
	on(t, func(m *machine) {
		m.v.Duration = time.Hour
		m.attest()
		m.linger = time.Minute
		p := m.run("hello", nil)
		ended := make(chan struct{})
		go func() {
			m.revoke(theToken(captoken.ID{2, 1}))
			close(ended)
		}()
		synctest.Wait()
		m.must(abi.AuthorityToken, m.v.Token("hello", nil))
		m.refused("its instance 1 is not gone yet", abi.AuthorityStart, []byte("hello"))
		<-ended
		m.dead(p, captoken.CauseRevoked)
		m.must(abi.AuthorityStart, []byte("hello"))
	})
}

// A token that comes while its agent is being started bounds it too.
func TestNarrowedWhileStarting(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		m.must(abi.AuthorityToken, m.v.Token("hello", nil))
		m.wait = make(chan struct{})
		started := make(chan error, 1)
		go func() { _, err := m.call(abi.AuthorityStart, []byte("hello")); started <- err }()
		synctest.Wait()
		m.must(abi.AuthorityToken, m.v.Token("hello", func(c *captoken.Claims) { c.Rights &^= captoken.RightClock }))
		close(m.wait)
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		m.wait = nil
		if e := m.started[0].check("CLOCK", abi.TypeClock, abi.RightRead, m.c.Now()); e != abi.Denied {
			t.Errorf("clock: %v", e)
		}
	})
}

// What comes to a running agent in messages is bounded by every token that it ran on.
func TestWiderTokenWinsNothing(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p := m.run("hello", func(c *captoken.Claims) { c.Rights &^= captoken.RightClock; c.Quotas.MessagesPerSecond = 0 })
		m.must(abi.AuthorityToken, m.v.Token("hello", nil))
		h, _ := p.table.Insert("clock", abi.TypeClock, abi.RightRead)
		if e := p.table.Check(h, abi.TypeClock, abi.RightRead, m.c.Now()); e != abi.Denied {
			t.Errorf("a clock that came: %v", e)
		}
		if e := p.check("SEND_ECHOD", abi.TypeEndpoint, abi.RightWrite, m.c.Now()); e != abi.Quota {
			t.Errorf("a message: %v", e)
		}
	})
}

// The verifier's clock as each renewal has it is the one that tokens end by.
func TestClockShifts(t *testing.T) {
	on(t, func(m *machine) {
		m.v.Duration = time.Hour
		m.attest()
		p := m.run("hello", func(c *captoken.Claims) { c.Expires = m.v.Time().Add(20 * time.Second) })
		end := m.c.Now() + 20*time.Second
		m.must(abi.AuthorityLease, m.v.Lease(m.must(abi.AuthorityRequest), func(l *captoken.Lease) { l.IssuedAt = l.IssuedAt.Add(4 * time.Second) }))
		for at, want := range map[time.Duration]abi.Errno{end - 4*time.Second - 1: 0, end - 4*time.Second: abi.Lapsed} {
			if e := p.check("CLOCK", abi.TypeClock, abi.RightRead, at); e != want {
				t.Errorf("at %v: %v, want %v", at, e, want)
			}
		}
		time.Sleep(16 * time.Second)
		m.dead(p, captoken.CauseRevoked)
	})
}

package authority

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aios/captoken"
)

// model is what was acknowledged: what must hold whatever happens.
type model struct {
	*world
	hosts    []*host
	sequence uint64
	epoch    uint64
	revoked  map[captoken.ID]bool // in this epoch
	subjects map[string]bool      // the same
	stops    map[Stop]bool
	orders   uint64 // highest order number that was carried out
	issued   []issuedToken
}

type issuedToken struct {
	raw   captoken.Token
	id    captoken.ID
	agent string
	host  *host
}

// Random lives: verdicts, renewals, revocations, kills, full disks, restarts, and
// crashes at any byte of a write.
func TestLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{world: newWorld(t, func(c *Config) { c.CompactAt = 3000; c.QuorumPercent = 100 }), revoked: map[captoken.ID]bool{}, subjects: map[string]bool{}, stops: map[Stop]bool{}}
		for i := range 3 {
			m.hosts = append(m.hosts, m.host(fmt.Sprintf("host-%d", i)))
		}
		host := rapid.SampledFrom(m.hosts)
		agent := rapid.SampledFrom([]string{"a", "b"})
		token := func() captoken.ID {
			if len(m.issued) == 0 {
				return id("none")
			}
			return rapid.SampledFrom(m.issued).Draw(t, "token").id
		}
		stop := func() Stop {
			s := Stop{agent.Draw(t, "agent"), host.Draw(t, "host").name}
			switch rapid.IntRange(0, 2).Draw(t, "which") {
			case 0:
				s.Agent = ""
			case 1:
				s.Host = ""
			}
			return s
		}
		t.Repeat(map[string]func(*rapid.T){
			"attest": func(t *rapid.T) {
				h := host.Draw(t, "host")
				v := m.verdict(h.name)
				v.ResetCount = h.boot.ResetCount
				v.Expires = m.now.Add(time.Duration(rapid.IntRange(1, 300).Draw(t, "validity")) * time.Second)
				m.grant(t, h, v, rapid.Bool().Draw(t, "lost"))
			},
			"attest badly": func(t *rapid.T) {
				h := host.Draw(t, "host")
				v := m.verdict(h.name)
				v.Status = "contraindicated"
				if g, err := m.a.Grant(v, h.request("a")); err == nil {
					t.Fatalf("a lease for a bad verdict: %+v", g)
				}
			},
			"wait": func(t *rapid.T) { m.tick(time.Duration(rapid.IntRange(1, 4000).Draw(t, "seconds")) * time.Second) },
			"clock goes back": func(t *rapid.T) {
				was := m.now
				m.tick(-time.Duration(rapid.IntRange(61, 4000).Draw(t, "seconds")) * time.Second)
				h := host.Draw(t, "host")
				if h.mono() >= 0 && m.a.state.at > m.now.Add(clockTolerance).UnixMilli() {
					if _, err := m.a.Grant(m.verdict(h.name), h.request("a")); !errors.Is(err, ErrClock) {
						t.Fatalf("a grant while the clock is back: %v", err)
					}
				}
				m.now = was
			},
			"reboot": func(t *rapid.T) { h := host.Draw(t, "host"); h.reboot(h.boot.ResetCount + 1) },
			"revoke token": func(t *rapid.T) {
				v := token()
				news := !m.a.state.list.RevokedToken(v)
				m.acked(t, m.a.RevokeToken(v, "test"), news, func() { m.revoked[v] = true })
			},
			"revoke lease": func(t *rapid.T) {
				v := host.Draw(t, "host")
				if lease := m.a.state.hosts[v.name].Lease; !lease.IsZero() {
					m.acked(t, m.a.RevokeLease(lease, "test"), true, func() { m.revoked[lease] = true })
				}
			},
			"revoke subject": func(t *rapid.T) {
				v := agent.Draw(t, "agent")
				m.acked(t, m.a.RevokeSubject(v, "test"), !m.subjects[v], func() { m.subjects[v] = true })
			},
			"raise epoch": func(t *rapid.T) {
				m.acked(t, m.a.RaiseEpoch(m.epoch+1, "test"), true, func() { m.epoch++; clear(m.revoked); clear(m.subjects) })
			},
			"kill": func(t *rapid.T) {
				s := stop()
				raw := m.command(captoken.Target{Agent: s.Agent, Host: s.Host})
				_, err := m.a.Command(raw)
				m.acked(t, err, true, func() { m.stops[s], m.orders = true, m.order })
				if _, err := m.a.Command(raw); err == nil {
					t.Fatal("a command was carried out twice")
				}
			},
			"lift": func(t *rapid.T) {
				s := stop()
				if err := m.a.Lift(s, "test"); !errors.Is(err, ErrTarget) {
					m.acked(t, err, true, func() { delete(m.stops, s) })
				} else if m.stops[s] {
					t.Fatalf("the stop of %v was forgotten", s)
				}
			},
			"compact": func(t *rapid.T) {
				if err := m.a.Compact(); err != nil {
					t.Fatal(err)
				}
			},
			"full disk": func(t *rapid.T) {
				before := dump(t, m.a)
				m.disk.room = rapid.IntRange(0, 3000).Draw(t, "room")
				if err := m.a.RevokeToken(id("not acknowledged"), "test"); err == nil && !m.a.state.list.RevokedToken(id("not acknowledged")) {
					t.Fatal("acknowledged and not done")
				} else if err != nil && dump(t, m.a) != before {
					t.Fatalf("%v, and something was done", err)
				}
				m.disk.room = -1
			},
			"restart": func(t *rapid.T) {
				before := dump(t, m.a)
				m.reopen(m.disk.crashed(0, false))
				if dump(t, m.a) != before {
					t.Fatal("a restart changed the state")
				}
			},
			"crash": func(t *rapid.T) { m.crash(t, stop(), token()) },
			"":      func(t *rapid.T) { m.invariant(t) },
		})
	})
}

// acked notes what was acknowledged. Nothing here may fail, and what hosts have to hear
// of raises the sequence, by one.
func (m *model) acked(t *rapid.T, err error, news bool, note func()) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	note()
	want := m.sequence
	if news {
		want++
	}
	if s := m.a.Sequence(); s != want {
		t.Fatalf("revocation sequence %d, want %d", s, want)
	}
	m.sequence = want
}

func (m *model) grant(t *rapid.T, h *host, v Verdict, lost bool) {
	g, err := m.a.Grant(v, h.request("a", "b"))
	if err != nil {
		if e := m.a.state.hosts[h.name]; errors.Is(err, ErrVerdict) && e.Denied {
			return // in the second in which it was denied
		}
		t.Fatal(err)
	}
	switch {
	case g.Lease.Duration > v.Expires.Sub(m.now):
		t.Fatalf("a lease of %v for a verdict that is valid for %v", g.Lease.Duration, v.Expires.Sub(m.now))
	case g.Lease.Sequence != m.a.state.list.Sequence || g.Orders.Sequence != m.sequence:
		t.Fatalf("a lease says list %d, orders %d; %d was acknowledged", g.Lease.Sequence, g.Orders.Sequence, m.sequence)
	case g.Lease.Boot != h.boot:
		t.Fatalf("a lease for %v, the host is in %v", g.Lease.Boot, h.boot)
	}
	if _, ok := m.revoked[g.Lease.ID]; ok {
		t.Fatal("a revoked lease was granted again")
	}
	for _, raw := range g.Tokens {
		links, _, err := captoken.Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		c := links[0].Claims
		if _, ok := m.revoked[c.ID]; ok || c.Epoch < m.epoch {
			t.Fatalf("token %v of epoch %d was revoked", c.ID, c.Epoch)
		}
		if m.subjects[c.Subject] {
			t.Fatalf("a token for %s, of which everything is revoked", c.Subject)
		}
		for s := range m.stops {
			if (s.Host == "" || s.Host == h.name) && (s.Agent == "" || s.Agent == c.Subject) {
				t.Fatalf("a token for %s on %s, and %v is stopped", c.Subject, h.name, s)
			}
		}
		m.issued = append(m.issued, issuedToken{raw, c.ID, c.Subject, h})
	}
	if !lost {
		h.take(g)
	}
}

// crash takes the power in the middle of an operation, and starts again with what the
// disk happens to have.
func (m *model) crash(t *rapid.T, s Stop, token captoken.ID) {
	before := dump(t, m.a)
	m.disk.room, m.disk.crash = rapid.IntRange(0, 5000).Draw(t, "bytes"), true
	var err error
	lift := false
	switch rapid.IntRange(0, 4).Draw(t, "during") {
	case 0:
		err = m.a.RevokeToken(token, "test")
		if err == nil {
			m.revoked[token] = true
		}
	case 1:
		if _, err = m.a.Command(m.command(captoken.Target{Agent: s.Agent, Host: s.Host})); err == nil {
			m.stops[s], m.orders = true, m.order
		}
	case 2:
		if err = m.a.Lift(s, "test"); err == nil || m.stops[s] {
			lift = true
			delete(m.stops, s)
		}
	case 3:
		err = m.a.Compact()
	case 4:
		m.disk.syncErr = errPower // all is written, and the power goes before it is known to be
		err = m.a.RevokeToken(id("in doubt"), "test")
	}
	after := dump(t, m.a)
	if err != nil && after != before {
		t.Fatalf("%v, and something was done", err)
	}
	m.reopen(m.disk.crashed(rapid.IntRange(0, 9000).Draw(t, "kept"), rapid.Bool().Draw(t, "zeros")))
	if got := dump(t, m.a); got != after && err == nil {
		t.Fatalf("what was acknowledged is gone (lift %v)", lift)
	}
}

// invariant compares what the authority would say with what was acknowledged.
func (m *model) invariant(t *rapid.T) {
	if s := m.a.Sequence(); s < m.sequence {
		t.Fatalf("the revocation sequence went back from %d to %d", m.sequence, s)
	}
	m.sequence = m.a.Sequence()
	if e := m.a.Epoch(); e < m.epoch {
		t.Fatalf("the epoch went back from %d to %d", m.epoch, e)
	}
	if n := m.a.state.operators[operatorKey.Public().Thumbprint()]; n < m.orders {
		t.Fatalf("the operator's number went back from %d to %d", m.orders, n)
	}
	stops := m.a.Stops()
	for s := range m.stops {
		if !slices.Contains(stops, s) {
			t.Fatalf("the stop of %v was forgotten", s)
		}
	}
	for v := range m.revoked {
		if !m.a.state.list.RevokedToken(v) && !m.a.state.list.RevokedLease(v) {
			t.Fatalf("the revocation of %v was forgotten", v)
		}
	}
	for v := range m.subjects {
		if !m.a.state.list.RevokedSubject(v) {
			t.Fatalf("the revocation of agent %s was forgotten", v)
		}
	}
	if len(m.issued) > 40 {
		m.issued = m.issued[len(m.issued)-40:]
	}
	for _, c := range m.issued { // no host that knows its orders takes a token that was revoked
		if !m.revoked[c.id] && !m.subjects[c.agent] {
			continue
		}
		if _, err := c.host.verify(c.raw, c.agent, m.a.Orders(c.host.name)); err == nil {
			t.Fatalf("revoked token %v is in force", c.id)
		}
	}
}

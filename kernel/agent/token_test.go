package agent

import (
	"testing"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/kernel/abi"
)

// Each token that is not good is refused for what is wrong with it, and installs nothing.
func TestBadTokens(t *testing.T) {
	on(t, func(m *machine) {
		m.refused("no lease is held", abi.AuthorityToken, m.v.Token("hello", nil))
		m.v.Epoch = 5
		m.revoke(theToken(captoken.ID{7}))
		m.attest()
		good := m.v.Token("hello", nil)
		for i := 0; i < len(good); i += 97 {
			bad := append(captoken.Token(nil), good...)
			bad[i] ^= 1 << (i % 8)
			m.refused("", abi.AuthorityToken, bad)
		}
		seed := make([]byte, 32)
		holder, err := mldsa.NewPrivateKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			want  string
			token captoken.Token
		}{
			{"expected at most", make(captoken.Token, captoken.MaxToken+1)},
			{"token", captoken.Token{}},
			{"valid until", m.v.Token("hello", func(c *captoken.Claims) { c.NotBefore, c.Expires = m.v.Time().Add(-time.Hour), m.v.Time() })},
			{"valid from", m.v.Token("hello", func(c *captoken.Claims) { c.NotBefore = m.v.Time().Add(time.Minute) })},
			{"host expected", m.v.Token("hello", func(c *captoken.Claims) { c.Audience = "host-fedcba9876543210" })},
			{"none of this host's system manifest", m.v.Token("stranger", nil)},
			{"epoch expected at least 5, found 4", m.v.Token("hello", func(c *captoken.Claims) { c.Epoch = 4 })},
			{"lease expected", m.v.Token("hello", func(c *captoken.Claims) { c.Lease = captoken.ID{3} })},
			{"rights memory expected", m.v.Token("hello", func(c *captoken.Claims) { c.Rights &^= captoken.RightMemory })},
			{"signed by key", m.v.TokenBy(m.v.Other, "hello", nil)},
			{"was revoked", m.v.Token("hello", func(c *captoken.Claims) { c.ID = captoken.ID{7} })},
			{"token", captoken.Token(m.v.Lease(m.must(abi.AuthorityRequest), nil))},
			{"signed by key", m.v.TokenBy(captoken.NewPrivateKey(holder), "hello", nil)},
		} {
			m.refused(c.want, abi.AuthorityToken, c.token)
		}
		m.refused("no token for it is installed", abi.AuthorityStart, []byte("hello"))
		m.must(abi.AuthorityToken, good)
		m.must(abi.AuthorityToken, good) // twice is once
		m.refused("is newer", abi.AuthorityToken, m.v.Token("hello", func(c *captoken.Claims) { c.NotBefore = m.v.Time().Add(-time.Minute) }))
		if f := m.must(abi.AuthorityRequest); len(f) != 7 || string(f[5]) != string(append([]byte{2, 1}, make([]byte, 14)...)) && len(f[5]) != 16 {
			t.Errorf("tokens held: %x", f[5])
		}
	})
}

// Handles have the rights that the token admits, and no others.
func TestAdmits(t *testing.T) {
	type want struct{ log, clock, attest, echod, other, pass, reply, receive bool }
	for _, c := range []struct {
		name   string
		change func(*captoken.Claims)
		want   want
	}{
		{"everything", nil, want{true, true, true, true, true, true, true, true}},
		{"memory alone", func(c *captoken.Claims) { c.Rights = captoken.RightMemory }, want{}},
		{"log", func(c *captoken.Claims) { c.Rights = captoken.RightMemory | captoken.RightLog }, want{log: true}},
		{"clock", func(c *captoken.Claims) { c.Rights = captoken.RightMemory | captoken.RightClock }, want{clock: true}},
		{"attest", func(c *captoken.Claims) { c.Rights = captoken.RightMemory | captoken.RightAttest }, want{attest: true}},
		{"receive", func(c *captoken.Claims) { c.Rights = captoken.RightMemory | captoken.RightReceive }, want{reply: true, receive: true}},
		{"send to one peer", func(c *captoken.Claims) {
			c.Rights, c.Scopes.Peers = captoken.RightMemory|captoken.RightSend, captoken.Patterns{"echod"}
		}, want{echod: true}},
		{"send to a pattern", func(c *captoken.Claims) {
			c.Rights, c.Scopes.Peers = captoken.RightMemory|captoken.RightSend, captoken.Patterns{"echo*"}
		}, want{echod: true}},
		{"send to nobody", func(c *captoken.Claims) {
			c.Rights, c.Scopes.Peers = captoken.RightMemory|captoken.RightSend, nil
		}, want{}},
		{"transfer adds nothing alone", func(c *captoken.Claims) { c.Rights = captoken.RightMemory | captoken.RightTransfer }, want{}},
		{"transfer what it may send to", func(c *captoken.Claims) {
			c.Rights = captoken.RightMemory | captoken.RightTransfer | captoken.RightSend
			c.Scopes.Peers = captoken.Patterns{"echod"}
		}, want{echod: true, pass: true}},
	} {
		on(t, func(m *machine) {
			m.attest()
			p := m.run("hello", c.change)
			now := m.c.Now()
			ok := func(name string, typ abi.Type, r abi.Rights) bool { return p.check(name, typ, r, now) == 0 }
			mailbox, _ := p.table.Insert("mailbox", abi.TypeMailbox, abi.RightRead)
			got := want{
				ok("LOG", abi.TypeLog, abi.RightWrite), ok("CLOCK", abi.TypeClock, abi.RightRead), ok("ATTEST", abi.TypeAttestor, abi.RightInvoke),
				ok("SEND_ECHOD", abi.TypeEndpoint, abi.RightWrite), ok("SEND_OTHER", abi.TypeEndpoint, abi.RightWrite),
				ok("SEND_ECHOD", abi.TypeEndpoint, abi.RightTransfer), ok("REPLY", abi.TypeEndpoint, abi.RightWrite|abi.RightTransfer),
				p.table.Check(mailbox, abi.TypeMailbox, abi.RightRead, now) == 0,
			}
			if got != c.want {
				t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
			}
			if !ok("SELF", abi.TypeProcess, abi.RightControl) || !ok("MODULE", abi.TypeBlob, abi.RightRead) {
				t.Errorf("%s: it has not what every agent has", c.name)
			}
		})
	}
}

// What a running agent's newer token does not admit is lost; what it admits beyond the
// one before comes with the next start.
func TestNewerToken(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		log, clock := captoken.RightLog, captoken.RightClock
		rights := func(r captoken.Rights, life time.Duration) func(*captoken.Claims) {
			return func(c *captoken.Claims) {
				c.Rights, c.Expires = captoken.RightMemory|captoken.RightSend|r, m.v.Time().Add(life)
				c.Quotas.MessagesPerSecond = 10
			}
		}
		p := m.run("hello", rights(log, 20*time.Second))
		is := func(what string, wantLog, wantClock abi.Errno) {
			t.Helper()
			now := m.c.Now()
			if e := p.check("LOG", abi.TypeLog, abi.RightWrite, now); e != wantLog {
				t.Errorf("%s: log %v, want %v", what, e, wantLog)
			}
			if e := p.check("CLOCK", abi.TypeClock, abi.RightRead, now); e != wantClock {
				t.Errorf("%s: clock %v, want %v", what, e, wantClock)
			}
		}
		is("first", 0, abi.Denied)
		m.must(abi.AuthorityToken, m.v.Token("hello", rights(log|clock, 40*time.Second)))
		is("wider", 0, abi.Denied)
		time.Sleep(30 * time.Second)
		m.alive(p)
		is("after the end of the first", 0, abi.Denied)
		m.must(abi.AuthorityToken, m.v.Token("hello", rights(clock, time.Minute)))
		is("other", abi.Denied, abi.Denied)
		m.must(abi.AuthorityToken, m.v.Token("hello", rights(log, time.Minute)))
		is("nothing comes back", abi.Denied, abi.Denied)
		m.must(abi.AuthorityToken, m.v.Token("hello", func(c *captoken.Claims) {
			rights(log, time.Minute)(c)
			c.Quotas.MessagesPerSecond = 0
		}))
		if e := p.check("SEND_ECHOD", abi.TypeEndpoint, abi.RightWrite, m.c.Now()); e != abi.Quota {
			t.Errorf("without messages: %v", e)
		}
	})
}

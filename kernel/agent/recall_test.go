package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/cap"
)

// What an agent has passed on ends when a newer token admits less, however little that
// has to do with it: whoever holds it now is not bound by the agent's rights otherwise.
func TestPassedOnWhenNarrowed(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		rights := func(r captoken.Rights, peers ...string) func(*captoken.Claims) {
			return func(c *captoken.Claims) {
				c.Rights, c.Expires = captoken.RightMemory|captoken.RightSend|captoken.RightReceive|r, m.v.Time().Add(time.Minute)
				c.Scopes.Peers = peers
			}
		}
		p := m.run("hello", rights(captoken.RightLog, "echod", "other"))
		var service cap.Table
		pass := func() abi.Handle {
			h, e := p.table.Derive(p.named[abi.CapReply], abi.RightWrite|abi.RightTransfer, m.c.Now())
			var c [1]cap.Capability
			if e == 0 {
				e = p.table.Take([]abi.Handle{h}, c[:])
			}
			var in [1]abi.Handle
			if e != 0 || !service.Reserve(in[:]) {
				t.Fatal(e)
			}
			service.Fill(in[0], c[0])
			return in[0]
		}
		passed := pass()
		is := func(what string, want abi.Errno) {
			t.Helper()
			if e := service.Check(passed, abi.TypeEndpoint, abi.RightWrite, m.c.Now()); e != want {
				t.Errorf("%s: %v, want %v", what, e, want)
			}
		}
		is("passed on", 0)
		m.must(abi.AuthorityToken, m.v.Token("hello", rights(captoken.RightLog|captoken.RightClock, "*")))
		is("the newer token admits more", 0)
		m.must(abi.AuthorityToken, m.v.Token("hello", rights(captoken.RightLog, "echod")))
		is("fewer peers", abi.Lapsed)
		passed = pass()
		is("passed on since", 0)
		m.must(abi.AuthorityToken, m.v.Token("hello", rights(0, "echod")))
		is("fewer rights", abi.Lapsed)
		passed = pass()
		p.end("by itself", true)
		<-p.done
		synctest.Wait()
		is("the agent has ended", abi.Lapsed)
	})
}

package authority

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
)

func TestKill(t *testing.T) {
	w := newWorld(t)
	var hosts []*host
	for _, name := range []string{"host-1", "host-2", "host-3", "host-4", "host-5", "host-6", "host-7", "host-8"} {
		h := w.host(name)
		h.attest("a", "b")
		hosts = append(hosts, h)
	}
	w.labels["rack-1"] = []string{"host-2", "host-1", "host-2"}
	for _, c := range []struct {
		target  captoken.Target
		push    []string
		awaited int
		stops   Stop
	}{
		{captoken.Target{Agent: "a", Host: "host-3"}, []string{"host-3"}, 1, Stop{"a", "host-3"}},
		{captoken.Target{Host: "host-4"}, []string{"host-4"}, 2, Stop{"", "host-4"}},
		{captoken.Target{Label: "rack-1"}, []string{"host-1", "host-2"}, 4, Stop{"", "host-2"}},
		{captoken.Target{Agent: "c"}, []string{"host-1", "host-2", "host-3", "host-4", "host-5", "host-6", "host-7", "host-8"}, 0, Stop{"c", ""}},
		{captoken.Target{Host: "host-9"}, []string{"host-9"}, 0, Stop{"", "host-9"}}, // not on record yet: it will get no token
	} {
		before := w.a.Sequence()
		raw := w.command(c.target)
		out, err := w.a.Command(raw)
		if err != nil {
			t.Fatalf("%v: %v", c.target, err)
		}
		var pushed []string
		for _, o := range out.Push {
			pushed = append(pushed, o.Host)
			if o.Sequence != before+1 {
				t.Errorf("%v: sequence %d, want %d", c.target, o.Sequence, before+1)
			}
			for _, k := range o.Kills {
				if k.Command == out.Command.ID && (!slices.Equal(k.Raw, raw) || k.Nonce == Nonce{}) {
					t.Errorf("%v: %s is not told the command as it was signed", c.target, o.Host)
				}
			}
		}
		if !slices.Equal(pushed, c.push) || out.Awaited != c.awaited || !slices.Contains(w.a.Stops(), c.stops) {
			t.Errorf("%v: pushed to %v, %d receipts awaited, stops %v", c.target, pushed, out.Awaited, w.a.Stops())
		}
	}
	w.reopen(w.disk)
	for _, c := range []struct{ host, tokens, withheld int }{{1, 0, 2}, {3, 0, 1}, {4, 0, 2}, {5, 0, 0}} {
		h := hosts[c.host-1]
		h.held = map[string]captoken.ID{}
		g := h.attest("a", "b")
		if len(g.Withheld) != c.withheld || len(g.Tokens) != 2-c.withheld {
			t.Errorf("%s: %d tokens, withheld %v", h.name, len(g.Tokens), g.Withheld)
		}
	}
	if err := w.a.Lift(Stop{"a", "host-3"}, "test"); err != nil {
		t.Fatal(err)
	}
	if err := w.a.Lift(Stop{"a", "host-3"}, "test"); !errors.Is(err, ErrTarget) {
		t.Errorf("lifted twice: %v", err)
	}
	if g := hosts[2].attest("a"); len(g.Tokens) != 1 || len(g.Orders.Agents) != 1 || g.Orders.Agents[0] != "c" {
		t.Errorf("after the stop was lifted: %d tokens, orders %+v", len(g.Tokens), g.Orders)
	}
}

func TestCommandRefuses(t *testing.T) {
	target := captoken.Target{Agent: "a", Host: "host-1"}
	for _, c := range []struct {
		name string
		raw  func(w *world) []byte
		want error
	}{
		{"nothing", func(*world) []byte { return nil }, captoken.ErrForm},
		{"one bit", func(w *world) []byte { b := w.command(target); b[len(b)-1] ^= 1; return b }, captoken.ErrSignature},
		{"a stranger", func(w *world) []byte { return foreign(t, w, strangerKey, "responder") }, captoken.ErrIssuer},
		{"without the role", func(w *world) []byte { return foreign(t, w, helperKey, "responder") }, captoken.ErrRole},
		{"a role that may not", func(w *world) []byte { return foreign(t, w, helperKey, "reader") }, captoken.ErrRole},
		{"another installation", func(w *world) []byte {
			return w.command(target, func(c *captoken.Command) { c.Audience = "installation-2" })
		}, captoken.ErrAudience},
		{"expired", func(w *world) []byte { b := w.command(target); w.tick(time.Minute); return b }, captoken.ErrExpired},
		{"not yet", func(w *world) []byte { b := w.command(target); w.tick(-2 * time.Minute); return b }, captoken.ErrNotYet},
		{"replayed", func(w *world) []byte { b := w.command(target); w.mustCommand(b); return b }, captoken.ErrReplay},
		{"replayed after a restart", func(w *world) []byte { b := w.command(target); w.mustCommand(b); w.reopen(w.disk); return b }, captoken.ErrReplay},
		{"overtaken", func(w *world) []byte { b := w.command(target); w.kill(target); return b }, captoken.ErrReplay},
		{"a label without hosts", func(w *world) []byte { return w.command(captoken.Target{Label: "none"}) }, ErrTarget},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.host("host-1").attest("a")
			raw := c.raw(w)
			before, writes := w.a.Sequence(), w.disk.writes
			out, err := w.a.Command(raw)
			if out != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, %v, want %v", out, err, c.want)
			}
			if w.a.Sequence() != before || w.disk.writes != writes {
				t.Error("something was done")
			}
		})
	}
}

func (w *world) mustCommand(raw []byte) {
	w.t.Helper()
	if _, err := w.a.Command(raw); err != nil {
		w.t.Fatal(err)
	}
}

func foreign(t *testing.T, w *world, k *captoken.PrivateKey, role string) []byte {
	t.Helper()
	raw, err := captoken.MintCommand(k, captoken.Command{Audience: installation, IssuedAt: w.now, Expires: w.now.Add(time.Minute), Sequence: 1,
		Role: role, Action: captoken.ActionKill, Target: captoken.Target{Host: "host-1"}, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Whatever would stop more than the share of the fleet needs the quorum, however it is
// reached: and nothing of it is done.
func TestQuorum(t *testing.T) {
	grow := func(w *world, n int) {
		for i := range n {
			w.host(fmt.Sprintf("host-%d", i)).attest("a")
		}
	}
	list := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("host-%d", i))
		}
		return out
	}
	label := func(n int) func(*world) error {
		return func(w *world) error {
			w.labels["x"] = list(n)
			_, err := w.a.Command(w.command(captoken.Target{Label: "x"}))
			return err
		}
	}
	for _, c := range []struct {
		name    string
		hosts   int
		do      func(*world) error
		refused bool
	}{
		{"label, the only host", 1, label(1), false},
		{"label, one of two", 2, label(1), false},
		{"label, both", 2, label(2), true},
		{"label, a quarter", 8, label(2), false},
		{"label, more than a quarter", 8, label(3), true},
		{"label, all", 8, label(8), true},
		{"label of hosts that are not on record", 2, func(w *world) error {
			w.labels["x"] = []string{"new-1", "new-2"}
			_, err := w.a.Command(w.command(captoken.Target{Label: "x"}))
			return err
		}, true},
		{"label, most of what is live", 8, func(w *world) error {
			w.tick(DefaultLease + DefaultGrace)
			for _, name := range list(2) {
				w.host(name).attest("a")
			}
			return label(2)(w)
		}, true},
		{"one host", 8, func(w *world) error { _, err := w.a.Command(w.command(captoken.Target{Host: "host-1"})); return err }, false},
		{"an agent everywhere", 8, func(w *world) error { _, err := w.a.Command(w.command(captoken.Target{Agent: "a"})); return err }, true},
		{"an agent that runs nowhere", 8, func(w *world) error { _, err := w.a.Command(w.command(captoken.Target{Agent: "z"})); return err }, false},
		{"a subject everywhere", 8, func(w *world) error { return w.a.RevokeSubject("a", "test") }, true},
		{"the epoch", 8, func(w *world) error { return w.a.RaiseEpoch(1, "test") }, true},
		{"the epoch of one host", 1, func(w *world) error { return w.a.RaiseEpoch(1, "test") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			grow(w, c.hosts)
			before := w.a.Sequence()
			err := c.do(w)
			if errors.Is(err, ErrQuorum) != c.refused || err != nil && !c.refused {
				t.Fatalf("%v, refused %v expected", err, c.refused)
			}
			if c.refused && (!strings.Contains(err.Error(), "have the quorum agree") || w.a.Sequence() != before || len(w.a.Stops()) != 0) {
				t.Errorf("%v; sequence %d, stops %v", err, w.a.Sequence(), w.a.Stops())
			}
		})
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	g := h.attest("a", "b")
	first := h.held["a"]
	for range 2 { // the second time there is nothing to do
		if err := w.a.RevokeToken(first, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if w.a.Sequence() != 1 {
		t.Errorf("sequence %d, want 1", w.a.Sequence())
	}
	if _, err := h.verify(g.Tokens[0], "a", w.a.Orders("host-1")); !errors.Is(err, captoken.ErrRevoked) {
		t.Errorf("a revoked token: %v", err)
	}
	// The host has not heard of it and says that it holds the token.
	next := h.attest("a", "b")
	if len(next.Tokens) != 1 || h.held["a"] == first || !next.Renewed || next.Lease.Sequence != 1 {
		t.Errorf("after the revocation: %d tokens, lease %+v", len(next.Tokens), next.Lease)
	}
	if err := w.a.RevokeLease(next.Lease.ID, "test"); err != nil {
		t.Fatal(err)
	}
	if l := w.revocations(w.a.Orders("host-1")); !slices.Equal(l.Leases, []captoken.ID{next.Lease.ID}) || l.Sequence != 2 || l.Tokens[0] != first {
		t.Errorf("list %+v", l)
	}
	other := h.attest("a")
	if other.Renewed || other.Lease.ID == next.Lease.ID {
		t.Error("a revoked lease was renewed")
	}
	for _, bad := range []uint64{2, 0, 1<<64 - 1} {
		if err := w.a.RaiseEpoch(bad, "test"); !errors.Is(err, ErrTarget) {
			t.Errorf("raised to %d: %v", bad, err)
		}
	}
	if err := w.a.RaiseEpoch(1, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.verify(other.Tokens[0], "a", w.a.Orders("host-1")); !errors.Is(err, captoken.ErrEpoch) {
		t.Errorf("a token of an older epoch: %v", err)
	}
	if last := h.attest("a"); len(last.Tokens) != 1 || w.a.Epoch() != 1 {
		t.Errorf("after the epoch was raised: %d tokens, orders %+v", len(last.Tokens), last.Orders)
	}
	before := w.a.Orders("host-1")
	w.reopen(w.disk)
	if after := w.a.Orders("host-1"); !reflect.DeepEqual(before, after) {
		t.Errorf("after a restart %+v, before %+v", after, before)
	}
	if l := w.revocations(before); len(l.Tokens)+len(l.Leases) != 0 || l.Sequence != 3 || l.Epoch != 1 {
		t.Errorf("a new epoch begins with list %+v", l)
	}
}

// Everything of an agent is revoked until the epoch is raised: no token, no lift, no
// restart brings it back.
func TestRevokeSubject(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	g := h.attest("a", "b")
	for range 2 {
		if err := w.a.RevokeSubject("a", "test"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.verify(g.Tokens[0], "a", w.a.Orders("host-1")); !errors.Is(err, captoken.ErrRevoked) {
		t.Errorf("its token: %v", err)
	}
	if err := w.a.Lift(Stop{Agent: "a"}, "test"); !errors.Is(err, ErrTarget) {
		t.Errorf("lifted: %v", err)
	}
	for range 2 {
		g := h.attest("a", "b")
		if !strings.Contains(g.Withheld["a"], "until the epoch is raised") || g.Lease.Sequence != 1 || len(g.Withheld) != 1 {
			t.Errorf("granted %+v", g)
		}
		w.reopen(w.disk)
		if err := w.a.Compact(); err != nil {
			t.Fatal(err)
		}
		w.reopen(w.disk)
	}
	if err := w.a.RaiseEpoch(1, "test"); err != nil {
		t.Fatal(err)
	}
	if g := h.attest("a", "b"); len(g.Tokens) != 2 || g.Lease.Sequence != 2 {
		t.Errorf("after the epoch: %+v", g)
	}
}

// An operator's command revokes as it kills: signed, by the role, once.
func TestRevokeCommand(t *testing.T) {
	may := captoken.ActionKill
	w := newWorld(t, func(c *Config) {
		c.Permits = func(role string, action captoken.Action, _ captoken.Target) bool {
			return role == "responder" && action == may
		}
	})
	h := w.host("host-1")
	g := h.attest("a")
	command := func(target captoken.Target) []byte {
		return w.command(target, func(c *captoken.Command) { c.Action = captoken.ActionRevoke })
	}
	if _, err := w.a.Command(command(captoken.Target{Agent: "a"})); !errors.Is(err, captoken.ErrRole) || w.a.Sequence() != 0 {
		t.Errorf("by a role that may only kill: %v", err)
	}
	may = captoken.ActionRevoke
	for i, target := range []captoken.Target{{Token: h.held["a"]}, {Agent: "a"}, {Agent: "a"}, {Lease: g.Lease.ID}, {Epoch: 1}} {
		raw := command(target)
		out, err := w.a.Command(raw)
		if err != nil {
			t.Fatalf("%v: %v", target, err)
		}
		if out.Awaited != 0 || len(out.Push) != 1 || out.Push[0].Host != "host-1" || w.revocations(out.Push[0]) == nil {
			t.Errorf("%v: %+v", target, out)
		}
		if _, err := w.a.Command(raw); !errors.Is(err, captoken.ErrReplay) {
			t.Errorf("%v again: %v", target, err)
		}
		if want := []uint64{1, 2, 2, 3, 4}[i]; w.a.Sequence() != want {
			t.Errorf("%v: sequence %d, want %d", target, w.a.Sequence(), want)
		}
	}
	if _, err := w.a.Command(command(captoken.Target{Epoch: 1})); !errors.Is(err, ErrTarget) {
		t.Errorf("an epoch that is reached: %v", err)
	}
}

// A full list says so, and what was named stays.
func TestFullList(t *testing.T) {
	w := newWorld(t)
	r := w.a.revocation("fill", "")
	var l captoken.RevocationList
	var agents []string
	for i := range 1100 {
		agents = append(agents, fmt.Sprintf("%s-%060d", "a", i))
	}
	l.Revoke(nil, nil, agents)
	if err := w.a.sign(r, l); err != nil {
		t.Fatal(err)
	}
	if len(r.List)+8 > abi.MaxOrder {
		t.Fatalf("a list of %d bytes, and a kernel takes requests of %d", len(r.List), abi.MaxOrder)
	}
	if err := w.a.commit(r); err != nil {
		t.Fatal(err)
	}
	full := 0
	for i := range 100 {
		if err := w.a.RevokeSubject(fmt.Sprintf("%s-%060d", "b", i), "test"); err != nil {
			if full++; !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "raise the epoch") {
				t.Fatal(err)
			}
		}
	}
	if n := len(w.revoked().Subjects); full == 0 || n != 1200-full || !w.a.state.list.RevokedSubject(agents[0]) {
		t.Errorf("%d refused, %d on the list", full, n)
	}
	if err := w.a.RaiseEpoch(1, "test"); err != nil || w.a.RevokeSubject("c", "test") != nil {
		t.Error("a new epoch makes no room")
	}
	// Ids: as many as there may be.
	r = w.a.revocation("fill", "")
	l = captoken.RevocationList{}
	var ids []captoken.ID
	for i := range captoken.MaxRevoked - 1 {
		ids = append(ids, captoken.ID{1, byte(i), byte(i >> 8)})
	}
	l.Revoke(ids, nil, []string{"c"})
	if err := w.a.sign(r, l); err != nil {
		t.Fatal(err)
	}
	if err := w.a.commit(r); err != nil {
		t.Fatal(err)
	}
	if err := w.a.RevokeToken(id("one more"), "test"); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
}

// With another token key the list is signed again: hosts that trust that key hear of
// what was revoked.
func TestListOfAnotherKey(t *testing.T) {
	w := newWorld(t)
	if err := w.a.RevokeSubject("a", "test"); err != nil {
		t.Fatal(err)
	}
	w.config.Key = strangerKey
	for range 2 {
		w.reopen(w.disk)
		if l := w.revocations(w.a.Orders("host-1")); !l.RevokedSubject("a") || l.Sequence != 2 {
			t.Errorf("list %+v", l)
		}
	}
}

func TestRevokeRefuses(t *testing.T) {
	w := newWorld(t)
	w.host("host-1").attest("a")
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"no lease":            {w.a.RevokeLease(captoken.ID{}, "test"), ErrTarget},
		"no subject":          {w.a.RevokeSubject("", "test"), ErrTarget},
		"no epoch":            {w.a.RaiseEpoch(0, "test"), ErrTarget},
		"an agent, no name":   {w.a.RevokeSubject("*", "test"), captoken.ErrForm},
		"a reason, no text":   {w.a.RevokeToken(id("x"), "\xff"), ErrStore},
		"unknown host":        {w.a.Forget("host-2", "test"), ErrTarget},
		"host that is alive":  {w.a.Forget("host-1", "test"), ErrTarget},
		"nothing was stopped": {w.a.Lift(Stop{Agent: "a"}, "test"), ErrTarget},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if w.a.Sequence() != 0 {
		t.Errorf("sequence %d", w.a.Sequence())
	}
	w.tick(DefaultLease + DefaultGrace)
	if err := w.a.Forget("host-1", "its TPM was cleared"); err != nil {
		t.Fatal(err)
	}
	h := w.host("host-1")
	h.reboot(0)
	h.attest("a")
}

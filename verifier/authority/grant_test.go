package authority

import (
	"errors"
	"strings"
	"testing"
	"time"

	"aios/captoken"
)

func TestGrant(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	g := h.attest("a", "b")
	if g.Renewed || len(g.Tokens) != 2 || len(g.Withheld) != 0 {
		t.Errorf("first grant: renewed %v, %d tokens, withheld %v", g.Renewed, len(g.Tokens), g.Withheld)
	}
	if g.Lease.Duration != DefaultLease || g.Lease.Boot != h.boot || g.Lease.Sequence != 0 {
		t.Errorf("lease %+v", g.Lease)
	}
	w.tick(30 * time.Second)
	again := h.attest("a", "b")
	if !again.Renewed || again.Lease.ID != g.Lease.ID || len(again.Tokens) != 0 {
		t.Errorf("renewal: renewed %v, lease %v, was %v, %d tokens", again.Renewed, again.Lease.ID, g.Lease.ID, len(again.Tokens))
	}
	for range 70 { // longer than half of a token's life: each gets a new one, under the same lease
		w.tick(30 * time.Second)
		again = h.attest("a", "b")
		if len(again.Tokens) == 2 {
			break
		}
	}
	if !again.Renewed || len(again.Tokens) != 2 {
		t.Errorf("tokens that are half over were not replaced: %+v", again)
	}
	w.tick(DefaultLease + DefaultGrace) // the host was away
	if late := h.attest("a"); late.Renewed || late.Lease.ID == g.Lease.ID || len(late.Tokens) != 1 {
		t.Errorf("after the lease lapsed: renewed %v, %d tokens", late.Renewed, len(late.Tokens))
	}
	h.reboot(2)
	if booted := h.attest("a"); booted.Renewed || booted.Lease.Boot != h.boot {
		t.Errorf("after a boot: renewed %v, lease for %v", booted.Renewed, booted.Lease.Boot)
	}
}

// A lease goes on only if the host holds it and it cannot have lapsed.
func TestRenewedOnlyIfHeld(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	lease := h.attest("a").Lease.ID
	for _, c := range []struct {
		name    string
		held    captoken.ID
		after   time.Duration
		renewed bool
	}{
		{"held", lease, 0, true},
		{"held, at the end of the grace", lease, DefaultLease + DefaultGrace - time.Millisecond, true},
		{"lapsed", lease, DefaultLease + DefaultGrace, false},
		{"none held", captoken.ID{}, 0, false},
		{"another one held", id("other"), 0, false},
	} {
		w.reopen(w.disk.crashed(0, false))
		before := w.disk.crashed(0, false)
		w.tick(c.after)
		q := h.request("a")
		q.Held = c.held
		g, err := w.a.Grant(w.verdict("host-1"), q)
		if err != nil || g.Renewed != c.renewed || (g.Lease.ID == lease) != c.renewed {
			t.Errorf("%s: %v, %+v", c.name, err, g)
		}
		w.tick(-c.after)
		w.reopen(before)
	}
}

// An answer that was lost may have been the shorter one: until the longest has ended,
// agents may be running, and receipts of them are awaited.
func TestShorterLease(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Grace = time.Millisecond })
	h := w.host("host-1")
	h.attest("a")
	v := w.verdict("host-1")
	v.Expires = w.now.Add(time.Second)
	for _, held := range []captoken.ID{h.state.ID(h.mono()), {}} { // the second gets a new lease, and asks for no agent
		q := h.request()
		q.Held = held
		if _, err := w.a.Grant(v, q); err != nil {
			t.Fatal(err)
		}
	}
	w.tick(time.Minute)
	if out := w.kill(captoken.Target{Host: "host-1"}); out.Awaited != 1 {
		t.Errorf("%d receipts awaited, want 1", out.Awaited)
	}
}

// What hangs from a lease that was replaced is gone when that one lapses, though the
// host goes on under the new one.
func TestReplacedLease(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Grace = time.Millisecond })
	h := w.host("host-1")
	h.attest("a")
	var held captoken.ID
	for range 3 {
		q := h.request()
		q.Held = held
		g, err := w.a.Grant(w.verdict("host-1"), q)
		if err != nil {
			t.Fatal(err)
		}
		held = g.Lease.ID
		w.tick(time.Minute)
	}
	if out := w.kill(captoken.Target{Host: "host-1"}); out.Awaited != 0 {
		t.Errorf("%d receipts awaited, want none", out.Awaited)
	}
}

// A clock that goes back a little makes nothing valid again, and no lease earlier.
func TestClockBack(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	old := w.verdict("host-1")
	old.Expires = w.now.Add(10 * time.Second)
	w.tick(20 * time.Second)
	w.host("host-2").attest("a") // records the time
	w.tick(-15 * time.Second)
	if g, err := w.a.Grant(old, h.request()); !errors.Is(err, ErrVerdict) {
		t.Errorf("a verdict that had ended: %+v, %v", g, err)
	}
	g, err := w.a.Grant(w.verdict("host-1"), h.request())
	if err != nil || !g.Lease.IssuedAt.Equal(epoch.Add(20*time.Second)) {
		t.Errorf("%v, issued at %v", err, g)
	}
}

// A lease never outlives its verdict.
func TestLeaseEndsWithVerdict(t *testing.T) {
	w := newWorld(t)
	w.now = epoch.Add(300 * time.Millisecond)
	v := w.verdict("host-1")
	for _, c := range []struct {
		after, want time.Duration
	}{{0, DefaultLease}, {4 * time.Minute, 60*time.Second - 300*time.Millisecond}, {5*time.Minute - 301*time.Millisecond, time.Millisecond}} {
		w.now = epoch.Add(300*time.Millisecond + c.after)
		g, err := w.a.Grant(v, w.host("host-1").request())
		if err != nil || g.Lease.Duration != c.want {
			t.Errorf("after %v: %v, %v, want %v", c.after, g, err, c.want)
		}
	}
}

func TestGrantRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, v *Verdict, q *Request)
		want   error
		text   string
	}{
		{"warning", func(_ *world, v *Verdict, _ *Request) { v.Status = "warning" }, ErrVerdict, `"warning", expected "affirming"`},
		{"no status", func(_ *world, v *Verdict, _ *Request) { v.Status = "" }, ErrVerdict, "expected"},
		{"no host", func(_ *world, v *Verdict, _ *Request) { v.Host = "" }, ErrVerdict, "no host"},
		{"name that is none", func(_ *world, v *Verdict, _ *Request) { v.Host = "a*b" }, captoken.ErrForm, "a*b"},
		{"expired", func(w *world, _ *Verdict, _ *Request) { w.tick(5 * time.Minute) }, ErrVerdict, "valid until"},
		{"almost expired", func(w *world, v *Verdict, _ *Request) { v.Expires = w.now.Add(time.Microsecond) }, ErrVerdict, "millisecond"},
		{"from the future", func(w *world, v *Verdict, _ *Request) { v.IssuedAt = w.now.Add(2 * time.Minute) }, ErrVerdict, "clocks"},
		{"older than the newest", func(w *world, v *Verdict, _ *Request) { v.IssuedAt = w.now.Add(-time.Second) }, ErrVerdict, "newer"},
		{"no boot", func(_ *world, _ *Verdict, q *Request) { q.Boot = captoken.ID{} }, ErrRequest, "boot id"},
		{"no nonce", func(_ *world, _ *Verdict, q *Request) { q.Nonce = [32]byte{} }, ErrRequest, "nonce"},
		{"earlier boot", func(_ *world, v *Verdict, _ *Request) { v.ResetCount = 0 }, ErrBoot, "at least 1, found 0"},
		{"host knows more", func(_ *world, _ *Verdict, q *Request) { q.Seen = 1 }, ErrForgotten, "at most 0, found 1"},
		{"clock went back", func(w *world, _ *Verdict, _ *Request) { w.tick(-2 * time.Minute) }, ErrClock, "correct the clock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			h := w.host("host-1")
			h.attest("a")
			v, q := w.verdict("host-1"), h.request("a")
			c.change(w, &v, &q)
			g, err := w.a.Grant(v, q)
			if g != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, %v, want %v that says %q", g, err, c.want, c.text)
			}
		})
	}
}

// Once a host was not found good, no verdict of before helps it, and nothing that hung
// from its lease is good again; a restart changes nothing about it.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	before := h.attest("a")
	w.tick(time.Second)
	old := w.verdict("host-1")
	w.tick(time.Second)
	bad := w.verdict("host-1")
	bad.Status = "contraindicated"
	for range 2 {
		if _, err := w.a.Grant(bad, h.request()); !errors.Is(err, ErrVerdict) {
			t.Fatal(err)
		}
	}
	w.reopen(w.disk)
	same := w.verdict("host-1")
	for name, v := range map[string]Verdict{"older": old, "of the same second": same} {
		if _, err := w.a.Grant(v, h.request()); !errors.Is(err, ErrVerdict) {
			t.Errorf("a verdict that is %s: %v", name, err)
		}
	}
	w.tick(time.Second)
	g := h.attest("a")
	if g.Renewed || g.Lease.ID == before.Lease.ID || len(g.Tokens) != 1 {
		t.Errorf("the lease of before was renewed: %+v", g.Lease)
	}
	if _, err := h.verify(before.Tokens[0], "a", g.Orders); !errors.Is(err, captoken.ErrLease) {
		t.Errorf("a token of before: %v", err)
	}
}

// A token is for the host's key, unless its assignment names another holder; without
// either there is none.
func TestHolder(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	own, other := key("own").Public().Thumbprint(), key("other").Public().Thumbprint()
	for name, c := range map[string]struct {
		request, assigned, want captoken.Thumbprint
	}{
		"of the host":                         {own, captoken.Thumbprint{}, own},
		"assigned":                            {own, other, other},
		"assigned, to a host that names none": {captoken.Thumbprint{}, other, other},
		"none":                                {},
	} {
		q := h.request("a")
		q.Held, q.Tokens, q.Holder, q.Agents[0].Holder = captoken.ID{}, nil, c.request, c.assigned // a lease of its own each time
		g, err := w.a.Grant(w.verdict("host-1"), q)
		if err != nil {
			t.Fatal(err)
		}
		if c.want == (captoken.Thumbprint{}) {
			if len(g.Tokens) != 0 || !strings.Contains(g.Withheld["a"], "names no key") {
				t.Errorf("%s: %d tokens, withheld %v", name, len(g.Tokens), g.Withheld)
			}
			continue
		}
		if len(g.Tokens) != 1 {
			t.Fatalf("%s: withheld %v", name, g.Withheld)
		}
		if _, left, err := captoken.Read(g.Tokens[0]); err != nil || left.Holder != c.want {
			t.Errorf("%s: holder %v, want %v, %v", name, left.Holder, c.want, err)
		}
	}
}

// One agent that cannot have a token does not keep the others from theirs.
func TestWithheld(t *testing.T) {
	w := newWorld(t)
	h := w.host("host-1")
	h.attest("a")
	if err := w.a.RevokeSubject("a", "test"); err != nil {
		t.Fatal(err)
	}
	q := h.request("a", "b", "b", "no name")
	g, err := w.a.Grant(w.verdict("host-1"), q)
	if err != nil || len(g.Tokens) != 1 || len(g.Withheld) != 2 || !strings.Contains(g.Withheld["a"], "revoked") || g.Withheld["no name"] == "" {
		t.Errorf("%v, %d tokens, withheld %v", err, len(g.Tokens), g.Withheld)
	}
	for i := range 2 * maxTokens { // answers that are lost
		g, err = w.a.Grant(w.verdict("host-1"), q)
		if err != nil || len(g.Tokens) > 1 || (len(g.Tokens) == 0) != (i+1 >= maxTokens) {
			t.Fatalf("%d: %v, %d tokens, withheld %v", i, err, len(g.Tokens), g.Withheld)
		}
	}
}

package service

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"aios/captoken"
	"aios/evidence"
	"aios/verifier/authority"
)

// What no operator with the role has signed, for this installation and just now, stops
// nobody, whatever bearer token it comes with.
func TestCommandIsRefused(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	target := captoken.Target{Agent: "hello", Host: h.id}
	good := s.command(captoken.Target{Agent: "other", Host: h.id})
	_, err := s.Command(good)
	check(t, err)
	unsigned := bytes.Clone(s.command(target))
	unsigned = unsigned[:len(unsigned)-3309]
	flipped := bytes.Clone(s.command(target))
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name   string
		raw    []byte
		want   error
		status int
	}{
		{"unsigned", unsigned, captoken.ErrForm, 400},
		{"nonsense", []byte("kill hello"), captoken.ErrForm, 400},
		{"one bit flipped", flipped, captoken.ErrSignature, 403},
		{"by a stranger", s.commandBy(strangerKey, target), captoken.ErrIssuer, 403},
		{"by the token key", s.commandBy(tokenKey, target), captoken.ErrIssuer, 403},
		{"without the role", s.commandBy(readerKey, target), captoken.ErrRole, 403},
		{"in a role that may not", s.commandBy(readerKey, target, func(c *captoken.Command) { c.Role = "reader" }), captoken.ErrRole, 403},
		{"replayed", good, captoken.ErrReplay, 409},
		{"an older one", s.command(target, func(c *captoken.Command) { c.Sequence = 1 }), captoken.ErrReplay, 409},
		{"for another installation", s.command(target, func(c *captoken.Command) { c.Audience = "elsewhere" }), captoken.ErrAudience, 403},
		{"expired", s.command(target, func(c *captoken.Command) {
			c.IssuedAt, c.Expires = c.IssuedAt.Add(-time.Hour), c.IssuedAt.Add(-time.Minute)
		}), captoken.ErrExpired, 403},
		{"not yet", s.command(target, func(c *captoken.Command) {
			c.IssuedAt, c.Expires = c.IssuedAt.Add(time.Hour), c.IssuedAt.Add(2*time.Hour)
		}), captoken.ErrNotYet, 403},
		{"a label that no host has", s.command(captoken.Target{Label: "none"}), authority.ErrTarget, 409},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.authority.Sequence()
			if _, err := s.Command(c.raw); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			var p Problem
			if status := s.ask(http.MethodPost, "/v1/commands", map[string]any{"command": c.raw}, &p); status != c.status || p.Detail == "" {
				t.Errorf("status %d, want %d: %+v", status, c.status, p)
			}
			if c.status != 409 && p.Remedy == "" {
				t.Errorf("no remedy: %+v", p)
			}
			if s.authority.Sequence() != before || !h.running("hello") {
				t.Error("something was stopped")
			}
		})
	}
}

// A receipt that proves nothing leaves the command pending; a good one ends it.
func TestForgedReceipts(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	alter := func(f func(*evidence.ProvenReceipt)) {
		h.mu.Lock()
		h.alter = f
		h.mu.Unlock()
	}
	var v *Command
	for i, c := range []struct {
		name  string
		alter func(*evidence.ProvenReceipt)
	}{
		{"no receipt", func(r *evidence.ProvenReceipt) { r.Receipt = []byte{} }},
		{"more frames", func(r *evidence.ProvenReceipt) {
			r.Receipt = bytes.Replace(r.Receipt, []byte{24, 100}, []byte{24, 101}, 1)
		}},
		{"no signature", func(r *evidence.ProvenReceipt) { r.Signature = []byte{} }},
		{"another signature", func(r *evidence.ProvenReceipt) { r.Signature = h.tpm.Sign([]byte("x")) }},
		{"other PCRs", func(r *evidence.ProvenReceipt) { r.PCRs[4] = make([]byte, 32) }},
		{"too few PCRs", func(r *evidence.ProvenReceipt) { r.PCRs = r.PCRs[:3] }},
	} {
		at := s.Position()
		alter(c.alter)
		if i == 0 {
			var err error
			v, err = s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
			check(t, err)
		} else {
			s.push(h.id)
		}
		if e := s.awaitKind(at, ReceiptRefused, h.id); e.Text == "" || e.Command != v.ID {
			t.Errorf("%s: %+v", c.name, e)
		}
		if now, _, err := s.commands.get(v.ID); err != nil || now.State != CommandPending {
			t.Errorf("%s: %+v, %v", c.name, now, err)
		}
	}
	if now, _, _ := s.commands.get(v.ID); now.Receipts[0].Text == "" {
		t.Error("the outcome does not say why there is no proof yet")
	}
	alter(nil)
	s.push(h.id)
	if v = s.outcome(v.ID); !v.Proven() {
		t.Errorf("%+v", v)
	}
	// It is taken once.
	if due := s.authority.Due(); len(due) != 0 {
		t.Errorf("due %+v", due)
	}
}

// Two hosts, one of them with the label: it alone is stopped.
func TestKillByLabel(t *testing.T) {
	s := newSite(t)
	s.assign("hello", "other")
	one, two := s.enrolled(), s.enrolled()
	s.up(one)
	s.up(two)
	check(t, s.Label(one.id, []string{"rack-4", "site=b"}))
	check(t, s.Label(two.id, []string{"rack-5"}))
	v, err := s.Command(s.command(captoken.Target{Label: "rack-4"}))
	check(t, err)
	v = s.outcome(v.ID)
	if len(v.Receipts) != 2 || !v.Proven() || v.Receipts[0].Host != one.id || v.Receipts[1].Host != one.id {
		t.Errorf("%+v", v)
	}
	if one.running("hello") || one.running("other") || !two.running("hello") || !two.running("other") {
		t.Error("the wrong ones were stopped")
	}
	// One person may not stop both.
	check(t, s.Label(two.id, []string{"rack-4"}))
	if _, err := s.Command(s.command(captoken.Target{Label: "rack-4"})); !errors.Is(err, authority.ErrQuorum) {
		t.Errorf("%v", err)
	}
	var p Problem
	if status := s.ask(http.MethodPost, "/v1/commands", map[string]any{"command": s.command(captoken.Target{Agent: "other"})}, &p); status != http.StatusAccepted {
		t.Errorf("an agent that runs on one of the hosts alone: %d %+v", status, p)
	}
	if _, err := s.Command(s.command(captoken.Target{Label: "rack-4"})); !errors.Is(err, authority.ErrQuorum) || !two.running("hello") {
		t.Errorf("%v", err)
	}
}

// By host: everything on it.
func TestKillByHost(t *testing.T) {
	s := newSite(t)
	s.assign("hello", "other")
	h := s.enrolled()
	s.up(h)
	v, err := s.Command(s.command(captoken.Target{Host: h.id}))
	check(t, err)
	if v = s.outcome(v.ID); len(v.Receipts) != 2 || !v.Proven() || h.running("hello") || h.running("other") {
		t.Errorf("%+v", v)
	}
	if got, err := s.Host(h.id); err != nil || len(got.Stopped) != 1 || got.Agents[0].State == AgentRunning {
		t.Errorf("%+v, %v", got, err)
	}
}

// The verifier is restarted while a command is not proven: it forgets neither the command
// nor the lease nor the stop nor the host, and the host proves it when it comes back.
func TestRestartForgetsNothing(t *testing.T) {
	s := newSite(t)
	s.assign("hello", "other")
	h := s.enrolled()
	h.mute = true
	s.up(h)
	at := s.Position()
	check(t, s.Label(h.id, []string{"rack-4"})) // which begins a round
	s.awaitKind(at, HostLease, h.id)
	before, err := s.Host(h.id)
	check(t, err)
	at = s.Position()
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
	check(t, err)
	s.await(at, "the host's refusal", func(e Event) bool { return e.Kind == HostNotice && strings.Contains(e.Text, "cannot be proven") })
	sequence, position := s.authority.Sequence(), s.Position()

	s.restart()
	after, err := s.Host(h.id)
	check(t, err)
	if after.LeaseID != before.LeaseID || !after.LeaseUntil.Equal(before.LeaseUntil) || after.Connected || len(after.Labels) != 1 ||
		len(s.Stops()) != 1 || s.authority.Sequence() != sequence || after.EKHash != before.EKHash {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if now, _, err := s.commands.get(v.ID); err != nil || now.State != CommandPending || now.Reason != "test" {
		t.Errorf("%+v, %v", now, err)
	}
	if s.Position() <= position {
		t.Errorf("event numbers went back: %d, %d", position, s.Position())
	}
	if got := s.assignments.all(); len(got) != 2 {
		t.Errorf("assignments %v", got)
	}
	h.mu.Lock()
	h.mute = false
	h.mu.Unlock()
	at = s.Position()
	s.connect(h)
	if v = s.outcome(v.ID); !v.Proven() {
		t.Errorf("%+v", v)
	}
	if l := s.awaitKind(at, HostLease, h.id).Lease; !l.Renewed || l.ID != before.LeaseID || len(l.Start) != 1 {
		t.Errorf("%+v", l)
	}
	if _, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}, func(c *captoken.Command) { c.Sequence = 2 })); !errors.Is(err, captoken.ErrReplay) {
		t.Errorf("a number of before the restart: %v", err)
	}
}

// A command's record that was never written, or was written before the receipt came, is
// made good from the authority's journal.
func TestRecordsFollowTheJournal(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	h.mute = true
	s.up(h)
	raw := s.command(captoken.Target{Agent: "hello", Host: h.id})
	out, err := s.authority.Command(raw) // and then the power goes
	check(t, err)
	s.restart()
	v, _, err := s.commands.get(out.Command.ID.String())
	if err != nil || v.State != CommandPending || len(v.Receipts) != 1 || v.Receipts[0].Host != h.id || v.Reason != "test" {
		t.Fatalf("%+v, %v", v, err)
	}
	// A boot ends what ran before; nothing can prove it any more.
	h.reboot()
	s.up(h)
	if v = s.outcome(v.ID); v.Proven() || v.Receipts[0].State != ReceiptVoid || v.Receipts[0].Text == "" {
		t.Errorf("%+v", v)
	}
	s.restart()
	if again := s.outcome(v.ID); again.Receipts[0].State != ReceiptVoid {
		t.Errorf("%+v", again)
	}
}

// Two verifiers with one state would each overwrite what the other has acknowledged.
func TestOneVerifierForOneState(t *testing.T) {
	s := newSite(t)
	if second, err := New(s.config); err == nil || !strings.Contains(err.Error(), "another verifier") {
		t.Errorf("%v, %v", second, err)
	}
}

// A host that is forgotten is enrolled anew; it is not forgotten while agents may run.
func TestForget(t *testing.T) {
	now := time.Now()
	s := newSite(t)
	h := s.enrolled()
	s.up(h)
	if err := s.Forget(h.id, "test"); !errors.Is(err, authority.ErrTarget) {
		t.Errorf("while its lease runs: %v", err)
	}
	s.stop()
	s.config.Now = func() time.Time { return now.Add(10 * time.Minute) }
	s.start()
	check(t, s.Forget(h.id, "test"))
	if list, err := s.Hosts(); err != nil || len(list) != 0 || len(s.authority.Status()) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if e := s.refusedHost(h); e.Err == nil {
		t.Error("it came in with its old token")
	}
}

// The lease of a host can be revoked: what hangs from it stops, and the next is another.
func TestRevokeLease(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	before, err := s.Host(h.id)
	check(t, err)
	if err := s.RevokeLease(h.id, ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a reason: %v", err)
	}
	check(t, s.RevokeLease(h.id, "test"))
	if err := s.RevokeLease(h.id, "test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("twice: %v", err)
	}
	at := s.Position()
	s.appraise(h.id)
	l := s.awaitKind(at, HostLease, h.id).Lease
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.Renewed || l.ID == before.LeaseID || h.listed() != 1 || h.list.List().Leases[0].String() != before.LeaseID {
		t.Errorf("%+v, list %+v", l, h.list.List())
	}
}

// A host is told everything that is good no more, also if it is much.
func TestManyRevocations(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	const many = 300
	for i := range many {
		check(t, s.authority.RevokeToken(captoken.ID{1, byte(i), byte(i >> 8)}, "test"))
	}
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
	check(t, err)
	if v = s.outcome(v.ID); !v.Proven() {
		t.Errorf("%+v", v)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.list.List().Tokens); n != many {
		t.Errorf("it was told of %d", n)
	}
}

// What an operator revokes is told at once, with the list and not again, holds over a
// restart of the verifier, and for a host that comes back without its memory.
func TestRevokeCommand(t *testing.T) {
	s := newSite(t)
	s.assign("hello", "other")
	h := s.enrolled()
	s.up(h)
	revoke := func(target captoken.Target) *Command {
		t.Helper()
		v, err := s.Command(s.command(target, func(c *captoken.Command) { c.Action = captoken.ActionRevoke }))
		check(t, err)
		return v
	}
	if _, err := s.Command(s.commandBy(readerKey, captoken.Target{Agent: "hello"}, func(c *captoken.Command) { c.Action, c.Role = captoken.ActionRevoke, "reader" })); !errors.Is(err, captoken.ErrRole) {
		t.Errorf("by a reader: %v", err)
	}
	at := s.Position()
	v := revoke(captoken.Target{Agent: "hello"})
	if v.State != CommandDone || v.Action != "revoke" || v.Target != (Target{Agent: "hello"}) || len(v.Hosts) != 1 || len(v.Receipts) != 0 {
		t.Errorf("outcome %+v", v)
	}
	s.await(at, "its end", func(e Event) bool { return e.Kind == AgentGone && e.Agent == "hello" })
	if h.running("hello") || !h.running("other") {
		t.Error("it ended what it should not, or not what it should")
	}
	lease := func(want uint64) *Lease {
		t.Helper()
		at := s.Position()
		s.appraise(h.id)
		l := s.awaitKind(at, HostLease, h.id).Lease
		if !strings.Contains(l.Withheld["hello"], "until the epoch is raised") || l.Sequence != want {
			t.Errorf("lease %+v", l)
		}
		return l
	}
	lease(1)
	h.mu.Lock()
	if h.orders.List != nil || h.listed() != 1 {
		t.Errorf("it holds list %d, and was sent one of %d bytes", h.listed(), len(h.orders.List))
	}
	h.mu.Unlock()
	if host, err := s.Host(h.id); err != nil || host.List != 1 || !slices.ContainsFunc(host.Agents, func(a Agent) bool { return a.Name == "hello" && a.State == "revoked" }) {
		t.Errorf("it is told of as %+v, %v", host, err)
	}
	s.restart()
	h.reboot()
	s.up(h)
	if h.running("hello") || !h.running("other") {
		t.Error("over a restart and a reboot it came back")
	}
	if r := s.Revocations(); r.Sequence != 1 || !slices.Equal(r.Agents, []string{"hello"}) || len(r.Signed) == 0 {
		t.Errorf("revocations %+v", r)
	}
	at = s.Position()
	revoke(captoken.Target{Epoch: 1})
	s.await(at, "the other's end", func(e Event) bool { return e.Kind == AgentGone && e.Agent == "other" })
	at = s.Position()
	s.appraise(h.id)
	if l := s.awaitKind(at, HostLease, h.id).Lease; len(l.Withheld) != 0 || len(l.Tokens) != 2 || l.Sequence != 2 {
		t.Errorf("in the new epoch: %+v", l)
	}
}

// A host that is found bad gets no grant, and is told what is to stop all the same.
func TestBadHostHearsOfCommands(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	c := s.up(h)
	c.end()
	s.awaitKind(0, HostDisconnected, h.id)
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
	check(t, err)
	h.manifest = nil // bad evidence from now on
	at := s.Position()
	s.connect(h)
	s.awaitKind(at, HostNoLease, h.id)
	if v = s.outcome(v.ID); !v.Proven() || h.running("hello") {
		t.Errorf("%+v", v)
	}
}

// It is told of what was revoked, too, when nothing is to be proven.
func TestBadHostHearsOfRevocations(t *testing.T) {
	s := newSite(t)
	h := s.enrolled()
	c := s.up(h)
	<-h.obeyed // when it connected
	c.end()
	s.awaitKind(0, HostDisconnected, h.id)
	check(t, s.RevokeLease(h.id, "test"))
	h.manifest = nil
	s.connect(h)
	<-h.obeyed
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listed() != 1 || len(h.list.List().Leases) != 1 {
		t.Errorf("list %+v", h.list.List())
	}
}

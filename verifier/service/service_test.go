package service

import (
	"context"
	"testing"

	"aios/captoken"
)

// outcome waits until nothing is awaited of a command any more.
func (s *site) outcome(id string) *Command {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	v, err := s.CommandOutcome(ctx, id)
	check(s.t, err)
	if v.State != CommandDone {
		s.t.Fatalf("receipts are still awaited: %+v", v)
	}
	return v
}

// The whole way: a token enrols the host, a good verdict brings a lease and tokens, agents
// start, a command ends one of them, and its receipt is verified.
func TestEnrolLeaseKill(t *testing.T) {
	s := newSite(t)
	s.assign("hello", "other")
	h := s.enrolled()
	s.connect(h)
	s.awaitKind(0, HostEnrolled, h.id)
	verdict := s.awaitKind(0, HostVerdict, h.id)
	if verdict.Verdict.Status != "affirming" || verdict.Result == nil {
		t.Fatalf("verdict %+v: %s", verdict.Verdict, verdict.Text)
	}
	lease := s.awaitKind(0, HostLease, h.id).Lease
	if len(lease.Tokens) != 2 || len(lease.Start) != 2 || lease.Renewed {
		t.Errorf("lease %+v", lease)
	}
	started := s.awaitKind(0, AgentStarted, h.id)
	if !h.running("hello") || !h.running("other") {
		t.Fatal("the agents do not run")
	}
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
	check(t, err)
	v = s.outcome(v.ID)
	if len(v.Receipts) != 1 || !v.Proven() || v.Receipts[0].Agent != "hello" || v.Receipts[0].Frames != 100 || v.Receipts[0].Handles != 5 || v.Receipts[0].HostMS != 1 {
		t.Fatalf("outcome %+v", v)
	}
	s.awaitKind(started.ID, ReceiptVerified, h.id)
	if h.running("hello") || !h.running("other") {
		t.Error("the wrong agent was killed")
	}
	// It gets no token any more until the stop is lifted.
	at := s.Position()
	s.appraise(h.id)
	if l := s.awaitKind(at, HostLease, h.id).Lease; !l.Renewed || len(l.Start) != 1 || l.Withheld["hello"] == "" {
		t.Errorf("after the kill %+v", l)
	}
	stops := s.authority.Stops()
	if len(stops) != 1 {
		t.Fatalf("stops %v", stops)
	}
	at = s.Position()
	check(t, s.Lift(stops[0], "test"))
	if l := s.awaitKind(at, HostLease, h.id).Lease; len(l.Start) != 2 || len(l.Tokens) != 1 {
		t.Errorf("after the stop was lifted %+v", l)
	}
	if !h.running("hello") {
		t.Error("it was not started again")
	}
}

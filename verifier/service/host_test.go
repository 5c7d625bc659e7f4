package service

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"aios/captoken"
	"aios/evidence"
)

// A newer connection of a host that proves itself takes the place of the older.
func TestNewerConnectionReplaces(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	first := s.up(h)
	at := s.Position()
	s.connect(h)
	s.awaitKind(at, HostConnected, h.id)
	e := s.awaitKind(at, HostDisconnected, h.id)
	if !strings.Contains(e.Text, ErrReplaced.Error()) {
		t.Errorf("%s", e.Text)
	}
	<-first.done
	if l := s.awaitKind(at, HostLease, h.id).Lease; !l.Renewed || len(l.Tokens) != 0 {
		t.Errorf("a connection anew is no reason for another lease: %+v", l)
	}
	if v, err := s.Host(h.id); err != nil || !v.Connected {
		t.Errorf("%+v, %v", v, err)
	}
}

// A bad verdict brings no lease, whatever the one before was, and the next good one a new
// lease, so that no token of before is good.
func TestBadVerdictBringsNoLease(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	before, err := s.Host(h.id)
	check(t, err)
	manifest := h.manifest
	set := func(m []byte) int64 {
		h.mu.Lock()
		h.manifest = m
		h.mu.Unlock()
		at := s.Position()
		s.appraise(h.id)
		return at
	}
	at := set(nil)
	if e := s.awaitKind(at, HostVerdict, h.id); e.Verdict.Status == "affirming" || len(e.Verdict.Reasons) == 0 || e.Text == "" {
		t.Errorf("verdict %+v", e.Verdict)
	}
	if e := s.awaitKind(at, HostNoLease, h.id); !strings.Contains(e.Text, "contraindicated") {
		t.Errorf("%s", e.Text)
	}
	if v, err := s.Host(h.id); err != nil || !v.Denied || v.LeaseID != "" || !v.Connected {
		t.Errorf("%+v, %v", v, err)
	}
	grants := h.grants
	for { // a verdict counts if it is of a later second than the bad one
		at = set(manifest)
		e := s.await(at, "an answer", func(e Event) bool { return e.Kind == HostLease || e.Kind == HostNoLease })
		if e.Kind == HostNoLease {
			continue
		}
		if e.Lease.Renewed || e.Lease.ID == before.LeaseID || len(e.Lease.Tokens) != 1 {
			t.Errorf("%+v", e.Lease)
		}
		break
	}
	if h.grants != grants+1 {
		t.Errorf("%d grants", h.grants-grants)
	}
}

// A silent host holds nobody up: not the rounds of others, and not a command to them.
func TestSilentHostHoldsNobodyUp(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	silent, good := s.enrolled(), s.enrolled()
	s.up(silent)
	s.up(good)
	silent.mu.Lock()
	silent.silent = true
	silent.mu.Unlock()
	s.appraise(silent.id)
	<-silent.entered // the round has begun and is not answered
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: silent.id}))
	check(t, err)
	at := s.Position()
	s.appraise(good.id)
	s.awaitKind(at, HostLease, good.id)
	w, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: good.id}))
	check(t, err)
	if w = s.outcome(w.ID); !w.Proven() {
		t.Errorf("%+v", w)
	}
	if v, _, err = s.commands.get(v.ID); err != nil || v.State != CommandPending {
		t.Errorf("%+v, %v", v, err)
	}
}

// Orders are delivered while a round is under way.
func TestCommandWaitsForNoRound(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	hold, held := make(chan struct{}), make(chan struct{})
	h.mu.Lock()
	h.hold = func() { close(held); <-hold }
	h.mu.Unlock()
	s.appraise(h.id)
	<-held
	v, err := s.Command(s.command(captoken.Target{Agent: "hello", Host: h.id}))
	check(t, err)
	if v = s.outcome(v.ID); !v.Proven() {
		t.Errorf("%+v", v)
	}
	close(hold)
}

// Connections that prove nothing are bounded, and leave the places of proven hosts alone.
func TestFloodOfConnections(t *testing.T) {
	s := newSite(t)
	h := s.enrolled()
	s.up(h)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range maxUnproven + 16 {
		c, err := net.Dial("tcp", s.hostsAt)
		check(t, err)
		conns = append(conns, c)
	}
	// Those beyond the bound are closed at once, and for that reason.
	for _, c := range conns[maxUnproven:] {
		check(t, c.SetReadDeadline(time.Now().Add(patience)))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it was not closed: %v", err)
		}
	}
	text, err := io.ReadAll(s.request("GET", "/metrics", nil, nil).Body)
	if check(t, err); !strings.Contains(string(text), `aios_connections_total{outcome="shed"} 16`) {
		t.Error("16 connections should have been shed")
	}
	at := s.Position()
	s.appraise(h.id)
	s.awaitKind(at, HostLease, h.id)
	// When they give up, the next host gets in.
	for _, c := range conns {
		c.Close()
	}
	next := s.enrolled()
	for {
		at := s.Position()
		c := s.connect(next)
		select {
		case err := <-c.done:
			if err == nil {
				t.Fatal("closed without an error")
			}
			continue // its predecessors are still being closed
		case <-s.connectedSoon(next.id, at):
		}
		break
	}
}

// connectedSoon is closed once the host is connected.
func (s *site) connectedSoon(host string, after int64) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Follow(s.t.Context(), after, func(e Event) error {
			if e.Kind == HostConnected && e.Host == host {
				return errors.New("found")
			}
			return nil
		})
	}()
	return done
}

func TestMoreHostsThanItTakes(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxHosts = 1 })
	first := s.enrolled()
	s.up(first)
	if e := s.refusedHost(s.enrolled()); !errors.Is(e.Err, ErrTooMany) {
		t.Errorf("%v", e.Err)
	}
	at := s.Position() // the one that is in may connect anew
	s.connect(first)
	s.awaitKind(at, HostConnected, first.id)
}

// What is no host is refused, and said.
func TestNonsenseIsRefused(t *testing.T) {
	s := newSite(t)
	c, err := net.Dial("tcp", s.hostsAt)
	check(t, err)
	defer c.Close()
	_, err = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	check(t, err)
	s.await(0, "a refusal", func(e Event) bool { return e.Kind == HostRefused })
}

// Where a host runs an agent follows from its labels, at once.
func TestAssignmentByLabel(t *testing.T) {
	s := newSite(t)
	check(t, s.Assign("hello", Assignment{Agent: "hello", Labels: []string{"rack-4"}, Rights: []string{"log"}}))
	h := s.enrolled()
	s.up(h)
	if h.running("hello") {
		t.Fatal("it runs without the label")
	}
	at := s.Position()
	check(t, s.Label(h.id, []string{"rack-4"}))
	s.awaitKind(at, AgentStarted, h.id)
	v, err := s.Host(h.id)
	check(t, err)
	if len(v.Agents) != 1 || v.Agents[0].State != AgentRunning || len(v.Labels) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestHappened(t *testing.T) {
	boot := [16]byte{1}
	now := time.Now()
	h := newHostState()
	h.begin(boot)
	for _, c := range []struct {
		name  string
		boot  [16]byte
		event evidence.Event
		kind  string // "" if it is not told
		state string
	}{
		{"start", boot, evidence.Event{Number: 1, Kind: "start", Agent: "a", Instance: 1}, AgentStarted, AgentRunning},
		{"told twice", boot, evidence.Event{Number: 1, Kind: "gone", Agent: "a", Instance: 1}, "", AgentRunning},
		{"of another boot", [16]byte{2}, evidence.Event{Number: 2, Kind: "gone", Agent: "a", Instance: 1}, "", AgentRunning},
		{"denied", boot, evidence.Event{Number: 2, Kind: "denied", Agent: "a", Instance: 1, Text: "Attest\x1b[2J"}, AgentDenied, AgentRunning},
		{"unknown kind", boot, evidence.Event{Number: 3, Kind: "dance", Agent: "a", Instance: 1}, "", AgentRunning},
		{"lease", boot, evidence.Event{Number: 4, Kind: "lease", Text: "lapsed"}, HostTold, AgentRunning},
		{"about nobody", boot, evidence.Event{Number: 5, Kind: "start", Instance: 2}, "", AgentRunning},
		{"started again", boot, evidence.Event{Number: 6, Kind: "start", Agent: "a", Instance: 3}, AgentStarted, AgentRunning},
		{"the end of the instance before", boot, evidence.Event{Number: 7, Kind: "gone", Agent: "a", Instance: 1}, AgentGone, AgentRunning},
		{"gone", boot, evidence.Event{Number: 9, Kind: "gone", Agent: "a", Instance: 3}, AgentGone, AgentEnded},
	} {
		e, ok := h.happened(c.boot, c.event, now)
		if ok != (c.kind != "") || e.Kind != c.kind {
			t.Errorf("%s: %q, %v", c.name, e.Kind, ok)
		}
		if strings.ContainsRune(e.Text, 0x1b) {
			t.Errorf("%s: it may control the terminal: %q", c.name, e.Text)
		}
		agents, _, _ := h.view()
		if len(agents) != 1 || agents[0].State != c.state {
			t.Errorf("%s: agents %+v", c.name, agents)
		}
	}
	h.begin([16]byte{2})
	if agents, _, _ := h.view(); len(agents) != 0 || h.position() != 0 {
		t.Errorf("after a boot: %+v, %d", agents, h.position())
	}
	for i := range maxAgents + 10 { // the host's word takes no more memory than that
		h.happened([16]byte{2}, evidence.Event{Number: uint64(i + 1), Kind: "start", Agent: string(bytes.Repeat([]byte{'a'}, i+1)), Instance: 1}, now)
	}
	if agents, _, _ := h.view(); len(agents) != maxAgents {
		t.Errorf("%d agents are remembered", len(agents))
	}
}

// A host that boots what is below its floor is found bad, from the moment when the floor
// is raised; and the floor stays where it is.
func TestFloor(t *testing.T) {
	s := newSite(t)
	h := s.enrolled()
	s.up(h)
	at := s.Position()
	var v Host
	if status := s.ask("PUT", "/v1/hosts/"+h.id+"/floor", map[string]any{"floor": 2}, &v); status != 200 || v.Floor != 2 {
		t.Fatalf("%d %+v", status, v)
	}
	s.awaitKind(at, HostDisconnected, h.id)
	s.connect(h)
	if e := s.awaitKind(at, HostVerdict, h.id); e.Verdict.Status == "affirming" {
		t.Errorf("manifest version 1 below floor 2: %+v", e.Verdict)
	}
	if status := s.ask("PUT", "/v1/hosts/"+h.id+"/floor", map[string]any{"floor": 1}, nil); status != 422 {
		t.Errorf("lowered: %d", status)
	}
	s.restart()
	if v, err := s.Host(h.id); err != nil || v.Floor != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

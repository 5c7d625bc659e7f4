//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/host/state"
)

// TestMisbehaving: agents that loop, recurse, allocate without end, flood messages and
// the log, all on one host. Each harms itself alone: the host goes on to be appraised,
// what is still running can be killed and proven gone, and all memory comes back.
func TestMisbehaving(t *testing.T) {
	s := newSite(t)
	s.start("--grace", testGrace, "--test-agents", "--memory", "3G")
	// The lease is not the subject here, and five agents make the machine slow.
	v := s.serve("--interval", "2s", "--lease", "1m", "--grace", testGrace, "--quorum", "100", "--open-enrol")
	_, at := v.kind(t, 0, "host.lease", "")
	s.plain("agent", "assign", s.assignment("hello", 200))
	agents := []string{"allocate", "flood-ipc", "flood-log", "loop-forever", "recurse"}
	for _, name := range agents {
		s.plain("agent", "assign", s.assignment(name, 50))
	}
	for _, name := range agents {
		v.kind(t, at, "agent.started", name)
	}
	for name, want := range map[string]string{
		"allocate": "exit", // its runtime has no more memory to give it, or its quota ends it
		"recurse":  "exit",
	} {
		gone, _ := v.kind(t, at, "agent.gone", name)
		if !strings.Contains(gone.Text, want) && !strings.Contains(gone.Text, "quota") {
			t.Errorf("%s ended: %q", name, gone.Text)
		}
	}
	for _, name := range []string{"flood-ipc", "flood-log"} {
		denied, _ := v.kind(t, at, "agent.denied", name)
		if !strings.Contains(denied.Text, "quota") {
			t.Errorf("%s was refused: %q", name, denied.Text)
		}
	}
	// One that behaves gets its turn beside them, and so does the verifier.
	v.kind(t, at, "agent.denied", "hello")
	from := v.here()
	if verdict, _ := v.kind(t, from, "host.verdict", ""); verdict.Status != "affirming" {
		t.Errorf("verdict %+v", verdict)
	}
	if l, _ := v.kind(t, 0, "host.enrolled", ""); l.Host == "" {
		t.Fatal("no host")
	} else {
		out := s.plain("agent", "kill", "--host", l.Host, "--reason", "enough", "--json")
		var c struct {
			Receipts []struct{ Agent, State string }
		}
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		proven := map[string]string{}
		for _, r := range c.Receipts {
			proven[r.Agent] = r.State
		}
		for _, name := range append(agents, "hello") {
			if proven[name] != "verified" {
				t.Errorf("the end of %s: %q", name, proven[name])
			}
		}
	}
	s.balanced(t)
}

// A host whose image names another verifier than the one that answers tells it nothing.
func TestOtherVerifier(t *testing.T) {
	s := newSite(t)
	impostor := must(mldsa.GenerateKey())(t)
	l := must(evidence.NewListener(impostor))(t)
	tcp := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer tcp.Close()
	heard := make(chan string, 16)
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			c, err := l.Accept(t.Context(), conn)
			if err != nil {
				heard <- ""
				continue
			}
			what := ""
			if id, err := c.Identity(t.Context()); err == nil {
				what = string(id.EKPublic)
			}
			c.Close()
			heard <- what
		}
	}()
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	host := s.start("--verifier", "10.0.2.2:"+port)
	away := host.told(t, func(e event) bool {
		return e.Event == "console" && strings.Contains(e.Text, "not the verifier that this host trusts")
	})
	for _, want := range []string{"identity key expected", "nothing was told to it"} {
		if !strings.Contains(away.Text, want) {
			t.Errorf("it must say %q: %s", want, away.Text)
		}
	}
	if what := <-heard; what != "" {
		t.Errorf("the impostor was told %x", what)
	}
	d := must(state.Open(s.state))(t)
	if names := must(filepath.Glob(filepath.Join(d.Hosts(), "*")))(t); len(names) > 0 {
		t.Errorf("somebody was enrolled: %v", names)
	}
}

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Times of the tests: a lease that outlives some lost rounds on a busy machine, and ends
// before the tester does.
const (
	testInterval = "1s"
	testLease    = "12s"
	testGrace    = "4s"
)

// assignment writes one for an agent on every host.
func (s *site) assignment(agent string, messages int) string {
	s.t.Helper()
	text := fmt.Sprintf(`{"agent":%q,"hosts":["*"],"rights":["log","clock","send","receive","transfer","memory"],
		"scopes":{"peers":["echod"]},
		"quotas":{"memory_bytes":268435456,"cpu_millis":1000,"messages_per_second":%d,"bytes_per_second":1048576}}`, agent, messages)
	name := filepath.Join(s.t.TempDir(), agent+".json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// consoleLines are those of the host's console that begin so.
func (s *site) consoleLines(prefix string) (found []string) {
	b, err := os.ReadFile(filepath.Join(s.state, "host", "console.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, prefix) {
			found = append(found, strings.TrimSpace(l))
		}
	}
	return found
}

// gone checks the cause that the newest receipt on the host's console names.
func (s *site) gone(t *testing.T, cause string) {
	t.Helper()
	if lines := s.consoleLines("aios kernel: agent gone "); len(lines) == 0 || !strings.Contains(lines[len(lines)-1], "cause="+cause+" ") {
		t.Errorf("the last end, expected for cause %s: %q", cause, lines)
	}
}

// balanced checks that every agent that ended gave all of its memory back.
func (s *site) balanced(t *testing.T) {
	t.Helper()
	for _, l := range s.consoleLines("aios kernel: agent gone ") {
		if !strings.Contains(l, " frames_lost=0 ") || strings.Contains(l, " frames_freed=0 ") {
			t.Errorf("memory was lost: %s", l)
		}
	}
}

// TestFleet: a verifier and a host that are run by themselves, as operators do: enrolment
// by token, an agent by assignment, kills of three kinds, the network cut, the verifier
// gone and back.
func TestFleet(t *testing.T) {
	s := newSite(t)
	host := s.start("--grace", testGrace)

	// Nobody is there: the host waits, says so, and starts no agent.
	away := host.told(t, func(e event) bool { return e.Event == "console" && strings.Contains(e.Text, "verifier away") })
	if !strings.Contains(away.Text, "none starts") {
		t.Errorf("it says %q", away.Text)
	}
	serve := []string{"--interval", testInterval, "--lease", testLease, "--grace", testGrace, "--quorum", "100"}
	v := s.serve(serve...)

	// A host that is unknown and has no token is refused, and hears why.
	refusal, at := v.kind(t, 0, "host.refused", "")
	if !strings.Contains(refusal.Text, "enrolment token") {
		t.Errorf("refused for %q", refusal.Text)
	}
	if lines := s.consoleLines("aios attestd: verifier refused"); len(lines) == 0 || !strings.Contains(lines[0], "enrolment token") {
		t.Errorf("the host was not told why: %q", lines)
	}
	if out, err := s.try("aios-enrol-forged\n", "host", "admit"); err != nil {
		t.Fatalf("admit: %v\n%s", err, out)
	}
	refusal, at = v.await(t, at, "refusal of a forged token", func(l logged) bool {
		return l.Msg == "host.refused" && strings.Contains(l.Text, "not one that was issued here")
	})
	if lines := s.consoleLines("aios kernel: agent start"); len(lines) > 0 {
		t.Fatalf("an agent ran without a lease: %q", lines)
	}
	token := s.plain("enrol", "token")
	if out, err := s.try(token, "host", "admit"); err != nil {
		t.Fatalf("admit: %v\n%s", err, out)
	}
	enrolled, at := v.kind(t, at, "host.enrolled", "")
	id := enrolled.Host
	if verdict, _ := v.kind(t, at, "host.verdict", ""); verdict.Status != "affirming" {
		t.Fatalf("verdict %+v", verdict)
	}

	s.plain("agent", "assign", s.assignment("hello", 200))
	_, at = v.kind(t, at, "agent.started", "hello")
	denied, at := v.kind(t, at, "agent.denied", "hello")
	if !strings.Contains(denied.Text, "does not admit the right attest") {
		t.Errorf("denied: %q", denied.Text)
	}

	s.plain("host", "label", id, "rack-1")
	for _, kill := range []struct {
		name       string
		args, lift []string
	}{
		{"agent", []string{"hello", "--host", id}, []string{"hello", "--host", id}},
		{"host", []string{"--host", id}, []string{"--host", id}},
		{"label", []string{"--label", "rack-1"}, []string{"--host", id}},
	} {
		t.Run("kill by "+kill.name, func(t *testing.T) {
			out := s.plain(append([]string{"agent", "kill", "--reason", "test", "--json"}, kill.args...)...)
			var c struct {
				State    string
				Receipts []struct {
					Agent, State    string
					Frames, Handles uint64
					Latency         float64 `json:"latency_ms"`
				}
			}
			if err := json.Unmarshal([]byte(out), &c); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if c.State != "done" || len(c.Receipts) != 1 {
				t.Fatalf("outcome %s", out)
			}
			if r := c.Receipts[0]; r.Agent != "hello" || r.State != "verified" || r.Frames < 1000 || r.Handles < 5 || r.Latency <= 0 {
				t.Errorf("receipt %+v", r)
			}
			if list := s.plain("agent", "list"); !strings.Contains(list, "stopped") {
				t.Errorf("it is listed as %s", list)
			}
			from := v.here()
			s.plain(append([]string{"agent", "lift", "--reason", "test"}, kill.lift...)...)
			_, from = v.kind(t, from, "agent.started", "hello")
			v.kind(t, from, "agent.denied", "hello")
		})
	}

	t.Run("revoke a subject", func(t *testing.T) {
		from := v.here()
		out := s.plain("agent", "revoke", "--subject", "hello", "--reason", "test")
		if !strings.Contains(out, "revoked: everything of agent hello; it is on revocation list ") {
			t.Errorf("it says %s", out)
		}
		_, from = v.kind(t, from, "agent.gone", "hello")
		s.gone(t, "revoked")
		withheld := func(from int) {
			t.Helper()
			lease, _ := v.kind(t, from, "host.lease", "")
			_, at := v.kind(t, from, "host.lease", "") // of a request that was made when all of this was known
			v.kind(t, at, "host.lease", "")
			if lease.Host != id {
				t.Errorf("lease of %q", lease.Host)
			}
			if list := s.plain("agent", "list"); !strings.Contains(list, "hello  revoked") {
				t.Errorf("it is listed as %s", list)
			}
		}
		starts := len(s.consoleLines("aios kernel: agent start agent=hello"))
		withheld(from)

		// Over a restart of the verifier, and of the host, which then knows of nothing.
		v.kill(t)
		v = s.serve(serve...)
		_, from = v.kind(t, 0, "host.connected", "")
		withheld(from)
		if n := len(s.consoleLines("aios kernel: agent start agent=hello")); n != starts {
			t.Errorf("it was started %d times, and %d before it was revoked", n, starts)
		}
		host.stop()
		from = v.here()
		host = s.start("--grace", testGrace)
		_, from = v.kind(t, from, "host.connected", "")
		withheld(from)
		if lines := s.consoleLines("aios kernel: agent start"); len(lines) != 0 {
			t.Errorf("after a reboot it was started: %q", lines)
		}
		if lines := s.consoleLines("aios kernel: revocations taken sequence="); len(lines) == 0 || !strings.Contains(lines[0], " agents=1") {
			t.Errorf("the host took the lists %q", lines)
		}

		// A new epoch begins an empty list, and ends what ran before.
		s.plain("agent", "revoke", "--epoch", "1", "--reason", "begin anew")
		_, from = v.kind(t, from, "agent.started", "hello")
		_, from = v.kind(t, from, "agent.denied", "hello")
		s.plain("agent", "revoke", "--epoch", "2", "--reason", "all of it")
		_, from = v.kind(t, from, "agent.gone", "hello")
		s.gone(t, "revoked")
		_, from = v.kind(t, from, "agent.started", "hello")
		v.kind(t, from, "agent.denied", "hello")
	})

	t.Run("network cut", func(t *testing.T) {
		from := v.here()
		s.plain("host", "link", "cut")
		host.told(t, func(e event) bool { return e.Event == "console" && strings.Contains(e.Text, "lease lapsed") })
		s.plain("host", "link", "restore")
		// Its connection may have lived through it, or it dials again.
		_, from = v.kind(t, from, "agent.gone", "hello")
		if lines := s.consoleLines("aios kernel: agent gone agent=hello"); !strings.Contains(lines[len(lines)-1], "cause=lease") {
			t.Errorf("the agent ended otherwise: %q", lines[len(lines)-1])
		}
		_, from = v.kind(t, from, "agent.started", "hello")
		v.kind(t, from, "agent.denied", "hello")
	})

	t.Run("verifier gone and back", func(t *testing.T) {
		v.kill(t)
		host.told(t, func(e event) bool { return e.Event == "console" && strings.Contains(e.Text, "lease lapsed") })
		v = s.serve(serve...)
		connected, from := v.kind(t, 0, "host.connected", "")
		if connected.Host != id {
			t.Errorf("it came back as %q, want %q", connected.Host, id)
		}
		v.kind(t, from, "agent.started", "hello") // assignment and enrolment were remembered
	})

	t.Run("a token that was used", func(t *testing.T) {
		// Another host of the same make, with a TPM of its own.
		s.balanced(t)
		host.stop()
		v.kill(t)
		s.plain("host", "reset")
		s.start("--grace", testGrace)
		v = s.serve(serve...) // it trusts the new TPM's CA
		if out, err := s.try(token, "host", "admit"); err != nil {
			t.Fatalf("admit: %v\n%s", err, out)
		}
		v.await(t, 0, "refusal of the token", func(l logged) bool {
			return l.Msg == "host.refused" && strings.Contains(l.Text, "was used before")
		})
	})
}

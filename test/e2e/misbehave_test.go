//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// floodLimit is far more than the kernel lets one program put on the console in the time
// that this takes, and far less than the agent that floods would like to.
const floodLimit = 2 << 20

// patience is how many verdicts a line on the console is awaited for.
const patience = 150

// said waits until a line that begins so is on the host's console. It looks again with
// each verdict, which the host goes on to get.
func (s *site) said(t *testing.T, v *served, prefix string) {
	t.Helper()
	from := v.here()
	for range patience {
		if len(s.consoleLines(prefix)) > 0 {
			return
		}
		_, from = v.kind(t, from, "host.verdict", "")
	}
	t.Fatalf("no line %q on the console after %d verdicts", prefix, patience)
}

// TestMisbehavingAgents: what an agent does wrong ends it, or is refused, and harms
// nobody else: the host goes on to prove itself, no service ends, no memory is lost, and
// whoever goes on can be killed.
func TestMisbehavingAgents(t *testing.T) {
	s := newSite(t)
	s.start("--grace", testGrace, "--test-agents")
	v := s.serve("--interval", testInterval, "--lease", testLease, "--grace", testGrace, "--quorum", "100")
	_, at := v.kind(t, 0, "host.refused", "")
	if out, err := s.try(s.plain("enrol", "token"), "host", "admit"); err != nil {
		t.Fatalf("admit: %v\n%s", err, out)
	}
	enrolled, at := v.kind(t, at, "host.enrolled", "")

	for _, c := range []struct {
		agent string
		says  string // on the console, by itself
		gone  string // in the line of its end; "": it goes on until it is killed
	}{
		{"allocate", "out of memory", "cause=fault"},
		{"recurse", "begin recurse", "memory quota of 268435456 bytes exhausted"},
		{"flood-log", "flood ", ""},
		{"flood-ipc", "refused first: ", ""},
		{"loop-forever", "begin loop-forever", ""},
	} {
		t.Run(c.agent, func(t *testing.T) {
			s.plain("agent", "assign", s.assignment(c.agent, 50))
			_, from := v.kind(t, at, "agent.started", c.agent)
			if c.gone != "" {
				_, from = v.kind(t, from, "agent.gone", c.agent)
				if lines := s.consoleLines("aios kernel: agent gone agent=" + c.agent + " "); !strings.Contains(lines[0], c.gone) {
					t.Errorf("it ended otherwise: %q", lines)
				}
			} else {
				s.said(t, v, "aios "+c.agent+": "+c.says)
			}
			// The host proves itself again while the agent does what it does.
			if verdict, _ := v.kind(t, v.here(), "host.verdict", ""); verdict.Status != "affirming" {
				t.Errorf("verdict %+v", verdict)
			}
			if out := s.plain("agent", "kill", c.agent, "--host", enrolled.Host, "--reason", "test", "--json"); !strings.Contains(out, `"done"`) {
				t.Errorf("outcome %s", out)
			}
			if lines := s.consoleLines("aios " + c.agent + ": "); !strings.Contains(strings.Join(lines, "\n"), c.says) {
				t.Errorf("it did not say %q", c.says)
			}
		})
	}

	flood := strings.Join(s.consoleLines("aios flood-log: "), "\n")
	if len(flood) > floodLimit {
		t.Errorf("%d bytes of a flooded log went to the console", len(flood))
	}
	for _, service := range []string{"netd", "attestd", "echod"} {
		if n := len(s.consoleLines("aios kernel: service start name=" + service)); n != 1 {
			t.Errorf("%s was started %d times", service, n)
		}
	}
	for _, l := range s.consoleLines("aios kernel: agent gone ") {
		if !strings.Contains(l, " frames_lost=0 ") {
			t.Errorf("memory was lost: %s", l)
		}
	}
}

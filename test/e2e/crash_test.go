//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// crashing is the target folder with a netd and an attestd that end themselves by a
// panic, each some time after its start (build tag crashtest).
func crashing(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "target")
	if err := os.CopyFS(dir, os.DirFS(setting(t, "AIOS_TEST_TARGET"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"netd", "attestd"} {
		c := exec.Command("go", "run", "./boot/cmd/mkmetal", "-kind", "service", "-tags", "crashtest", "-pkg", "./services/"+name, "-o", filepath.Join(dir, name+".elf"))
		c.Dir = "../.."
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("mkmetal %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

// TestServicesCrash: netd and attestd panic, over and over. Each time they are started
// again, the host is connected again and its lease renewed, and the agent does not notice.
func TestServicesCrash(t *testing.T) {
	const lease, grace = "40s", "20s" // outlive a restart on a busy machine
	target := crashing(t)
	s := newSite(t)
	host := s.start("--grace", grace, "--target", target) // the last --target counts
	v := s.serve("--interval", testInterval, "--lease", lease, "--grace", grace, "--quorum", "100")
	v.kind(t, 0, "host.refused", "")
	if out, err := s.try(s.plain("enrol", "token"), "host", "admit"); err != nil {
		t.Fatalf("admit: %v\n%s", err, out)
	}
	enrolled, at := v.kind(t, 0, "host.enrolled", "")
	s.plain("agent", "assign", s.assignment("hello", 200))
	_, at = v.kind(t, at, "agent.denied", "hello") // it spins from then on
	held, at := v.kind(t, at, "host.lease", "")

	ends := map[string]int{}
	for ends["netd"] < 2 || ends["attestd"] < 2 {
		e := host.told(t, func(e event) bool {
			return e.Event == "console" && strings.HasPrefix(e.Text, "service exit ")
		})
		for name := range strings.SplitSeq("netd attestd", " ") {
			if strings.Contains(e.Text, " name="+name+" ") {
				ends[name]++
			}
		}
		connected, from := v.kind(t, at, "host.connected", "")
		renewed, from := v.kind(t, from, "host.lease", "")
		if connected.Host != enrolled.Host || !renewed.Renewed || renewed.Lease != held.Lease || held.Lease == "" {
			t.Fatalf("after %q: %q is back with lease %q, renewed %v; want %q with %q", e.Text, connected.Host, renewed.Lease, renewed.Renewed, enrolled.Host, held.Lease)
		}
		at = from
	}
	_, at = v.kind(t, v.here(), "host.lease", "") // it goes on

	exits := s.consoleLines("aios kernel: service exit ")
	t.Logf("%q", exits)
	for _, l := range exits {
		if strings.Contains(l, "frames_lost=") || strings.Contains(l, " frames_freed=0") || !strings.Contains(l, " frames_freed=") {
			t.Errorf("memory was lost: %s", l)
		}
	}
	if starts, ends := s.consoleLines("aios kernel: agent start "), s.consoleLines("aios kernel: agent gone "); len(starts) != 1 || len(ends) != 0 {
		t.Errorf("the agent did not live through it: %q, %q", starts, ends)
	}
	for _, l := range s.consoleLines("aios kernel: lease ") {
		if !strings.Contains(l, " id="+held.Lease+" ") {
			t.Errorf("another lease than %s: %s", held.Lease, l)
		}
	}
	// The kill switch is as it was.
	s.plain("agent", "kill", "--reason", "test", "hello", "--host", enrolled.Host)
	v.kind(t, at, "receipt.verified", "hello")
	s.balanced(t)
}

//go:build e2e && soak

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Soak: an agent is started and killed, the network cut and put back, the verifier killed
// and started, over and over for AIOS_SOAK_MINUTES. Whatever stalls fails by its time
// limit, whatever leaks by what is in use afterwards.
func TestSoak(t *testing.T) {
	minutes, err := strconv.Atoi(setting(t, "AIOS_SOAK_MINUTES"))
	if err != nil || minutes < 1 {
		t.Fatalf("AIOS_SOAK_MINUTES: expected a number of minutes, found %q", os.Getenv("AIOS_SOAK_MINUTES"))
	}
	s := newSite(t)
	host := s.start("--grace", testGrace)
	serve := []string{"--interval", testInterval, "--lease", testLease, "--grace", testGrace, "--quorum", "100"}
	v := s.serve(serve...)
	v.kind(t, 0, "host.refused", "")
	if out, err := s.try(s.plain("enrol", "token"), "host", "admit"); err != nil {
		t.Fatalf("admit: %v\n%s", err, out)
	}
	enrolled, at := v.kind(t, 0, "host.enrolled", "")
	id := enrolled.Host
	s.plain("host", "label", id, "soak")
	s.plain("agent", "assign", s.assignment("hello", 200))
	running := func(from int) {
		t.Helper()
		_, from = v.kind(t, from, "agent.started", "hello")
		v.kind(t, from, "agent.denied", "hello") // it spins from then on
	}
	running(at)

	kinds := []struct{ kill, lift []string }{
		{[]string{"hello", "--host", id}, []string{"hello", "--host", id}},
		{[]string{"--host", id}, []string{"--host", id}},
		{[]string{"--label", "soak"}, []string{"--host", id}},
	}
	var base, memory int // frames in use, the verifier's memory in KiB, once all is warm
	end := time.Now().Add(time.Duration(minutes) * time.Minute)
	cycle := 0
	for ; time.Now().Before(end) || cycle < 6; cycle++ {
		k := kinds[cycle%len(kinds)]
		from := v.here()
		s.plain(append([]string{"agent", "kill", "--reason", "soak"}, k.kill...)...)
		s.plain(append([]string{"agent", "lift", "--reason", "soak"}, k.lift...)...)
		running(from)
		switch from = v.here(); cycle % 4 {
		case 1: // a cut that the lease outlives
			s.plain("host", "link", "cut")
			s.plain("host", "link", "restore")
			v.kind(t, from, "host.lease", "")
		case 2:
			s.plain("host", "link", "cut")
			host.told(t, func(e event) bool { return e.Event == "console" && strings.Contains(e.Text, "lease lapsed") })
			s.plain("host", "link", "restore")
			running(from)
		case 3:
			v.kill(t)
			v = s.serve(serve...)
			v.kind(t, 0, "host.lease", "")
		}
		used, rss := s.framesUsed(t), v.memory(t)
		fmt.Printf("soak: cycle %d, %s left, %d frames in use on the host, verifier %d KiB\n", cycle+1, time.Until(end).Round(time.Second), used, rss)
		if cycle == 4 {
			base, memory = used, rss
		}
		if cycle > 4 && used > base+leakFrames {
			t.Fatalf("cycle %d: %d frames in use, %d after the fifth: the host leaks", cycle+1, used, base)
		}
		if cycle > 4 && rss > memory+leakKiB {
			t.Fatalf("cycle %d: the verifier has %d KiB, %d after the fifth: it leaks", cycle+1, rss, memory)
		}
	}
	s.balanced(t)
	t.Logf("%d cycles", cycle)
}

// What the garbage collectors of the host's kernel and of the verifier may still be
// holding: a sixteenth of the host's memory, and 64 MiB.
const (
	leakFrames = 24_000
	leakKiB    = 64 << 10
)

// framesUsed is what the kernel said when the last agent ended.
func (s *site) framesUsed(t *testing.T) int {
	t.Helper()
	lines := s.consoleLines("aios kernel: agent gone ")
	_, n, ok := strings.Cut(lines[len(lines)-1], " frames_used=")
	used, err := strconv.Atoi(n)
	if !ok || err != nil {
		t.Fatalf("no frames_used in %q", lines[len(lines)-1])
	}
	return used
}

// memory is the resident memory of the verifier, in KiB.
func (v *served) memory(t *testing.T) int {
	t.Helper()
	b := must(os.ReadFile(filepath.Join("/proc", strconv.Itoa(v.cmd.Process.Pid), "status")))(t)
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "VmRSS:" {
			return must(strconv.Atoi(f[1]))(t)
		}
	}
	t.Fatalf("no VmRSS in %q", b)
	return 0
}

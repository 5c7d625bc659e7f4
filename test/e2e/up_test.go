//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	predicted = []string{"11", "4", "7", "8", "9"}
	firmware  = []string{"0", "2"}
)

// affirmed checks that a run ended in trust, for the right reasons.
func affirmed(t *testing.T, o outcome) event {
	t.Helper()
	sum := o.last(t, "summary")
	if o.code != 0 || !sum.OK || sum.Error != "" {
		t.Fatalf("exit %d, summary %+v\n%s", o.code, sum, o.stderr)
	}
	v := o.last(t, "verdict")
	if v.Status != "affirming" || len(v.Reasons) != 0 || strings.Count(v.EAR, ".") != 2 {
		t.Fatalf("verdict %+v", v)
	}
	for _, e := range []event{v, sum} {
		if got := slices.Sorted(maps.Keys(e.Predicted["sha256"])); !slices.Equal(got, predicted) {
			t.Errorf("%s: predicted PCRs %v, want %v", e.Event, got, predicted)
		}
		for i, want := range e.Predicted["sha256"] {
			if got := e.Quoted["sha256"][i]; got != want || len(got) != 64 {
				t.Errorf("%s: PCR %s: predicted %s, quoted %s", e.Event, i, want, got)
			}
		}
		for _, i := range firmware {
			if want, got := e.Baseline["sha256"][i], e.Quoted["sha256"][i]; got != want || len(got) != 64 {
				t.Errorf("%s: PCR %s: baseline %s, quoted %s", e.Event, i, want, got)
			}
		}
	}
	return v
}

// killed checks that the sample agent ran on a lease, was refused a call, and that its
// end is proven.
func killed(t *testing.T, o outcome) {
	t.Helper()
	if l := o.last(t, "lease"); len(l.Lease) != 32 || l.Duration != 120_000 || len(l.Refused) != 0 {
		t.Errorf("lease %+v", l)
	}
	if e := o.last(t, "agent.running"); e.Agent != "hello" || e.Instance != 1 {
		t.Errorf("agent.running %+v", e)
	}
	if e := o.last(t, "agent.denied"); e.Agent != "hello" || !strings.Contains(e.Reason, "Attest") || !strings.Contains(e.Reason, "does not admit the right attest") {
		t.Errorf("agent.denied %+v", e)
	}
	// A spinning agent has more frames than its runtime's image alone.
	if e := o.last(t, "agent.killed"); !e.Verified || e.Agent != "hello" || e.Frames < 1000 || e.Handles < 5 || e.Latency <= 0 || len(e.Command) != 32 {
		t.Errorf("agent.killed %+v", e)
	}
}

// From nothing to a verdict, to an agent and to its proven end, and again with what the first run made. Whatever
// the machine's size, the predictions that were made before it booted hold.
func TestUp(t *testing.T) {
	s := newSite(t)
	first := s.up()
	affirmed(t, first)
	killed(t, first)
	order := "keys image machine firmware boot kernel service admitted connected enrolled verdict agent.running agent.denied agent.killed summary"
	var names []string
	for _, e := range first.events {
		switch e.Event {
		case "progress", "network", "lease": // not in one order with their neighbours
		default:
			if e.Event == "verdict" && slices.Contains(names, e.Event) {
				continue // of a later round: how many there are is a matter of the machine's speed
			}
			names = append(names, e.Event)
		}
	}
	if got := strings.Join(names, " "); got != order {
		t.Errorf("events %s, want %s", got, order)
	}
	if n := first.last(t, "network"); !strings.HasPrefix(n.Address, "10.0.2.") {
		t.Errorf("network %+v", n)
	}
	if !first.last(t, "image").Built || !first.last(t, "enrolled").First || !first.last(t, "firmware").Secure {
		t.Errorf("first run: %+v", first.events)
	}
	before := first.last(t, "image").Predicted["sha256"]
	for _, c := range []struct {
		name        string
		args        []string
		cpus        int
		memory, max int // MiB that the kernel must find, and at most
	}{
		{"again", nil, 2, 1300, 1500},
		{"1 CPU, 1 GiB", []string{"--cpus", "1", "--memory", "1G"}, 1, 850, 1024},
		{"4 CPUs, 5 GiB, TIS", []string{"--cpus", "4", "--memory", "5G", "--tpm", "tis"}, 4, 4900, 5120},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := s.up(c.args...)
			affirmed(t, o)
			killed(t, o)
			if o.last(t, "image").Built || o.last(t, "enrolled").First {
				t.Error("the image was built, or the host enrolled, a second time")
			}
			if got := o.last(t, "verdict").Predicted["sha256"]; !maps.Equal(got, before) {
				t.Errorf("predictions changed: %v, first %v", got, before)
			}
			if k := o.last(t, "kernel"); k.CPUs != c.cpus || k.MemoryMiB < c.memory || k.MemoryMiB > c.max {
				t.Errorf("kernel has %d CPUs and %d MiB", k.CPUs, k.MemoryMiB)
			}
		})
	}
	t.Run("result", func(t *testing.T) {
		out := s.plain("verifier", "result")
		if !strings.HasPrefix(out, "affirming\n") || !strings.Contains(out, "ML-DSA-65") {
			t.Errorf("aios verifier result: %s", out)
		}
		names := must(filepath.Glob(filepath.Join(s.state, "verifier", "results", "*.jwt")))(t)
		token := must(os.ReadFile(names[0]))(t)
		if err := os.WriteFile(names[0], flip(token, len(token)/2), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := s.command(t.Context(), "verifier", "result").CombinedOutput(); err == nil {
			t.Errorf("an altered result was accepted: %s", out)
		}
	})
	t.Run("keys are private", func(t *testing.T) {
		names := must(filepath.Glob(filepath.Join(s.state, "keys", "*.key")))(t)
		if len(names) < 5 {
			t.Errorf("keys: %v", names)
		}
		for _, n := range names {
			if fi := must(os.Stat(n))(t); fi.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", n, fi.Mode())
			}
		}
	})
}

// With Secure Boot off everything else is as predicted, and that is not enough.
func TestSecureBootOff(t *testing.T) {
	o := newSite(t).up("--no-secure-boot")
	refused(t, o, "contraindicated")
	v := o.last(t, "verdict")
	if v.Status != "contraindicated" || !strings.Contains(strings.Join(v.Reasons, "\n"), "Secure Boot: disabled") {
		t.Errorf("verdict %s, %q", v.Status, v.Reasons)
	}
}

// A rule that is changed changes the verdict, and the verdict says why.
func TestChangedRule(t *testing.T) {
	s := newSite(t)
	dir := filepath.Join(t.TempDir(), "policy")
	s.plain("policy", "export", dir)
	file := filepath.Join(dir, "platform.rego")
	text := must(os.ReadFile(file))(t)
	rule := "\tinput.manifest.version >= 1\n"
	changed := bytes.Replace(text, []byte(rule), []byte("\tinput.manifest.version >= 1000\n"), 1)
	if bytes.Equal(changed, text) {
		t.Fatalf("no rule %q in %s", rule, file)
	}
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	o := s.up("--policy", dir)
	refused(t, o, "contraindicated")
	if v := o.last(t, "verdict"); !strings.Contains(strings.Join(v.Reasons, "\n"), "manifest version") {
		t.Errorf("verdict %s, %q", v.Status, v.Reasons)
	}
	if err := os.WriteFile(file, append(changed, "nonsense if {"...), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, s.up("--policy", dir), "platform.rego", "compile policy")
}

// A well-signed image of this installation that is not the one the verifier has
// reference values for: the verdict names the first event that differs.
func TestOtherImage(t *testing.T) {
	s := newSite(t)
	other := s.withDisk(s.buildImage("--cmdline", "other"))
	o := s.up("--disk", other)
	refused(t, o, "contraindicated")
	reasons := strings.Join(o.last(t, "verdict").Reasons, "\n")
	for _, want := range []string{"PCR 8", "aios.config", "PCR 9", "version=1"} {
		if !strings.Contains(reasons, want) {
			t.Errorf("the reasons must name %q:\n%s", want, reasons)
		}
	}
}

// A host that stays up is appraised again and again; Ctrl-C takes everything
// down, and what it leaves behind is an exit status of 0.
func TestStaysUpUntilInterrupted(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	c := s.command(ctx, append([]string{"up", "--json", "--interval", "1s"}, s.target()...)...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var o outcome
	for sc := bufio.NewScanner(out); sc.Scan(); {
		e := s.parse(strings.NewReader(sc.Text()))[0]
		o.events = append(o.events, e)
		if e.Event == "verdict" && e.Round == 3 {
			if len(s.processes()) < 2 {
				t.Errorf("QEMU and TPM are not among the processes: %q", s.processes())
			}
			if err := c.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if sum := o.last(t, "summary"); !sum.OK || sum.Status != "affirming" {
		t.Errorf("summary %+v", sum)
	}
	if left := s.processes(); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// processes are the command lines that name the site's state folder, as those
// of QEMU and the TPM do.
func (s *site) processes() (found []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil && bytes.Contains(b, []byte(s.state)) {
			found = append(found, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// The story in words names what was proven and how long it took.
func TestPlainStory(t *testing.T) {
	s := newSite(t)
	begun := time.Now()
	out := s.plain(append([]string{"up", "--once"}, s.target()...)...)
	for _, want := range []string{
		"checked the signature of bootx64.efi", "took over from the firmware", "runs in ring 3", "host enrolled",
		"AFFIRMING", "X25519MLKEM768", "new lease", "was refused a call", "agent hello is dead", "in a quote of the host's TPM", "PCR 11 equal:", "PCR 0  equal:", "baseline of enrolment", "done: the host proved what it booted", "total",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing after %s in\n%s", want, time.Since(begun), out)
		}
	}
}

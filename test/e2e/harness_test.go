//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bootLimit bounds one command that boots a host. A boot takes 10 to 20 s
// under TCG on two cores; a busy machine may take several times that.
const bootLimit = 5 * time.Minute

// site is an installation: a state folder with the keys that the test build
// trusts.
type site struct {
	t     *testing.T
	state string
}

// setting reads what the Makefile says.
func setting(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run these tests by `make test-e2e`", name)
	}
	return v
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t, filepath.Join(t.TempDir(), "state")}
	if err := os.CopyFS(filepath.Join(s.state, "keys"), os.DirFS(filepath.Join(setting(t, "AIOS_TEST_STATE"), "keys"))); err != nil {
		t.Fatal(err)
	}
	// CopyFS gives files the modes of the umask; keys must stay private.
	if err := filepath.Walk(s.state, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if fi.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return os.Chmod(p, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// event is one line of --json.
type event struct {
	Event     string                       `json:"event"`
	At        int64                        `json:"at_ms"`
	OK        bool                         `json:"ok"`
	Status    string                       `json:"status"`
	Round     int                          `json:"round"`
	Reasons   []string                     `json:"reasons"`
	Error     string                       `json:"error"`
	Remedy    string                       `json:"remedy"`
	Built     bool                         `json:"built"`
	Altered   bool                         `json:"altered"`
	First     bool                         `json:"first"`
	Version   uint64                       `json:"manifest_version"`
	CPUs      int                          `json:"cpus"`
	MemoryMiB int                          `json:"memory_mib"`
	TPM       string                       `json:"tpm_interface"`
	Secure    bool                         `json:"secure_boot"`
	Socket    string                       `json:"socket"`
	Predicted map[string]map[string]string `json:"predicted"`
	Quoted    map[string]map[string]string `json:"quoted"`
	Baseline  map[string]map[string]string `json:"baseline"`
	EAR       string                       `json:"ear"`
	Address   string                       `json:"address"`
	Text      string                       `json:"text"`
	Host      string                       `json:"host"`
	Lease     string                       `json:"lease"`
	Duration  int64                        `json:"duration_ms"`
	Refused   []string                     `json:"refused"`
	Agent     string                       `json:"agent"`
	Instance  uint64                       `json:"instance"`
	Reason    string                       `json:"reason"`
	Command   string                       `json:"command"`
	Latency   int64                        `json:"latency_ms"`
	Frames    uint64                       `json:"frames"`
	Handles   uint64                       `json:"handles"`
	Verified  bool                         `json:"receipt_verified"`
	Total     int64                        `json:"total_ms"`
	Stages    map[string]int64             `json:"stages_ms"`
}

// outcome is what a command did.
type outcome struct {
	code   int
	events []event
	stderr string
}

// last returns the last event of a name.
func (o outcome) last(t *testing.T, name string) event {
	t.Helper()
	for i := len(o.events) - 1; i >= 0; i-- {
		if o.events[i].Event == name {
			return o.events[i]
		}
	}
	t.Fatalf("no event %q; exit %d, events %s\n%s", name, o.code, o.names(), o.stderr)
	return event{}
}

func (o outcome) names() string {
	var n []string
	for _, e := range o.events {
		n = append(n, e.Event)
	}
	return strings.Join(n, " ")
}

// command prepares bin/aios with the site's state.
func (s *site) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, setting(s.t, "AIOS_TEST_BIN"), args...)
	c.Env = append(os.Environ(), "AIOS_STATE="+s.state)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 30 * time.Second
	return c
}

// target are the arguments of commands that may build an image.
func (s *site) target() []string { return []string{"--target", setting(s.t, "AIOS_TEST_TARGET")} }

// json runs a command that tells its story in JSON, to its end.
func (s *site) json(args ...string) outcome {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), bootLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := s.command(ctx, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if ctx.Err() != nil {
		s.t.Fatalf("aios %s did not end within %s:\n%s%s", strings.Join(args, " "), bootLimit, stdout.String(), stderr.String())
	}
	var o outcome
	if o.stderr = stderr.String(); c.ProcessState == nil {
		s.t.Fatalf("aios %s: %v", strings.Join(args, " "), err)
	}
	o.code = c.ProcessState.ExitCode()
	o.events = s.parse(&stdout)
	return o
}

func (s *site) parse(r io.Reader) (events []event) {
	s.t.Helper()
	for sc := bufio.NewScanner(r); sc.Scan(); {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil || e.Event == "" {
			s.t.Fatalf("not an event: %q: %v", sc.Text(), err)
		}
		events = append(events, e)
	}
	return events
}

// plain runs a command and returns its output; it must succeed.
func (s *site) plain(args ...string) string {
	s.t.Helper()
	out, err := s.command(s.t.Context(), args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("aios %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// up runs `aios up --once --json`.
func (s *site) up(args ...string) outcome {
	s.t.Helper()
	return s.json(append(append([]string{"up", "--once", "--json"}, s.target()...), args...)...)
}

// buildImage builds the image and returns the disk.
func (s *site) buildImage(args ...string) []byte {
	s.t.Helper()
	s.plain(append(append([]string{"image", "build"}, s.target()...), args...)...)
	disk, err := os.ReadFile(filepath.Join(s.state, "image", "disk.img"))
	if err != nil {
		s.t.Fatal(err)
	}
	return disk
}

// withDisk stores a disk for --disk.
func (s *site) withDisk(disk []byte) string {
	s.t.Helper()
	name := filepath.Join(s.t.TempDir(), "disk.img")
	if err := os.WriteFile(name, disk, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// running is a host that was started with `aios host start`.
type running struct {
	socket string
	events []event
	later  chan event // what it says once a verifier could reach it; the oldest are dropped
	stop   func()
}

// start starts a host and returns once a verifier could reach it. The host ends
// with the test.
func (s *site) start(args ...string) *running {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := s.command(ctx, append(append([]string{"host", "start", "--json"}, s.target()...), args...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	r := &running{later: make(chan event, 256)}
	var once sync.Once
	lines := make(chan string)
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
	}()
	r.stop = func() {
		once.Do(func() {
			cancel()
			for range lines {
			}
			c.Wait()
		})
	}
	s.t.Cleanup(r.stop)
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				s.t.Fatalf("the host ended: %s", stderr.String())
			}
			var e event
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				s.t.Fatalf("not an event: %q", l)
			}
			r.events = append(r.events, e)
			if e.Event == "summary" {
				r.stop()
				s.t.Fatalf("the host did not start: %s", e.Error)
			}
			if e.Event == "channel" {
				r.socket = e.Socket
				go r.keep(lines)
				return r
			}
		case <-limit.C:
			r.stop()
			s.t.Fatalf("the host did not start within %s", bootLimit)
		}
	}
}

// keep holds what the host says later, for who asks; nobody may make it wait.
func (r *running) keep(lines <-chan string) {
	defer close(r.later)
	for l := range lines {
		var e event
		if json.Unmarshal([]byte(l), &e) != nil {
			continue
		}
		for {
			select {
			case r.later <- e:
			default:
				select {
				case <-r.later:
				default:
				}
				continue
			}
			break
		}
	}
}

// refused checks that a command failed for a reason and said what to do.
func refused(t *testing.T, o outcome, wants ...string) {
	t.Helper()
	sum := o.last(t, "summary")
	if o.code == 0 || sum.OK {
		t.Fatalf("exit %d, summary %+v: it must fail", o.code, sum)
	}
	for _, want := range wants {
		if !strings.Contains(strings.ToLower(sum.Error), strings.ToLower(want)) {
			t.Errorf("the error must name %q: %s", want, sum.Error)
		}
	}
	if sum.Remedy == "" {
		t.Errorf("no remedy for: %s", sum.Error)
	}
	for _, e := range o.events {
		if e.Event == "verdict" && e.Status == "affirming" {
			t.Error("and yet there was an affirming verdict")
		}
	}
}

// flip returns data with one bit of one byte changed.
func flip(data []byte, at int) []byte {
	b := bytes.Clone(data)
	b[at] ^= 1
	return b
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

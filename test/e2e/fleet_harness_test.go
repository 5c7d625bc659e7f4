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
	"strings"
	"sync"
	"testing"
	"time"
)

// served is `aios verifier serve`, a process of its own, and what it logs.
type served struct {
	s   *site
	cmd *exec.Cmd

	mu     sync.Mutex
	log    []logged
	fresh  chan struct{} // closed at the next line
	ended  bool
	stderr bytes.Buffer
}

// logged is one line of the verifier's log.
type logged struct {
	Msg     string  `json:"msg"`
	Host    string  `json:"host"`
	Agent   string  `json:"agent"`
	Command string  `json:"command"`
	Text    string  `json:"text"`
	Status  string  `json:"status"`
	Latency float64 `json:"latency_ms"`
	Lease   string  `json:"lease"`
	Renewed bool    `json:"renewed"`
	Error   string  `json:"error"`
}

// serve starts the verifier. It ends with the test.
func (s *site) serve(args ...string) *served {
	s.t.Helper()
	v := &served{s: s, fresh: make(chan struct{})}
	v.cmd = s.command(context.Background(), append([]string{"verifier", "serve", "--json", "--listen-api", "127.0.0.1:0"}, args...)...)
	v.cmd.Stderr = &v.stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.read(out)
	}()
	s.t.Cleanup(func() {
		v.cmd.Process.Kill()
		<-done
		v.cmd.Wait()
	})
	return v
}

func (v *served) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var l logged
		json.Unmarshal(sc.Bytes(), &l) // a line that is none is kept, empty
		v.mu.Lock()
		v.log = append(v.log, l)
		close(v.fresh)
		v.fresh = make(chan struct{})
		v.mu.Unlock()
	}
	v.mu.Lock()
	v.ended = true
	close(v.fresh)
	v.fresh = make(chan struct{})
	v.mu.Unlock()
}

// here is a position in the log, to await something from there on.
func (v *served) here() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.log)
}

// await returns the first line at or after a position that match takes, and the
// position behind it.
func (v *served) await(t *testing.T, from int, what string, match func(logged) bool) (logged, int) {
	t.Helper()
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	for i := from; ; {
		v.mu.Lock()
		log, fresh, ended := v.log, v.fresh, v.ended
		v.mu.Unlock()
		for ; i < len(log); i++ {
			if match(log[i]) {
				return log[i], i + 1
			}
		}
		if ended {
			t.Fatalf("the verifier ended while %s was awaited: %s", what, v.stderr.String())
		}
		select {
		case <-fresh:
		case <-limit.C:
			var last []string
			for _, l := range log[max(0, len(log)-30):] {
				last = append(last, strings.Join([]string{l.Msg, l.Host, l.Agent, l.Text, l.Error}, " "))
			}
			console, _ := os.ReadFile(v.s.state + "/host/console.log")
			t.Fatalf("%s did not happen within %s; the verifier's last lines:\n%s\nthe host's:\n%s", what, bootLimit, strings.Join(last, "\n"), tail(console, 4000))
		}
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// kind awaits a line of one kind, of one agent unless that is empty.
func (v *served) kind(t *testing.T, from int, kind, agent string) (logged, int) {
	t.Helper()
	return v.await(t, from, kind+" "+agent, func(l logged) bool { return l.Msg == kind && (agent == "" || l.Agent == agent) })
}

// kill ends the verifier as a power cut would.
func (v *served) kill(t *testing.T) {
	t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	v.cmd.Wait()
}

// try runs a command with what is on standard input, to its end.
func (s *site) try(stdin string, args ...string) (string, error) {
	c := s.command(s.t.Context(), args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.CombinedOutput()
	return string(out), err
}

// told awaits an event of a host that `aios host start` runs.
func (r *running) told(t *testing.T, match func(event) bool) event {
	t.Helper()
	limit := time.NewTimer(bootLimit)
	defer limit.Stop()
	for {
		select {
		case e, ok := <-r.later:
			if !ok {
				t.Fatal("the host ended")
			}
			if match(e) {
				return e
			}
		case <-limit.C:
			t.Fatalf("the host did not say it within %s", bootLimit)
		}
	}
}

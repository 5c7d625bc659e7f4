package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aios/host/install"
	"aios/host/state"
)

// verifierState is a state folder with what `aios verifier serve` needs but an image.
func verifierState(t *testing.T) *state.Dir {
	t.Helper()
	d, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := install.EnsureKeys(d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAPITokenIsMadeOnceAndPrivate(t *testing.T) {
	d := verifierState(t)
	first, err := apiToken(d)
	if err != nil || len(first) < 32 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := apiToken(d); err != nil || again != first {
		t.Errorf("%q, %v", again, err)
	}
	if fi, err := os.Stat(d.APIToken()); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if err := os.Chmod(d.APIToken(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := apiToken(d); err == nil {
		t.Error("a token that others may have read is still good")
	}
}

func TestListenAPITakesLoopbackAlone(t *testing.T) {
	d := verifierState(t)
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:8471", "example.org:8471", "nonsense"} {
		var exit *exitError
		if l, _, err := listenAPI(d, address); !errors.As(err, &exit) || exit.code != exitUsage {
			t.Errorf("%s: %v, %v", address, l, err)
		}
	}
	l, _, err := listenAPI(d, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(d.APIAddress()); err == nil {
		t.Error("the address is told before the state is known to be ours")
	}
	if err := publishAPI(d, l); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(d.APIAddress())
	if err != nil || strings.TrimSpace(string(b)) != l.Addr().String() {
		t.Errorf("%q, %v", b, err)
	}
}

// Without a verifier each command says so, and what to do.
func TestCommandsWithoutVerifier(t *testing.T) {
	d := verifierState(t)
	for _, args := range [][]string{
		{"agent", "list"}, {"agent", "kill", "hello", "--reason", "test"}, {"agent", "stops"}, {"enrol", "token"}, {"enrol", "tokens"}, {"enrol", "eks"},
		{"enrol", "ek", strings.Repeat("ab", 32)},
	} {
		var out, errs bytes.Buffer
		if code := run(append([]string{"--state", d.Root}, args...), &out, &errs); code != exitFailed ||
			!strings.Contains(errs.String(), "what to do: start one with `aios verifier serve`") {
			t.Errorf("%v: exit %d, %s", args, code, errs.String())
		}
	}
	for _, args := range [][]string{
		{"agent", "kill", "--reason", "test"}, {"agent", "kill", "a", "--label", "l", "--reason", "test"}, {"agent", "kill", "a"}, {"agent", "lift", "--reason", "r"},
		{"agent", "kill", "a", "--reason", "r", "--wait", "0s"}, {"enrol", "token", "--life", "1ms"}, {"enrol", "ek", "neither"},
		{"verifier", "serve", "--interval", "1ms"}, {"verifier", "serve", "--lease", "20s"}, {"verifier", "serve", "--quorum", "0"}, {"verifier", "serve", "--max-hosts", "0"},
	} {
		var out, errs bytes.Buffer
		if code := run(append([]string{"--state", d.Root}, args...), &out, &errs); code != exitUsage {
			t.Errorf("%v: exit %d, want %d: %s", args, code, exitUsage, errs.String())
		}
	}
}

// lines is an output that tells of each write.
type lines struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	fresh chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.fresh <- struct{}{}:
	default:
	}
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// await waits until text was written.
func (l *lines) await(t *testing.T, text string, ended <-chan error) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.fresh:
		case err := <-ended:
			t.Fatalf("ended: %v", err)
		case <-limit:
			t.Fatalf("waited for %q, found %q", text, l.String())
		}
	}
}

// serveVerifier runs `aios verifier serve` until stop.
func serveVerifier(t *testing.T, d *state.Dir, roots, reference string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &lines{fresh: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	c := verifierServeCmd{ListenHosts: "127.0.0.1:0", ListenAPI: "127.0.0.1:0", Interval: 30 * time.Second, Lease: 2 * time.Minute, Grace: 3 * time.Minute,
		TokenLife: time.Hour, Quorum: 25, MaxHosts: 16, JSON: false, verifierFlags: verifierFlags{Roots: []string{roots}, Reference: reference}}
	go func() { ended <- c.Run(&env{ctx: ctx, state: d.Root, stdout: out}) }()
	out.await(t, "installation aios-", ended)
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

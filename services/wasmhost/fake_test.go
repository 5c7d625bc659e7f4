package main

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// fake is a kernel with a service that echoes.
type fake struct {
	mu      sync.Mutex
	lines   []string
	inbox   []aios.Message
	gone    int       // senders whose end stands behind the inbox
	mute    bool      // the service takes messages and gives no answer
	refuse  abi.Errno // of everything but the log
	logs    abi.Errno // of the log
	quote   abi.Errno
	next    abi.Handle
	open    map[abi.Handle]bool // endpoints that were made and not closed
	sent    int
	longest int    // line
	stopAt  string // a line that ends the module, since some end by nothing else
}

const echodHandle = 0x200000007

func newFake() *fake {
	return &fake{quote: abi.Denied, next: 100, open: map[abi.Handle]bool{}}
}

func (f *fake) Log(text []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.longest = max(f.longest, len(text))
	if f.logs != 0 {
		return f.logs
	}
	f.lines = append(f.lines, string(text))
	if f.stopAt != "" && strings.HasPrefix(string(text), f.stopAt) {
		panic(errTest)
	}
	return nil
}

func (f *fake) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.lines, "\n")
}

func (f *fake) fail() error {
	if f.refuse != 0 {
		return f.refuse
	}
	return nil
}

func (f *fake) Clock() (time.Duration, error) { return 7 * time.Second, f.fail() }

func (f *fake) Capability(name string) (abi.Handle, error) {
	if name != "SEND_ECHOD" {
		return 0, aios.ErrNotGranted
	}
	return echodHandle, f.fail()
}

func (f *fake) Send(to abi.Handle, p []byte, _ time.Duration, handles ...abi.Handle) (uint64, error) {
	if err := f.fail(); err != nil {
		return 0, err
	}
	if to != echodHandle {
		return 0, abi.BadHandle
	}
	for _, h := range handles {
		if !f.open[h] {
			return 0, abi.BadHandle
		}
		delete(f.open, h)
		f.gone++ // it gives the endpoint up in either case
		if f.mute {
			continue
		}
		f.inbox = append(f.inbox, aios.Message{From: 9, Number: uint64(f.sent) + 1, Data: append([]byte(nil), p...)})
	}
	f.sent++
	return uint64(f.sent), nil
}

func (f *fake) Receive(p []byte, _ time.Duration) (aios.Message, error) {
	switch {
	case len(f.inbox) == 0 && f.gone > 0, len(f.inbox) > 0 && f.gone > len(f.inbox): // the end of one that has answered before
		f.gone--
		return aios.Message{}, &aios.GoneError{From: 9}
	case len(f.inbox) == 0:
		return aios.Message{}, abi.TimedOut
	}
	m := f.inbox[0]
	if len(m.Data) > len(p) {
		return aios.Message{From: m.From, Number: m.Number}, abi.MessageSize
	}
	f.inbox = f.inbox[1:]
	m.Data = p[:copy(p, m.Data)]
	return m, nil
}

func (f *fake) Reply() (abi.Handle, error) {
	if err := f.fail(); err != nil {
		return 0, err
	}
	f.next++
	f.open[f.next] = true
	return f.next, nil
}

func (f *fake) Close(h abi.Handle) error {
	if !f.open[h] {
		return abi.BadHandle
	}
	delete(f.open, h)
	return nil
}

func (f *fake) Derive(h abi.Handle, r abi.Rights) (abi.Handle, error) {
	if !f.open[h] {
		return 0, abi.BadHandle
	}
	if r&^abi.RightWrite != 0 {
		return 0, abi.Denied
	}
	return f.Reply()
}

func (f *fake) Copy(h abi.Handle) (abi.Handle, error) { return f.Derive(h, 0) }

func (f *fake) Revoke(h abi.Handle) (int, error) {
	if !f.open[h] {
		return 0, abi.BadHandle
	}
	return 3, nil
}

func (f *fake) Quote(nonce []byte) (*aios.Quote, error) {
	if f.quote != 0 {
		return nil, f.quote
	}
	q := &aios.Quote{Attest: append([]byte("attest "), nonce...), Signature: []byte("signature")}
	for i := range q.PCRs {
		q.PCRs[i] = make([]byte, 32)
		binary.LittleEndian.PutUint64(q.PCRs[i], uint64(i))
	}
	return q, nil
}

// built has one build of each agent for all tests.
var built struct {
	sync.Mutex
	modules map[string][]byte
}

// build compiles an agent of this tree.
func build(t testing.TB, pkg string) []byte {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if m, ok := built.modules[pkg]; ok {
		return m
	}
	// Reading the sources has `go test` see when a result that it kept is of others.
	for _, dir := range []string{"../../agents/*/*.go", "../../sdk/go/agent/*.go"} {
		files, err := filepath.Glob(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, f := range files {
			if _, err := os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := filepath.Join(t.TempDir(), "agent.wasm")
	c := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, text)
	}
	m, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if built.modules == nil {
		built.modules = map[string][]byte{}
	}
	built.modules[pkg] = m
	return m
}

var errTest = errors.New("stopped by the test")

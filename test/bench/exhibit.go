package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"aios/boot/predict"
	"aios/captoken"
	"aios/evidence"
	"aios/verifier/enrol"
)

// exhibit is a host's evidence with all that it is held against: what the Go
// benchmarks judge again and again.
type exhibit struct {
	Nonce     []byte // that the quote is over
	Evidence  *evidence.Evidence
	Host      *enrol.Host
	Baseline  map[string]string // Host does not keep it in its JSON
	Reference string
}

// exhibitFile tells the Go benchmarks where the exhibit is.
const exhibitFile = "AIOS_BENCH_EXHIBIT"

// take starts the host once more and asks it for evidence. The host is enrolled
// and its baseline taken: `aios up` has been run on it.
func (h upHost) take(ctx context.Context, file string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("the host gave no evidence within %v", bootLimit))
	defer cancel()
	var x exhibit
	nonce := make([]byte, evidence.NonceSize)
	rand.Read(nonce) // never fails (Go 1.24)
	if x.Host, err = h.record(); err != nil {
		return err
	}
	for _, b := range x.Host.Baselines { // there is one: the host has one shape
		x.Baseline = b
	}
	reference, err := os.ReadFile(filepath.Join(h.state, "image", "reference.json"))
	if err != nil {
		return err
	}
	x.Reference = string(reference)
	if x.Evidence, err = h.challenge(ctx, nonce); err != nil {
		return err
	}
	asked, err := evidence.Qualify(nonce, [evidence.BindingSize]byte{}, x.Evidence.Request)
	if err != nil {
		return err
	}
	qualifying := captoken.ChallengeQuote(asked[:])
	x.Nonce = qualifying[:]
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// record reads the verifier's record of the host, its only one.
func (h upHost) record() (*enrol.Host, error) {
	store, err := enrol.OpenStore(filepath.Join(h.state, "verifier", "hosts"))
	if err != nil {
		return nil, err
	}
	hosts, err := store.List()
	if err != nil {
		return nil, err
	}
	if len(hosts) != 1 || len(hosts[0].Baselines) != 1 {
		return nil, fmt.Errorf("%s: %d hosts, want one, with one baseline: is the aios program older than this tree?", h.state, len(hosts))
	}
	return hosts[0], nil
}

// challenge runs `aios host start` and asks the host.
func (h upHost) challenge(ctx context.Context, nonce []byte) (*evidence.Evidence, error) {
	c := exec.CommandContext(ctx, h.aios, "host", "start", "--json", "--target", h.target)
	c.Env = append(os.Environ(), "AIOS_STATE="+h.state)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 20 * time.Second
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	defer func() {
		c.Cancel() // an error means that it has ended by itself
		c.Wait()
	}()
	socket := ""
	for s := bufio.NewScanner(out); socket == "" && s.Scan(); {
		var e struct{ Event, Socket, Error string }
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("not an event: %q", s.Text())
		}
		switch e.Event {
		case "channel":
			socket = e.Socket
		case "summary":
			return nil, errors.New(e.Error)
		}
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("channel of the host: %w", err)
	}
	defer conn.Close()
	client, err := evidence.Dial(ctx, conn)
	if err != nil {
		return nil, err
	}
	return client.Challenge(ctx, nonce)
}

// load reads an exhibit back.
func load(file string) (x exhibit, ref *predict.Reference, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return x, nil, err
	}
	if err := json.Unmarshal(text, &x); err != nil {
		return x, nil, fmt.Errorf("%s: %w", file, err)
	}
	x.Host.Baseline = x.Baseline
	ref, err = predict.Parse([]byte(x.Reference))
	return x, ref, err
}

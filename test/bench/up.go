package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// upHost is an installation in which `aios up` is run as a user runs it.
type upHost struct {
	aios, state, target string
}

func newUpHost(o options, dir string) (upHost, error) {
	return upHost{o.aios, dir, o.target}, copyKeys(o.keys, filepath.Join(dir, "keys"))
}

// upTimes are the times of one run of `aios up`.
type upTimes struct {
	verdict  time.Duration // from the start of QEMU, which is told some milliseconds after it, to the first verdict
	firmware time.Duration // from reset to the first line of our boot stage
}

// runUp brings the host up, has it judged and takes it down.
func (m *machines) runUp(ctx context.Context, b *boots) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("aios up was not done after %v", bootLimit))
	defer cancel()
	c := exec.CommandContext(ctx, m.up.aios, "up", "--once", "--json", "--target", m.up.target,
		"--cpus", strconv.Itoa(machineCPUs), "--memory", machineMemory)
	c.Env = append(os.Environ(), "AIOS_STATE="+m.up.state)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // it takes its machine down
	c.WaitDelay = 20 * time.Second
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	ended := c.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t, err := readUp(&stdout)
	if err != nil {
		return fmt.Errorf("%w (aios up: %v) %s", err, ended, strings.TrimSpace(stderr.String()))
	}
	b.up = append(b.up, t)
	return nil
}

// readUp takes the times from the events of `aios up --once --json`.
func readUp(r io.Reader) (t upTimes, err error) {
	type event struct {
		Event  string
		At     int64            `json:"at_ms"`
		Status string           `json:"status"`
		OK     bool             `json:"ok"`
		Error  string           `json:"error"`
		Stages map[string]int64 `json:"stages_ms"`
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	machine, verdict := int64(-1), int64(-1)
	for s := bufio.NewScanner(r); s.Scan(); {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return t, fmt.Errorf("not an event: %q", s.Text())
		}
		switch e.Event {
		case "machine":
			machine = e.At
		case "verdict":
			if e.Status != "affirming" {
				return t, fmt.Errorf("the verdict is %q, want affirming", e.Status)
			}
			verdict = e.At
		case "summary":
			if !e.OK {
				return t, fmt.Errorf("it failed: %s", e.Error)
			}
			t.firmware = ms(e.Stages["firmware"])
		}
	}
	if machine < 0 || verdict < machine || t.firmware == 0 {
		return t, fmt.Errorf("no start of the machine (at %d ms), no verdict (at %d ms) or no summary was told", machine, verdict)
	}
	t.verdict = ms(verdict - machine)
	return t, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aios/host/vm"
)

// bootLimit bounds one boot and what is measured in it: about 25 s alone.
const bootLimit = 4 * time.Minute

// boots are what the machines said, a value per turn.
type boots struct {
	calls, peer  []batches // a boot each
	init         []float64 // QEMU start to the peer's init, ns
	handover     []float64 // QEMU start to the firmware starting the peer's boot program, ns
	up           []upTimes
	web, peerWeb []batches
}

// measure boots the machines in turns. A turn that is not counted comes first:
// it builds the image, enrols the host, and lets each firmware write its boot
// variables. evidence is the file to keep this host's evidence in.
func (m *machines) measure(ctx context.Context, rounds int, evidence string) (*boots, error) {
	var b boots
	if err := m.turn(ctx, "warming up", &boots{}); err != nil {
		return nil, err
	}
	if err := step("asking the host for evidence", func() error { return m.up.take(ctx, evidence) }); err != nil {
		return nil, err
	}
	for i := range rounds {
		if err := m.turn(ctx, fmt.Sprintf("turn %d of %d", i+1, rounds), &b); err != nil {
			return nil, err
		}
	}
	return &b, nil
}

func (m *machines) turn(ctx context.Context, name string, b *boots) error {
	for _, s := range []struct {
		what string
		do   func() error
	}{
		// The peer stands beside both that are compared with it.
		{"AIOS, system calls", func() error { return m.bootCalls(ctx, b) }},
		{"Debian's kernel", func() error { return m.bootPeer(ctx, b) }},
		{"aios up", func() error { return m.runUp(ctx, b) }},
		{"AIOS, HTTP", func() error { return m.bootWeb(ctx, b) }},
		{"Debian's kernel, HTTP", func() error { return m.bootPeerWeb(ctx, b) }},
	} {
		if err := step(name+": "+s.what, s.do); err != nil {
			return err
		}
	}
	return nil
}

// bootPeer boots Debian's kernel to its init, which measures and switches off.
func (m *machines) bootPeer(ctx context.Context, b *boots) error {
	got := batches{}
	var init, handover time.Duration
	err := boot(ctx, m.peer, func(_ *vm.Machine, l vm.Line) (bool, error) {
		switch {
		case strings.HasPrefix(l.Text, "BdsDxe: starting "):
			handover = l.At
		case l.Text == "INIT":
			init = l.At
		case l.Text == "OFF":
			return true, nil
		}
		got.add(l.Text)
		return false, nil
	})
	switch {
	case err != nil:
		return err
	case init == 0 || handover == 0:
		return fmt.Errorf("the console did not show when firmware started the image (%v) and when init ran (%v)", handover, init)
	}
	b.peer = append(b.peer, got)
	b.init = append(b.init, float64(init))
	b.handover = append(b.handover, float64(handover))
	return nil
}

// bootCalls boots AIOS's test kernel, which measures and switches off.
func (m *machines) bootCalls(ctx context.Context, b *boots) error {
	got := batches{}
	err := boot(ctx, m.calls, func(_ *vm.Machine, l vm.Line) (bool, error) {
		if why, done := strings.CutPrefix(l.Text, "BENCH done err="); done {
			if why != "<nil>" {
				return false, errors.New(why)
			}
			return true, nil
		}
		got.add(l.Text)
		return false, nil
	})
	if err == nil {
		b.calls = append(b.calls, got)
	}
	return err
}

// boot starts a machine and shows each line of its console until told to stop.
func boot(ctx context.Context, cfg vm.Config, line func(*vm.Machine, vm.Line) (done bool, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("the machine was not done after %v", bootLimit))
	defer cancel()
	log, err := os.Create(filepath.Join(filepath.Dir(cfg.FirmwareVar), "console.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cfg.Log = log
	m, err := vm.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Stop()
	for lines := m.Console.Follow(); ; {
		l, err := lines.Next(ctx)
		done := false
		if err == nil {
			done, err = line(m, l)
		} else if err == io.EOF {
			err = errors.New("the machine ended before it was done")
		}
		if err != nil {
			return fmt.Errorf("%w; its console ends with:\n%s", err, last(m.Console))
		}
		if done {
			return nil
		}
	}
}

func last(c *vm.Console) string {
	var s strings.Builder
	for _, l := range c.Tail(20) {
		s.WriteString("  " + l.Text + "\n")
	}
	return s.String()
}

// rows compares.
func (b *boots) rows() ([]row, error) {
	var rows []row
	for _, c := range []struct {
		name, text, ours, peer string
		of                     func([]float64) float64 // of the batches of one boot
	}{
		{"null", "null call / getpid (goal: 0.5)", "null", "getpid", median},
		{"null_fastest", "the same, the fastest batch of each boot", "null", "getpid", slices.Min[[]float64]},
		{"clock_read", "ClockRead / clock_gettime", "clock_read", "clock_gettime", median},
		{"ipc", "IPC round trip of 64 bytes / over two pipes (goal: 0.25)", "ipc_round_trip", "pipe_round_trip", median},
		{"ipc_1cpu", "the same / over two pipes on one processor", "ipc_round_trip", "pipe_round_trip_1cpu", median},
		{"ipc_4k", "IPC round trip of 4 KiB / over two pipes", "ipc_4k_round_trip", "pipe_4k_round_trip", median},
		{"time_now", "Go's time.Now", "time_now", "time_now", median},
		{"personality_getpid", "getpid of the Linux personality / getpid", "getpid", "getpid", median},
		{"personality_clock", "clock_gettime of the personality / clock_gettime", "clock_gettime", "clock_gettime", median},
	} {
		ours, err := each(b.calls, c.ours, c.of)
		if err != nil {
			return nil, fmt.Errorf("AIOS: %w", err)
		}
		peer, err := each(b.peer, c.peer, c.of)
		if err != nil {
			return nil, fmt.Errorf("Debian's kernel: %w", err)
		}
		r, err := compare(c.name, c.text, ours, peer)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	kills, err := killRows(b.calls)
	if err != nil {
		return nil, err
	}
	rows = append(rows, kills...)
	web, err := b.webRow()
	if err != nil {
		return nil, err
	}
	rows = append(rows, web)
	var verdict, firmware []float64
	for _, u := range b.up {
		verdict, firmware = append(verdict, float64(u.verdict)), append(firmware, float64(u.firmware))
	}
	for _, c := range []struct {
		name, text string
		ours, peer []float64
	}{
		{"reset", "reset to verdict / reset to init", verdict, b.init},
		{"firmware", "of which firmware, to the first program of the disk", firmware, b.handover},
	} {
		r, err := compare(c.name, c.text, c.ours, c.peer)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// each sums up each boot's batches of a name.
func each(boots []batches, name string, of func([]float64) float64) ([]float64, error) {
	var all []float64
	for _, b := range boots {
		if len(b[name]) == 0 {
			return nil, fmt.Errorf("a boot did not measure %s", name)
		}
		all = append(all, of(b[name]))
	}
	return all, nil
}

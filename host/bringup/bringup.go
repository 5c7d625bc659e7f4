// Package bringup follows a host from reset to its first service, by what the
// firmware, boot, kernel and services report on the serial console. It tells
// the story and says, when a stage is not reached, which one and why.
//
// The console is a convenience and proves nothing: what the host booted is
// proven by its quote alone.
package bringup

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"aios/host/story"
	"aios/host/vm"
)

// Lines is a console that is read line by line; vm.Follower is one.
type Lines interface {
	Next(context.Context) (vm.Line, error)
}

// Stages of a host's start, in order.
const (
	Firmware = "firmware" // until our boot stage speaks
	Boot     = "boot"     // until boot services end
	Kernel   = "kernel"   // until the kernel starts the first service
	Service  = "service"  // until the service that attests is ready
)

// attester is the service that a host cannot prove itself without.
const attester = "attestd"

var stages = []string{Firmware, Boot, Kernel, Service}

// Limits are the longest times that stages may take: under TCG on a busy
// machine each was seen to take several times what it takes alone.
var Limits = map[string]time.Duration{
	Firmware: 150 * time.Second,
	Boot:     90 * time.Second,
	Kernel:   60 * time.Second,
	Service:  90 * time.Second,
}

// Host is what the console said about a host that came up.
type Host struct {
	Took     map[string]time.Duration // by stage
	Firmware story.Firmware
	Boot     story.Boot
	Kernel   story.Kernel
	Service  story.Service
}

// Await follows lines until the first service is ready, telling each stage as
// it ends. What was read up to a failure is returned with the error.
func Await(ctx context.Context, lines Lines, tell func(story.Event)) (*Host, error) {
	f := &follower{lines: lines, tell: tell, pids: map[string]int{}}
	f.host.Took = map[string]time.Duration{}
	for f.stage < len(stages) {
		if err := f.awaitStage(ctx); err != nil {
			return &f.host, err
		}
	}
	return &f.host, nil
}

// follower is the state of Await.
type follower struct {
	lines Lines
	tell  func(story.Event)
	host  Host
	stage int           // index into stages of the one that is going on
	begun time.Duration // when it did
	pids  map[string]int
	last  []string // lines
}

// shownLines is how many console lines an error shows.
const shownLines = 15

var errLimit = errors.New("time limit of a stage")

func (f *follower) awaitStage(ctx context.Context) error {
	stage := f.stage
	limit := Limits[stages[stage]]
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	for f.stage == stage {
		l, err := f.lines.Next(ctx)
		switch {
		case err == io.EOF:
			return &EndedError{Stage: stages[stage], Last: f.last}
		case errors.Is(err, errLimit):
			return &TimeoutError{Stage: stages[stage], After: limit, Last: f.last}
		case err != nil:
			return err
		}
		f.last = append(f.last, l.Text)
		f.last = f.last[max(0, len(f.last)-shownLines):]
		if err := f.line(l); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) line(l vm.Line) error {
	r, ok := story.ParseReport(l.Text)
	switch {
	case !ok && f.stage == 0 && strings.Contains(l.Text, "BdsDxe: failed to load"):
		return &FirmwareError{Line: l.Text}
	case !ok:
		return nil
	case r.Stage == "REFUSED", r.Stage == "FAILED":
		return &RefusedError{By: r.From, Stage: r.Values["stage"], Reason: r.Values["reason"], Advice: r.Values["remedy"]}
	}
	switch r.From + ": " + r.Stage {
	case "boot: start":
		f.host.Firmware.SecureBoot, f.host.Firmware.TPM = r.Values["secure_boot"] == "on", r.Values["tpm"]
		f.host.Boot.Slot = r.Values["slot"]
		f.reach(Boot, l.At)
	case "boot: manifest ok":
		f.host.Boot.Version, f.host.Boot.Key, f.host.Boot.Floor = r.Uint64("version"), r.Values["key"], r.Uint64("floor")
	case "boot: measured":
		f.host.Boot.Measured = append(f.host.Boot.Measured, "PCR "+r.Values["pcr"]+": "+r.Values["text"])
	case "boot: exit boot services":
		f.reach(Kernel, l.At)
	case "kernel: start":
		f.reach(Kernel, l.At)
		f.host.Kernel.CPUs, f.host.Kernel.MemoryMiB, f.host.Kernel.Version = r.Int("cpus"), r.Int("memory_mib"), r.Values["version"]
	case "netd: lease":
		f.tell(network(r))
	case "kernel: tpm ok":
		f.host.Kernel.TPM = r.Values["interface"]
	case "kernel: service start":
		f.reach(Service, l.At)
		f.pids[r.Values["name"]] = r.Int("pid")
	default:
		if pid, started := f.pids[r.From]; started && r.From == attester && r.Stage == "ready" {
			f.host.Service.Service, f.host.Service.PID = r.From, pid
			f.reach("", l.At)
		}
	}
	return nil
}

// reach ends the stages before the named one; "" ends them all. A line that was
// lost thus costs a time in the story and nothing else.
func (f *follower) reach(stage string, at time.Duration) {
	for f.stage < len(stages) && stages[f.stage] != stage {
		took := at - f.begun
		f.begun = at
		f.host.Took[stages[f.stage]] = took
		switch ms := story.Milliseconds(took); stages[f.stage] {
		case Firmware:
			f.host.Firmware.Took = ms
			f.tell(f.host.Firmware)
		case Boot:
			f.host.Boot.Took = ms
			f.tell(f.host.Boot)
		case Kernel:
			f.host.Kernel.Took = ms
			f.tell(f.host.Kernel)
		case Service:
			f.host.Service.Took = ms
			f.tell(f.host.Service)
		}
		f.stage++
	}
}

// Watch tells what the console of a host that is up says: its address, and trouble,
// until lines end or ctx does: services that end, a verifier that is away, a lease that
// lapsed, panics, and what follows a panic.
func Watch(ctx context.Context, lines Lines, tell func(story.Event)) {
	left := 0 // lines still to show after a panic
	for {
		l, err := lines.Next(ctx)
		if err != nil {
			return
		}
		r, ok := story.ParseReport(l.Text)
		switch {
		case ok && r.From == "netd" && r.Stage == "lease":
			tell(network(r))
		case ok && trouble(r):
			tell(story.Console{From: r.From, Text: l.Text[strings.Index(l.Text, r.Stage):]})
		case strings.HasPrefix(l.Text, "panic: ") || strings.HasPrefix(l.Text, "fatal error: "):
			left = shownLines
		}
		if left > 0 {
			left--
			tell(story.Console{From: "host", Text: l.Text})
		}
	}
}

func network(r story.Report) story.Network {
	return story.Network{Address: r.Values["address"], Router: r.Values["router"], DNS: r.Values["dns"]}
}

// trouble tells whether a report is of something that a person should see.
func trouble(r story.Report) bool {
	if r.Stage == "verifier away" && r.Values["reason"] == "EOF" {
		return false // the verifier hung up, and says itself why
	}
	for _, word := range []string{"service exit", "service refused", "verifier away", "lease lapsed", "no address"} {
		if strings.HasPrefix(r.Stage, word) {
			return true
		}
	}
	return r.Stage == "REFUSED" || r.Stage == "FAILED" || strings.Contains(r.Stage, "panic") || strings.Contains(r.Stage, "error")
}

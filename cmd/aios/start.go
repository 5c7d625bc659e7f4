package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"aios/boot/secureboot"
	"aios/host/bringup"
	"aios/host/install"
	"aios/host/state"
	"aios/host/story"
	"aios/host/vm"
)

// machineFlags say what machine to start.
type machineFlags struct {
	CPUs         int    `name:"cpus" help:"Processors of the host." default:"2" placeholder:"N"`
	Memory       string `help:"Memory of the host." default:"1500M" placeholder:"SIZE"`
	TPM          string `help:"How the host reaches its TPM." enum:"crb,tis" default:"crb"`
	Disk         string `help:"Boot this disk image instead of the one in the state folder." placeholder:"FILE" type:"path"`
	NoSecureBoot bool   `help:"Make the host's firmware with Secure Boot off (only for a new host; the verdict will say so)."`
}

// Bounds of the machine. The kernel uses no more processors than it has trap
// stacks for; below that memory OVMF does not reach the boot stage.
const (
	maxCPUs      = 32
	minMemoryMiB = 256
)

// check finds out before anything is made what could not work.
func (f machineFlags) check() error {
	if f.CPUs < 1 || f.CPUs > maxCPUs {
		return &exitError{exitUsage, fmt.Errorf("--cpus: expected 1 to %d, found %d", maxCPUs, f.CPUs)}
	}
	mib, err := strconv.ParseUint(strings.TrimRight(f.Memory, "MG"), 10, 20)
	switch unit := f.Memory[min(len(f.Memory), len(strings.TrimRight(f.Memory, "MG"))):]; {
	case err != nil || unit != "M" && unit != "G":
		return &exitError{exitUsage, fmt.Errorf("--memory: expected a number with M or G (MiB, GiB), such as 1500M, found %q", f.Memory)}
	case unit == "G":
		mib <<= 10
	}
	if mib < minMemoryMiB {
		return &exitError{exitUsage, fmt.Errorf("--memory: expected at least %dM, found %s", minMemoryMiB, f.Memory)}
	}
	return nil
}

// shape names the hardware, for baselines of its firmware.
func (f machineFlags) shape() string {
	return fmt.Sprintf("cpus=%d memory=%s tpm=%s", f.CPUs, f.Memory, f.TPM)
}

// launch is one bring-up: from keys to a proven host.
type launch struct {
	dir   *state.Dir
	tell  *story.Teller
	keys  *install.Keys
	image *install.Image
	host  *bringup.Host
	m     *vm.Machine

	tpmMade bool   // by this run
	reason  string // why this accelerator

	policy  *policySet
	verdict story.Verdict // the last one
	killed  bool          // the sample agent's end was proven
	hangUp  func()        // ends the session with the host

	begun  time.Time
	order  []string // of stages
	stages map[string]story.Milliseconds
}

func newLaunch(d *state.Dir, tell *story.Teller) *launch {
	return &launch{dir: d, tell: tell, begun: time.Now(), stages: map[string]story.Milliseconds{}}
}

// stage runs one stage and keeps its time for the summary. If it takes long the
// story says what is going on.
func (l *launch) stage(name, what string, f func() error) error {
	stop := l.tell.Progress(what)
	begun := time.Now()
	err := f()
	stop()
	l.took(name, time.Since(begun))
	return err
}

func (l *launch) took(name string, d time.Duration) {
	if _, again := l.stages[name]; !again {
		l.order = append(l.order, name)
	}
	l.stages[name] = story.Milliseconds(d)
}

// prepare makes keys and image.
func (l *launch) prepare(ctx context.Context, flags imageFlags) (sb *secureboot.Keys, err error) {
	err = l.stage("keys", "making keys", func() error {
		l.keys, sb, err = ensureKeys(l.dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.tell.Tell(keysEvent(l.dir, l.keys))
	if l.policy, err = flags.load(ctx); err != nil {
		return nil, err
	}
	src, err := flags.source(l.dir, l.keys, l.policy)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	err = l.stage("image", "building and signing the disk image", func() error {
		l.image, err = install.EnsureImage(l.dir, l.keys, sb, src, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.tell.Tell(imageEvent(l.dir, l.image, time.Since(begun)))
	return sb, nil
}

// start starts the host and follows it until its first service is ready. The
// host ends with ctx.
func (l *launch) start(ctx context.Context, flags machineFlags, sb *secureboot.Keys) error {
	cfg, err := l.equip(ctx, flags, sb)
	if err != nil {
		return err
	}
	return l.boot(ctx, flags, cfg)
}

// equip makes what the machine consists of beside its disk, where it is missing.
func (l *launch) equip(ctx context.Context, flags machineFlags, sb *secureboot.Keys) (vm.Config, error) {
	programs, err := vm.FindPrograms()
	if err != nil {
		return vm.Config{}, err
	}
	cfg := vm.Config{Programs: programs, CPUs: flags.CPUs, Memory: flags.Memory, Interface: flags.TPM,
		Disk: l.dir.Disk(), FirmwareVar: l.dir.FirmwareVars(), TPMDir: l.dir.TPM()}
	if flags.Disk != "" {
		cfg.Disk = flags.Disk
	}
	err = l.stage("machine", "making the host's TPM and finding out whether KVM works", func() error {
		if l.tpmMade, err = vm.ManufactureTPM(ctx, programs, l.dir.TPM()); err != nil {
			return err
		}
		if _, err = install.EnsureFirmware(l.dir, sb, programs.FirmwareVars, !flags.NoSecureBoot); err != nil {
			return err
		}
		if err := state.WriteFile(l.dir.Shape(), []byte(flags.shape()+"\n"), 0o600); err != nil {
			return err
		}
		cfg.Accelerator, l.reason = vm.ChooseAccelerator(ctx, programs)
		return ctx.Err()
	})
	return cfg, err
}

// boot starts the machine.
func (l *launch) boot(ctx context.Context, flags machineFlags, cfg vm.Config) error {
	console, err := os.OpenFile(l.dir.Console(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	cfg.Log = console
	if l.m, err = vm.Start(ctx, cfg); err != nil {
		return errors.Join(err, console.Close())
	}
	if err := state.WriteFile(l.dir.Sockets(), []byte(l.m.Control()+"\n"+l.m.Channel()+"\n"), 0o600); err != nil {
		return err
	}
	go func() { // after the machine nobody writes to it
		<-l.m.Done()
		console.Close()
	}()
	l.tell.Tell(story.Machine{Accelerator: string(cfg.Accelerator), Reason: l.reason, CPUs: flags.CPUs, Memory: flags.Memory, TPM: flags.TPM, TPMMade: l.tpmMade})
	return l.follow(ctx)
}

// follow turns the console into the story.
func (l *launch) follow(ctx context.Context) error {
	stop := l.tell.Progress("the host is starting")
	defer stop()
	lines := l.m.Console.Follow()
	host, err := bringup.Await(ctx, lines, l.tell.Tell)
	l.host = host
	for _, stage := range []string{bringup.Firmware, bringup.Boot, bringup.Kernel, bringup.Service} {
		if d, ok := host.Took[stage]; ok {
			l.took(stage, d)
		}
	}
	var ended *bringup.EndedError
	if errors.As(err, &ended) {
		<-l.m.Done()
		ended.Exit = l.m.Exit().Text
	}
	if err != nil {
		return err
	}
	go bringup.Watch(ctx, lines, l.tell.Tell)
	return nil
}

// exit says how the host ended. Preconditions: it has.
func (l *launch) exit() string {
	if l.m == nil {
		return "the channel was closed"
	}
	return l.m.Exit().Text
}

// stop takes the host down and waits until it is gone.
func (l *launch) stop() {
	if l.m != nil {
		l.m.Stop()
	}
}

// summary ends the story. Preconditions: the host is down or about to be.
func (l *launch) summary(status string, err error) story.Summary {
	sum := story.Summary{OK: err == nil, Status: status, Stages: l.stages, Order: l.order, Total: story.Milliseconds(time.Since(l.begun))}
	if err != nil {
		sum.Error, sum.Remedy = err.Error(), remedy(err)
	}
	return sum
}

// interrupted says whether err is only that the user asked us to end.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
}

// hostStartCmd starts a host for a verifier that is run by itself.
type hostStartCmd struct {
	machineFlags
	imageFlags
	JSON bool `help:"One JSON object a line."`
}

func (c hostStartCmd) Run(e *env) error {
	if err := c.machineFlags.check(); err != nil {
		return err
	}
	d, unlock, err := e.lockedDir()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	l := newLaunch(d, story.New(e.stdout, c.JSON))
	defer l.stop()
	sb, err := l.prepare(ctx, c.imageFlags)
	if err == nil {
		err = l.start(ctx, c.machineFlags, sb)
	}
	if err != nil {
		if interrupted(ctx, err) {
			return nil
		}
		l.tell.Tell(l.summary("", err))
		return &exitError{code: exitFailed}
	}
	l.tell.Tell(story.Channel{Socket: l.m.Channel()})
	select {
	case <-ctx.Done():
		return nil
	case <-l.m.Done():
		return &goneError{l.exit()}
	}
}

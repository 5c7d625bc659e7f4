package main

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// session is one bring-up: from keys to a running host.
type session struct {
	dir   *state.Dir
	tell  *story.Teller
	keys  *install.Keys
	image *install.Image
	host  *bringup.Host
	m     *vm.Machine

	begun  time.Time
	order  []string // of stages
	stages map[string]story.Milliseconds
}

func newSession(d *state.Dir, tell *story.Teller) *session {
	return &session{dir: d, tell: tell, begun: time.Now(), stages: map[string]story.Milliseconds{}}
}

// stage runs one stage and keeps its time for the summary. If it takes long the
// story says what is going on.
func (s *session) stage(name, what string, f func() error) error {
	stop := s.tell.Progress(what)
	begun := time.Now()
	err := f()
	stop()
	s.took(name, time.Since(begun))
	return err
}

func (s *session) took(name string, d time.Duration) {
	if _, again := s.stages[name]; !again {
		s.order = append(s.order, name)
	}
	s.stages[name] = story.Milliseconds(d)
}

// prepare makes keys and image.
func (s *session) prepare(flags imageFlags) (sb *secureboot.Keys, err error) {
	err = s.stage("keys", "making keys", func() error {
		s.keys, sb, err = ensureKeys(s.dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.tell.Tell(keysEvent(s.dir, s.keys))
	src, err := flags.source()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	err = s.stage("image", "building and signing the disk image", func() error {
		s.image, err = install.EnsureImage(s.dir, s.keys, sb, src, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.tell.Tell(imageEvent(s.dir, s.image, time.Since(begun)))
	return sb, nil
}

// start starts the host and follows it until its first service is ready. The
// host ends with ctx.
func (s *session) start(ctx context.Context, flags machineFlags, sb *secureboot.Keys) error {
	programs, err := vm.FindPrograms()
	if err != nil {
		return err
	}
	cfg := vm.Config{Programs: programs, CPUs: flags.CPUs, Memory: flags.Memory, Interface: flags.TPM,
		Disk: s.dir.Disk(), FirmwareVar: s.dir.FirmwareVars(), TPMDir: s.dir.TPM()}
	if flags.Disk != "" {
		cfg.Disk = flags.Disk
	}
	var reason string
	var tpmMade bool
	err = s.stage("machine", "making the host's TPM and finding out whether KVM works", func() error {
		if tpmMade, err = vm.ManufactureTPM(ctx, programs, s.dir.TPM()); err != nil {
			return err
		}
		if _, err = install.EnsureFirmware(s.dir, sb, programs.FirmwareVars, !flags.NoSecureBoot); err != nil {
			return err
		}
		cfg.Accelerator, reason = vm.ChooseAccelerator(ctx, programs)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	console, err := os.OpenFile(s.dir.Console(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	cfg.Log = console
	if s.m, err = vm.Start(ctx, cfg); err != nil {
		return errors.Join(err, console.Close())
	}
	go func() { // after the machine nobody writes to it
		<-s.m.Done()
		console.Close()
	}()
	s.tell.Tell(story.Machine{Accelerator: string(cfg.Accelerator), Reason: reason, CPUs: flags.CPUs, Memory: flags.Memory, TPM: flags.TPM, TPMMade: tpmMade})
	return s.follow(ctx)
}

// follow turns the console into the story.
func (s *session) follow(ctx context.Context) error {
	stop := s.tell.Progress("the host is starting")
	defer stop()
	lines := s.m.Console.Follow()
	host, err := bringup.Await(ctx, lines, s.tell.Tell)
	s.host = host
	for _, stage := range []string{bringup.Firmware, bringup.Boot, bringup.Kernel, bringup.Service} {
		if d, ok := host.Took[stage]; ok {
			s.took(stage, d)
		}
	}
	var ended *bringup.EndedError
	if errors.As(err, &ended) {
		<-s.m.Done()
		ended.Exit = s.m.Exit().Text
	}
	if err != nil {
		return err
	}
	go bringup.Watch(ctx, lines, s.tell.Tell)
	return nil
}

// stop takes the host down and waits until it is gone.
func (s *session) stop() {
	if s.m != nil {
		s.m.Stop()
	}
}

// summary ends the story. Preconditions: the host is down or about to be.
func (s *session) summary(status string, err error) story.Summary {
	sum := story.Summary{OK: err == nil, Status: status, Stages: s.stages, Order: s.order, Total: story.Milliseconds(time.Since(s.begun))}
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
	d, err := e.dir()
	if err != nil {
		return err
	}
	unlock, err := d.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	s := newSession(d, story.New(e.stdout, c.JSON))
	defer s.stop()
	sb, err := s.prepare(c.imageFlags)
	if err == nil {
		err = s.start(ctx, c.machineFlags, sb)
	}
	if err != nil {
		if interrupted(ctx, err) {
			return nil
		}
		s.tell.Tell(s.summary("", err))
		return &exitError{code: exitFailed}
	}
	s.tell.Tell(story.Channel{Socket: s.m.Channel()})
	select {
	case <-ctx.Done():
		return nil
	case <-s.m.Done():
		return fmt.Errorf("the host ended by itself: %s", s.m.Exit().Text)
	}
}

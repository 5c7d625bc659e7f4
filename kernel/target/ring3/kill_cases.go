package ring3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// killCases kill a process with a thread in each state in which one can be: nothing of it
// is left.
func (s *Suite) killCases() []Case {
	var all []string
	var out []Case
	add := func(what string, states ...string) {
		out = append(out, Case{"kill: " + what, func() error { return s.killIn(states) }})
	}
	for _, c := range []struct {
		what   string
		states []string
	}{
		{"in ring 3", []string{"program"}},
		{"in page faults", []string{"memory"}},
		{"in system calls, one after the other", []string{"calls"}},
		{"in a futex", []string{"futex"}},
		{"asleep", []string{"sleep"}},
		{"in epoll", []string{"poll"}},
		{"parked for a message", []string{"receive"}},
		{"waiting for a message behind one that is parked", []string{"receive", "second"}},
		{"waiting for a message without taking it", []string{"mailbox"}},
		{"waiting for room for a message", []string{"send"}},
		{"reading a stream", []string{"read"}},
		{"writing to a stream", []string{"write"}},
		{"reading frames", []string{"frame read"}},
		{"writing frames", []string{"frame write"}},
		{"attesting", []string{"attest"}},
		{"in a call of the authority", []string{"authority"}},
	} {
		add(c.what, c.states...)
		all = append(all, c.states...)
	}
	slices.Sort(all)
	add("in all of these at once", slices.Compact(all)...)
	return out
}

// killIn does it several times, from when the threads are about to get there until long
// after.
func (s *Suite) killIn(states []string) error {
	before := s.frames()
	threads, err := s.freeThreads()
	if err != nil {
		return err
	}
	for _, after := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
		if err := s.killOnce(states, after); err != nil {
			return fmt.Errorf("%v after: %w", after, err)
		}
	}
	if n, err := s.freeThreads(); n < threads {
		return errors.Join(err, fmt.Errorf("there were threads for %d more, and are for %d", threads, n))
	}
	if n := s.frames(); n > before+slack {
		return fmt.Errorf("%d frames in use before, %d after", before, n)
	}
	return nil
}

func (s *Suite) killOnce(states []string, after time.Duration) error {
	there := waits{make(chan string, 4*len(states))} // those of them that the kernel sees
	want := map[string]int{}
	for _, name := range states {
		want["aios test: enters "+name] = 1
		if kernelSees[name] {
			want[name] = 1
		}
	}
	full := new(ipc.Port) // nobody receives there
	box, errno := full.Open(ipc.DefaultLimits, ipc.NewQuota(ipc.DefaultLimits.Cost()+ipc.DefaultLimits.Bytes), ipc.NewPool(1))
	if errno != 0 {
		return errno
	}
	defer box.Close()
	r := run{args: append([]string{"states"}, states...)}
	cfg := s.config(&r)
	cfg.Grants = append(cfg.Grants, process.Grant{Name: abi.CapSend + "PEER", Type: abi.TypeEndpoint, Rights: abi.RightWrite, Object: full})
	for i := range cfg.Grants {
		switch g := &cfg.Grants[i]; g.Name {
		case abi.CapLog:
			g.Object = lineFunc(func(line string) { there.tell(line) })
		case abi.CapChannel, abi.CapFrames, abi.CapAttest, abi.CapAuthor:
			g.Object = there
		}
	}
	p, err := process.Start(s.Machine, cfg)
	if err != nil {
		return err
	}
	late := time.After(patience)
	for len(want) > 0 && err == nil {
		select {
		case what := <-there.in:
			delete(want, what)
			if strings.Contains(what, "left") || strings.Contains(what, "FAIL") {
				err = errors.New(what)
			}
		case <-p.Done():
			err = errors.New("it ended by itself")
		case <-late:
			err = fmt.Errorf("no thread is yet in %v", want)
		}
	}
	time.Sleep(after) // what the kernel does not see of the rest
	p.Kill("the test")
	select {
	case <-p.Done():
	case <-time.After(patience):
		return errors.Join(err, errors.New("it is not gone"))
	}
	e := p.Wait()
	switch handles := len(cfg.Grants) + 1; { // and the mailbox
	case err != nil:
		return fmt.Errorf("%w; it ended with %q", err, e.Reason)
	case e.Reason != "killed: the test" || e.Lost != 0 || e.Freed == 0 || e.Handles != handles:
		return fmt.Errorf("%+v, want %d handles and all frames back", e, handles)
	}
	return nil
}

// kernelSees are the states in which a thread calls an object of the case.
var kernelSees = map[string]bool{"read": true, "write": true, "frame read": true, "frame write": true, "attest": true, "authority": true}

// waits is every object that a thread can wait at; it tells who has come.
type waits struct{ in chan string }

func (w waits) tell(what string) {
	select {
	case w.in <- what:
	default: // nobody wants to know any more
	}
}

func (w waits) wait(ctx context.Context, what string) error {
	w.tell(what)
	<-ctx.Done()
	return ctx.Err()
}

func (w waits) Read(ctx context.Context, _ []byte) (int, error)  { return 0, w.wait(ctx, "read") }
func (w waits) Write(ctx context.Context, _ []byte) (int, error) { return 0, w.wait(ctx, "write") }
func (w waits) Info() ([6]byte, uint16)                          { return endless{}.Info() }
func (w waits) ReadFrames([]byte) (int, error)                   { w.tell("frame read"); return 0, nil }
func (w waits) Arrived() <-chan struct{}                         { return nil }
func (w waits) WriteFrames(ctx context.Context, _ []byte) (int, error) {
	return 0, w.wait(ctx, "frame write")
}
func (w waits) Attest(ctx context.Context, _ uint32, _ []byte) ([]byte, error) {
	return nil, w.wait(ctx, "attest")
}
func (w waits) Authority(ctx context.Context, _ uint32, _ []byte) ([]byte, error) {
	return nil, w.wait(ctx, "authority")
}

package ring3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// programCases run the Go program.
func (s *Suite) programCases() []Case {
	nilText := "invalid memory address or nil pointer dereference"
	var out []Case
	add := func(name string, r run) {
		out = append(out, Case{"process: " + name, func() error { return s.check(r) }})
	}
	thing := func(name string) []string { return []string{name} }

	add("a Go program starts, speaks and ends", run{args: thing("hello"), want: "exit status 0", say: []string{
		"aios test: hello from go1", "aios test: aios kernel: service exit name=forged", "aios test: no prefix twice\naios test: escape ?[2J"}})
	add("exit status", run{args: thing("exit7"), want: "exit status 7"})
	add("exit by system call", run{args: thing("exitcall"), want: "exit status 9"})
	add("goroutines, GC, 50 workers", run{args: thing("goroutines"), want: "exit status 0", say: []string{"done"}})
	add("a loop is preempted by signal", run{args: thing("preempt"), want: "exit status 0"})
	add("vector state stays with its thread", run{args: thing("floats"), want: "exit status 0"})
	add("timers fire, and not too early", run{args: thing("timers"), want: "exit status 0"})
	add("the program and the kernel tell one time", run{args: thing("clocks"), want: "exit status 0"})
	add("signals to itself", run{args: thing("signal"), want: "exit status 0"})
	add("system calls", run{args: thing("calls"), want: "exit status 0", say: []string{"a log line"}})
	add("bad handles, wrong types, missing rights", run{args: thing("badhandles"), want: "exit status 0"})
	add("bad pointers to every call", run{args: thing("badpointers"), want: "exit status 0"})
	add("bad pointers to every Linux call", run{args: thing("linuxpointers"), want: "exit status 0"})
	add("memory taken away under system calls", run{args: thing("unmaprace"), want: "exit status 0"})
	add("what the personality refuses", run{args: thing("linux"), want: "exit status 0"})
	add("mmap, mprotect, madvise", run{args: thing("memory"), want: "exit status 0"})

	add("panic", run{args: thing("panic"), want: "exit status 2", say: []string{"panic: on purpose", "goroutine 1 [running]"}})
	add("nil pointer", run{args: thing("nil"), want: "exit status 2", say: []string{nilText}})
	add("nil pointer recovered 200 times", run{args: thing("recover"), want: "exit status 0"})
	add("wild pointer", run{args: thing("wild"), want: "exit status 2", say: []string{"unexpected fault address 0x7e5000000000"}})
	add("kernel addresses", run{args: thing("kernel"), want: "exit status 0"})
	add("write to own text", run{args: thing("text"), want: "exit status 2", say: []string{"code=0x2"}})
	add("execution of data", run{args: thing("execute"), want: "exit status 2", say: []string{"code=0x2"}})
	add("stack overflow", run{args: thing("overflow"), want: "exit status 2", say: []string{"stack overflow"}})
	add("memory quota", run{args: thing("eat"), want: "memory quota of 100663296 bytes exhausted"})
	add("memory quota by page tables", run{args: thing("tables"), want: "memory quota of 100663296 bytes exhausted"})
	add("a quota too small to start", run{args: thing("hello"), memory: int64(len(s.Program)+cap.Footprint+ipc.DefaultLimits.Cost()+ipc.DefaultLimits.Bytes) + 128<<10, want: "memory quota of"})
	add("thread limit", run{args: thing("forkbomb"), want: "exit status 2", say: []string{"failed to create new OS thread"}})

	add("endless loop is killed", run{args: thing("loop"), want: "killed: the test", during: s.killWhenLooping})
	add("endless loops in eight goroutines are killed", run{args: thing("loops"), want: "killed: the test", during: s.killWhenLooping})
	out = append(out, Case{"process: threads of all programs together are bounded", s.threadBound})
	stream := newDuplex()
	add("killed while it waits for a stream", run{args: thing("wait"), stream: stream, want: "killed: the test", during: s.killWhenLooping})
	out = append(out,
		Case{"process: a stream carries a megabyte both ways", s.echo},
		Case{"process: six programs at once", s.together})
	return out
}

// threadBound takes threads until there are none: the kernel's own runtime has
// about a thousand, and must not be the one that is refused.
func (s *Suite) threadBound() error {
	n, err := s.freeThreads()
	if err != nil {
		return err
	}
	if n < 512 || n > 900 {
		return fmt.Errorf("the host's programs got %d threads, want 512 to 900", n)
	}
	again, err := s.freeThreads() // those given back can be had again
	if again != n {
		return errors.Join(err, fmt.Errorf("%d threads, and then %d", n, again))
	}
	return err
}

// freeThreads counts the threads that there still are for programs.
func (s *Suite) freeThreads() (int, error) {
	space, err := s.Machine.NewSpace()
	if err != nil {
		return 0, err
	}
	defer space.Destroy()
	table := new(cap.Table)
	var taken []*abi.UserContext
	for len(taken) < 1024 {
		c, _, err := space.NewThread(table)
		if err != nil {
			break
		}
		taken = append(taken, c)
	}
	for _, c := range taken {
		space.FreeThread(c)
	}
	return len(taken), nil
}

// killWhenLooping gives the program time to get where it wants to be, and ends it.
func (s *Suite) killWhenLooping(p *process.Process) error {
	select {
	case <-p.Done():
		return errors.New("it ended by itself")
	case <-time.After(300 * time.Millisecond):
	}
	began := time.Now()
	p.Kill("the test")
	<-p.Done()
	if d := time.Since(began); d > 5*time.Second {
		return fmt.Errorf("the kill took %v", d)
	}
	return nil
}

func (s *Suite) echo() error {
	d := newDuplex()
	var sent, got bytes.Buffer
	return s.check(run{args: []string{"echo"}, stream: d, want: "exit status 0", during: func(p *process.Process) error {
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(d.toProgram)
			for i := range 64 {
				b := bytes.Repeat([]byte{byte(i)}, 16000+i*37)
				sent.Write(b)
				select {
				case d.toProgram <- b:
				case <-p.Done():
					return
				}
			}
		})
		for done := false; !done; {
			select {
			case b := <-d.fromProgram:
				got.Write(b)
			case <-p.Done():
				done = true
			}
		}
		wg.Wait()
		for len(d.fromProgram) > 0 {
			got.Write(<-d.fromProgram)
		}
		if !bytes.Equal(sent.Bytes(), got.Bytes()) {
			return fmt.Errorf("%d bytes sent, %d came back, or they differ", sent.Len(), got.Len())
		}
		return nil
	}})
}

// together runs programs side by side: hostile ones must not disturb the others.
func (s *Suite) together() error {
	runs := []run{
		{args: []string{"goroutines"}, want: "exit status 0"},
		{args: []string{"loops"}, want: "killed: the test", during: s.killWhenLooping},
		{args: []string{"recover"}, want: "exit status 0"},
		{args: []string{"floats"}, want: "exit status 0"},
		{args: []string{"wild"}, want: "exit status 2"},
		{args: []string{"badpointers"}, want: "exit status 0"},
	}
	quiet := Suite{Machine: s.Machine, Program: s.Program} // frames are counted for all together
	before := s.frames()
	errs := make([]error, len(runs))
	var wg sync.WaitGroup
	for i, r := range runs {
		wg.Go(func() {
			if err := quiet.check(r); err != nil {
				errs[i] = fmt.Errorf("%v: %w", r.args, err)
			}
		})
	}
	wg.Wait()
	if after := s.frames(); after > before+slack {
		errs = append(errs, fmt.Errorf("%d frames in use before, %d after", before, after))
	}
	return errors.Join(errs...)
}

// supervisorCases restart a service that dies.
func (s *Suite) supervisorCases() []Case {
	return []Case{{"supervisor: a service that may not be started again stays down", func() error {
		events := &memoryLog{}
		r := run{args: []string{"nil"}}
		e, err := process.NewSupervisor(s.Machine, events.Line).Run(context.Background(), s.config(&r), false)
		if err != nil {
			return err
		}
		if e.Reason != "exit status 2" || e.Lost != 0 || strings.Count(events.text(), "service start") != 1 {
			return fmt.Errorf("ended with %q, %d frames lost; events:\n%s", e.Reason, e.Lost, events.text())
		}
		return nil
	}}, {"supervisor: a service that dies is started again", func() error {
		events := &memoryLog{}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		super := process.NewSupervisor(s.Machine, func(line string) {
			events.Line(line)
			if strings.HasPrefix(line, "aios kernel: service start") && strings.HasSuffix(line, "pid=3") {
				cancel()
			}
		})
		r := run{args: []string{"nil"}}
		cfg := s.config(&r)
		if _, err := super.Run(ctx, cfg, true); err != nil {
			return err
		}
		want := "aios kernel: service exit name=test reason=\"exit status 2\" frames_freed="
		if n := strings.Count(events.text(), want); n < 2 || !events.has("aios kernel: service start name=test pid=3") || strings.Contains(events.text(), "frames_lost") {
			return fmt.Errorf("events:\n%s", events.text())
		}
		return nil
	}}}
}

package ring3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// Case is one named test; Run returns what went wrong.
type Case struct {
	Name string
	Run  func() error
}

// Suite is what the cases run on.
type Suite struct {
	Machine process.Machine
	Program []byte           // ELF of ./program
	Frames  func() (out int) // frames in use on the machine; nil: not checked
}

// Bench has the program measure system calls; each line that it says goes to
// line: "aios test: B <name> <value> <unit>".
func (s *Suite) Bench(line func(string)) error {
	r := run{args: []string{"bench"}}
	cfg := s.config(&r)
	for i := range cfg.Grants {
		if cfg.Grants[i].Name == abi.CapLog {
			cfg.Grants[i].Object = lineFunc(line)
		}
	}
	p, err := process.Start(s.Machine, cfg)
	if err != nil {
		return err
	}
	if e := p.Wait(); !e.OK {
		return errors.New(e.Reason)
	}
	return s.benchMessages(lineFunc(line))
}

// benchMessages has two programs measure a round trip between them.
func (s *Suite) benchMessages(line lineFunc) error {
	var ps, pc ipc.Port
	server, err := process.Start(s.Machine, s.half("ipcbenchecho", serverID, &ps, &pc, &memoryLog{}))
	if err != nil {
		return err
	}
	cfg := s.half("ipcbench", clientID, &pc, &ps, &memoryLog{})
	for i := range cfg.Grants {
		if cfg.Grants[i].Name == abi.CapLog {
			cfg.Grants[i].Object = line
		}
	}
	client, err := process.Start(s.Machine, cfg)
	if err != nil {
		server.Kill("no client")
		return err
	}
	if e := client.Wait(); !e.OK {
		server.Kill("the client has ended")
		return errors.New("client: " + e.Reason)
	}
	if e := server.Wait(); !e.OK {
		return errors.New("server: " + e.Reason)
	}
	return nil
}

type lineFunc func(string)

func (f lineFunc) Line(s string) { f(s) }

// Cases is the suite, in the order in which it runs.
func (s *Suite) Cases() []Case {
	var c []Case
	c = append(c, s.programCases()...)
	c = append(c, s.rawCases()...)
	c = append(c, s.ipcCases()...)
	c = append(c, s.killCases()...)
	c = append(c, s.capabilityCases()...)
	c = append(c, s.hostileCases()...)
	return append(c, s.supervisorCases()...)
}

const (
	quota = 96 << 20
	// patience is how long a case may take before its program is killed and
	// the case failed.
	patience = 60 * time.Second
	// slack is how many frames the kernel's own heap may take during a case.
	slack = 4096
)

// memoryLog is a process.Log that remembers.
type memoryLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *memoryLog) Line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < 1000 {
		l.lines = append(l.lines, s)
	}
}

func (l *memoryLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *memoryLog) has(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.lines, line)
}

// duplex is a process.Stream whose other end the kernel's side of a case holds.
type duplex struct {
	toProgram, fromProgram chan []byte
	mu                     sync.Mutex
	rest                   []byte
}

func newDuplex() *duplex {
	return &duplex{toProgram: make(chan []byte, 4), fromProgram: make(chan []byte, 4)}
}

func (d *duplex) Read(ctx context.Context, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.rest) == 0 {
		select {
		case b, ok := <-d.toProgram:
			if !ok {
				return 0, io.EOF
			}
			d.rest = b
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (d *duplex) Write(ctx context.Context, p []byte) (int, error) {
	select {
	case d.fromProgram <- slices.Clone(p):
		return len(p), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// attestor answers what the program expects, and refuses the rest.
type attestor struct{}

func (attestor) Attest(_ context.Context, op uint32, request []byte) ([]byte, error) {
	switch op {
	case abi.AttestQuote:
		f, err := abi.Fields(request, 1)
		if err != nil {
			return nil, err
		}
		return abi.Message(slices.Concat([]byte("quoted "), f[0]), []byte("signature"), make([]byte, 24*32)), nil
	case abi.AttestRandom:
		return nil, errors.New("the TPM said no")
	}
	return nil, abi.Denied
}

// blob is what the program reads as its event log.
var blob = strings.Repeat("0123456789abcdef", 10000)

// run describes one run of a program.
type run struct {
	image   []byte // nil: the Go program
	args    []string
	memory  int64
	threads int
	log     *memoryLog
	stream  *duplex
	want    string // how it must end: a prefix of the reason
	say     []string
	during  func(p *process.Process) error
}

func (s *Suite) config(r *run) process.Config {
	if r.image == nil {
		r.image = s.Program
	}
	if r.memory == 0 {
		r.memory = quota
	}
	if r.log == nil {
		r.log = &memoryLog{}
	}
	if r.stream == nil {
		r.stream = newDuplex()
	}
	port := &ipc.Port{} // it can send to itself
	return process.Config{
		Name: "test", PID: 100, Port: port, Image: r.image, Args: append([]string{"test"}, r.args...), Memory: r.memory, Threads: r.threads,
		Grants: []process.Grant{
			{Name: abi.CapSelf, Type: abi.TypeProcess, Rights: abi.RightControl},
			{Name: abi.CapClock, Type: abi.TypeClock, Rights: abi.RightRead},
			{Name: abi.CapLog, Type: abi.TypeLog, Rights: abi.RightWrite, Object: r.log},
			{Name: abi.CapChannel, Type: abi.TypeStream, Rights: abi.RightRead | abi.RightWrite, Object: r.stream},
			{Name: "READONLY", Type: abi.TypeStream, Rights: abi.RightRead, Object: r.stream},
			{Name: abi.CapAttest, Type: abi.TypeAttestor, Rights: abi.RightInvoke, Object: attestor{}},
			{Name: abi.CapEventLog, Type: abi.TypeBlob, Rights: abi.RightRead, Object: strings.NewReader(blob)},
			{Name: abi.CapSend + "SELF", Type: abi.TypeEndpoint, Rights: abi.RightWrite, Object: port},
			{Name: abi.CapFrames, Type: abi.TypeFrames, Rights: abi.RightRead | abi.RightWrite, Object: endless{}},
			{Name: abi.CapAuthor, Type: abi.TypeAuthority, Rights: abi.RightInvoke, Object: endless{}},
		},
	}
}

// check runs it and compares.
func (s *Suite) check(r run) error {
	before := s.frames()
	p, err := process.Start(s.Machine, s.config(&r))
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	if r.during != nil {
		go func() { failed <- r.during(p) }()
	} else {
		failed <- nil
	}
	timer := time.AfterFunc(patience, func() { p.Kill("the case took too long") })
	e := p.Wait()
	timer.Stop()
	switch {
	case !strings.HasPrefix(e.Reason, r.want):
		return fmt.Errorf("ended with %q, want %q; it said:\n%s", e.Reason, r.want, r.log.text())
	case e.Lost != 0:
		return fmt.Errorf("%d frames lost", e.Lost)
	}
	for _, want := range r.say {
		if !strings.Contains(r.log.text(), want) {
			return fmt.Errorf("it did not say %q, but:\n%s", want, r.log.text())
		}
	}
	if err := <-failed; err != nil {
		return err
	}
	if after := s.frames(); after > before+slack {
		return fmt.Errorf("%d frames in use before, %d after", before, after)
	}
	return nil
}

func (s *Suite) frames() int {
	if s.Frames == nil {
		return 0
	}
	debug.FreeOSMemory() // what the kernel's heap holds of the last case
	return s.Frames()
}

package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

const (
	// quantum is how long a thread runs before its goroutine gets control back.
	quantum = 10 * time.Millisecond
	// DefaultThreads bounds a process's threads where its Config does not.
	DefaultThreads = 64
	// threadFrames is what a thread costs: a frame each for the vector state
	// and the kernel thread's registers, that thread's two stacks (16 and 32
	// KiB), and the stack of the goroutine that serves it.
	threadFrames = 16
)

// Config says what to run and with what.
type Config struct {
	Name    string // service name: log lines, events
	PID     int
	Image   []byte // static ELF; not changed, and not kept after Start
	Args    []string
	Env     []string
	Memory  int64 // quota in bytes, for pages, page tables and threads
	Threads int   // 0: DefaultThreads
	CodeGen bool  // may make memory executable (never writable at once)
	Grants  []Grant
	Port    *ipc.Port // where its mailbox is reached; nil: it has none

	// Gate is the token that all its handles hang from, nil for a system service,
	// and Limit what they may be good for. Refused is told of each call that the
	// program had no right to; it is called by the program's threads.
	Gate    *cap.Gate
	Limit   cap.Limit
	Refused func(call *abi.Call, e abi.Errno)
}

// Exit tells how a process ended and what that gave back.
type Exit struct {
	Name    string
	PID     int
	Reason  string // "exit status 2", "page fault: write to 0x0 at 0x401000", ...
	OK      bool   // it ended by itself with status 0
	Freed   int    // frames of its address space given back
	Lost    int    // frames charged but not given back: a kernel fault if not 0
	Peak    int    // highest charge, in frames
	Handles int    // that were open, and are dead
	Ran     time.Duration
	Unknown map[uint64]uint64 // calls refused with NoCall, by number
}

// QuotaReason begins the reason of an end that the memory quota caused.
const QuotaReason = "memory quota"

// Process is one program in ring 3.
type Process struct {
	cfg       Config
	machine   Machine
	mem       *memory
	caps      cap.Table
	log       *lineLog // of the log capability, nil without one
	logHandle abi.Handle
	mailbox   *ipc.Mailbox // nil without a port
	started   time.Duration

	ctx    context.Context // done when the process is ending
	cancel context.CancelFunc
	dying  atomic.Bool
	wg     sync.WaitGroup
	done   chan struct{} // closed when exit is set
	exit   Exit

	mu      sync.Mutex
	reason  string
	ok      bool
	threads map[int]*thread
	nextTID int

	futexes futexes
	signals signalTable
	files   files
	unknown unknownCalls
}

// Start loads the image and lets its first thread run.
func Start(m Machine, cfg Config) (*Process, error) {
	img, err := parseELF(cfg.Image)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	space, err := m.NewSpace()
	if err != nil {
		return nil, fmt.Errorf("start %s: make an address space: %w", cfg.Name, err)
	}
	if cfg.Threads == 0 {
		cfg.Threads = DefaultThreads
	}
	cfg.Image = nil
	p := &Process{
		cfg:     cfg,
		machine: m,
		mem:     newMemory(space, int(cfg.Memory/pageSize)),
		started: m.Now(),
		done:    make(chan struct{}),
		threads: map[int]*thread{},
		nextTID: cfg.PID,
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.files.init()
	p.caps.Hang(cfg.Gate, cfg.Limit)
	if err := p.boot(img); err != nil {
		p.cancel()
		p.closeMailbox()
		p.caps.CloseAll()
		p.mem.destroy()
		return nil, fmt.Errorf("start %s with a quota of %d bytes: %w", cfg.Name, cfg.Memory, err)
	}
	return p, nil
}

// boot fills the new address space and starts the first thread.
func (p *Process) boot(img *image) error {
	if err := p.mem.chargeKernel((cap.Footprint + pageSize - 1) / pageSize); err != nil {
		return err
	}
	if err := p.openMailbox(); err != nil {
		return err
	}
	env, err := p.grant()
	if err != nil {
		return err
	}
	if err := p.mem.load(img); err != nil {
		return err
	}
	if err := p.mem.loadClock(p.machine.Clock()); err != nil {
		return err
	}
	var random [16]byte
	p.machine.Random(random[:])
	args := p.cfg.Args
	if len(args) == 0 {
		args = []string{p.cfg.Name}
	}
	sp, err := p.mem.initialStack(args, append(slices.Clone(p.cfg.Env), env...), random)
	if err != nil {
		return err
	}
	t, err := p.newThread(nil)
	if err != nil {
		return err
	}
	t.ctx.RIP, t.ctx.SP = img.entry, sp
	p.start(t)
	go p.reap()
	return nil
}

// grant fills the handle table and returns what tells the program about it.
func (p *Process) grant() ([]string, error) {
	var env []string
	for _, g := range p.cfg.Grants {
		object := g.Object
		switch o := object.(type) {
		case Log:
			if g.Type != abi.TypeLog {
				break
			}
			l := newLineLog(p.cfg.Name, o, p.machine.Now)
			object = l
			if g.Rights&abi.RightWrite != 0 {
				p.log = l
			}
		case *ipc.Port:
			object = o.Endpoint(ipc.ID(p.cfg.PID))
		case nil:
			object = p
		}
		if !fits(object, g.Type) {
			return nil, fmt.Errorf("grant %s: a %T is not a %v", g.Name, object, g.Type)
		}
		h, err := p.caps.Insert(object, g.Type, g.Rights)
		if err != nil {
			return nil, fmt.Errorf("grant %s: %w", g.Name, err)
		}
		if object == any(p.log) && g.Type == abi.TypeLog {
			p.logHandle = h
		}
		env = append(env, fmt.Sprintf("%s%s=%#x", abi.EnvPrefix, g.Name, uint64(h)))
	}
	return env, nil
}

// fits tells whether an object is what its type says, so that the calls need not ask.
func fits(object any, t abi.Type) bool {
	ok := false
	switch t {
	case abi.TypeProcess, abi.TypeClock:
		_, ok = object.(*Process)
	case abi.TypeLog:
		_, ok = object.(*lineLog)
	case abi.TypeStream:
		_, ok = object.(Stream)
	case abi.TypeAttestor:
		_, ok = object.(Attestor)
	case abi.TypeBlob:
		_, ok = object.(Blob)
	case abi.TypeFrames:
		_, ok = object.(Frames)
	case abi.TypeAuthority:
		_, ok = object.(Authority)
	case abi.TypeEndpoint:
		_, ok = object.(*ipc.Endpoint)
	case abi.TypeMailbox:
		_, ok = object.(*ipc.Mailbox)
	}
	return ok
}

// Kill ends the process; Done tells when it is gone.
func (p *Process) Kill(reason string) { p.end("killed: "+reason, false) }

// Restrict takes from the process's handles what a limit does not admit, and keeps it
// from those that are still to come.
func (p *Process) Restrict(l cap.Limit) { p.caps.Restrict(l) }

// end makes every thread leave. The first reason counts.
func (p *Process) end(reason string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dying.Load() {
		return
	}
	p.reason, p.ok = reason, ok
	p.dying.Store(true)
	p.cancel()
	for _, t := range p.threads {
		p.mem.space.Kick(t.ctx)
	}
}

// reap waits for the last thread and takes everything back.
func (p *Process) reap() {
	p.wg.Wait()
	p.cancel()
	p.closeMailbox()
	handles := p.caps.CloseAll()
	if p.log != nil {
		p.log.close()
	}
	freed, expected := p.mem.destroy()
	p.exit = Exit{
		Name: p.cfg.Name, PID: p.cfg.PID,
		Reason: p.reason, OK: p.ok,
		Freed: freed, Lost: expected - freed, Peak: p.mem.peak,
		Handles: handles,
		Ran:     p.machine.Now() - p.started,
		Unknown: p.unknown.counts(),
	}
	close(p.done)
}

// Done is closed when the process is gone and its memory given back.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how it ended, once it has.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// memoryError turns an error of user memory into what the program sees. Who
// exceeds the quota is ended: there is no way to go on without the page.
func (p *Process) memoryError(err error) abi.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFault):
		return abi.Fault
	case errors.Is(err, errQuota):
		p.end(fmt.Sprintf(QuotaReason+" of %d bytes exhausted", p.cfg.Memory), false)
	default:
		p.end(err.Error(), false)
	}
	return abi.NoMemory
}

func (p *Process) copyIn(va uint64, b []byte) abi.Errno {
	return p.memoryError(p.mem.copyIn(va, b))
}

func (p *Process) copyOut(va uint64, b []byte) abi.Errno {
	return p.memoryError(p.mem.copyOut(va, b))
}

// unknownCalls counts what the personality does not serve. It keeps a bounded
// number of different call numbers; the rest is counted under ^0.
type unknownCalls struct {
	mu sync.Mutex
	n  map[uint64]uint64
}

const maxUnknown = 64

func (u *unknownCalls) add(number uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == nil {
		u.n = map[uint64]uint64{}
	}
	if _, ok := u.n[number]; !ok && len(u.n) >= maxUnknown {
		number = ^uint64(0)
	}
	u.n[number]++
}

func (u *unknownCalls) counts() map[uint64]uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.n
}

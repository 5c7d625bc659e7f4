package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/vdso"
)

// fakeMachine is a Machine whose ring 3 runs Go functions: a program is found
// by the address in RIP, and comes out of ring 3 by the methods of user. Page
// tables and frames are counted as hardware would need them.
type fakeMachine struct {
	start  time.Time
	frames int // that a space may still take

	ready chan struct{} // closed when process is set
	p     *Process

	mu       sync.Mutex
	space    *fakeSpace
	programs map[uint64]program // by entry, or by the token of a clone
	handlers map[uint64]handler
}

type (
	program func(*user)
	handler func(u *user, signal int, info, uc uint64)
)

func (m *fakeMachine) setProgram(at uint64, f program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.programs[at] = f
}

func (m *fakeMachine) program(at uint64) program {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.programs[at]
}

func (m *fakeMachine) setHandler(at uint64, h handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handlers[at] = h
}

func (m *fakeMachine) handler(at uint64) handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handlers[at]
}

func newFake() *fakeMachine {
	return &fakeMachine{
		programs: map[uint64]program{},
		handlers: map[uint64]handler{},
		start:    time.Now(),
		frames:   1 << 20,
		ready:    make(chan struct{}),
	}
}

func (m *fakeMachine) Now() time.Duration { return time.Since(m.start) }
func (m *fakeMachine) Clock() vdso.Clock  { return vdso.Clock{Start: 1, Hz: 1e9} }
func (m *fakeMachine) Wall() time.Time    { return time.Now() }
func (m *fakeMachine) CPUs() int          { return 2 }
func (m *fakeMachine) XCR0() uint64       { return 3 }
func (m *fakeMachine) Random(b []byte) {
	for i := range b {
		b[i] = byte(i + 1)
	}
}

func (m *fakeMachine) NewSpace() (Space, error) {
	s := &fakeSpace{m: m, pages: map[uint64]*fakePage{}, tables: map[[2]uint64]bool{}, threads: map[*abi.UserContext]*fakeThread{}}
	m.mu.Lock()
	m.space = s
	m.mu.Unlock()
	return s, nil
}

type fakePage struct {
	frame  []byte
	prot   Prot
	hidden bool
}

type fakeSpace struct {
	m       *fakeMachine
	mu      sync.Mutex
	pages   map[uint64]*fakePage
	tables  map[[2]uint64]bool // level, index
	threads map[*abi.UserContext]*fakeThread
	gone    bool
}

func (s *fakeSpace) Map(va uintptr, p Prot) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := uint64(va)
	if s.gone || a%pageSize != 0 || !userRange(a, pageSize) || p == 0 || p&(Write|Exec) == Write|Exec {
		panic(fmt.Sprintf("Map(%#x, %d)", va, p))
	}
	for level, shift := range []uint{39, 30, 21} {
		s.tables[[2]uint64{uint64(level), a >> shift}] = true
	}
	pg := s.pages[a]
	if pg == nil {
		if s.m.frames == 0 {
			return nil, errors.New("no frames")
		}
		s.m.frames--
		pg = &fakePage{frame: make([]byte, pageSize), prot: p}
		s.pages[a] = pg
	}
	return pg.frame, nil
}

func (s *fakeSpace) each(va, n uintptr, f func(a uint64, p *fakePage)) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || va%pageSize != 0 || n%pageSize != 0 || n == 0 || !userRange(uint64(va), uint64(n)) || uint64(va)/leafSize != uint64(va+n-1)/leafSize {
		panic(fmt.Sprintf("bad range %#x+%#x", va, n))
	}
	count := 0
	for a := uint64(va); a < uint64(va+n); a += pageSize {
		if p := s.pages[a]; p != nil {
			f(a, p)
			count++
		}
	}
	return count
}

func (s *fakeSpace) Unmap(va, n uintptr) int {
	return s.each(va, n, func(a uint64, p *fakePage) { s.m.frames++; delete(s.pages, a) })
}

func (s *fakeSpace) Protect(va, n uintptr, prot Prot) {
	if prot&(Write|Exec) == Write|Exec {
		panic("writable and executable")
	}
	s.each(va, n, func(_ uint64, p *fakePage) { p.hidden, p.prot = prot == 0, prot })
}

func (s *fakeSpace) Destroy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.threads) != 0 {
		panic("Destroy with threads left")
	}
	s.gone = true
	s.tables[[2]uint64{0, 0}] = true
	s.m.frames += len(s.pages)
	return 1 + len(s.tables) + len(s.pages)
}

// fakeThread is a coroutine: next runs it until it comes out of ring 3.
type fakeThread struct {
	kicked chan struct{}
	next   func() (abi.Exit, bool)
	stop   func()
	vector []byte
}

func (s *fakeSpace) NewThread(*cap.Table) (*abi.UserContext, []byte, error) {
	ctx := &abi.UserContext{}
	t := &fakeThread{kicked: make(chan struct{}, 1), vector: make([]byte, 4096)}
	s.mu.Lock()
	s.threads[ctx] = t
	s.mu.Unlock()
	return ctx, t.vector, nil
}

func (s *fakeSpace) thread(ctx *abi.UserContext) *fakeThread {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.threads[ctx]
}

func (s *fakeSpace) FreeThread(ctx *abi.UserContext) {
	t := s.thread(ctx)
	if t.stop != nil {
		t.stop()
	}
	s.mu.Lock()
	delete(s.threads, ctx)
	s.mu.Unlock()
}

func (s *fakeSpace) Kick(ctx *abi.UserContext) {
	select {
	case s.thread(ctx).kicked <- struct{}{}:
	default:
	}
}

func (s *fakeSpace) Run(ctx *abi.UserContext) abi.Exit {
	<-s.m.ready
	t := s.thread(ctx)
	select {
	case <-t.kicked:
		return abi.ExitKick
	default:
	}
	if t.next == nil {
		f := s.m.program(ctx.RIP)
		if g := s.m.program(ctx.R12); g != nil { // a clone
			f = g
		}
		u := &user{m: s.m, s: s, t: t, c: ctx, rip: ctx.RIP}
		t.next, t.stop = iter.Pull(u.body(f))
	}
	e, ok := t.next()
	if !ok {
		panic("a program returned without exit")
	}
	return e
}

// user is what a program sees of its CPU.
type user struct {
	m     *fakeMachine
	s     *fakeSpace
	t     *fakeThread
	c     *abi.UserContext
	rip   uint64
	yield func(abi.Exit) bool
}

var errStopped = errors.New("thread freed")

func (u *user) body(f func(*user)) iter.Seq[abi.Exit] {
	return func(yield func(abi.Exit) bool) {
		defer func() {
			if r := recover(); r != nil && r != errStopped {
				panic(r)
			}
		}()
		u.yield = yield
		if f == nil {
			u.fault(vecPageFault, faultFetch, u.c.RIP)
		}
		f(u)
		u.sys(sysExit, 0)
	}
}

// out leaves ring 3 and comes back, perhaps by way of a signal handler.
func (u *user) out(e abi.Exit) {
	u.c.RIP = u.rip
	if !u.yield(e) {
		panic(errStopped)
	}
	for u.c.RIP != u.rip {
		h := u.m.handler(u.c.RIP)
		if h == nil { // a handler changed where to return to
			u.rip = u.c.RIP
			f := u.m.program(u.rip)
			if f == nil {
				u.fault(vecPageFault, faultFetch, u.rip)
				continue
			}
			f(u)
			u.sys(sysExit, 0)
		}
		back := u.rip
		u.rip = u.c.RIP
		h(u, int(u.c.DI), u.c.SI, u.c.DX)
		u.c.SP += 8 // its RET
		u.c.AX = sysRtSigreturn
		u.c.RIP = u.rip
		if !u.yield(abi.ExitSyscall) {
			panic(errStopped)
		}
		u.rip = back
	}
}

func (u *user) sys(n uint64, a ...uint64) uint64 {
	c := u.c
	regs := []*uint64{&c.DI, &c.SI, &c.DX, &c.R10, &c.R8, &c.R9}
	for i, r := range regs {
		*r = 0
		if i < len(a) {
			*r = a[i]
		}
	}
	c.AX = n
	u.out(abi.ExitSyscall)
	return c.AX
}

func (u *user) fault(vec, err, cr2 uint64) {
	u.c.Vec, u.c.Err, u.c.CR2 = vec, err|4, cr2
	u.out(abi.ExitFault)
}

// spin computes until it is kicked.
func (u *user) spin() {
	<-u.t.kicked
	u.out(abi.ExitKick)
}

// access does what the MMU does: a fault until the page is there.
func (u *user) access(va uint64, need Prot, f func(b []byte)) {
	for {
		u.s.mu.Lock()
		p := u.s.pages[va&^(pageSize-1)]
		u.s.mu.Unlock()
		if p != nil && !p.hidden && p.prot&need == need {
			u.m.p.mem.mu.Lock()
			f(p.frame[va%pageSize:])
			u.m.p.mem.mu.Unlock()
			return
		}
		err := uint64(0)
		if p != nil && !p.hidden {
			err |= faultPresent
		}
		switch need {
		case Write:
			err |= faultWrite
		case Exec:
			err |= faultFetch
		}
		u.fault(vecPageFault, err, va)
	}
}

func (u *user) store(va uint64, b []byte) {
	for len(b) > 0 {
		u.access(va, Write, func(f []byte) {
			n := copy(f, b)
			b, va = b[n:], va+uint64(n)
		})
	}
}

func (u *user) load(va uint64, n int) []byte {
	var out []byte
	for len(out) < n {
		u.access(va+uint64(len(out)), Read, func(f []byte) { out = append(out, f[:min(len(f), n-len(out))]...) })
	}
	return out
}

func (u *user) store64(va uint64, v ...uint64) {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	u.store(va, b)
}
func (u *user) load64(va uint64) uint64 { return binary.LittleEndian.Uint64(u.load(va, 8)) }

// str reads a string that ends in NUL.
func (u *user) str(va uint64) string {
	var b []byte
	for ; ; va++ {
		c := u.load(va, 1)[0]
		if c == 0 {
			return string(b)
		}
		b = append(b, c)
	}
}
func (u *user) load32(va uint64) uint32 { return binary.LittleEndian.Uint32(u.load(va, 4)) }

// clone starts f as a thread with a stack of its own.
func (u *user) clone(f func(*user)) uint64 {
	stack := u.mmap(64<<10, Read|Write)
	token := 0x401000 + stack>>12&0xffff
	u.m.setProgram(token, f)
	u.c.R12 = token
	tid := u.sys(sysClone, cloneNeeded|cloneFS|cloneFiles|cloneSysVSem, stack+64<<10)
	u.c.R12 = 0
	return tid
}

func (u *user) mmap(n uint64, p Prot) uint64 {
	return u.sys(sysMmap, 0, n, uint64(p), mapPrivate|mapAnonymous, ^uint64(0), 0)
}

// The program that tests run: text at entry, data behind it.
const (
	entry  = 0x401000
	dataAt = 0x402000
)

func testELF() []byte {
	return makeELF(entry,
		part{va: 0x401000, size: 0x800, flags: flagR | flagX, data: []byte("text")},
		part{va: 0x402000, size: 0x3000, flags: flagR | flagW, data: []byte("data")})
}

type part struct {
	va, size uint64
	flags    uint32
	data     []byte
}

func makeELF(entry uint64, parts ...part) []byte {
	le := binary.LittleEndian
	b := make([]byte, elfHeader+progHeader*len(parts))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], entry)
	le.PutUint64(b[32:], elfHeader)
	le.PutUint16(b[54:], progHeader)
	le.PutUint16(b[56:], uint16(len(parts)))
	for i, p := range parts {
		h := b[elfHeader+progHeader*i:]
		le.PutUint32(h, ptLoad)
		le.PutUint32(h[4:], p.flags)
		le.PutUint64(h[8:], uint64(len(b)))
		le.PutUint64(h[16:], p.va)
		le.PutUint64(h[32:], uint64(len(p.data)))
		le.PutUint64(h[40:], p.size)
		b = append(b, p.data...)
	}
	return b
}

// lines is a Log that remembers.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Line(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *lines) get() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// start runs main as a process and checks, when it ends, that every frame came back.
func (m *fakeMachine) launch(t *testing.T, cfg Config, main func(*user)) *Process {
	t.Helper()
	m.setProgram(entry, main)
	cfg.Name = "test"
	if cfg.PID == 0 {
		cfg.PID = 1
	}
	if cfg.Image == nil {
		cfg.Image = testELF()
	}
	if cfg.Memory == 0 {
		cfg.Memory = 16 << 20
	}
	before := m.frames
	p, err := Start(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.p = p
	close(m.ready)
	t.Cleanup(func() {
		p.Kill("test over")
		e := p.Wait()
		if e.Lost != 0 || m.frames != before {
			t.Errorf("%d frames lost by its own count, %d by the machine's", e.Lost, before-m.frames)
		}
	})
	return p
}

// run is launch for a program that ends by itself.
func (m *fakeMachine) run(t *testing.T, cfg Config, main func(*user)) Exit {
	t.Helper()
	return m.launch(t, cfg, main).Wait()
}

// script runs a program that checks what it sees and exits.
func script(t *testing.T, main func(*user)) Exit {
	t.Helper()
	return newFake().run(t, Config{}, main)
}

func is(t *testing.T, what string, got uint64, want abi.Errno) {
	t.Helper()
	if _, err := abi.Decode(got); want == 0 && err != nil || want != 0 && err != want {
		t.Errorf("%s: result %#x (%v), want %v", what, got, err, want)
	}
}

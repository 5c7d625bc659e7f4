package process

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
	"aios/kernel/abi/grammar"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

const (
	opBytes   = 24      // of a program's code, for each call
	maxOps    = 400     // in a program
	quotaOf   = 8 << 20 // of a process, in bytes
	perSecond = 40      // messages, of the process with a token
	bytesOf   = 1 << 18 // of them, a second
)

// FuzzSyscalls makes programs out of bytes: calls of the whole table, by its grammar, from
// six threads of two processes. Whatever they ask, the kernel neither panics nor hangs, each
// result is one that the table admits, what was closed, moved or revoked works no more, the
// quotas hold, and every frame and handle comes back.
func FuzzSyscalls(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(code(rand.New(rand.NewPCG(seed, 0)), 60))
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) <= opBytes*maxOps {
			runCode(t, code, map[reach]int{})
		}
	})
}

// code is that of a random program of n calls.
func code(r *rand.Rand, n int) []byte {
	b := make([]byte, 1+n*opBytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// runCode runs a program and counts what it reached.
func runCode(t *testing.T, code []byte, reached map[reach]int) {
	synctest.Test(t, func(t *testing.T) {
		scene := byte(0)
		if len(code) > 0 {
			scene, code = code[0], code[1:]
		}
		var lease cap.Lease
		lease.Begin(2 * time.Hour)
		f := &fuzzed{t: t, moved: map[passage][]*twig{}, reached: reached,
			gate: lease.Gate(cap.Terms{Until: time.Hour, Messages: perSecond, Bytes: bytesOf})}
		for i := range f.sides {
			f.sides[i] = &side{f: f, m: newFake(), port: &ipc.Port{}, pid: 11 + 10*i, twigs: map[abi.Handle]*twig{}}
		}
		for ; len(code) >= opBytes; code = code[opBytes:] {
			s := f.sides[code[0]%2]
			no := code[0] / 2 % threadsOfSide
			s.ops[no] = append(s.ops[no], grammar.Bytes(code[1:opBytes]))
		}
		for i, s := range f.sides {
			s.start(t, f.sides[1-i], scene)
		}
		over := time.AfterFunc(time.Hour, func() {
			for _, s := range f.sides {
				s.m.p.Kill("an hour is over")
			}
		})
		for _, s := range f.sides {
			s.over()
		}
		over.Stop()
		f.over(time.Since(f.sides[0].m.start))
	})
}

// start lets a process run.
func (s *side) start(t *testing.T, peer *side, scene byte) {
	cfg := Config{PID: s.pid, Memory: quotaOf, Threads: threadsOfSide + 3, Port: s.port, Grants: s.grants(peer)}
	if s == s.f.sides[1] {
		cfg.Gate = s.f.gate
	}
	s.m.setHandler(handlerAt, func(*user, int, uint64, uint64) {})
	s.m.launch(t, cfg, func(u *user) {
		s.f.mu.Lock()
		again := s.begun // what a clone runs that says nothing else
		s.begun = true
		s.f.mu.Unlock()
		if again {
			return
		}
		s.m.p.mem.mu.Lock()
		s.kernel = s.m.p.mem.kernel - threadFrames
		s.m.p.mem.mu.Unlock()
		s.area = u.mmap(areaSize+threadsOfSide*privateSize, Read|Write)
		s.pages = u.mmap(32*pageSize, Read|Write)
		u.store64(dataAt, handlerAt, saRestorer, restorerAt, 0)
		u.sys(sysRtSigaction, sigURG, dataAt, 0, 8)
		s.f.mu.Lock()
		s.granted(u, cfg.Grants)
		s.f.mu.Unlock()
		s.prepare(u, scene)
		for no := 1; no < threadsOfSide; no++ {
			u.clone(func(u *user) { s.work(u, no) })
		}
		s.work(u, 0)
	})
}

// prepare makes what a random program would hardly come to, by calls that are looked at
// as all others: a table or a mailbox that is full, a handle that nothing can be derived
// from any more, a quota that is used up.
func (s *side) prepare(u *user, scene byte) {
	w := &hand{s, u, 0}
	u.sys(sysEventfd2, 0, 0)
	u.sys(sysEpollCreate1, 0)
	switch scene % 8 {
	case 1:
		u.store64(w.private(), uint64(w.the(abi.TypeBlob, abi.RightTransfer)), uint64(w.the(abi.TypeClock, abi.RightTransfer)))
		w.make(abi.CallIPCSend, w.to(s), w.area, 1, w.private(), 2, 0)
		w.fill(func() bool { return w.make(abi.CallIPCReply, w.the(abi.TypeMailbox, abi.RightRead)) })
		for range int(scene/8) % 3 {
			w.make(abi.CallClose, w.the(abi.TypeEndpoint, abi.RightWrite))
		}
	case 2:
		w.fill(func() bool {
			return w.make(abi.CallDerive, w.the(abi.TypeBlob, abi.RightRead), uint64(abi.RightRead|abi.RightTransfer))
		})
	case 3:
		if s.m.p.caps.Gate() != nil {
			w.fill(func() bool { return w.make(abi.CallLog, w.the(abi.TypeLog, abi.RightWrite), w.area, 1) })
		}
	case 4:
		w.fill(func() bool { return w.make(abi.CallIPCSend, w.to(s), w.area, 1, 0, 0, 0) })
	case 5: // more than one step of a revocation takes
		blob := w.the(abi.TypeBlob, abi.RightRead)
		for range 70 {
			w.make(abi.CallDerive, blob, uint64(abi.RightRead))
		}
		w.make(abi.CallRevoke, blob)
		for _, t := range slices.Clone(w.order) {
			if t.gone {
				w.do(grammar.Made{Call: &grammar.Calls[0], Fit: grammar.Stale, Handle: t.h})
			}
		}
	}
}

// fill makes a call until there is no more room, which has to come.
func (w *hand) fill(call func() bool) {
	for range 2 * cap.Capacity {
		if !call() {
			return
		}
	}
	w.f.t.Error("what is bounded does not fill up")
}

// make makes a call that is meant to succeed, and tells whether it did.
func (w *hand) make(number abi.Number, h abi.Handle, args ...uint64) bool {
	return w.do(grammar.Made{Call: &grammar.Calls[number-abi.FirstCall], Handle: h, Args: args, Clean: true}) == 0
}

// to is an endpoint to a process.
func (w *hand) to(s *side) abi.Handle {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	for _, t := range w.order {
		if t.to == s && t.rights&abi.RightWrite != 0 && !t.gone {
			return t.h
		}
	}
	return 0
}

// the is the newest handle of a type with a right.
func (w *hand) the(typ abi.Type, right abi.Rights) abi.Handle {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	for _, t := range slices.Backward(w.order) {
		if t.typ == typ && t.rights&right == right && !t.gone {
			return t.h
		}
	}
	return 0
}

// work makes the calls of one thread.
func (s *side) work(u *user, no int) {
	w := &hand{s, u, no}
	for {
		s.f.mu.Lock()
		if len(s.ops[no]) == 0 {
			s.f.mu.Unlock()
			return
		}
		b := s.ops[no][0]
		s.ops[no] = s.ops[no][1:]
		s.f.mu.Unlock()
		w.op(&b)
	}
}

// op makes one call, or lets something else happen.
func (w *hand) op(b *grammar.Bytes) {
	switch what := b.IntN(64); {
	case what < 4:
		w.u.sys(sysTgkill, uint64(w.pid), uint64(w.pid+b.IntN(threadsOfSide)), sigURG)
		return
	case what == 4:
		time.Sleep(time.Duration(b.IntN(3)) * time.Second) // quotas fill
	case what == 5 && b.IntN(4) == 0:
		w.f.gate.Shut()
	case what == 6:
		w.f.gate.Recall()
	case what == 7 && b.IntN(4) == 0:
		typ := abi.Type(b.IntN(int(abi.TypeAuthority) + 1))
		w.m.p.Restrict(func(c cap.Capability) abi.Rights {
			if c.Type == typ {
				return 0
			}
			return abi.AllRights
		})
	}
	calls := grammar.Calls
	if b.IntN(4) == 0 {
		calls = grammar.Personality
	}
	c := &calls[b.IntN(len(calls))]
	switch c.Name {
	case "Exit", "exit", "exit_group", "kill", "rt_sigreturn":
		if b.IntN(8) != 0 { // they end it
			return
		}
	}
	w.do(c.Make(b, w))
}

// do makes a call and looks at what came of it.
func (w *hand) do(m grammar.Made) abi.Errno {
	f, c := w.f, m.Call
	args := m.Args
	if c.Number >= abi.FirstCall {
		args = slices.Concat([]uint64{uint64(m.Handle)}, m.Args)
	}
	f.mu.Lock()
	below := w.below(m)
	f.mu.Unlock()
	var told []byte // handles that are to be sent, or what is told of a message
	if c.Number == uint64(abi.CallIPCSend) && m.Args[2] == w.private() {
		told = w.u.load(m.Args[2], 8*int(min(m.Args[3], abi.MaxHandles)))
	}
	r := w.u.sys(c.Number, args...)
	_, err := abi.Decode(r)
	e, _ := err.(abi.Errno)
	if c.Number == uint64(abi.CallIPCRecv) && e == 0 {
		told = w.u.load(m.Args[2], abi.IPCInfo)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reached[reach{c.Name, e}]++
	if c.Number < abi.FirstCall {
		return e
	}
	w.judge(m, e)
	if e == 0 {
		w.took(m, r, told, below)
	}
	return e
}

// judge holds an error to what the table says of the call, and to how its handle fitted.
func (w *hand) judge(m grammar.Made, e abi.Errno) {
	c, t := m.Call, w.f.t
	gated := w.m.p.caps.Gate() != nil
	if gated && e == 0 && c.Metered {
		w.f.metered++
	}
	admitted := e == 0 || e == abi.BadHandle || e == abi.Denied || e == abi.Lapsed || slices.Contains(c.Errors, e)
	switch e {
	case abi.WrongType:
		admitted = c.Type != abi.TypeNone || c.Handle
	case abi.Quota:
		admitted = gated && c.Metered
	}
	if !admitted {
		t.Errorf("%s: %v, which the table does not name", c.Name, e)
	}
	ok := true
	switch m.Fit {
	case grammar.Stale, grammar.Forged:
		ok = e == abi.BadHandle
	case grammar.OtherType:
		ok = e == abi.WrongType || e == abi.BadHandle // closed meanwhile
	case grammar.Weak:
		ok = e == abi.Denied || e == abi.BadHandle
	}
	if !ok {
		t.Errorf("%s with handle %#x, of fit %d: %v", c.Name, uint64(m.Handle), m.Fit, e)
	}
}

// below is what hangs from the handle of a Revoke now. Preconditions: f.mu is held.
func (w *hand) below(m grammar.Made) (out []*twig) {
	if m.Call.Number != uint64(abi.CallRevoke) || w.twigs[m.Handle] == nil {
		return nil
	}
	for _, s := range w.f.sides {
		for _, t := range s.order {
			if t.hangsFrom(w.twigs[m.Handle]) {
				out = append(out, t)
			}
		}
	}
	for _, message := range w.f.moved {
		for _, t := range message {
			if t.hangsFrom(w.twigs[m.Handle]) {
				out = append(out, t)
			}
		}
	}
	return out
}

// took keeps the test's own tree. Preconditions: f.mu is held.
func (w *hand) took(m grammar.Made, result uint64, told []byte, below []*twig) {
	t := w.twigs[m.Handle]
	switch abi.Number(m.Call.Number) {
	case abi.CallClose:
		t.gone = true
	case abi.CallIPCReply:
		w.add(&twig{h: abi.Handle(result), typ: abi.TypeEndpoint, rights: abi.RightWrite | abi.RightTransfer, to: w.side})
	case abi.CallDerive:
		if m.Args[0]&^uint64(t.rights) != 0 {
			w.f.t.Errorf("rights %#x were derived from %v", m.Args[0], t.rights)
		}
		w.add(&twig{parent: t, h: abi.Handle(result), typ: t.typ, rights: abi.Rights(m.Args[0]), to: t.to})
	case abi.CallCopy:
		w.add(&twig{parent: t.parent, h: abi.Handle(result), typ: t.typ, rights: t.rights, to: t.to})
	case abi.CallRevoke:
		for _, d := range below {
			d.gone = true
		}
	case abi.CallIPCSend:
		w.sent(passage{t.to, result}, told)
	case abi.CallIPCRecv:
		w.received(told)
	}
}

// over waits until a process is gone, and looks at what it leaves.
func (s *side) over() {
	e := s.m.p.Wait()
	if n := s.m.p.mem.kernel; s.kernel != 0 && n != s.kernel {
		s.f.t.Errorf("process %d: %d frames are charged for what the kernel keeps, %d were before the first thread", s.pid, n, s.kernel)
	}
	if e.Lost != 0 || e.Peak > quotaOf/pageSize {
		s.f.t.Errorf("process %d: %d frames lost, %d at once of %d", s.pid, e.Lost, e.Peak, quotaOf/pageSize)
	}
}

func (f *fuzzed) over(d time.Duration) {
	t := f.t
	for _, s := range f.sides {
		for h := range s.twigs {
			if e := s.m.p.caps.Check(h, abi.TypeNone, 0, 0); e != abi.BadHandle {
				t.Errorf("process %d: handle %#x after the end: %v", s.pid, uint64(h), e)
			}
		}
		limits := ipc.DefaultLimits
		box, e := s.port.Open(limits, ipc.NewQuota(limits.Cost()+limits.Bytes), messagePages)
		if e != 0 {
			t.Errorf("process %d: its port is not free: %v", s.pid, e)
		} else {
			box.Close()
		}
	}
	for _, w := range f.watches {
		if w.used && !w.closed {
			t.Error("a capability was used and never closed")
		}
	}
	if most := perSecond * (int(d/time.Second) + 2); f.metered > most {
		t.Errorf("%d messages in %v, at most %d may pass", f.metered, d, most)
	}
}

// What no program here can bring about, and why.
var unreached = map[reach]string{
	{"Exit", 0}:               "it does not return",
	{"IPCSend", abi.NoMemory}: "a mailbox is paid for when it is opened",
	{"IPCSend", abi.TooDeep}:  "it takes more agents in a row than there are here: TestVia of kernel/cap",
	{"Derive", abi.Again}:     "a revocation has to be under way: TestRevokeRace of kernel/cap",
}

// wanted is every result that the table admits of a call.
func wanted(c *grammar.Call) []abi.Errno {
	list := append([]abi.Errno{0, abi.BadHandle, abi.Lapsed}, c.Errors...)
	if c.Type != abi.TypeNone || c.Handle {
		list = append(list, abi.WrongType)
	}
	if c.Right != 0 || c.Name == "Derive" {
		list = append(list, abi.Denied)
	}
	if c.Metered {
		list = append(list, abi.Quota)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Programs of the grammar come to every call of the table, to its success and to each
// error that it can give, but for what is said above.
func TestGrammarReaches(t *testing.T) {
	missing := map[reach]bool{}
	for i := range grammar.Calls {
		for _, e := range wanted(&grammar.Calls[i]) {
			missing[reach{grammar.Calls[i].Name, e}] = true
		}
	}
	for r := range unreached {
		if !missing[r] {
			t.Errorf("%s %v is said to be out of reach, and is no result at all", r.call, r.e)
		}
		delete(missing, r)
	}
	for i := range grammar.Personality {
		missing[reach{grammar.Personality[i].Name, 0}] = true
	}
	for name, why := range map[string]string{
		"exit": "it does not return", "exit_group": "it does not return", "rt_sigreturn": "it returns elsewhere",
		"prctl": "always refused", "openat": "always refused",
	} {
		if !missing[reach{name, 0}] {
			t.Errorf("%s (%s) is no call", name, why)
		}
		delete(missing, reach{name, 0})
	}
	reached := map[reach]int{}
	programs := 0
	for ; len(missing) > 0 && programs < 1500; programs++ {
		runCode(t, code(rand.New(rand.NewPCG(uint64(programs), 1)), 200), reached)
		for r := range reached {
			if why, ok := unreached[r]; ok {
				t.Errorf("%s %v was reached: it is no more true that %s", r.call, r.e, why)
			}
			delete(missing, r)
		}
	}
	for r := range missing {
		t.Errorf("%s never gave %v in %d programs", r.call, r.e, programs)
	}
	calls := 0
	for _, n := range reached {
		calls += n
	}
	t.Logf("%d results of %d calls reached by %d calls in %d programs", len(reached), len(grammar.Calls)+len(grammar.Personality), calls, programs)
	if testing.Verbose() {
		for _, r := range slices.SortedFunc(maps.Keys(reached), func(a, b reach) int {
			return slices.Compare([]byte(fmt.Sprint(a.call, int(a.e))), []byte(fmt.Sprint(b.call, int(b.e))))
		}) {
			t.Logf("%s %d: %d", r.call, r.e, reached[r])
		}
	}
}

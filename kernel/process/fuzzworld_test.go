package process

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"aios/kernel/abi"
	"aios/kernel/abi/grammar"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

// fuzzed is a run of two processes, the second under a token, each of three threads,
// that make calls by the grammar and pass handles to and fro. It knows where each handle
// comes from, so it knows which may work no more.
type fuzzed struct {
	t     *testing.T
	gate  *cap.Gate
	sides [2]*side

	mu      sync.Mutex
	moved   map[passage][]*twig
	metered int // calls of the second process that were let through and charged
	reached map[reach]int

	watching sync.Mutex
	watches  []*watched
}

// reach is a result of a call: 0 is success.
type reach struct {
	call string
	e    abi.Errno
}

// passage is a message, as both ends can name it.
type passage struct {
	to     *side
	number uint64
}

// side is one process.
type side struct {
	f    *fuzzed
	m    *fakeMachine
	port *ipc.Port
	pid  int

	kernel      int    // frames charged for what the kernel keeps, beside threads
	area, pages uint64 // what calls read and write; pages that come and go

	// Under f.mu.
	ops   [threadsOfSide][]grammar.Bytes
	begun bool
	twigs map[abi.Handle]*twig
	order []*twig // in which they came
}

const (
	threadsOfSide = 3
	areaSize      = 4*abi.MaxTransfer + abi.MaxOrder
	privateSize   = 4096 // of each thread, behind the area
)

// twig is a capability in the tree that the test keeps: a handle, or on its way.
type twig struct {
	parent *twig
	side   *side // nil: on its way
	h      abi.Handle
	typ    abi.Type
	rights abi.Rights
	to     *side // of an endpoint, where it leads; nil: to nobody
	gone   bool
}

// hangsFrom tells whether t was derived from other, however often.
func (t *twig) hangsFrom(other *twig) bool {
	for p := t.parent; p != nil; p = p.parent {
		if p == other {
			return true
		}
	}
	return false
}

// add notes a handle. Preconditions: f.mu is held.
func (s *side) add(t *twig) {
	t.side = s
	if t.h != 0 {
		s.twigs[t.h] = t
		s.order = append(s.order, t)
	}
}

// sent notes capabilities that are on their way, if they have not arrived already.
// Preconditions: f.mu is held.
func (s *side) sent(p passage, handles []byte) {
	var on []*twig
	for ; len(handles) > 0; handles = handles[8:] {
		t := s.twigs[abi.Handle(binary.LittleEndian.Uint64(handles))]
		ghost := &twig{h: t.h, typ: t.typ, rights: t.rights, side: s, gone: true} // the handle that it was
		s.twigs[t.h] = ghost
		s.order[slices.Index(s.order, t)] = ghost
		t.side, t.h = nil, 0
		on = append(on, t)
	}
	arrived, ok := s.f.moved[p]
	if !ok {
		s.f.moved[p] = on
		return
	}
	delete(s.f.moved, p)
	for i, t := range on {
		t.h = arrived[i].h
		p.to.add(t)
	}
}

// received notes what came with a message, from what is told of that.
// Preconditions: f.mu is held.
func (s *side) received(info []byte) {
	le := binary.LittleEndian
	p := passage{s, le.Uint64(info[8:])}
	on, sent := s.f.moved[p]
	delete(s.f.moved, p)
	for i := range int(le.Uint32(info[20:])) {
		h := abi.Handle(le.Uint64(info[24+8*i:]))
		if !sent { // the sender has not come round to it: see sent
			s.f.moved[p] = append(s.f.moved[p], &twig{h: h})
			continue
		}
		on[i].h = h
		s.add(on[i])
	}
	if !sent && le.Uint32(info[20:]) == 0 {
		s.f.moved[p] = nil
	}
}

// hand is a thread as the grammar sees it.
type hand struct {
	*side
	u  *user
	no int
}

func (w *hand) private() uint64 { return w.area + areaSize + uint64(w.no)*privateSize }

// Handle looks for one that fits. The newest is tried first, half of the time.
func (w *hand) Handle(s grammar.Choices, c *grammar.Call, f grammar.Fit) (abi.Handle, grammar.Fit) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if f == grammar.Forged || len(w.order) == 0 {
		return abi.MakeHandle(uint32(s.IntN(cap.Capacity+2)), 1<<30+uint32(s.IntN(256))), grammar.Forged
	}
	from, n := s.IntN(len(w.order)), len(w.order)
	if s.IntN(2) == 0 {
		from = n - 1
	}
	for i := range n {
		t := w.order[(from+n-i)%n]
		if t.fit(c) == f {
			return t.h, f
		}
	}
	t := w.order[from]
	return t.h, t.fit(c)
}

func (t *twig) fit(c *grammar.Call) grammar.Fit {
	switch {
	case t.gone:
		return grammar.Stale
	case c.Type != abi.TypeNone && t.typ != c.Type:
		return grammar.OtherType
	case t.rights&c.Right != c.Right:
		return grammar.Weak
	}
	return grammar.Good
}

// Memory is in the area; what the kernel tells about handles, and is told, is the
// thread's own, so that nobody else writes there.
func (w *hand) Memory(s grammar.Choices, c *grammar.Call, a *grammar.Arg, n uint64) uint64 {
	switch {
	case a.Class == grammar.Handles:
		for i := range min(n, 2*abi.MaxHandles) {
			h, _ := w.Handle(s, &grammar.Call{Right: abi.RightTransfer}, grammar.Good)
			w.u.store64(w.private()+8*i, uint64(h))
		}
		return w.private()
	case a.Name == "info":
		return w.private() + 256
	}
	at := w.area + uint64(s.IntN(1<<12))*16
	if a.Class == grammar.In && n > 0 {
		w.u.store(at, sensible(s, c, a, n))
	}
	return at
}

// sensible is how n bytes begin that make sense to a call.
func sensible(s grammar.Choices, c *grammar.Call, a *grammar.Arg, n uint64) []byte {
	le := binary.LittleEndian
	switch {
	case c.Number == uint64(abi.CallFrameWrite) && n >= 2+minFrame && n <= 2+abi.MaxFrame:
		return le.AppendUint16(nil, uint16(n-2))
	case a.Name == "request" && n >= 4: // one field
		return le.AppendUint32(nil, uint32(n-4))
	case c.Name == "futex" || a.Name == "req" || a.Name == "timeout": // a short time, or a word
		return le.AppendUint64(make([]byte, 8), uint64(s.IntN(256)))
	case a.Name == "act":
		return binary.LittleEndian.AppendUint64(le.AppendUint64(le.AppendUint64(nil, handlerAt), saRestorer), restorerAt)
	}
	return []byte("text\n")[:min(n, 5)]
}

// Bad is nowhere, in the kernel, beyond what is the program's, in its code for what is to
// be written, or begins well and goes on so.
func (w *hand) Bad(s grammar.Choices, a *grammar.Arg, n uint64) uint64 {
	bad := []uint64{0, 8, 0xfff, 0x40001000, 0xfee00000, abi.UserTop - 4, 1 << 47, 1 << 62, 0xffff800000000000, ^uint64(0) - 7, dataAt + 0x3000 - 4, dataAt + 0x3000 - 1}
	if a.Class == grammar.Out {
		bad = append(bad, entry, entry)
	}
	return bad[s.IntN(len(bad))]
}

func (w *hand) Timeout(s grammar.Choices) uint64 {
	return [...]uint64{0, 0, 1, uint64(time.Millisecond), uint64(time.Second), 1 << 63, abi.Forever}[s.IntN(7)]
}

func (w *hand) Region(s grammar.Choices) uint64 {
	if s.IntN(16) == 0 {
		return [...]uint64{0, 4096, dataAt, stackStart, mmapEnd, abi.UserTop, abi.ImageEnd, entry + 1}[s.IntN(8)]
	}
	return w.pages + uint64(s.IntN(32))*pageSize
}

// device is every object of a fuzzed program but the kernel's own: it does what is asked,
// or does not, in turn.
type device struct {
	mu sync.Mutex
	n  int
}

func (d *device) turn(of int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	return d.n % of
}

var errBroken = errors.New("it is broken")

func (d *device) Read(ctx context.Context, b []byte) (int, error) {
	switch d.turn(5) {
	case 0:
		return 0, errBroken
	case 1:
		return 0, io.EOF
	case 2:
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return copy(b, "from the stream"), nil
}

func (d *device) Write(ctx context.Context, b []byte) (int, error) {
	switch d.turn(5) {
	case 0:
		return 0, errBroken
	case 1:
		return 0, io.ErrClosedPipe
	case 2:
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return len(b), nil
}

func (d *device) Attest(_ context.Context, op uint32, request []byte) ([]byte, error) {
	if _, err := abi.Fields(request, 1); err != nil && op == abi.AttestQuote {
		return nil, err
	}
	switch d.turn(5) {
	case 0:
		return nil, errBroken
	case 1:
		return nil, abi.Denied
	}
	return bytes.Repeat([]byte{1}, 32), nil
}

func (d *device) Authority(_ context.Context, op uint32, request []byte) ([]byte, error) {
	if d.turn(5) == 0 {
		return nil, errBroken
	}
	return abi.Message(request[:min(len(request), 40)]), nil
}

func (d *device) ReadAt(b []byte, off int64) (int, error) {
	if off == 4096 {
		return 0, errBroken
	}
	return bytes.NewReader([]byte("0123456789")).ReadAt(b, off)
}

func (d *device) Info() ([6]byte, uint16)  { return [6]byte{2}, 1500 }
func (d *device) Arrived() <-chan struct{} { return nil }

func (d *device) ReadFrames(b []byte) (int, error) {
	switch d.turn(4) {
	case 0:
		return 0, errBroken
	case 1:
		return copy(b, "\x0e\x00abcdefghijklmn"), nil
	}
	return 0, nil
}

func (d *device) WriteFrames(_ context.Context, b []byte) (int, error) {
	if d.turn(4) == 0 {
		return 0, errBroken
	}
	return len(b), nil
}

// watched is a blob that is made anew for each handle, and knows whether that was closed,
// once and not twice.
type watched struct {
	f      *fuzzed
	mu     sync.Mutex
	used   bool
	closed bool
}

// Derive makes one that the run looks at when it is over.
func (w *watched) Derive() any { return w.f.watch() }

func (w *watched) HandleClosed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		w.f.t.Error("an object was told twice that its handle is closed")
	}
	w.closed = true
}

func (w *watched) ReadAt(b []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used = true
	return copy(b, "watched"), nil
}

func (f *fuzzed) watch() *watched {
	w := &watched{f: f}
	f.watching.Lock()
	defer f.watching.Unlock()
	f.watches = append(f.watches, w)
	return w
}

// grants are what a side starts with: of each type something that works, and something
// without a right.
func (s *side) grants(peer *side) (out []Grant) {
	d := &device{}
	for _, g := range []Grant{
		{"SELF", abi.TypeProcess, abi.RightControl, nil},
		{"CLOCK", abi.TypeClock, abi.RightRead | abi.RightTransfer, nil},
		{"LOG", abi.TypeLog, abi.RightWrite | abi.RightTransfer, &lines{}},
		{"STREAM", abi.TypeStream, abi.RightRead | abi.RightWrite | abi.RightTransfer, d},
		{"ATTEST", abi.TypeAttestor, abi.RightInvoke | abi.RightTransfer, d},
		{"BLOB", abi.TypeBlob, abi.RightRead | abi.RightTransfer, d},
		{"WATCHED", abi.TypeBlob, abi.RightRead | abi.RightTransfer, s.f.watch()},
		{"FRAMES", abi.TypeFrames, abi.RightRead | abi.RightWrite, d},
		{"AUTHORITY", abi.TypeAuthority, abi.RightInvoke, d},
		{"SEND_PEER", abi.TypeEndpoint, abi.RightWrite | abi.RightTransfer, peer.port},
		{"SEND_SELF", abi.TypeEndpoint, abi.RightWrite | abi.RightTransfer, s.port},
		{"SEND_NOBODY", abi.TypeEndpoint, abi.RightWrite | abi.RightTransfer, &ipc.Port{}},
	} {
		out = append(out, g)
		if g.Name != "SEND_NOBODY" && g.Name != "WATCHED" {
			g.Name, g.Rights = "WEAK_"+g.Name, 0
			out = append(out, g)
		}
	}
	return out
}

// granted notes what the program finds in its environment. Preconditions: f.mu is held.
func (s *side) granted(u *user, grants []Grant) {
	h := handles(u)
	for _, g := range append(slices.Clone(grants), Grant{Name: "MAILBOX", Type: abi.TypeMailbox, Rights: abi.RightRead}) {
		t := &twig{h: abi.Handle(h[g.Name]), typ: g.Type, rights: g.Rights}
		for _, to := range s.f.sides {
			if g.Object == to.port {
				t.to = to
			}
		}
		s.add(t)
	}
}

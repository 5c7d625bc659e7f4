package ipc

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"aios/kernel/abi"
	"aios/kernel/cap"

	"pgregory.net/rapid"
)

// The naive model: messages in slices, everything done in one step, no slots,
// pages or wake-ups. A world runs the same operations on it and on the package,
// with real threads that really wait, and compares the two at every rest.

const (
	processes = 3
	threadsOf = 3
	boxQuota  = 4*slotCost + MaxMessage - pageSize // too little for the longest message
)

var boxLimits = Limits{4, MaxMessage + 2*pageSize}

// standIn is the slot of a handle whose value only the real call will tell.
const standIn = 1000

// thing is what handles name: a plain object, or an endpoint to a process.
type thing struct {
	plain    *object
	endpoint *Endpoint
	to       int // process that the endpoint sends to
	holder   ID
	seen     int // incarnation of that process that was last sent to
	closed   bool
	where    string // that holds it, as the check found
}

func (x *thing) capability(fix bool) cap.Capability {
	c := cap.Capability{Object: x.plain, Type: abi.TypeBlob, Rights: 0}
	if x.endpoint != nil {
		c.Object = x.endpoint
	}
	if fix {
		c.Rights = fixed
	}
	return c
}

// call is one call of a thread.
type call struct {
	t       *thread
	send    bool
	only    bool // Wait
	wait    bool
	bad     bool // the address is
	size    int  // of the message, or the room
	fill    byte
	via     *thing
	box     *modelBox
	handles []abi.Handle

	result chan abi.Errno // of the real call
	info   Info
	id     MessageID

	waited bool // it was under way at a rest
	done   bool // in the model
	want   abi.Errno
	gives  *modelMessage
	from   ID // of a departure
}

type modelMessage struct {
	from  ID
	id    MessageID // 0: queued in this step, the real number is not known
	size  int
	fill  byte
	moved []*thing
	by    *call
}

type modelBox struct {
	proc      int
	real      *Mailbox
	open      bool
	stopped   bool
	bytes     int
	last      MessageID
	queue     []*modelMessage
	gone      []departure
	behind    []int // for each of gone: how many of the queue come before
	senders   []*call
	receivers []*call
}

type process struct {
	id          ID
	incarnation int
	port        Port
	quota       *Quota
	table       *fakeTable
	has         map[abi.Handle]*thing
	fixed       map[abi.Handle]bool
	box         *modelBox
	threads     [threadsOf]*thread
	dying       chan struct{}
}

type thread struct {
	proc int
	mem  *fakeMemory
	*Caller
	parker *parker
	call   *call
}

type world struct {
	procs  [processes]*process
	pool   *Pool
	nextID ID
	things []*thing
	calls  []*call        // under way
	stand  uint32         // stand-ins given out
	seen   map[string]int // what has happened, for the test of the test
}

func newWorld() *world {
	w := &world{pool: NewPool(8), seen: map[string]int{}}
	for i := range w.procs {
		w.procs[i] = &process{quota: NewQuota(boxQuota)}
	}
	for i := range w.procs {
		w.boot(i)
	}
	return w
}

// boot starts a process: a mailbox, two endpoints to each process and some objects.
func (w *world) boot(i int) {
	p := w.procs[i]
	w.nextID++
	p.id = w.nextID
	p.incarnation++
	p.dying = make(chan struct{})
	p.table, p.has, p.fixed = &fakeTable{}, map[abi.Handle]*thing{}, map[abi.Handle]bool{}
	b, e := p.port.Open(boxLimits, p.quota, w.pool)
	if e != 0 {
		panic(e)
	}
	p.box = &modelBox{proc: i, real: b, open: true}
	for k := range p.threads {
		t := &thread{proc: i, mem: &fakeMemory{}, parker: newParker()}
		t.parker.dying = p.dying
		t.Caller = &Caller{ID: p.id, Memory: t.mem, Table: p.table, Waiter: t.parker}
		p.threads[k] = t
	}
	for to := range w.procs {
		w.grant(p, &thing{endpoint: w.procs[to].port.Endpoint(p.id), to: to, holder: p.id}, false)
	}
	for k := range 4 {
		w.grant(p, &thing{plain: &object{name: len(w.things)}}, k == 0)
	}
}

func (w *world) grant(p *process, x *thing, fix bool) {
	if h := p.table.insert(x.capability(fix)); h != 0 {
		p.has[h] = x
		p.fixed[h] = fix
		w.things = append(w.things, x)
	}
}

// kill ends a process as the kernel does: its threads, its mailbox, its handles.
func (w *world) kill(i int) {
	p := w.procs[i]
	close(p.dying)
	var left []*modelBox
	for _, t := range p.threads {
		if t.call != nil {
			t.call.box.forget(t.call)
			t.call.end(abi.Canceled)
			left = append(left, t.call.box)
		}
	}
	for _, b := range left {
		w.settle(b)
	}
	w.rest()
	p.box.real.Close()
	b := p.box
	b.open = false
	dropped := b.queue
	b.queue, b.bytes, b.gone, b.behind = nil, 0, nil, nil
	for _, c := range b.senders {
		c.end(abi.Pipe)
	}
	b.senders = nil
	for _, m := range dropped {
		for _, x := range m.moved {
			w.close(x)
		}
	}
	for k := range p.table.slots {
		h := abi.MakeHandle(uint32(k), p.table.slots[k].generation)
		if x := p.has[h]; x != nil {
			w.close(x)
		}
	}
	p.has = nil
	p.table.closeAll()
}

// close ends a thing in the model.
func (w *world) close(x *thing) {
	x.closed = true
	if x.endpoint == nil {
		return
	}
	b := w.procs[x.to].box
	if !b.open {
		return
	}
	if len(b.gone) == 16 {
		b.gone[15], b.behind[15] = departure{who: 0}, len(b.queue)
	} else {
		b.gone, b.behind = append(b.gone, departure{who: x.holder}), append(b.behind, len(b.queue))
	}
	b.senders = slices.DeleteFunc(b.senders, func(c *call) bool {
		if c.via != x {
			return false
		}
		c.end(abi.BadHandle)
		return true
	})
	w.settle(b)
}

func (c *call) end(e abi.Errno) { c.done, c.want = true, e }

// giveUp takes a call that waits out of its queue.
func (w *world) giveUp(c *call, e abi.Errno) {
	c.box.forget(c)
	c.end(e)
	w.settle(c.box)
}

func (b *modelBox) forget(c *call) {
	is := func(x *call) bool { return x == c }
	b.senders = slices.DeleteFunc(b.senders, is)
	b.receivers = slices.DeleteFunc(b.receivers, is)
}

// start begins a call on the package.
func (w *world) start(c *call) {
	c.result = make(chan abi.Errno, 1)
	c.t.call = c
	w.calls = append(w.calls, c)
	at := uint64(dataAt)
	if c.bad {
		at = badAt
	}
	// The process may be another one by the time that the call runs.
	e, b := (*Endpoint)(nil), c.box.real
	if c.send {
		e = c.via.endpoint
		for i := range c.t.mem.data {
			c.t.mem.data[i] = c.fill
		}
		for i, h := range c.handles[:min(len(c.handles), MaxHandles)] {
			for k := range 8 {
				c.t.mem.handles[8*i+k] = byte(h >> (8 * k))
			}
		}
	}
	go func() {
		var errno abi.Errno
		switch {
		case c.send:
			c.id, errno = e.Send(c.t.Caller, Outgoing{at, uint64(c.size), handlesAt, uint64(len(c.handles))}, c.wait)
		case c.only:
			errno = b.Wait(c.t.Caller, true)
		default:
			c.info, errno = b.Receive(c.t.Caller, Incoming{at, uint64(c.size), infoAt, InfoSize}, c.wait)
		}
		c.result <- errno
	}()
}

// doSend is Send in the model.
func (w *world) doSend(c *call) {
	x, b := c.via, c.box
	switch {
	case c.size > MaxMessage || len(c.handles) > MaxHandles:
		c.end(abi.MessageSize)
		return
	case !b.open:
		c.end(abi.Pipe)
		return
	}
	if n := w.procs[x.to].incarnation; x.seen != n {
		before := x.seen
		x.seen = n
		if before != 0 {
			c.end(abi.Pipe)
			return
		}
	}
	if len(b.senders) > 0 || !b.room(c.size) {
		if !c.wait || b.stopped {
			c.end(abi.Again)
			return
		}
		b.senders = append(b.senders, c)
		return
	}
	w.accept(c)
	w.settle(b)
}

func modelCost(n int) int {
	if n <= 64 {
		return 0
	}
	return (n + 4095) / 4096 * 4096
}

func (b *modelBox) room(n int) bool {
	if len(b.queue) == boxLimits.Messages || b.bytes+modelCost(n) > boxLimits.Bytes {
		return false
	}
	return b.bytes == 0 || b.bytes+modelCost(n) <= boxQuota-boxLimits.Cost()
}

// accept is for a message that has room.
func (w *world) accept(c *call) {
	p := w.procs[c.t.proc]
	if modelCost(c.size) > boxQuota-boxLimits.Cost() {
		c.end(abi.NoMemory)
		return
	}
	if c.bad && c.size > 0 {
		c.end(abi.Fault)
		return
	}
	for i, h := range c.handles {
		switch {
		case p.has[h] == nil || slices.Contains(c.handles[:i], h):
			c.end(abi.BadHandle)
			return
		case p.fixed[h]:
			c.end(abi.Denied)
			return
		}
	}
	m := &modelMessage{from: p.id, size: c.size, fill: c.fill, by: c}
	for _, h := range c.handles {
		m.moved = append(m.moved, p.has[h])
		delete(p.has, h)
	}
	c.box.queue = append(c.box.queue, m)
	c.box.bytes += modelCost(c.size)
	c.end(0)
}

// settle lets everybody go on who can.
func (w *world) settle(b *modelBox) {
	for {
		switch {
		case len(b.senders) > 0 && (b.stopped || b.room(b.senders[0].size)):
			c := b.senders[0]
			b.senders = b.senders[1:]
			if b.stopped {
				c.end(abi.Again)
			} else {
				w.accept(c)
			}
		case len(b.receivers) > 0 && len(b.queue)+len(b.gone) > 0:
			c := b.receivers[0]
			b.receivers = b.receivers[1:]
			w.deliver(c)
		default:
			return
		}
	}
}

// deliver gives a receiver what is next. Preconditions: there is something.
func (w *world) deliver(c *call) {
	b, p := c.box, w.procs[c.t.proc]
	if c.only {
		c.end(0)
		return
	}
	if len(b.gone) > 0 && b.behind[0] == 0 {
		c.from = b.gone[0].who
		b.gone, b.behind = b.gone[1:], b.behind[1:]
		c.end(abi.Pipe)
		return
	}
	m := b.queue[0]
	switch {
	case m.size > c.size:
		c.gives = m
		c.end(abi.MessageSize)
	case len(p.has)+len(m.moved) > len(p.table.slots):
		c.end(abi.TooManyFiles)
	case c.bad && m.size > 0:
		c.end(abi.Fault)
	default:
		b.queue = b.queue[1:]
		b.bytes -= modelCost(m.size)
		for i := range b.behind {
			b.behind[i] = max(0, b.behind[i]-1)
		}
		for _, x := range m.moved {
			x.holder = p.id
		}
		c.gives = m
		c.end(0)
		// Its handles are known when the real call has ended; nothing else in
		// this step asks for them, but the table must be as full.
		for _, x := range m.moved {
			w.stand++
			p.has[abi.MakeHandle(standIn, w.stand)] = x
		}
	}
}

func (w *world) doReceive(c *call) {
	b := c.box
	switch {
	case len(b.queue)+len(b.gone) > 0:
		w.deliver(c)
		w.settle(b)
	case !c.wait:
		c.end(abi.Again)
	default:
		b.receivers = append(b.receivers, c)
	}
}

// rest waits until nothing moves, and compares.
func (w *world) rest() {
	synctest.Wait()
	var still []*call
	admitted := map[*modelBox][]*call{}
	for _, c := range w.calls {
		if over := len(c.result) > 0; over != c.done {
			panic(fmt.Sprintf("%v: over %v, in the model %v", c, over, c.done))
		}
		if !c.done {
			c.waited = true
			still = append(still, c)
			continue
		}
		c.t.call = nil
		w.count(c)
		if got := <-c.result; got != c.want {
			panic(fmt.Sprintf("%v: %v, in the model %v", c, got, c.want))
		}
		if c.send && c.want == 0 {
			admitted[c.box] = append(admitted[c.box], c)
		}
	}
	// Several that were let in at once may have come in any order, but got
	// consecutive numbers.
	for b, cs := range admitted {
		slices.SortFunc(cs, func(x, y *call) int { return int(x.id) - int(y.id) })
		for _, c := range cs {
			b.last++
			if c.id != b.last {
				panic(fmt.Sprintf("%v got number %d, want %d", c, c.id, b.last))
			}
		}
		for _, m := range b.queue {
			if m.id == 0 {
				m.id = m.by.id
			}
		}
		slices.SortStableFunc(b.queue, func(x, y *modelMessage) int { return int(x.id) - int(y.id) })
	}
	for _, c := range w.calls {
		if c.done && !c.send && !c.only {
			w.received(c)
		}
	}
	w.calls = still
	w.check()
}

// count notes what a call was and how it ended.
func (w *world) count(c *call) {
	kind := "receive"
	switch {
	case c.send && len(c.handles) > 0:
		kind = "send with handles"
	case c.send:
		kind = "send"
	case c.only:
		kind = "wait"
	case c.want == 0 && c.gives.moved != nil:
		kind = "receive with handles"
	}
	if c.waited {
		kind += ", having waited"
	}
	w.seen[fmt.Sprintf("%s: %d", kind, c.want)]++
}

// received compares what a receiver got.
func (w *world) received(c *call) {
	var want Info
	p := w.procs[c.t.proc]
	m := c.gives
	switch {
	case c.want == abi.Pipe:
		want = Info{From: c.from}
	case m != nil:
		id := m.id
		if id == 0 {
			id = m.by.id
		}
		want = Info{m.from, id, m.size, len(m.moved)}
		if c.want != 0 {
			want.Handles = 0
		}
	}
	if c.info != want {
		panic(fmt.Sprintf("%v: %+v, want %+v", c, c.info, want))
	}
	if c.want != 0 {
		return
	}
	for i, b := range c.t.mem.data[:m.size] {
		if b != m.fill {
			panic(fmt.Sprintf("%v: byte %d is %d, want %d", c, i, b, m.fill))
		}
	}
	for h := range p.has {
		if h.Index() == standIn && slices.Contains(m.moved, p.has[h]) {
			delete(p.has, h)
		}
	}
	q := peer{mem: c.t.mem}
	for i, h := range q.received(c.info) {
		p.has[h] = m.moved[i]
	}
}

// check holds the package's state to its invariants and to the model.
func (w *world) check() {
	for _, x := range w.things {
		x.where = ""
	}
	at := func(c cap.Capability, where string) {
		for _, x := range w.things {
			if c.Object == x.capability(false).Object {
				if x.where != "" {
					panic(fmt.Sprintf("a handle is in two places: %s and %s", x.where, where))
				}
				x.where = where
			}
		}
	}
	for i, p := range w.procs {
		n := 0
		for k := range p.table.slots {
			s := &p.table.slots[k]
			if s.reserved {
				panic("a reserved handle was forgotten")
			}
			if s.used {
				n++
				h := abi.MakeHandle(uint32(k), s.generation)
				x := p.has[h]
				if x == nil || x.capability(false).Object != s.c.Object {
					panic(fmt.Sprintf("process %d has handle %#x, the model has not", i, h))
				}
				at(s.c, fmt.Sprintf("table %d", i))
			}
		}
		if n != len(p.has) {
			panic(fmt.Sprintf("process %d has %d handles, in the model %d", i, n, len(p.has)))
		}
		m, b := p.box, p.box.real
		bytes, queued, free := 0, 0, 0
		for s := b.queue.head; s != nil; s = s.next {
			if queued >= len(m.queue) || s.id != m.queue[queued].id || s.from != m.queue[queued].from || s.size != m.queue[queued].size {
				panic(fmt.Sprintf("mailbox %d: message %d is not the model's", i, s.id))
			}
			queued++
			bytes += cost(s.size)
			for _, c := range s.moved[:s.caps] {
				at(c, fmt.Sprintf("message %d of mailbox %d", s.id, i))
			}
		}
		for s := b.free; s != nil; s = s.next {
			free++
		}
		charged := 0
		if m.open {
			charged = boxLimits.Cost()
		}
		if queued != len(m.queue) || bytes != m.bytes || b.bytes != bytes || p.quota.Used() != bytes+charged {
			panic(fmt.Sprintf("mailbox %d: %d messages and %d bytes queued, %d and %d charged; in the model %d and %d",
				i, queued, bytes, b.bytes, p.quota.Used()-charged, len(m.queue), m.bytes))
		}
		if m.open && free+queued != boxLimits.Messages {
			panic(fmt.Sprintf("mailbox %d: %d slots free, %d queued", i, free, queued))
		}
		for _, q := range []struct {
			real  *waitQueue
			model []*call
		}{{&b.senders, m.senders}, {&b.receivers, m.receivers}} {
			c := q.real.head
			for _, want := range q.model {
				if c != want.t.Caller {
					panic(fmt.Sprintf("mailbox %d: another order of those that wait", i))
				}
				c = c.next
			}
			if c != nil {
				panic(fmt.Sprintf("mailbox %d: somebody waits who should not", i))
			}
		}
	}
	for i, x := range w.things {
		closed := 0
		if x.plain != nil {
			closed = x.plain.closed
		} else if x.endpoint.closed.Load() {
			closed = 1
		}
		if (closed == 1) != x.closed || closed > 1 || (x.where == "") != x.closed {
			panic(fmt.Sprintf("thing %d was closed %d times, in the model %v, and is in %q", i, closed, x.closed, x.where))
		}
	}
}

// handleCounts are how many handles a message carries; nine are too many, and of
// eight one may be named twice or be none.
var handleCounts = [16]int{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 8, 9}

var sizes = []int{0, 1, 64, 65, 4096, 4097, 3*4096 + 1, MaxMessage, MaxMessage + 1}

// step does what six bytes say.
func (w *world) step(op []byte) {
	i := int(op[1]) % processes
	p := w.procs[i]
	t := p.threads[int(op[1])/processes%threadsOf]
	if !p.box.open && op[0]%16 != 12 {
		return
	}
	switch op[0] % 16 {
	case 0, 1, 2, 3, 4: // send
		var endpoints []*thing
		for k := range p.table.slots {
			if x := p.has[abi.MakeHandle(uint32(k), p.table.slots[k].generation)]; x != nil && x.endpoint != nil {
				endpoints = append(endpoints, x)
			}
		}
		if t.call != nil || len(endpoints) == 0 {
			return
		}
		c := &call{t: t, send: true, wait: op[0]%16 < 3, bad: op[5]%16 == 15, size: sizes[int(op[3])%len(sizes)], fill: op[4]}
		c.via = endpoints[int(op[2])%len(endpoints)]
		c.box = w.procs[c.via.to].box
		for k := range handleCounts[op[5]/16] {
			slot := (int(op[4]) + k) % len(p.table.slots)
			c.handles = append(c.handles, abi.MakeHandle(uint32(slot), p.table.slots[slot].generation))
		}
		for _, o := range p.threads { // which of two that wait gets a handle is not determined
			if o.call != nil && slices.ContainsFunc(o.call.handles, func(h abi.Handle) bool { return slices.Contains(c.handles, h) }) {
				c.handles = nil
			}
		}
		w.doSend(c)
		w.start(c)
	case 5, 6, 7, 8: // receive
		if t.call != nil {
			return
		}
		c := &call{t: t, box: p.box, wait: op[0]%2 == 0, size: sizes[int(op[3])%len(sizes)], fill: op[4]}
		if op[2]%4 > 0 {
			c.size = MaxMessage
		}
		c.bad = !c.wait && op[5]%8 == 7
		w.doReceive(c)
		w.start(c)
	case 9: // wait
		if t.call != nil {
			return
		}
		c := &call{t: t, box: p.box, only: true, wait: true}
		w.doReceive(c)
		w.start(c)
	case 10: // give up
		if t.call == nil {
			return
		}
		t.parker.end <- abi.TimedOut
		w.giveUp(t.call, abi.TimedOut)
	case 11: // die
		w.kill(i)
	case 12:
		if !p.box.open {
			w.boot(i)
		}
	case 13: // close a handle
		k := int(op[2]) % len(p.table.slots)
		h := abi.MakeHandle(uint32(k), p.table.slots[k].generation)
		if x := p.has[h]; x != nil {
			delete(p.has, h)
			p.table.close(h)
			w.close(x)
		}
	case 14: // be stopped
		p.box.stopped = true
		p.box.real.Stop()
		w.settle(p.box)
	case 15: // go on
		p.box.stopped = false
		p.box.real.Resume()
	}
	w.rest()
}

// drive runs operations, ends every process, and returns what went wrong.
func drive(t *testing.T, code []byte) (seen map[string]int, failed any) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		n := 0
		defer func() {
			if failed = recover(); failed != nil {
				failed = fmt.Sprintf("operation %d: %v", n, failed)
				for _, p := range w.procs { // nobody may be left in the bubble
					p.box.real.Close()
					for _, t := range p.threads {
						select {
						case t.parker.end <- abi.Canceled:
						default:
						}
					}
				}
			}
		}()
		w = newWorld()
		seen = w.seen
		w.rest()
		for ; len(code) >= 6; code = code[6:] {
			w.step(code[:6])
			n++
		}
		for i, p := range w.procs {
			if p.box.open {
				w.kill(i)
				w.rest()
			}
		}
		for i, x := range w.things {
			if !x.closed {
				panic(fmt.Sprintf("thing %d is open when all have ended", i))
			}
		}
		for i, p := range w.procs {
			if p.quota.Used() != 0 {
				panic(fmt.Sprintf("%d bytes charged to process %d when all have ended", p.quota.Used(), i))
			}
		}
		if len(w.calls) != 0 {
			panic("a call is under way when all have ended")
		}
	})
	return seen, failed
}

// opcode picks what to do, by weight, from the values of step's switch.
var opcodes = slices.Concat(
	bytes.Repeat([]byte{0}, 30), bytes.Repeat([]byte{3}, 20), // send, waiting and not
	bytes.Repeat([]byte{6}, 7), bytes.Repeat([]byte{5}, 10), // receive, waiting and not
	[]byte{9, 9, 10, 10, 10, 11, 12, 12, 13, 14, 15, 15})

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var code []byte
		for range rapid.IntRange(1, 200).Draw(r, "operations") {
			code = append(code, rapid.SampledFrom(opcodes).Draw(r, "what"), byte(rapid.IntRange(0, processes*threadsOf-1).Draw(r, "thread")),
				byte(rapid.IntRange(0, 11).Draw(r, "object")), byte(rapid.IntRange(0, len(sizes)-1).Draw(r, "size")),
				rapid.Byte().Draw(r, "fill"), byte(rapid.IntRange(0, 255).Draw(r, "handles")))
		}
		if _, failed := drive(t, code); failed != nil {
			r.Fatal(failed)
		}
	})
}

// The same from a fixed seed, and long; every way in which a call can end must
// have come up, so that the comparison is worth something.
func TestLongRuns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	all := map[string]int{}
	for range 30 {
		var code []byte
		for range 400 {
			code = append(code, opcodes[random.IntN(len(opcodes))])
			for range 5 {
				code = append(code, byte(random.Uint32()))
			}
		}
		seen, failed := drive(t, code)
		if failed != nil {
			t.Fatal(failed)
		}
		for k, n := range seen {
			all[k] += n
		}
	}
	for kind, errors := range map[string][]abi.Errno{
		"send":                             {0, abi.MessageSize, abi.Pipe, abi.Again, abi.Fault, abi.NoMemory},
		"send, having waited":              {0, abi.Again, abi.Pipe, abi.TimedOut, abi.Canceled, abi.BadHandle},
		"send with handles":                {0, abi.BadHandle, abi.Denied, abi.MessageSize, abi.Pipe, abi.Again},
		"send with handles, having waited": {0, abi.BadHandle, abi.Denied, abi.Pipe, abi.TimedOut, abi.Canceled},
		"receive":                          {0, abi.Again, abi.MessageSize, abi.Pipe, abi.Fault, abi.TooManyFiles},
		"receive, having waited":           {0, abi.Pipe, abi.MessageSize, abi.TimedOut, abi.Canceled},
		"receive with handles":             {0},
		"wait":                             {0},
		"wait, having waited":              {0, abi.TimedOut, abi.Canceled},
	} {
		for _, e := range errors {
			if k := fmt.Sprintf("%s: %d", kind, e); all[k] == 0 {
				t.Errorf("never seen: %s (%v)", k, e)
			}
		}
	}
	if t.Failed() {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			t.Log(k, all[k])
		}
	}
}

func FuzzOperations(f *testing.F) {
	seed := make([]byte, 6*100)
	for i := range seed {
		seed[i] = byte(i * i * 31 >> 2)
	}
	f.Add(seed)
	f.Add([]byte("\x00\x00\x00\x07\x01\x80\x00\x03\x00\x07\x02\x00\x05\x01\x01\x00\x00\x00\x0b\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 6*200 {
			return
		}
		if _, failed := drive(t, code); failed != nil {
			t.Fatal(failed)
		}
	})
}

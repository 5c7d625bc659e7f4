package cap

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aios/kernel/abi"

	"pgregory.net/rapid"
)

// The rules of docs/capability-model.md, in the plainest way: every capability that there
// ever was points to what it hangs from, and nothing is ever taken out.
type model struct {
	t      errorer
	tables [3]Table
	gates  [2]*Gate // of tables 0 and 1; table 2 is a service's
	lease  Lease
	now    time.Duration

	number, epoch uint64 // of the lease
	leaseUntil    time.Duration
	tokens        [2]token
	all           []*modelCap
}

type errorer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// token is what a gate is to say.
type token struct {
	number, epoch, loan uint64
	until               time.Duration
	shut                bool
}

// modelCap is a capability, and what the kernel calls it.
type modelCap struct {
	parent *modelCap
	typ    abi.Type
	rights abi.Rights
	via    map[int]uint64 // gates that it came through, with their loan
	object *ended         // nil: the object is not told

	where  int // table, or one of the two below
	handle abi.Handle
	moving Capability
	killed bool // while it was in flight
}

const (
	flight = -1
	over   = -2
)

// ended is an object with one handle, that counts how often it is told.
type ended struct {
	n    atomic.Int32
	last **ended
}

func (e *ended) HandleClosed() { e.n.Add(1) }

func (e *ended) Derive() any {
	d := &ended{last: e.last}
	*e.last = d
	return d
}

const longAgo = 1 << 40

func newModel(t errorer) *model {
	m := &model{t: t, number: 1, leaseUntil: longAgo}
	m.lease.Begin(longAgo)
	for i := range m.gates {
		m.gates[i] = m.lease.Gate(Terms{Until: longAgo, Messages: 1 << 30, Bytes: 1 << 30})
		m.tables[i].Hang(m.gates[i], nil)
		m.tokens[i] = token{number: 1, until: longAgo}
	}
	return m
}

// closedGate tells whether gate i lets nothing through.
func (m *model) closedGate(i int) bool {
	t := m.tokens[i]
	return t.shut || t.number != m.number || m.now >= m.leaseUntil || m.now >= t.until || t.epoch < m.epoch
}

// lapsed tells whether c may not be used where it is.
func (m *model) lapsed(c *modelCap) bool {
	if c.where < len(m.gates) && m.closedGate(c.where) {
		return true
	}
	for i, loan := range c.via {
		if m.closedGate(i) || loan != m.tokens[i].loan {
			return true
		}
	}
	return false
}

func (c *modelCap) under(a *modelCap) bool {
	for c = c.parent; c != nil; c = c.parent {
		if c == a {
			return true
		}
	}
	return false
}

func (c *modelCap) depth() (n int) {
	for ; c.parent != nil; c = c.parent {
		n++
	}
	return n
}

// end is what revocation does to c.
func (c *modelCap) end() {
	if c.where == flight {
		c.killed = true
		return
	}
	c.where = over
}

// revoke ends what hangs from a and says how many those were.
func (m *model) revoke(a *modelCap) (n int) {
	for _, c := range m.all {
		if c.where != over && !c.killed && c.under(a) {
			c.end()
			n++
		}
	}
	return n
}

var modelRights = []abi.Rights{abi.RightRead, abi.RightWrite, abi.RightInvoke, abi.RightTransfer}

// some chooses rights.
func some(choose func(int) int) (r abi.Rights) {
	bits := choose(1 << len(modelRights))
	for i, x := range modelRights {
		if bits>>i&1 != 0 {
			r |= x
		}
	}
	return r
}

// step does one thing that choose chooses, to the tables and to the model, and compares.
func (m *model) step(choose func(int) int) {
	m.t.Helper()
	what := choose(16)
	var c *modelCap
	if len(m.all) > 0 {
		c = m.all[choose(len(m.all))]
	}
	switch {
	case what == 0 || c == nil:
		if len(m.all) < Capacity/2 {
			m.insert(choose)
		}
	case what <= 7 && c.where == flight:
		m.arrive(c, choose)
	case what <= 4:
		if len(m.all) < Capacity/2 && c.depth() < MaxDepth-2 {
			m.grow(c, what == 4, some(choose))
		}
	case what <= 7:
		m.take(c)
	case what <= 9:
		m.close(c)
	case what <= 12:
		m.revokeBoth(c)
	case what == 13 && choose(4) == 0:
		m.closeAll(choose(len(m.tables)))
	default:
		m.authority(choose)
	}
	m.compare()
}

func (m *model) insert(choose func(int) int) {
	i, c := choose(len(m.tables)), &modelCap{typ: abi.TypeBlob, rights: some(choose)}
	object := any("blob")
	if choose(2) == 0 {
		c.object, c.typ = &ended{last: new(*ended)}, abi.TypeEndpoint
		object = c.object
	}
	h, err := m.tables[i].Insert(object, c.typ, c.rights)
	if err != nil {
		m.t.Fatalf("insert: %v", err)
	}
	c.where, c.handle = i, h
	m.all = append(m.all, c)
}

// table is where c is, or was.
func (m *model) table(c *modelCap) *Table { return &m.tables[max(c.where, 0)] }

// refused is what a call on c, in the table where it is, gives before it does anything.
func (m *model) refused(c *modelCap) abi.Errno {
	switch {
	case c.where < 0:
		return abi.BadHandle
	case m.lapsed(c):
		return abi.Lapsed
	}
	return 0
}

// grow derives from c, or copies it.
func (m *model) grow(c *modelCap, copies bool, rights abi.Rights) {
	if c.where == over {
		return
	}
	want := m.refused(c)
	if want == 0 && !copies && rights&^c.rights != 0 {
		want = abi.Denied
	}
	if copies {
		rights = c.rights
	}
	tab := m.table(c)
	var h abi.Handle
	var e abi.Errno
	if copies {
		h, e = tab.Copy(c.handle, m.now)
	} else {
		h, e = tab.Derive(c.handle, rights, m.now)
	}
	if e != want {
		m.t.Fatalf("derive or copy (%v) of %#x: %v, want %v", copies, c.handle, e, want)
	}
	if e != 0 {
		return
	}
	child := &modelCap{parent: c, typ: c.typ, rights: rights, where: c.where, handle: h, via: c.via}
	if copies {
		child.parent = c.parent
	}
	if c.object != nil {
		child.object = *c.object.last
	}
	m.all = append(m.all, child)
}

func (m *model) take(c *modelCap) {
	if c.where < 0 {
		return
	}
	want := abi.Errno(0)
	if c.rights&abi.RightTransfer == 0 {
		want = abi.Denied
	}
	var into [1]Capability
	if e := m.table(c).Take([]abi.Handle{c.handle}, into[:]); e != want {
		m.t.Fatalf("take: %v, want %v", e, want)
	}
	if want != 0 {
		return
	}
	if i := c.where; i < len(m.gates) {
		via := map[int]uint64{i: m.tokens[i].loan}
		for j, loan := range c.via {
			via[j] = loan
		}
		c.via = via
	}
	c.where, c.moving = flight, into[0]
}

// arrive receives c in some table, or drops it.
func (m *model) arrive(c *modelCap, choose func(int) int) {
	i := choose(len(m.tables) + 1)
	if i == len(m.tables) {
		c.moving.Drop()
		c.where = over
		return
	}
	var h [1]abi.Handle
	if !m.tables[i].Reserve(h[:]) {
		m.t.Fatalf("no room")
	}
	if choose(4) == 0 { // what Receive does when it cannot write
		m.tables[i].Release(h[:])
		return
	}
	m.tables[i].Fill(h[0], c.moving)
	c.where, c.handle, c.moving = i, h[0], Capability{}
	if !c.killed {
		return
	}
	c.where = over
	for i := range m.tables {
		if e := m.tables[i].Check(c.handle, abi.TypeNone, 0, m.now); e == 0 && !m.holds(i, c.handle) {
			m.t.Fatalf("what was revoked on its way is handle %#x of table %d", c.handle, i)
		}
	}
}

// holds tells whether something that lives has this handle.
func (m *model) holds(i int, h abi.Handle) bool {
	return slices.ContainsFunc(m.all, func(c *modelCap) bool { return c.where == i && c.handle == h })
}

func (m *model) close(c *modelCap) {
	if c.where < 0 {
		return
	}
	if !m.table(c).Close(c.handle) || m.table(c).Close(c.handle) {
		m.t.Fatalf("%#x closes exactly once", c.handle)
	}
	c.where = over
}

func (m *model) revokeBoth(c *modelCap) {
	if c.where < 0 {
		return
	}
	want, count := m.refused(c), 0
	if want == 0 {
		count = m.revoke(c)
	}
	if n, e := m.table(c).Revoke(c.handle, m.now); e != want || n != count {
		m.t.Fatalf("revoke of %#x: %d, %v, want %d, %v", c.handle, n, e, count, want)
	}
}

func (m *model) closeAll(i int) {
	var list []*modelCap
	for _, c := range m.all {
		if c.where == i {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *modelCap) int { return int(a.handle.Index()) - int(b.handle.Index()) })
	want := 0
	for _, c := range list {
		if c.where == i {
			m.revoke(c)
			c.where = over
			want++
		}
	}
	if n := m.tables[i].CloseAll(); n != want {
		m.t.Fatalf("table %d closed %d handles, want %d", i, n, want)
	}
}

// authority is what the verifier, and time, do.
func (m *model) authority(choose func(int) int) {
	i := choose(len(m.gates))
	switch g, t := m.gates[i], &m.tokens[i]; choose(12) {
	case 0:
		g.Shut()
		t.shut = true
	case 1, 2:
		g.Recall()
		t.loan++
	case 3:
		m.epoch++
		m.lease.Epoch(m.epoch)
	case 4, 5, 6, 7:
		t.epoch, t.until = m.epoch, m.now+time.Duration(1+choose(8))
		g.Move(Terms{Until: t.until, Epoch: t.epoch, Messages: 1 << 30, Bytes: 1 << 30})
	case 8:
		m.leaseUntil = 0
		m.lease.End()
	case 9:
		m.leaseUntil = m.now + 10
		m.lease.Renew(m.leaseUntil)
	case 10:
		if choose(4) == 0 {
			m.number++
			m.leaseUntil = longAgo
			m.lease.Begin(longAgo)
		}
	default:
		m.now++
	}
}

// compare asks the kernel about everything that there ever was.
func (m *model) compare() {
	m.t.Helper()
	for _, c := range m.all {
		if c.where >= 0 {
			for _, r := range append([]abi.Rights{0}, modelRights...) {
				want := abi.Errno(0)
				if c.rights&r != r {
					want = abi.Denied
				} else if m.lapsed(c) {
					want = abi.Lapsed
				}
				tab := m.table(c)
				_, pin, e := tab.Enter(c.handle, c.typ, r, m.now)
				pin.Leave()
				if check := tab.Check(c.handle, c.typ, r, m.now); e != want || check != want {
					m.t.Fatalf("%#x in table %d, right %#x: %v and %v, want %v", c.handle, c.where, r, e, check, want)
				}
			}
			for a := c.parent; a != nil; a = a.parent {
				if c.rights&^a.rights != 0 {
					m.t.Fatalf("%#x has rights %#x that its ancestor had not: %#x", c.handle, c.rights, a.rights)
				}
			}
		} else if c.where == over {
			for i := range m.tables {
				if m.tables[i].Check(c.handle, abi.TypeNone, 0, 0) == 0 && !m.holds(i, c.handle) {
					m.t.Fatalf("%#x is over, and table %d takes it", c.handle, i)
				}
			}
		}
		if c.object == nil {
			continue
		}
		want := int32(0)
		if c.where == over || c.killed {
			want = 1
		}
		if n := c.object.n.Load(); n != want {
			m.t.Fatalf("the object of %#x was told %d times, want %d", c.handle, n, want)
		}
	}
}

// finish ends everything, after which nothing is left.
func (m *model) finish() {
	for _, c := range m.all {
		if c.where == flight {
			c.moving.Drop()
			c.where = over
		}
	}
	for i := range m.tables {
		m.closeAll(i)
	}
	m.compare()
	for i := range m.tables {
		tab := &m.tables[i]
		if len(tab.free) != tab.used {
			m.t.Fatalf("table %d: %d of %d slots are free", i, len(tab.free), tab.used)
		}
	}
}

// Whatever is derived, copied, moved, closed and revoked in whichever order, the tables
// say what the rules say.
func TestTreeAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		choice := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			m.step(choice)
		}
		m.finish()
	})
}

// FuzzHandles does the same with choices that the fuzzer makes.
func FuzzHandles(f *testing.F) {
	f.Add([]byte("a0001 derive, copy and move about, then revoke what there is"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		m := newModel(t)
		choose := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		}
		for steps := 0; len(choices) > 0 && steps < 200; steps++ {
			m.step(choose)
		}
		m.finish()
	})
}

// shared is a capability that several threads know of.
type shared struct {
	tab             *Table
	handle          abi.Handle
	above           []*shared
	known           []uint64 // revocations of each above that had begun when it was there
	begun, returned atomic.Uint64
}

// over tells whether s may not be used: a revocation of what it hangs from, which
// began when s was there, has returned.
func (s *shared) over() bool {
	for i, a := range s.above {
		if a.returned.Load() > s.known[i] {
			return true
		}
	}
	return false
}

// Threads do all that can be done to handles that they share. No use begins or goes on
// after a revocation of what the handle hangs from has returned.
func TestTreeConcurrently(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		var tables [3]Table
		var mu sync.Mutex
		var pool []*shared
		add := func(s *shared) {
			mu.Lock()
			defer mu.Unlock()
			pool = append(pool, s)
		}
		for range 2 {
			h, _ := tables[0].Insert("blob", abi.TypeBlob, allOf)
			add(&shared{tab: &tables[0], handle: h})
		}
		// below is s's child, or sibling, or s itself in another table.
		below := func(tab *Table, h abi.Handle, above []*shared) {
			c := &shared{tab: tab, handle: h, above: above, known: make([]uint64, len(above))}
			for i, a := range above {
				c.known[i] = a.begun.Load() // those that begin now find it
			}
			add(c)
		}
		var wrong atomic.Pointer[string]
		fail := func(s string) { wrong.Store(&s) }
		var wg sync.WaitGroup
		for w := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, w))
				for range 150 {
					mu.Lock()
					s := pool[max(len(pool)-1-r.IntN(min(len(pool), 24)), 0)]
					if r.IntN(8) == 0 {
						s = pool[r.IntN(2)]
					}
					mu.Unlock()
					switch r.IntN(10) {
					case 0, 1:
						if h, e := s.tab.Derive(s.handle, allOf, 0); e == 0 {
							below(s.tab, h, append(slices.Clone(s.above), s))
						}
					case 2:
						if h, e := s.tab.Copy(s.handle, 0); e == 0 {
							below(s.tab, h, s.above)
						}
					case 3, 4:
						var c [1]Capability
						var h [1]abi.Handle
						to := &tables[r.IntN(len(tables))]
						if len(s.above) == 0 || s.tab.Take([]abi.Handle{s.handle}, c[:]) != 0 {
							continue
						}
						if !to.Reserve(h[:]) || r.IntN(6) == 0 {
							c[0].Drop()
							continue
						}
						// It is the same capability: what was known of it stays.
						n := &shared{tab: to, handle: h[0], above: s.above, known: s.known}
						add(n)
						to.Fill(h[0], c[0])
					case 5:
						if len(s.above) > 0 {
							s.tab.Close(s.handle)
						}
					case 6:
						k := s.begun.Add(1)
						if _, e := s.tab.Revoke(s.handle, 0); e != 0 {
							continue
						}
						for was := s.returned.Load(); was < k && !s.returned.CompareAndSwap(was, k); {
							was = s.returned.Load()
						}
					default:
						over := s.over()
						_, pin, e := s.tab.Enter(s.handle, abi.TypeBlob, abi.RightRead, 0)
						if e != 0 {
							continue
						}
						if over {
							fail("it is used after a revocation has returned")
						} else if s.over() {
							fail("a call goes on after a revocation has returned")
						}
						pin.Leave()
					}
				}
			})
		}
		wg.Wait()
		if s := wrong.Load(); s != nil {
			t.Fatal(*s)
		}
		for _, s := range pool[:2] {
			if _, e := tables[0].Revoke(s.handle, 0); e != 0 {
				t.Fatal(e)
			}
		}
		live := 0
		for _, s := range pool {
			if (slices.Contains(s.above, pool[0]) || slices.Contains(s.above, pool[1])) && s.tab.Check(s.handle, abi.TypeBlob, 0, 0) == 0 {
				live++
			}
		}
		if live != 0 {
			t.Fatalf("%d handles live after what they hang from was revoked", live)
		}
	})
}

package ipc

import (
	"aios/kernel/abi"
	"aios/kernel/cap"
)

// slot holds one message. It is free, queued, or belongs to the call that copies
// its message in or out.
type slot struct {
	next  *slot
	id    MessageID
	from  ID
	size  int
	caps  int // of capabilities
	short [Short]byte
	pages [MaxMessage / pageSize]*page
	moved [MaxHandles]cap.Capability
}

// slotBytes is what a slot takes; mailbox_test.go compares it with the type. slotCost
// is what it costs, with what its capabilities take in the derivation tree.
const (
	slotBytes = 552
	slotCost  = slotBytes + MaxHandles*cap.Place
)

// cost is what a message of n bytes is charged beyond its slot.
func cost(n int) int {
	if n <= Short {
		return 0
	}
	return (n + pageSize - 1) &^ (pageSize - 1)
}

func (s *slot) held() []*page { return s.pages[:cost(s.size)/pageSize] }

// copyIn fills the slot from the caller's memory. Preconditions: the slot's
// size is set and charged.
func (s *slot) copyIn(m Memory, at uint64, pool *Pool) abi.Errno {
	if s.size == 0 {
		return 0
	}
	if s.size <= Short {
		return m.CopyIn(at, s.short[:s.size])
	}
	pool.get(s.held())
	return s.each(at, m.CopyIn)
}

// copyOut is the way back.
func (s *slot) copyOut(m Memory, at uint64) abi.Errno {
	if s.size == 0 {
		return 0
	}
	if s.size <= Short {
		return m.CopyOut(at, s.short[:s.size])
	}
	return s.each(at, m.CopyOut)
}

// each calls f for each piece of a message that is not short.
func (s *slot) each(at uint64, f func(at uint64, b []byte) abi.Errno) abi.Errno {
	rest := s.size
	for _, p := range s.held() {
		n := min(rest, pageSize)
		if e := f(at, p[:n]); e != 0 {
			return e
		}
		at, rest = at+uint64(n), rest-n
	}
	return 0
}

// empty gives the pages back, and drops the capabilities that are still there.
// Preconditions: no lock is held, since an object that is dropped may lock
// another mailbox.
func (s *slot) empty(pool *Pool) {
	if p := s.held(); len(p) > 0 && p[0] != nil {
		pool.put(p)
	}
	for i := range s.moved[:s.caps] {
		c := s.moved[i]
		s.moved[i] = cap.Capability{}
		c.Drop()
	}
	s.caps = 0
}

// slotQueue is a list of slots, oldest message first.
type slotQueue struct{ head, tail *slot }

func (q *slotQueue) add(s *slot) {
	s.next = nil
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
}

func (q *slotQueue) take() *slot {
	s := q.head
	q.head = s.next
	if q.head == nil {
		q.tail = nil
	}
	s.next = nil
	return s
}

// putBack queues a message that was taken before where its number says.
func (q *slotQueue) putBack(s *slot) {
	at := &q.head
	for *at != nil && (*at).id < s.id {
		at = &(*at).next
	}
	s.next = *at
	*at = s
	if s.next == nil {
		q.tail = s
	}
}

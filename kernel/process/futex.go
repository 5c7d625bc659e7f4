package process

import (
	"slices"
	"sync"
)

// futexes are the wait queues of one process, by address. Addresses are
// spread over shards, each with its own lock.
type futexes struct {
	shards [16]futexShard
}

type futexShard struct {
	mu     sync.Mutex
	queues map[uint64][]*waiter
}

// waiter is a thread that sleeps in FUTEX_WAIT.
type waiter struct {
	bits  uint32        // of FUTEX_WAIT_BITSET
	woken bool          // taken off the queue by a wake; under the shard's lock
	ch    chan struct{} // yields then
}

func (f *futexes) shard(addr uint64) *futexShard {
	return &f.shards[(addr>>2^addr>>12)%uint64(len(f.shards))]
}

// wait queues a waiter if same, called under the lock, says that the word
// still has the expected value. A wake after that finds the waiter, so none is lost.
func (f *futexes) wait(addr uint64, bits uint32, same func() bool) *waiter {
	s := f.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !same() {
		return nil
	}
	w := &waiter{bits: bits, ch: make(chan struct{}, 1)}
	if s.queues == nil {
		s.queues = map[uint64][]*waiter{}
	}
	s.queues[addr] = append(s.queues[addr], w)
	return w
}

// leave takes w off the queue after a wait that ended some other way. It tells
// whether a wake came first: that wake counts, and must not be lost.
func (f *futexes) leave(addr uint64, w *waiter) (wasWoken bool) {
	s := f.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.woken {
		return true
	}
	q := s.queues[addr]
	s.put(addr, slices.Delete(q, slices.Index(q, w), slices.Index(q, w)+1))
	return false
}

// wake wakes at most n waiters that share a bit with bits, the longest waiting
// first, and returns how many.
func (f *futexes) wake(addr uint64, n int, bits uint32) int {
	s := f.shard(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	count := 0
	q := s.queues[addr]
	rest := q[:0]
	for _, w := range q {
		if count < n && w.bits&bits != 0 {
			w.woken = true
			w.ch <- struct{}{}
			count++
		} else {
			rest = append(rest, w)
		}
	}
	clear(q[len(rest):])
	s.put(addr, rest)
	return count
}

func (s *futexShard) put(addr uint64, q []*waiter) {
	if len(q) == 0 {
		delete(s.queues, addr)
	} else {
		s.queues[addr] = q
	}
}

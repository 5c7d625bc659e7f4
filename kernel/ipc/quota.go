package ipc

import "sync/atomic"

// Quota bounds the bytes that a process's mailboxes hold. The process's own
// quota was charged with the whole before.
type Quota struct {
	limit int64
	used  atomic.Int64
}

// NewQuota makes one of that many bytes.
func NewQuota(limit int) *Quota { return &Quota{limit: int64(limit)} }

// Used tells how many bytes are charged.
func (q *Quota) Used() int { return int(q.used.Load()) }

// charge takes n bytes, or none and says false.
func (q *Quota) charge(n int) bool {
	for {
		u := q.used.Load()
		if u+int64(n) > q.limit {
			return false
		}
		if q.used.CompareAndSwap(u, u+int64(n)) {
			return true
		}
	}
}

func (q *Quota) refund(n int) {
	if q.used.Add(-int64(n)) < 0 {
		panic("ipc: more bytes given back to a quota than were charged")
	}
}

package net

import (
	"os"
	"sync"
	"time"
)

// deadline ends waits at a time that may be moved while they last.
type deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	moves  uint64        // how often it was set
	passed chan struct{} // closed when it is over
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moves++
	if d.timer != nil {
		d.timer.Stop() // if that is too late, moves says so
		d.timer = nil
	}
	if d.passed == nil || d.over() {
		d.passed = make(chan struct{}) // who waits on the old one looks again
	}
	if t.IsZero() {
		return
	}
	left, move := time.Until(t), d.moves
	if left <= 0 {
		close(d.passed)
		return
	}
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.moves == move {
			close(d.passed)
		}
	})
}

// over tells whether it has passed. Preconditions: d.mu is held.
func (d *deadline) over() bool {
	select {
	case <-d.passed:
		return true
	default:
		return false
	}
}

// wait is a channel that is closed when the deadline passes.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// err is os.ErrDeadlineExceeded if it has passed.
func (d *deadline) err() error {
	select {
	case <-d.wait():
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

package ipc

import "sync"

// pageSize is the unit in which messages that are not short are stored and charged.
const pageSize = 4096

type page [pageSize]byte

// Pool is where pages wait for the next message, so that a flood of messages is
// no flood of garbage. One serves all mailboxes: what lies in it is the
// kernel's, and bounded; what a message holds is charged to the mailbox.
type Pool struct {
	mu   sync.Mutex
	free []*page
}

// NewPool makes a pool that keeps at most spare pages.
func NewPool(spare int) *Pool { return &Pool{free: make([]*page, 0, spare)} }

// get fills pages. It allocates those that the pool does not have.
func (p *Pool) get(pages []*page) {
	p.mu.Lock()
	n := min(len(pages), len(p.free))
	rest := len(p.free) - n
	copy(pages, p.free[rest:])
	clear(p.free[rest:])
	p.free = p.free[:rest]
	p.mu.Unlock()
	for i := n; i < len(pages); i++ {
		pages[i] = new(page)
	}
}

// put takes pages back and clears the references.
func (p *Pool) put(pages []*page) {
	p.mu.Lock()
	n := min(len(pages), cap(p.free)-len(p.free))
	p.free = append(p.free, pages[:n]...)
	p.mu.Unlock()
	clear(pages)
}

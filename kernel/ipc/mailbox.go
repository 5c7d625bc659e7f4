package ipc

import (
	"runtime"

	"aios/kernel/abi"
	"aios/kernel/cap"
)

// Limits bound a mailbox.
type Limits struct {
	Messages int // messages at once; 1 to 1024
	Bytes    int // bytes at once, in pages, for messages that are not short; at least MaxMessage
}

// DefaultLimits are those of a process whose manifest names none.
var DefaultLimits = Limits{Messages: 64, Bytes: 256 << 10}

const maxMessages = 1024 // at most, in any mailbox

// Cost is what a mailbox of these limits takes of its owner's quota when it is
// opened: its slots.
func (l Limits) Cost() int { return l.Messages * slotCost }

func (l Limits) valid() bool {
	return l.Messages >= 1 && l.Messages <= maxMessages && l.Bytes >= MaxMessage
}

// Mailbox is where the messages for one process wait.
type Mailbox struct {
	port   *Port
	limits Limits
	quota  *Quota
	pool   *Pool

	mu        lock
	free      *slot
	queue     slotQueue
	last      MessageID
	bytes     int // charged for messages that are queued or being copied
	gone      departures
	senders   waitQueue // for room
	receivers waitQueue // for something to receive
	parked    uint64    // the thread that waits for it in trap context, before them, or did; 0: none
	stopped   bool
	closed    bool
}

// Open makes the port's mailbox and charges its slots to quota. It fails with
// Exists while the port has one, with Invalid for limits that are none, with
// NoMemory if the quota is exhausted.
func (p *Port) Open(l Limits, quota *Quota, pool *Pool) (*Mailbox, abi.Errno) {
	if !l.valid() {
		return nil, abi.Invalid
	}
	if !quota.charge(l.Cost()) {
		return nil, abi.NoMemory
	}
	b := &Mailbox{port: p, limits: l, quota: quota, pool: pool}
	slots := make([]slot, l.Messages)
	for i := range slots {
		slots[i].next, b.free = b.free, &slots[i]
	}
	if !p.box.CompareAndSwap(nil, b) {
		quota.refund(l.Cost())
		return nil, abi.Exists
	}
	return b, 0
}

// Close ends the mailbox: what is queued is dropped, the capabilities in it are
// closed, who waits for room gets Pipe, and who waits to receive BadHandle. It
// returns how many messages were dropped.
func (b *Mailbox) Close() int {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0
	}
	b.closed = true
	b.port.box.CompareAndSwap(b, nil)
	b.quota.refund(b.bytes + b.limits.Cost())
	b.bytes = 0
	b.free = nil
	dropped := b.queue
	b.queue = slotQueue{}
	b.senders.wakeAll()
	b.receivers.wakeAll()
	b.unpark()
	b.mu.Unlock()
	cap.Barrier() // the port does not lead here any more
	runtime.KeepAlive(b)

	n := 0
	for dropped.head != nil {
		dropped.take().empty(b.pool)
		n++
	}
	return n
}

// HandleClosed closes the mailbox: nobody else can receive from it.
func (b *Mailbox) HandleClosed() { b.Close() }

// Stop tells that the owner will not receive for a while, because the kernel
// stopped it: nobody waits for room until Resume. Who does gets Again.
func (b *Mailbox) Stop() { b.stop(true) }

// Resume is the way back from Stop.
func (b *Mailbox) Resume() { b.stop(false) }

func (b *Mailbox) stop(stopped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = stopped
	if stopped {
		b.senders.wakeAll()
	}
}

// room tells whether a message that costs n has a place, if the quota admits
// it. Preconditions: b.mu is held.
func (b *Mailbox) room(n int) bool { return b.free != nil && b.bytes+n <= b.limits.Bytes }

// wake wakes who can go on now: the first that waits for room, if there is
// enough for it, and the first that waits to receive, if there is something.
// Each wakes the next when it leaves. Preconditions: b.mu is held.
func (b *Mailbox) wake() {
	if c := b.senders.head; c != nil && b.room(c.need) {
		c.Waiter.Wake()
	}
	if b.ready() {
		b.unpark()
		if c := b.receivers.head; c != nil {
			c.Waiter.Wake()
		}
	}
}

// giveBack frees a slot and what was charged for it. After Close both are gone
// already. Preconditions: b.mu is held; the slot is not queued, and empty
// follows or came before.
func (b *Mailbox) giveBack(s *slot) {
	if b.closed {
		return
	}
	n := cost(s.size)
	b.bytes -= n
	b.quota.refund(n)
	s.next, b.free = b.free, s
	b.wake()
}

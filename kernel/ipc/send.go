package ipc

import "aios/kernel/abi"

// Outgoing is what a program asks to send: bytes and handles in its memory.
type Outgoing struct {
	At, Size    uint64
	Handles     uint64 // address of 64-bit handles
	HandleCount uint64
}

// Send queues a message with the mailbox behind the endpoint, and returns the
// number that it got there. With wait it waits for room.
//
// In this order: MessageSize for more than MaxMessage bytes or MaxHandles
// handles, before anything is read; Fault if the handles cannot be read; Pipe if
// nobody listens, or once after somebody new does; Again if there is no room, or
// others wait for it, and the caller does not want to wait or the owner is
// stopped; NoMemory if the owner's quota cannot take it even when the mailbox is
// empty; what the Waiter says;
// Fault if the message cannot be read; BadHandle or Denied for its handles. After
// an error nothing was sent and the sender has its handles still.
func (e *Endpoint) Send(c *Caller, o Outgoing, wait bool) (MessageID, abi.Errno) {
	if o.Size > MaxMessage || o.HandleCount > MaxHandles {
		return 0, abi.MessageSize
	}
	if errno := c.readHandles(o.Handles, int(o.HandleCount)); errno != 0 {
		return 0, errno
	}
	b, errno := e.mailbox()
	if errno != 0 {
		return 0, errno
	}
	s, errno := b.reserve(e, c, int(o.Size), wait)
	if errno != 0 {
		return 0, errno
	}
	errno = s.copyIn(c.Memory, o.At, b.pool)
	var id MessageID
	if errno == 0 {
		id, errno = b.commit(s, e, c, int(o.HandleCount))
	}
	if errno != 0 {
		s.empty(b.pool)
		b.mu.Lock()
		b.giveBack(s)
		b.mu.Unlock()
		return 0, errno
	}
	return id, 0
}

// mailbox is the one behind the endpoint. When it is not the one that the last
// message went to, the sender is told once: what it knows of its peer may be of
// the past.
func (e *Endpoint) mailbox() (*Mailbox, abi.Errno) {
	b := e.port.box.Load()
	if b == nil {
		return nil, abi.Pipe
	}
	if seen := e.seen.Load(); seen != b && e.seen.CompareAndSwap(seen, b) && seen != nil {
		return nil, abi.Pipe
	}
	return b, 0
}

// reserve takes a slot for n bytes and charges them. If there is no room it
// waits, behind those that waited before.
func (b *Mailbox) reserve(e *Endpoint, c *Caller, n int, wait bool) (*slot, abi.Errno) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.wake()
	defer b.senders.leave(c)
	c.need = cost(n)
	for {
		switch {
		case b.closed:
			return nil, abi.Pipe
		case e.closed.Load():
			return nil, abi.BadHandle
		case b.stopped && c.queue != nil: // it has waited
			return nil, abi.Again
		case b.room(c.need) && b.senders.turn(c):
			if b.quota.charge(c.need) {
				s := b.free
				b.free, s.next = s.next, nil
				b.bytes += c.need
				s.size = n
				return s, 0
			}
			if b.bytes == 0 { // there is nothing here whose end could be waited for
				return nil, abi.NoMemory
			}
		}
		if !wait || b.stopped {
			return nil, abi.Again
		}
		b.senders.add(c)
		b.mu.Unlock()
		errno := c.Waiter.Wait()
		b.mu.Lock()
		if errno != 0 {
			return nil, errno
		}
	}
}

// commit queues the message. Only now, when nothing else can fail, do the
// handles leave the sender's table.
func (b *Mailbox) commit(s *slot, e *Endpoint, c *Caller, handles int) (MessageID, abi.Errno) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, abi.Pipe
	case e.closed.Load():
		return 0, abi.BadHandle
	}
	if handles > 0 {
		if errno := c.Table.Take(c.handles[:handles], s.moved[:handles]); errno != 0 {
			return 0, errno
		}
		s.caps = handles
	}
	b.last++
	s.id, s.from = b.last, c.ID
	b.queue.add(s)
	b.wake()
	return s.id, 0
}

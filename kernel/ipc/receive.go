package ipc

import (
	"encoding/binary"

	"aios/kernel/abi"
	"aios/kernel/cap"
)

// InfoSize is the length of what Receive writes about a message: sender (u64),
// number (u64), bytes (u32), handles (u32), and room for MaxHandles handles (u64
// each); all little endian.
const InfoSize = abi.IPCInfo

// Info is what a receiver learns of a message beside its bytes.
type Info struct {
	From    ID
	Message MessageID
	Size    int
	Handles int
}

// Incoming is where a program wants a message: room for its bytes, and for what
// is known of it (InfoSize).
type Incoming struct {
	At, Room       uint64
	Info, InfoRoom uint64
}

// Receive takes the next message. With wait it waits for one.
//
// In this order: MessageSize if there is no room for the info; BadHandle if the
// mailbox is closed; Again if there is nothing and the caller does not want to
// wait; what the Waiter says; Pipe, with the sender in the info, if the next in
// line is the end of an endpoint; MessageSize, with sender, number and size in
// the info, if the message is longer than the room; TooManyFiles if the caller's
// table cannot take its handles; Fault if the memory cannot be written. A
// message that was not received for one of these stays the next in line.
func (b *Mailbox) Receive(c *Caller, in Incoming, wait bool) (Info, abi.Errno) {
	if in.InfoRoom < InfoSize {
		return Info{}, abi.MessageSize
	}
	s, d, info, errno := b.next(c, in.Room, wait)
	if s == nil {
		if info != (Info{}) || errno == abi.Pipe {
			if e := c.writeInfo(in.Info, info); e != 0 {
				if errno == abi.Pipe {
					b.keep(d)
				}
				return Info{}, e
			}
		}
		return info, errno
	}
	handles := c.handles[:s.caps]
	if errno = s.copyOut(c.Memory, in.At); errno == 0 {
		errno = c.writeInfo(in.Info, info)
	}
	if errno != 0 {
		if len(handles) > 0 {
			c.Table.Release(handles)
		}
		b.putBack(s)
		return Info{}, errno
	}
	for i, h := range handles {
		if e, ok := s.moved[i].Object.(*Endpoint); ok {
			e.holder.Store(uint64(c.ID))
		}
		c.Table.Fill(h, s.moved[i])
		s.moved[i] = cap.Capability{}
	}
	s.empty(b.pool)
	b.mu.Lock()
	b.giveBack(s)
	b.mu.Unlock()
	return info, 0
}

// Wait waits until there is something to receive, a message or the end of an
// endpoint, without taking it. Without wait it tells by Again that there is not.
func (b *Mailbox) Wait(c *Caller, wait bool) abi.Errno {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.wake() // others may wait for the same
	return b.await(c, wait)
}

// ready tells whether there is something to receive. Preconditions: b.mu is held.
func (b *Mailbox) ready() bool { return b.queue.head != nil || b.gone.n > 0 }

// await returns when there is something to receive. Preconditions: b.mu is held.
func (b *Mailbox) await(c *Caller, wait bool) abi.Errno {
	defer b.receivers.leave(c)
	for {
		switch {
		case b.closed:
			return abi.BadHandle
		case b.ready():
			return 0
		case !wait:
			return abi.Again
		}
		b.receivers.add(c)
		b.mu.Unlock()
		errno := c.Waiter.Wait()
		b.mu.Lock()
		if errno != 0 {
			return errno
		}
	}
}

// next takes what is next in line: a message, with handles reserved for it, or
// the end of an endpoint, with Pipe.
func (b *Mailbox) next(c *Caller, room uint64, wait bool) (*slot, departure, Info, abi.Errno) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.wake()
	if errno := b.await(c, wait); errno != 0 {
		return nil, departure{}, Info{}, errno
	}
	s := b.queue.head
	if b.gone.n > 0 && (s == nil || s.id > b.gone.list[0].after) {
		d := b.gone.take()
		return nil, d, Info{From: d.who}, abi.Pipe
	}
	info := Info{s.from, s.id, s.size, s.caps}
	if uint64(s.size) > room {
		info.Handles = 0
		return nil, departure{}, info, abi.MessageSize
	}
	if s.caps > 0 && !c.Table.Reserve(c.handles[:s.caps]) {
		return nil, departure{}, Info{}, abi.TooManyFiles
	}
	return b.queue.take(), departure{}, info, 0
}

// putBack queues a message again that could not be delivered, or drops it if
// the mailbox was closed meanwhile.
func (b *Mailbox) putBack(s *slot) {
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.queue.putBack(s)
		b.wake()
	}
	b.mu.Unlock()
	if closed {
		s.empty(b.pool)
	}
}

// keep puts the end of an endpoint back that could not be told.
func (b *Mailbox) keep(d departure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone.putBack(d)
	b.wake()
}

// writeInfo writes what the caller learns of a message, with the handles that
// were reserved for it.
func (c *Caller) writeInfo(at uint64, i Info) abi.Errno {
	le := binary.LittleEndian
	p := &c.block
	clear(p[:])
	le.PutUint64(p[0:], uint64(i.From))
	le.PutUint64(p[8:], uint64(i.Message))
	le.PutUint32(p[16:], uint32(i.Size))
	le.PutUint32(p[20:], uint32(i.Handles))
	for k, h := range c.handles[:i.Handles] {
		le.PutUint64(p[24+8*k:], uint64(h))
	}
	return c.Memory.CopyOut(at, p[:])
}

// readHandles reads the handles of a message to be sent.
func (c *Caller) readHandles(at uint64, n int) abi.Errno {
	if n == 0 {
		return 0
	}
	b := c.block[:8*n]
	if errno := c.Memory.CopyIn(at, b); errno != 0 {
		return errno
	}
	for i := range n {
		c.handles[i] = abi.Handle(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return 0
}

package ipc

import "sync/atomic"

// Port is the address of a mailbox. The zero value has none.
type Port struct {
	box atomic.Pointer[Mailbox] // nil: nobody listens
}

// Endpoint is the capability to send to a port. It has one handle, or is on its
// way in one message.
type Endpoint struct {
	port   *Port
	seen   atomic.Pointer[Mailbox] // that it was last sent to
	holder atomic.Uint64           // ID of the process that holds it, or held it last
	closed atomic.Bool             // set before the mailbox learns of it
}

// Endpoint makes a capability to send to the port, for the process holder.
func (p *Port) Endpoint(holder ID) *Endpoint {
	e := &Endpoint{port: p}
	e.holder.Store(uint64(holder))
	return e
}

// Derive makes another one to the same port, for the same process: each has its own
// handle, and its own end. What it knows of the mailbox is what this one does.
func (e *Endpoint) Derive() any {
	d := &Endpoint{port: e.port}
	d.seen.Store(e.seen.Load())
	d.holder.Store(e.holder.Load())
	return d
}

// Port is the address that it leads to.
func (e *Endpoint) Port() *Port { return e.port }

// HandleClosed ends the endpoint. The mailbox's owner learns of it when it has
// received what was sent before.
func (e *Endpoint) HandleClosed() {
	if e.closed.Swap(true) {
		return
	}
	b := e.port.box.Load()
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.gone.add(ID(e.holder.Load()), b.last)
	b.senders.wakeAll() // those through this endpoint have to give up
	b.wake()
}

// departure is the end of an endpoint, told behind message number after.
type departure struct {
	who   ID
	after MessageID
}

// departures are those that the owner has not been told of. When there are more
// than fit, the newest are told as one of nobody in particular.
type departures struct {
	list [16]departure
	n    int
}

func (d *departures) add(who ID, after MessageID) {
	if d.n == len(d.list) {
		d.list[d.n-1] = departure{0, after}
		return
	}
	d.list[d.n] = departure{who, after}
	d.n++
}

func (d *departures) take() departure {
	first := d.list[0]
	d.n--
	copy(d.list[:d.n], d.list[1:])
	return first
}

// putBack is for one that was taken and could not be told.
func (d *departures) putBack(first departure) {
	if d.n == len(d.list) {
		d.n--
		d.list[d.n-1].who = 0
		d.list[d.n-1].after = d.list[d.n].after
	}
	copy(d.list[1:], d.list[:d.n])
	d.list[0] = first
	d.n++
}

package main

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	aios "aios/sdk/go"
)

// program is a process of the tests: the kernel's own mailboxes and handle
// tables, without a kernel.
type program struct {
	id    ipc.ID
	port  *ipc.Port
	box   *ipc.Mailbox
	table cap.Table
	netd  abi.Handle // endpoint to netd's port; 0 in netd itself
}

var (
	lastProgram atomic.Uint64
	pages       = ipc.NewPool(64)
)

// start opens the mailbox at port, which outlives the program.
func start(t testing.TB, port, netd *ipc.Port) *program {
	t.Helper()
	p := &program{id: ipc.ID(lastProgram.Add(1)), port: port}
	limits := ipc.DefaultLimits
	b, e := port.Open(limits, ipc.NewQuota(limits.Cost()+limits.Bytes), pages)
	if e != 0 {
		t.Fatal(e)
	}
	p.box = b
	if netd != nil {
		p.netd, _ = p.table.Insert(netd.Endpoint(p.id), abi.TypeEndpoint, abi.RightWrite)
	}
	return p
}

// end is what the kernel does when a process ends.
func (p *program) end() {
	p.box.Close()
	p.table.CloseAll()
}

// space is memory: addresses are offsets.
type space []byte

func (s space) CopyIn(at uint64, b []byte) abi.Errno  { copy(b, s[at:]); return 0 }
func (s space) CopyOut(at uint64, b []byte) abi.Errno { copy(s[at:], b); return 0 }

// parked is a thread that waits.
type parked struct {
	token chan struct{}
	timer <-chan time.Time
}

func (k *parked) Wait() abi.Errno {
	select {
	case <-k.token:
		return 0
	case <-k.timer:
		return abi.TimedOut
	}
}

func (k *parked) Wake() {
	select {
	case k.token <- struct{}{}:
	default:
	}
}

// call prepares a thread for one call.
func (p *program) call(s space, timeout time.Duration) (*ipc.Caller, func()) {
	k := &parked{token: make(chan struct{}, 1)}
	stop := func() {}
	if timeout != aios.Forever {
		t := time.NewTimer(timeout)
		k.timer, stop = t.C, func() { t.Stop() }
	}
	return &ipc.Caller{ID: p.id, Memory: s, Table: &p.table, Waiter: k}, stop
}

func (p *program) send(to abi.Handle, b []byte, timeout time.Duration, handles ...abi.Handle) error {
	o, e := p.table.Lookup(to, abi.TypeEndpoint, abi.RightWrite, 0)
	if e != 0 {
		return e
	}
	s := append(space(nil), b...)
	for _, h := range handles {
		s = binary.LittleEndian.AppendUint64(s, uint64(h))
	}
	c, stop := p.call(s, timeout)
	defer stop()
	if _, e := o.(*ipc.Endpoint).Send(c, ipc.Outgoing{Size: uint64(len(b)), Handles: uint64(len(b)), HandleCount: uint64(len(handles))}, timeout != 0); e != 0 {
		return e
	}
	return nil
}

func (p *program) receive(buf []byte) (aios.Message, error) {
	s := make(space, len(buf)+ipc.InfoSize)
	c, stop := p.call(s, aios.Forever)
	defer stop()
	i, e := p.box.Receive(c, ipc.Incoming{Room: uint64(len(buf)), Info: uint64(len(buf)), InfoRoom: ipc.InfoSize}, true)
	switch {
	case e == abi.Pipe:
		return aios.Message{}, &aios.GoneError{From: uint64(i.From)}
	case e != 0:
		return aios.Message{}, e
	}
	m := aios.Message{From: uint64(i.From), Number: uint64(i.Message), Data: buf[:copy(buf, s[:i.Size])]}
	for k := range i.Handles {
		m.Handles = append(m.Handles, abi.Handle(binary.LittleEndian.Uint64(s[len(buf)+24+8*k:])))
	}
	return m, nil
}

// clientSide is a program as sdk/go/net sees it.
type clientSide struct{ *program }

func (c clientSide) Send(b []byte, reply bool, timeout time.Duration) error {
	if !reply {
		return c.send(c.netd, b, timeout)
	}
	h, err := c.table.Insert(c.port.Endpoint(c.id), abi.TypeEndpoint, abi.RightWrite|abi.RightTransfer)
	if err != nil {
		return err
	}
	if err := c.send(c.netd, b, timeout, h); err != nil {
		c.table.Close(h)
		return err
	}
	return nil
}

func (c clientSide) Receive(buf []byte) (aios.Message, error) { return c.receive(buf) }

// netdSide is netd's program as the server sees it.
type netdSide struct{ *program }

func (n netdSide) Receive(buf []byte) (aios.Message, error) { return n.receive(buf) }
func (n netdSide) Send(to abi.Handle, b []byte, timeout time.Duration) error {
	return n.send(to, b, timeout)
}
func (n netdSide) Close(h abi.Handle) { n.table.Close(h) }

// running is netd, until it is ended.
type running struct {
	*program
	server *server
	done   sync.WaitGroup
}

func serveOn(t testing.TB, port *ipc.Port, n network) *running {
	r := &running{program: start(t, port, nil)}
	r.server = newServer(n, netdSide{r.program}, t.Logf)
	r.done.Go(func() {
		if err := r.server.serve(); err != abi.BadHandle {
			t.Errorf("netd ended: %v", err)
		}
	})
	t.Cleanup(r.end)
	return r
}

// end kills it.
func (r *running) end() {
	r.program.end()
	r.done.Wait()
}

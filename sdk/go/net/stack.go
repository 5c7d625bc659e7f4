// Package net is TCP for programs in ring 3 of AIOS, through the service netd:
//
//	stack, err := net.Open()     // capabilities SEND_NETD and MAILBOX
//	conn, err := stack.DialContext(ctx, "tcp", "verifier.example:8470")
//
// What DialContext returns is a net.Conn of the standard library; crypto/tls and
// net/http run over it (http.Transport{DialContext: stack.DialContext}). A name is
// resolved by netd. When netd ends, connections fail with [ErrRestarted], and
// the next DialContext waits until it is there again. docs/network.md describes
// the protocol.
package net

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
	"aios/sdk/go/net/wire"
)

// service is netd's name in the system manifest.
const service = "netd"

const (
	// window is how much a peer may send before the program has read it.
	window = 128 << 10
	// attachAgain is how long to wait for a service that is being started.
	attachAgain = 50 * time.Millisecond
	// sendSlice is how long one attempt to send waits; between two the caller's
	// own deadline is looked at. netd always makes room.
	sendSlice = 250 * time.Millisecond
)

// Transport carries messages to netd and back.
type Transport interface {
	// Send sends p, with reply an endpoint for the answers too. Errors are
	// abi.Pipe when netd is not there or was started anew, abi.TimedOut, and
	// those that no second attempt mends.
	Send(p []byte, reply bool, timeout time.Duration) error
	// Receive waits for a message. The end of a peer is an *aios.GoneError.
	Receive(buf []byte) (aios.Message, error)
}

// Stack is a program's way to the network.
type Stack struct {
	transport Transport
	other     func(aios.Message)

	mu      sync.Mutex
	session *session // nil: none, or the last one has ended
	last    uint32   // connection; a number is never used again
	err     error    // nothing can be received any more
}

// Open uses the capabilities SEND_NETD and MAILBOX. From then on the mailbox is
// received from here alone.
func Open() (*Stack, error) {
	e, err := aios.OpenEndpoint(service)
	if err != nil {
		return nil, err
	}
	box, err := aios.OpenMailbox()
	if err != nil {
		return nil, err
	}
	return New(&kernelTransport{netd: e, box: box}, nil), nil
}

// New makes a stack over a transport. Messages that are not netd's are given to
// other, which must not keep their data, or dropped if that is nil.
func New(t Transport, other func(aios.Message)) *Stack {
	s := &Stack{transport: t, other: other}
	go s.receive()
	return s
}

type kernelTransport struct {
	netd aios.Endpoint
	box  aios.Mailbox

	mu    sync.Mutex
	reply abi.Handle // an endpoint that was not sent yet; 0: none
}

func (k *kernelTransport) Send(p []byte, reply bool, timeout time.Duration) error {
	if !reply {
		_, err := k.netd.Send(p, timeout)
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// One that could not be sent is kept for the next attempt: to close it would
	// say to this very mailbox that somebody is gone.
	if k.reply == 0 {
		e, err := k.box.Reply()
		if err != nil {
			return err
		}
		k.reply = e.Handle
	}
	_, err := k.netd.Send(p, timeout, k.reply)
	if err == nil {
		k.reply = 0
	}
	return err
}

func (k *kernelTransport) Receive(buf []byte) (aios.Message, error) {
	return k.box.Receive(buf, aios.Forever)
}

// session is what was agreed with one run of netd.
type session struct {
	stack    *Stack
	cookie   [wire.CookieSize]byte
	attached chan struct{} // closed when netd has answered
	ended    chan struct{} // closed when it is gone

	// Set before attached is closed.
	netd   uint64 // id of its process
	window uint32 // for what is sent on a new connection

	// Under the stack's lock.
	peers map[uint32]peer
	err   error // before ended is closed
}

// peer is what netd's messages of one number are for: a connection or a query.
type peer interface {
	handle(m *wire.Message)
	fail(err error)
}

// attach returns the session that there is, or begins one.
func (s *Stack) attach(ctx context.Context) (*session, error) {
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return nil, s.err
		}
		x := s.session
		if x == nil {
			x = &session{stack: s, attached: make(chan struct{}), ended: make(chan struct{}), peers: map[uint32]peer{}}
			rand.Read(x.cookie[:])
			s.session = x
			go x.begin()
		}
		s.mu.Unlock()
		select {
		case <-x.attached:
			return x, nil
		case <-x.ended:
			if !errors.Is(x.err, ErrRestarted) {
				return nil, x.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin tells netd that this program is there, as soon as netd is. It stops when the
// session ends: the next one has a begin of its own.
func (x *session) begin() {
	hello := (&wire.Message{Kind: wire.Attach, Version: wire.Version, Cookie: x.cookie}).Append(nil)
	for {
		select {
		case <-x.ended:
			return
		default:
		}
		err := x.stack.transport.Send(hello, true, sendSlice)
		switch {
		case err == nil:
			return
		case errors.Is(err, abi.Pipe):
			time.Sleep(attachAgain) // nothing tells that a service has been started
		case !errors.Is(err, abi.TimedOut):
			x.end(fmt.Errorf("reach netd: %w", err))
			return
		}
	}
}

// end makes everything of the session fail.
func (x *session) end(err error) {
	s := x.stack
	s.mu.Lock()
	if x.err != nil {
		s.mu.Unlock()
		return
	}
	x.err = err
	if s.session == x {
		s.session = nil
	}
	peers := x.peers
	x.peers = nil
	close(x.ended)
	s.mu.Unlock()
	for _, p := range peers {
		p.fail(err)
	}
}

// add gives a peer its number.
func (x *session) add(p peer) (uint32, error) {
	s := x.stack
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.err != nil {
		return 0, x.err
	}
	s.last++
	if s.last == 0 {
		return 0, errors.New("every connection number has been used; start the program again")
	}
	x.peers[s.last] = p
	return s.last, nil
}

func (x *session) remove(number uint32) {
	x.stack.mu.Lock()
	defer x.stack.mu.Unlock()
	delete(x.peers, number)
}

// send sends one message, unless stop says before that it is not to be sent any more.
func (x *session) send(m *wire.Message, stop func() error) error {
	b := m.Append(make([]byte, 0, 8+len(m.Data)+len(m.Text)+64))
	for {
		if stop != nil {
			if err := stop(); err != nil {
				return err
			}
		}
		select {
		case <-x.ended:
			return x.err
		default:
		}
		err := x.stack.transport.Send(b, false, sendSlice)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, abi.Pipe):
			x.end(ErrRestarted)
			return ErrRestarted
		case !errors.Is(err, abi.TimedOut) && !errors.Is(err, abi.Again):
			err = fmt.Errorf("reach netd: %w", err)
			x.end(err)
			return err
		}
	}
}

// receive gives each message to whom it is for. It waits for nobody else.
func (s *Stack) receive() {
	buf := make([]byte, abi.MaxIPC)
	for {
		m, err := s.transport.Receive(buf)
		var gone *aios.GoneError
		switch {
		case errors.As(err, &gone):
			s.gone(gone.From)
		case err != nil:
			err = fmt.Errorf("receive from netd: %w", err)
			s.mu.Lock()
			s.err = err
			x := s.session
			s.mu.Unlock()
			if x != nil {
				x.end(err)
			}
			return
		default:
			s.dispatch(m)
		}
	}
}

// gone handles the end of a process that could send to this one; 0: of several.
func (s *Stack) gone(who uint64) {
	s.mu.Lock()
	x := s.session
	s.mu.Unlock()
	if x == nil {
		return
	}
	select {
	case <-x.attached:
	default: // it may have been netd, with our endpoint in its mailbox
		x.end(ErrRestarted)
		return
	}
	if who == 0 { // netd may be among them
		ping := wire.Message{Kind: wire.Ping}
		if !errors.Is(s.transport.Send(ping.Append(nil), false, 0), abi.Pipe) {
			return
		}
	} else if who != x.netd {
		return
	}
	x.end(ErrRestarted)
}

func (s *Stack) dispatch(in aios.Message) {
	m, err := wire.Decode(in.Data)
	s.mu.Lock()
	x := s.session
	var p peer
	var mine bool
	switch {
	case x == nil || err != nil:
	case m.Kind == wire.Attached:
		if mine = m.Cookie == x.cookie && x.netd == 0; mine {
			x.netd, x.window = in.From, m.Window
			close(x.attached)
		}
	case in.From == x.netd:
		mine = true
		p = x.peers[m.Conn] // nil for what was closed meanwhile
	}
	s.mu.Unlock()
	switch {
	case p != nil:
		p.handle(&m)
	case mine:
	case s.other != nil:
		s.other(in)
	default:
		for _, h := range in.Handles { // nobody knows them
			aios.Close(h)
		}
	}
}

var _ func(context.Context, string, string) (net.Conn, error) = (*Stack)(nil).DialContext

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
	"aios/sdk/go/net/wire"
)

// Bounds on what clients may have netd hold.
const (
	maxClients  = 16
	maxConns    = 32        // of one client, queries and what is being closed among them
	maxTotal    = 48        // of all clients
	maxAttaches = 8         // endpoints of one client
	window      = 128 << 10 // that a client may send ahead on one connection
	maxWindow   = 256 << 10 // of what a client lets netd send ahead
)

// network is what clients are given a share of.
type network interface {
	Dial(ctx context.Context, address string) (net.Conn, error)
	Lookup(ctx context.Context, host string) ([]netip.Addr, error)
}

// mailbox is how messages come, and how they go to a client's endpoint.
type mailbox interface {
	Receive(buf []byte) (aios.Message, error)
	Send(to abi.Handle, p []byte, timeout time.Duration) error
	Close(h abi.Handle)
}

// server serves clients, which are processes. The receiving loop waits for
// nobody: what takes time has a goroutine of its own, and how many there are is
// bounded by maxTotal and maxClients.
type server struct {
	network network
	mailbox mailbox
	log     func(format string, a ...any)

	mu      sync.Mutex
	clients map[uint64]*client
	total   int // connections and queries
}

func newServer(n network, m mailbox, log func(string, ...any)) *server {
	return &server{network: n, mailbox: m, log: log, clients: map[uint64]*client{}}
}

// client is one process, from its Attach to its end.
type client struct {
	server *server
	id     uint64
	ctx    context.Context
	cancel context.CancelFunc

	sendMu sync.Mutex // so that one thread waits for a client's mailbox, not one for each connection
	reply  abi.Handle // where answers go; the last one that it sent
	cookie [wire.CookieSize]byte

	// Under the server's lock.
	replies []abi.Handle // each that it sent: to close one would say that netd is gone
	conns   map[uint32]*conn
	answers int // last words about connections, on their way
}

// serve receives until the mailbox fails.
func (s *server) serve() error {
	buf := make([]byte, abi.MaxIPC)
	for {
		m, err := s.mailbox.Receive(buf)
		var gone *aios.GoneError
		switch {
		case errors.As(err, &gone):
			s.gone(gone.From)
		case err != nil:
			return err
		default:
			s.handle(m)
		}
	}
}

// gone forgets a client; 0: one or several, so it is asked which.
func (s *server) gone(who uint64) {
	if who != 0 {
		s.drop(who, "")
		return
	}
	s.mu.Lock()
	var all []*client
	for _, c := range s.clients {
		all = append(all, c)
	}
	s.mu.Unlock()
	ping := (&wire.Message{Kind: wire.Ping}).Append(nil)
	for _, c := range all {
		if err := s.mailbox.Send(c.endpoint(), ping, 0); errors.Is(err, abi.Pipe) {
			s.drop(c.id, "")
		}
	}
}

// drop ends what a client has. Its endpoints are closed, which tells it so.
func (s *server) drop(who uint64, why string) {
	s.mu.Lock()
	c := s.clients[who]
	delete(s.clients, who)
	s.mu.Unlock()
	if c == nil {
		return
	}
	if why != "" {
		s.log("client dropped id=%d reason=%q", who, why)
	}
	c.cancel()
	for _, h := range c.replies { // nobody adds to them: it is not in the map
		s.mailbox.Close(h)
	}
}

func (s *server) client(who uint64) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[who]
}

// handle serves one message.
func (s *server) handle(in aios.Message) {
	m, err := wire.Decode(in.Data)
	if err == nil && m.Kind == wire.Attach && len(in.Handles) == 1 {
		s.attach(in.From, in.Handles[0], &m)
		return
	}
	for _, h := range in.Handles { // only Attach has one
		s.mailbox.Close(h)
	}
	c := s.client(in.From)
	if c == nil {
		return // it has to attach first, and there is no way to tell it
	}
	if err != nil {
		s.drop(in.From, err.Error())
		return
	}
	switch m.Kind {
	case wire.Dial, wire.Lookup:
		c.open(&m)
	case wire.Data, wire.Credit, wire.CloseWrite, wire.Close:
		if x := c.conn(m.Conn); x != nil { // else it has ended, which the client may not know yet
			if err := x.handle(&m); err != nil {
				s.drop(in.From, err.Error())
			}
		}
	case wire.Ping:
	default:
		s.drop(in.From, fmt.Sprintf("message of kind %d, which is not a client's", m.Kind))
	}
}

// attach takes a client on, or again: then what it had is gone.
func (s *server) attach(who uint64, reply abi.Handle, m *wire.Message) {
	refuse := ""
	s.mu.Lock()
	c := s.clients[who]
	switch {
	case m.Version != wire.Version:
		refuse = fmt.Sprintf("it speaks version %d of the protocol, expected %d", m.Version, wire.Version)
	case c == nil && len(s.clients) >= maxClients:
		refuse = fmt.Sprintf("there are %d clients already", maxClients)
	case c != nil && len(c.replies) >= maxAttaches:
		refuse = fmt.Sprintf("it began %d times", maxAttaches)
	}
	if refuse != "" {
		s.mu.Unlock()
		s.log("client refused id=%d reason=%q", who, refuse)
		s.drop(who, "")
		s.mailbox.Close(reply)
		return
	}
	fresh := &client{server: s, id: who, reply: reply, cookie: m.Cookie, conns: map[uint32]*conn{}}
	fresh.ctx, fresh.cancel = context.WithCancel(context.Background())
	if c != nil {
		c.cancel()
		fresh.replies = c.replies
	}
	fresh.replies = append(fresh.replies, reply)
	s.clients[who] = fresh
	s.mu.Unlock()
	go fresh.send(&wire.Message{Kind: wire.Attached, Version: wire.Version, Cookie: m.Cookie, Window: window, Connections: maxConns})
}

func (c *client) endpoint() abi.Handle { return c.reply }

// send waits for room in the client's mailbox. It tells whether the message was
// sent; if not the client is gone.
func (c *client) send(m *wire.Message) bool {
	b := m.Append(make([]byte, 0, 64+len(m.Data)+len(m.Text)))
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	for c.ctx.Err() == nil {
		err := c.server.mailbox.Send(c.reply, b, time.Second)
		switch {
		case err == nil:
			return true
		case errors.Is(err, abi.TimedOut), errors.Is(err, abi.Again): // it reads slowly
		default:
			c.cancel() // the news of its end is on the way
			return false
		}
	}
	return false
}

func (c *client) conn(number uint32) *conn {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.conns[number]
}

// open begins a connection or a query.
func (c *client) open(m *wire.Message) {
	s := c.server
	x := newConn(c, m.Conn, int(min(m.Window, maxWindow)))
	s.mu.Lock()
	switch {
	case c.conns[m.Conn] != nil:
		s.mu.Unlock()
		s.drop(c.id, fmt.Sprintf("connection number %d is in use", m.Conn))
		return
	case c.answers > 2*maxConns:
		s.mu.Unlock()
		s.drop(c.id, "it opens connections and does not read what becomes of them")
		return
	case len(c.conns) >= maxConns || s.total >= maxTotal:
		s.mu.Unlock()
		c.answer(&wire.Message{Kind: wire.Failed, Conn: m.Conn, Code: wire.Limit,
			Text: fmt.Sprintf("a client may have %d connections, all of them together %d; close one", maxConns, maxTotal)})
		return
	}
	c.conns[m.Conn] = x
	s.total++
	s.mu.Unlock()
	number, text := m.Conn, m.Text
	serve := x.run
	if m.Kind == wire.Lookup {
		serve = x.lookup
	}
	go func() {
		last := serve(text)
		x.cancel(nil)
		s.mu.Lock()
		delete(c.conns, number)
		s.total--
		s.mu.Unlock()
		if last != nil { // once its place is free, since the client may use it then
			last.Conn = number
			c.answer(last)
		}
	}()
}

// answer sends the last word about a connection without waiting.
func (c *client) answer(m *wire.Message) {
	count := func(n int) {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		c.answers += n
	}
	count(1)
	go func() {
		c.send(m)
		count(-1)
	}()
}

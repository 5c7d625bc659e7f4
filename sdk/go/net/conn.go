package net

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"aios/sdk/go/net/wire"
)

// Conn is a TCP connection that netd holds. It implements net.Conn.
type Conn struct {
	session *session
	number  uint32

	readDeadline, writeDeadline deadline

	readMu  sync.Mutex // one Read at a time; and those that wait for it
	writeMu sync.Mutex
	turn    chan struct{} // something changed for the reader
	room    chan struct{} // something changed for the writer

	mu     sync.Mutex
	local  net.Addr
	remote net.Addr
	opened chan struct{} // closed when netd has answered to Dial, or all is over
	in     []byte        // received, not yet read
	unread int           // bytes that have been read and not yet been credited
	credit int           // bytes that may still be sent
	sent   bool          // CloseWrite was sent
	eof    bool          // the peer sends no more
	err    error         // it failed
	closed bool          // by Close
}

func newConn(x *session) *Conn {
	return &Conn{session: x, turn: make(chan struct{}, 1), room: make(chan struct{}, 1),
		opened: make(chan struct{}), credit: int(x.window), local: &net.TCPAddr{}, remote: &net.TCPAddr{}}
}

// tell wakes the one that waits, or the next to wait.
func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// handle takes a message of netd's for this connection.
func (c *Conn) handle(m *wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Kind {
	case wire.Opened:
		c.local, c.remote = net.TCPAddrFromAddrPort(m.Local), net.TCPAddrFromAddrPort(m.Remote)
		c.answered()
	case wire.Data:
		if len(c.in)+len(m.Data) > window {
			c.failLocked(errors.New("netd sent more than it was allowed to"))
			return
		}
		c.in = append(c.in, m.Data...)
		tell(c.turn)
	case wire.Credit:
		c.credit += int(m.Count)
		tell(c.room)
	case wire.CloseWrite:
		c.eof = true
		tell(c.turn)
	case wire.Failed:
		c.failLocked(failed(m))
		go c.session.remove(c.number)
	}
}

// fail is the end of the session.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

func (c *Conn) failLocked(err error) {
	if c.err == nil {
		c.err = err
	}
	c.answered()
	tell(c.turn)
	tell(c.room)
}

// answered tells Dial. Preconditions: c.mu is held.
func (c *Conn) answered() {
	select {
	case <-c.opened:
	default:
		close(c.opened)
	}
}

// Read waits for the first byte; io.EOF when the peer sends no more. What came
// before the connection failed is read first.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for {
		if err := c.readDeadline.err(); err != nil {
			return 0, c.wrap("read", err)
		}
		n, credit, err := c.take(p)
		if credit > 0 {
			c.session.send(&wire.Message{Kind: wire.Credit, Conn: c.number, Count: uint32(credit)}, nil) // if it fails, so does the connection
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-c.turn:
		case <-c.readDeadline.wait():
		}
	}
}

// take moves what is there into p, and tells how much netd may send again.
func (c *Conn) take(p []byte) (n, credit int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		tell(c.turn) // the next reader too
		return 0, 0, c.wrapLocked("read", net.ErrClosed)
	case len(c.in) > 0:
		n = copy(p, c.in)
		if c.in = c.in[n:]; len(c.in) == 0 {
			c.in = nil // give the memory back
		}
		c.unread += n
		if c.unread >= window/2 && !c.eof && c.err == nil {
			credit, c.unread = c.unread, 0
		}
		return n, credit, nil
	case c.eof:
		return 0, 0, io.EOF
	case c.err != nil:
		return 0, 0, c.wrapLocked("read", c.err)
	}
	return 0, 0, nil
}

// Write writes all of p, waiting for room as netd gives it.
func (c *Conn) Write(p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n := 0
	for {
		if err := c.writable(); err != nil {
			return n, c.wrap("write", err)
		}
		if n == len(p) {
			return n, nil
		}
		k := c.allow(len(p) - n)
		if k == 0 {
			select {
			case <-c.room:
			case <-c.writeDeadline.wait():
			}
			continue
		}
		err := c.session.send(&wire.Message{Kind: wire.Data, Conn: c.number, Data: p[n : n+k]}, c.writable)
		if err != nil {
			c.mu.Lock()
			c.credit += k // it was not sent
			c.mu.Unlock()
			return n, c.wrap("write", err)
		}
		n += k
		if n == len(p) {
			return n, nil
		}
	}
}

// writable tells why nothing can be written.
func (c *Conn) writable() error {
	if err := c.writeDeadline.err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed, c.sent:
		return net.ErrClosed
	case c.err != nil:
		return c.err
	}
	return nil
}

// allow takes credit for at most n bytes.
func (c *Conn) allow(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.credit, wire.MaxData)
	c.credit -= n
	return n
}

// CloseWrite tells the peer that no more will come; reading goes on.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	err := c.err
	if c.closed || c.sent {
		err = net.ErrClosed
	}
	c.sent = true
	tell(c.room)
	c.mu.Unlock()
	if err == nil {
		c.writeMu.Lock() // behind what is being sent
		defer c.writeMu.Unlock()
		err = c.session.send(&wire.Message{Kind: wire.CloseWrite, Conn: c.number}, nil)
	}
	return c.wrap("close", err)
}

// Close gives the connection up. What was written before still goes to the peer,
// as far as it takes it.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.wrap("close", net.ErrClosed)
	}
	c.closed = true
	c.in = nil
	over := c.err != nil
	tell(c.turn)
	tell(c.room)
	c.mu.Unlock()
	c.session.remove(c.number)
	if !over {
		c.session.send(&wire.Message{Kind: wire.Close, Conn: c.number}, nil) // fails only with netd
	}
	return nil
}

// LocalAddr is the host's address and port.
func (c *Conn) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.local
}

// RemoteAddr is the peer's.
func (c *Conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

func (c *Conn) SetDeadline(t time.Time) error {
	c.readDeadline.set(t)
	c.writeDeadline.set(t)
	return c.alive()
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readDeadline.set(t)
	return c.alive()
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeDeadline.set(t)
	return c.alive()
}

func (c *Conn) alive() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.wrapLocked("set", net.ErrClosed)
	}
	return nil
}

// wrap says of which connection an error is.
func (c *Conn) wrap(op string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrapLocked(op, err)
}

func (c *Conn) wrapLocked(op string, err error) error {
	if err == nil {
		return nil
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

var _ net.Conn = (*Conn)(nil)

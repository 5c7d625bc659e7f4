package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"aios/sdk/go/net/wire"
)

const (
	// flushLimit is how long what a client wrote may still go to the peer after
	// the client closed the connection.
	flushLimit = 30 * time.Second
	// dialLimit ends an attempt that the client does not end.
	dialLimit = 2 * time.Minute
	// lookupLimit likewise.
	lookupLimit = 30 * time.Second
)

// conn is a client's connection or query.
type conn struct {
	client *client
	number uint32
	ctx    context.Context // ends when nobody wants to hear of the peer any more
	cancel context.CancelCauseFunc
	more   chan struct{} // something changed for the writer
	room   chan struct{} // something changed for the reader

	mu     sync.Mutex
	out    []byte // from the client, on its way to the peer
	held   int    // bytes from the client that it was not credited for yet
	credit int    // bytes that the client still takes
	end    bool   // the client sends no more
	closed bool   // the client wants no more
}

func newConn(c *client, number uint32, credit int) *conn {
	x := &conn{client: c, number: number, credit: credit, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	x.ctx, x.cancel = context.WithCancelCause(c.ctx)
	return x
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// handle takes a message of the client's. An error is a breach of the protocol.
func (x *conn) handle(m *wire.Message) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil // on its way when the client closed it
	}
	switch m.Kind {
	case wire.Data:
		if x.end {
			return fmt.Errorf("data on connection %d after its end", x.number)
		}
		if x.held += len(m.Data); x.held > window {
			return fmt.Errorf("%d bytes ahead on connection %d, at most %d", x.held, x.number, window)
		}
		x.out = append(x.out, m.Data...)
		tell(x.more)
	case wire.Credit:
		if int(m.Count) > maxWindow-x.credit {
			return fmt.Errorf("credit of more than %d bytes on connection %d", maxWindow, x.number)
		}
		x.credit += int(m.Count)
		tell(x.room)
	case wire.CloseWrite:
		x.end = true
		tell(x.more)
	case wire.Close:
		x.end, x.closed = true, true
		x.cancel(errClosed) // what was written still goes out
		tell(x.more)
		tell(x.room)
	}
	return nil
}

// errClosed is the end that the client asked for.
var errClosed = errors.New("closed by the client")

func (x *conn) isClosed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed
}

// lookup answers a query.
func (x *conn) lookup(host string) *wire.Message {
	ctx, cancel := context.WithTimeout(x.ctx, lookupLimit)
	defer cancel()
	a, err := x.client.server.network.Lookup(ctx, host)
	switch {
	case x.isClosed():
		return nil
	case err != nil:
		return failure(err)
	}
	return &wire.Message{Kind: wire.Addresses, Addresses: a[:min(len(a), wire.MaxAddresses)]}
}

// run serves a connection to its end. What it returns is the last that the client
// is told.
func (x *conn) run(address string) *wire.Message {
	ctx, cancel := context.WithTimeout(x.ctx, dialLimit)
	peer, err := x.client.server.network.Dial(ctx, address)
	cancel()
	if err != nil {
		if x.isClosed() {
			return nil
		}
		return failure(err)
	}
	defer peer.Close()
	opened := &wire.Message{Kind: wire.Opened, Conn: x.number, Local: addrPort(peer.LocalAddr()), Remote: addrPort(peer.RemoteAddr())}
	if !x.client.send(opened) {
		return nil
	}
	// The end of the client, or of its interest in what the peer says, wakes the reader.
	defer context.AfterFunc(x.ctx, func() { peer.SetReadDeadline(time.Unix(1, 0)) })()
	// The end of the client wakes the writer too.
	defer context.AfterFunc(x.client.ctx, func() { peer.SetDeadline(time.Unix(1, 0)) })()
	wrote := make(chan error, 1)
	go func() { wrote <- x.write(peer) }()
	err = x.read(peer)
	switch {
	case err == nil: // the peer sends no more; the client may
		err = <-wrote
	case x.isClosed():
		peer.SetWriteDeadline(time.Now().Add(flushLimit))
		<-wrote
	default: // it failed: nothing that is written arrives
		x.cancel(err)
		peer.SetWriteDeadline(time.Unix(1, 0))
		<-wrote
	}
	if err == nil || x.isClosed() {
		return nil
	}
	return failure(err)
}

// read moves what the peer sends to the client, as far as that has room. nil at
// the end.
func (x *conn) read(peer net.Conn) error {
	buf := make([]byte, wire.MaxData)
	for {
		n, err := x.allowed()
		if err != nil {
			return err
		}
		if n == 0 {
			select {
			case <-x.room:
				continue
			case <-x.ctx.Done():
				return context.Cause(x.ctx)
			}
		}
		n, err = peer.Read(buf[:min(n, len(buf))])
		if n > 0 {
			x.mu.Lock()
			x.credit -= n
			x.mu.Unlock()
			if !x.client.send(&wire.Message{Kind: wire.Data, Conn: x.number, Data: buf[:n]}) {
				return context.Canceled
			}
		}
		if err == io.EOF {
			x.client.send(&wire.Message{Kind: wire.CloseWrite, Conn: x.number})
			return nil
		} else if err != nil {
			if x.ctx.Err() != nil { // that is why
				err = context.Cause(x.ctx)
			}
			return err
		}
	}
}

// allowed is how much the client takes.
func (x *conn) allowed() (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return 0, context.Canceled
	}
	return x.credit, nil
}

// write moves what the client sends to the peer, until there will be no more.
func (x *conn) write(peer net.Conn) error {
	for {
		b, end := x.next()
		switch {
		case len(b) > 0:
			if _, err := peer.Write(b); err != nil {
				x.cancel(err) // the reader has nothing to wait for
				return err
			}
			x.mu.Lock()
			x.held -= len(b)
			x.mu.Unlock()
			if !x.isClosed() && !x.client.send(&wire.Message{Kind: wire.Credit, Conn: x.number, Count: uint32(len(b))}) {
				return context.Canceled
			}
		case end:
			if c, ok := peer.(interface{ CloseWrite() error }); ok {
				c.CloseWrite()
			}
			return nil
		default:
			select {
			case <-x.more:
			case <-x.ctx.Done():
				if !x.isClosed() { // else there may be something left to write
					return context.Cause(x.ctx)
				}
			}
		}
	}
}

// next takes what there is to write.
func (x *conn) next() (b []byte, end bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	b, x.out = x.out, nil
	return b, x.end
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// failure is an error as a client is told it.
func failure(err error) *wire.Message {
	m := &wire.Message{Kind: wire.Failed, Code: wire.Other, Text: printable(err.Error())}
	var coded interface{ Code() wire.Code }
	var timeout net.Error
	switch {
	case errors.As(err, &coded):
		m.Code = coded.Code()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		m.Code = wire.TimedOut
	}
	return m
}

// printable is what a message may hold of a text.
func printable(s string) string {
	b := []byte(s[:min(len(s), wire.MaxText)])
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

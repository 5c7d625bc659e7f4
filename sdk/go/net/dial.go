package net

import (
	"context"
	"fmt"
	"net"
	"sync"

	"aios/sdk/go/net/wire"
)

// DialContext opens a TCP connection to host:port; network is "tcp" or "tcp4".
// It waits as long as ctx allows for netd to be there, and for the peer.
func (s *Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := s.dial(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: name(address), Err: contextError(err)}
	}
	return c, nil
}

// name is an address that may not be known as numbers.
type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }

func (s *Stack) dial(ctx context.Context, network, address string) (*Conn, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, net.UnknownNetworkError(network)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, err
	}
	if len(address) > wire.MaxText {
		return nil, &net.AddrError{Err: fmt.Sprintf("address of %d bytes, at most %d", len(address), wire.MaxText), Addr: address[:40]}
	}
	x, err := s.attach(ctx)
	if err != nil {
		return nil, err
	}
	c := newConn(x)
	if c.number, err = x.add(c); err != nil {
		return nil, err
	}
	if err := x.send(&wire.Message{Kind: wire.Dial, Conn: c.number, Window: window, Text: address}, ctx.Err); err != nil {
		x.remove(c.number)
		return nil, err
	}
	select {
	case <-c.opened:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c, c.err
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// LookupHost resolves a name to addresses.
func (s *Stack) LookupHost(ctx context.Context, host string) ([]string, error) {
	fail := func(err error) ([]string, error) {
		e := &net.DNSError{Err: contextError(err).Error(), Name: host, UnwrapErr: err}
		if n, ok := contextError(err).(net.Error); ok {
			e.IsTimeout, e.IsTemporary = n.Timeout(), n.Timeout()
		}
		if f, ok := err.(*failure); ok {
			e.IsNotFound = f.code == wire.NoHost
		}
		return nil, e
	}
	if host == "" || len(host) > wire.MaxText {
		return fail(ErrNoHost)
	}
	x, err := s.attach(ctx)
	if err != nil {
		return fail(err)
	}
	q := &query{done: make(chan struct{})}
	number, err := x.add(q)
	if err != nil {
		return fail(err)
	}
	defer x.remove(number)
	if err := x.send(&wire.Message{Kind: wire.Lookup, Conn: number, Text: host}, ctx.Err); err != nil {
		return fail(err)
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		x.send(&wire.Message{Kind: wire.Close, Conn: number}, nil) // fails only with netd
		return fail(ctx.Err())
	}
	if q.err != nil {
		return fail(q.err)
	}
	return q.addresses, nil
}

// query is a lookup that waits for its answer. The first one counts.
type query struct {
	once      sync.Once
	addresses []string
	err       error
	done      chan struct{}
}

func (q *query) handle(m *wire.Message) {
	switch m.Kind {
	case wire.Addresses:
		q.once.Do(func() {
			for _, a := range m.Addresses {
				q.addresses = append(q.addresses, a.String())
			}
			close(q.done)
		})
	case wire.Failed:
		q.fail(failed(m))
	}
}

func (q *query) fail(err error) {
	q.once.Do(func() {
		q.err = err
		close(q.done)
	})
}

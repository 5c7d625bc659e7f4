package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"aios/kernel/ipc"
	aiosnet "aios/sdk/go/net"
	"aios/sdk/go/net/wire"
)

// own is the network of the machine that runs the test.
type own struct{}

func (own) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", address)
	if err != nil {
		return nil, &failed{wire.Refused, err.Error()}
	}
	return c, nil
}

func (own) Lookup(_ context.Context, name string) ([]netip.Addr, error) {
	if name == "two.example" {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}, nil
	}
	return nil, &failed{wire.NoHost, "resolve " + name + ": there is none"}
}

// world is netd with one client.
type world struct {
	port   *ipc.Port // netd's
	netd   *running
	client *program
	stack  *aiosnet.Stack
}

func newWorld(t testing.TB, n network) *world {
	w := &world{port: &ipc.Port{}}
	w.netd = serveOn(t, w.port, n)
	w.client = start(t, &ipc.Port{}, w.port)
	w.stack = aiosnet.New(clientSide{w.client}, nil)
	t.Cleanup(w.client.end)
	return w
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// echo gives back what it gets.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.Copy(c, c); err == nil {
				c.(interface{ CloseWrite() error }).CloseWrite()
			}
		}()
	}
}

// What every net.Conn must do, by the suite of golang.org/x/net.
func TestConn(t *testing.T) {
	w := newWorld(t, own{})
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		l := listen(t)
		accepted := make(chan net.Conn, 1)
		go func() {
			c, _ := l.Accept()
			accepted <- c
		}()
		if c1, err = w.stack.DialContext(context.Background(), "tcp", l.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		c2 = <-accepted
		return c1, c2, func() { c1.Close(); c2.Close(); l.Close() }, nil
	})
}

// pour sends n bytes and wants the same back.
func pour(c net.Conn, n int) error {
	sent := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if w, ok := c.(interface{ CloseWrite() error }); ok && err == nil {
			err = w.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(io.LimitReader(c, int64(n)))
	if err == nil {
		err = <-wrote
	}
	if err != nil {
		return fmt.Errorf("%d of %d bytes came back: %w", len(got), n, err)
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("%d bytes came back, others than the %d that were sent", len(got), n)
	}
	return nil
}

func TestEcho(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	go echo(l)
	done := make(chan error)
	for range 8 {
		go func() {
			c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
			if err == nil {
				if err = pour(c, 3<<20); err == nil {
					_, err = c.Read(make([]byte, 1))
					if err == io.EOF {
						err = nil
					}
				}
				c.Close()
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TLS and HTTP of the standard library run over it.
func TestHTTP(t *testing.T) {
	w := newWorld(t, own{})
	body := strings.Repeat("all of it", 100_000)
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.TLS.Version != tls.VersionTLS13 || r.TLS.CurveID != tls.X25519MLKEM768 {
			t.Errorf("TLS %x with %v", r.TLS.Version, r.TLS.CurveID)
		}
		io.WriteString(rw, body)
	}))
	defer s.Close()
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = w.stack.DialContext
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != body {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestLookup(t *testing.T) {
	w := newWorld(t, own{})
	if a, err := w.stack.LookupHost(t.Context(), "two.example"); err != nil || strings.Join(a, " ") != "10.0.0.1 10.0.0.2" {
		t.Errorf("%v, %v", a, err)
	}
	_, err := w.stack.LookupHost(t.Context(), "none.example")
	var d *net.DNSError
	if !errors.As(err, &d) || !d.IsNotFound || !errors.Is(err, aiosnet.ErrNoHost) || !strings.Contains(err.Error(), "none.example") {
		t.Errorf("%v", err)
	}
}

func TestDialErrors(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	closed := l.Addr().String()
	l.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name, network, address string
		ctx                    context.Context
		want                   error
	}{
		{"refused", "tcp", closed, t.Context(), aiosnet.ErrRefused},
		{"canceled", "tcp", closed, over, context.Canceled},
		{"no port", "tcp", "127.0.0.1", t.Context(), nil},
		{"unknown network", "udp", closed, t.Context(), net.UnknownNetworkError("udp")},
	} {
		conn, err := w.stack.DialContext(c.ctx, c.network, c.address)
		var op *net.OpError
		if conn != nil || !errors.As(err, &op) || op.Op != "dial" || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, conn, err)
		}
	}
}

// await waits until netd holds so many connections.
func (w *world) await(t *testing.T, what string, ok func(clients, total int) bool) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		s := w.netd.server
		s.mu.Lock()
		clients, total := len(s.clients), s.total
		s.mu.Unlock()
		if ok(clients, total) {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%s: netd has %d clients and %d connections", what, clients, total)
		}
	}
}

// A client that dies gives up what it had; a connection that it closed, at once
// when all was written.
func TestConnectionsAreFreed(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	go echo(l)
	var conns []net.Conn
	for range 5 {
		c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	w.await(t, "five are open", func(clients, total int) bool { return clients == 1 && total == 5 })
	conns[0].Write([]byte("something that is on its way"))
	conns[0].Close()
	conns[1].Close()
	w.await(t, "two were closed", func(_, total int) bool { return total == 3 })
	w.client.end()
	w.await(t, "the client is dead", func(clients, total int) bool { return clients == 0 && total == 0 })
	if _, err := conns[2].Read(make([]byte, 1)); err == nil {
		t.Error("a dead program reads")
	}
}

// What a client wrote before it closed arrives.
func TestCloseFlushes(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	want := bytes.Repeat([]byte("last words "), 10_000)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
	}
}

// The peer's reset reaches the client, and is no end of the stream.
func TestReset(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after a reset: %v", err)
	}
	w.await(t, "it is over", func(_, total int) bool { return total == 0 })
}

// When netd is started again, what was open says so, and dialling works.
func TestRestart(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	go echo(l)
	for round := range 3 {
		c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := pour(c, 100_000); err != nil {
			t.Fatal(err)
		}
		waiting, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		w.netd.end()
		if _, err := waiting.Read(make([]byte, 1)); !errors.Is(err, aiosnet.ErrRestarted) {
			t.Errorf("round %d: read: %v", round, err)
		}
		if _, err := waiting.Write([]byte("x")); !errors.Is(err, aiosnet.ErrRestarted) {
			t.Errorf("round %d: write: %v", round, err)
		}
		waiting.Close()
		again := make(chan error, 1)
		go func() { // while netd is away
			c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
			if err == nil {
				err = pour(c, 1000)
				c.Close()
			}
			again <- err
		}()
		w.netd = serveOn(t, w.port, own{})
		if err := <-again; err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

func TestLimit(t *testing.T) {
	w := newWorld(t, own{})
	l := listen(t)
	go echo(l)
	var last net.Conn
	for range maxConns {
		c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		last = c
	}
	if _, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, aiosnet.ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
	last.Close()
	w.await(t, "one was closed", func(_, total int) bool { return total == maxConns-1 })
	c, err := w.stack.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

package evidence

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"aios/captoken/mldsa"
)

func identity(t *testing.T, seed byte) *mldsa.PrivateKey {
	t.Helper()
	k, err := mldsa.NewPrivateKey(bytes.Repeat([]byte{seed}, mldsa.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// secured connects a host that serves h with a verifier.
func secured(t *testing.T, h Handler, verifier *mldsa.PrivateKey, trusts *mldsa.PublicKey) (c *Client, host error, err error) {
	t.Helper()
	l, err := NewListener(verifier)
	if err != nil {
		t.Fatal(err)
	}
	a, b := pair(t)
	secure := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, err := Secure(t.Context(), a, trusts)
		secure <- err
		if err == nil {
			ServeSecured(t.Context(), s, h)
		}
	}()
	c, err = l.Accept(t.Context(), b)
	t.Cleanup(func() {
		b.Close()
		<-done
	})
	return c, <-secure, err
}

func TestSecured(t *testing.T) {
	key := identity(t, 1)
	c, hostErr, err := secured(t, host{}, key, key.Public())
	if hostErr != nil || err != nil {
		t.Fatal(hostErr, err)
	}
	if c.Binding() == [BindingSize]byte{} {
		t.Error("the connection has no name")
	}
	if h, err := c.Hello(t.Context()); err != nil || h.ManifestVersion != 7 {
		t.Errorf("hello: %v, %v", h, err)
	}
	if s := c.s.(*tls.Conn).ConnectionState(); s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519MLKEM768 {
		t.Errorf("TLS %x, group %v", s.Version, s.CurveID)
	}
	c.Close()
	<-c.Done()
	if _, err := c.Hello(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// A host tells a verifier that is not its own nothing at all.
func TestOtherIdentity(t *testing.T) {
	_, hostErr, err := secured(t, host{}, identity(t, 2), identity(t, 1).Public())
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(hostErr, ErrIdentity) || !strings.Contains(hostErr.Error(), "identity key expected") {
		t.Errorf("the host says %v", hostErr)
	}
}

// An introduction that was seen elsewhere is worth nothing: it is over the keys of
// its connection.
func TestIntroductionOfAnotherConnection(t *testing.T) {
	key := identity(t, 1)
	l, err := NewListener(key)
	if err != nil {
		t.Fatal(err)
	}
	id := key.Public().ID()
	old, err := key.SignHedged(make([]byte, BindingSize), introductionContext)
	if err != nil {
		t.Fatal(err)
	}
	for name, i := range map[string]introduction{
		"replayed":         {id[:], old},
		"no signature":     {id[:], nil},
		"no key":           {nil, old},
		"short key":        {id[:5], old},
		"a longer key id":  {append(id[:len(id):len(id)], 1), nil},
		"signature cut":    {id[:], old[:len(old)-1]},
		"signature of 1 B": {id[:], []byte{1}},
	} {
		a, b := pair(t)
		go func() {
			s := tls.Server(b, l.config)
			if s.Handshake() == nil {
				body, _ := encode(&i)
				writeFrame(s, body)
			}
		}()
		if _, err := Secure(t.Context(), a, key.Public()); !errors.Is(err, ErrIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Older TLS, another group and another protocol are refused by both ends.
func TestOnlyOneSuite(t *testing.T) {
	key := identity(t, 1)
	good := tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, ServerName: serverName}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2":       func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"X25519 alone":  func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} },
		"other ALPN":    func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		"ALPN left out": func(c *tls.Config) { c.NextProtos = nil },
	} {
		l, err := NewListener(key)
		if err != nil {
			t.Fatal(err)
		}
		a, b := pair(t)
		go func() {
			c := good.Clone()
			change(c)
			tls.Client(a, c).Handshake()
		}()
		if c, err := l.Accept(t.Context(), b); err == nil {
			t.Errorf("%s: accepted as %v", name, c)
		}
		a, b = pair(t)
		go func() {
			c := l.config.Clone()
			change(c)
			tls.Server(b, c).Handshake()
		}()
		if _, err := Secure(t.Context(), a, key.Public()); err == nil {
			t.Errorf("%s: the host took it", name)
		}
	}
}

// A peer that says nothing costs no more than the time that ctx gives it.
func TestSilentPeer(t *testing.T) {
	key := identity(t, 1)
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	l, err := NewListener(key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := pair(t)
	got := make(chan error, 2)
	go func() {
		_, err := l.Accept(ctx, b)
		got <- err
	}()
	c, _ := pair(t)
	go func() {
		_, err := Secure(ctx, c, key.Public())
		got <- err
	}()
	cancel(enough)
	for range 2 {
		if err := <-got; !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	}
	a.Close()
}

// waiting answers a hello at once, and a challenge when it is told to.
type waiting struct {
	host
	begun, release chan struct{}
}

func (w waiting) Handle(ctx context.Context, q *Request) (*Response, error) {
	if q.Op == OpChallenge {
		w.begun <- struct{}{}
		select {
		case <-w.release:
		case <-ctx.Done():
		}
	}
	return w.host.Handle(ctx, q)
}

// An answer that takes its time keeps nobody else waiting, and one that nobody waits
// for any more disturbs nobody.
func TestRequestsAreIndependent(t *testing.T) {
	key := identity(t, 1)
	w := waiting{begun: make(chan struct{}), release: make(chan struct{})}
	c, _, err := secured(t, w, key, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, NonceSize)
	challenged := make(chan error, 1)
	go func() {
		_, err := c.Challenge(t.Context(), nonce)
		challenged <- err
	}()
	<-w.begun
	given, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := c.Challenge(given, nonce)
		gaveUp <- err
	}()
	<-w.begun
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request: %v", err)
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Error(err)
	}
	close(w.release)
	if err := <-challenged; err != nil {
		t.Error(err)
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestQualify(t *testing.T) {
	type input struct {
		nonce   string
		binding byte
		request *LeaseRequest
	}
	seen := map[[32]byte]input{}
	for _, i := range []input{
		{"a", 0, nil}, {"b", 0, nil}, {"a", 1, nil}, {"a", 0, &LeaseRequest{}}, {"a", 0, &LeaseRequest{Seen: 1}},
		{"a", 0, &LeaseRequest{Tokens: [][16]byte{{}}}}, {"", 0, nil},
	} {
		q, err := Qualify([]byte(i.nonce), [BindingSize]byte{i.binding}, i.request)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[q]; twice {
			t.Errorf("%+v and %+v give the same", i, other)
		}
		seen[q] = i
	}
}

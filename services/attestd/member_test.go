package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/evidence"
	aios "aios/sdk/go"
)

// fakeKernel is an authority that notes what it was told, in order.
type fakeKernel struct {
	mu     sync.Mutex
	told   []string
	refuse string // what is refused, by the word that it is noted with
	events chan aios.AgentEvent

	nonces       byte   // that there were
	token, proof []byte // the last ones
}

// tokenFor is one that a key holds.
func tokenFor(t *testing.T, holder captoken.Thumbprint) captoken.Token {
	t.Helper()
	token, err := captoken.Mint(captoken.NewPrivateKey(identity(t, 9)), captoken.Claims{Subject: "hello", Audience: "host-0123456789abcdef", Rights: captoken.RightMemory,
		NotBefore: time.Unix(0, 0), Expires: time.Unix(60, 0), Lease: captoken.ID{1}, Holder: holder})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (k *fakeKernel) note(words ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = append(k.told, strings.Join(words, " "))
	if words[0] == k.refuse {
		return errors.Join(aios.ErrRefused, errors.New(words[0]))
	}
	return nil
}

func (k *fakeKernel) take() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := strings.Join(k.told, ", ")
	k.told = nil
	return s
}

func (k *fakeKernel) Request() (*aios.LeaseRequest, error) {
	return &aios.LeaseRequest{Nonce: [32]byte{1}, Boot: [16]byte{2}, Resets: 3, Seen: 4, Tokens: [][16]byte{{5}}, List: 6}, k.note("request")
}
func (k *fakeKernel) Lease(signed []byte) error { return k.note("lease", string(signed)) }
func (k *fakeKernel) Nonce() ([32]byte, error) {
	k.nonces++
	return [32]byte{k.nonces}, k.note("nonce")
}
func (k *fakeKernel) Token(signed, proof []byte) error {
	k.token, k.proof = signed, proof
	return k.note("token")
}
func (k *fakeKernel) Revocations(list []byte) error {
	return k.note("revocations", string(list))
}
func (k *fakeKernel) Orders(o aios.Orders) error {
	return k.note("orders", strings.Join(o.Agents, "+"))
}
func (k *fakeKernel) Start(a string) (uint64, error) { return 1, k.note("start", a) }
func (k *fakeKernel) Kill(_ [16]byte, agent string) ([][]byte, error) {
	return [][]byte{[]byte("receipt of " + agent)}, k.note("kill", agent)
}
func (k *fakeKernel) Quote(nonce [32]byte, receipt []byte) (*aios.Quote, error) {
	q := &aios.Quote{Attest: append(nonce[:1:1], receipt...)}
	return q, k.note("quote")
}
func (k *fakeKernel) Watch(after uint64, d time.Duration) ([]aios.AgentEvent, error) {
	e, ok := <-k.events
	if !ok || e.Number <= after {
		return nil, nil
	}
	return []aios.AgentEvent{e}, nil
}

// network is a dialer whose other end a verifier accepts.
type network struct {
	dialled chan net.Conn
}

func (n network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	if address != "verifier:1" {
		return nil, errors.New("no such address: " + address)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	s, err := l.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case n.dialled <- s:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return c, nil
}

func identity(t *testing.T, b byte) *mldsa.PrivateKey {
	t.Helper()
	k, err := mldsa.NewPrivateKey(bytes.Repeat([]byte{b}, mldsa.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// host runs keepSession of an attester; the verifier gets its connections from network.
func host(t *testing.T, a *attester, trusts *mldsa.PublicKey) (network, *log) {
	t.Helper()
	n, l := network{make(chan net.Conn)}, &log{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.keepSession(ctx, l, n, "verifier:1", trusts) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("keepSession: %v", err)
		}
	})
	return n, l
}

type log struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(append(p, '\n'))
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func accept(t *testing.T, n network, key *mldsa.PrivateKey) *evidence.Client {
	t.Helper()
	l, err := evidence.NewListener(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept(t.Context(), <-n.dialled)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestMember(t *testing.T) {
	ctx := t.Context()
	key := identity(t, 1)
	k := &fakeKernel{events: make(chan aios.AgentEvent, 1)}
	a := newAttester(fakeTPM{})
	a.authority = k
	n, l := host(t, a, key.Public())
	c := accept(t, n, key)

	if i, err := c.Identity(ctx); err != nil || i.Token != nil {
		t.Errorf("identity without a token: %+v, %v", i, err)
	}
	if _, err := a.admit([]byte("ticket")); err != nil {
		t.Fatal(err)
	}
	if i, err := c.Identity(ctx); err != nil || string(i.Token) != "ticket" {
		t.Errorf("identity with a token: %+v, %v", i, err)
	}
	nonce := bytes.Repeat([]byte{9}, evidence.NonceSize)
	e, err := c.Challenge(ctx, nonce)
	if err != nil || e.Request == nil || e.Request.Boot != [16]byte{2} || e.Request.Resets != 3 || e.Request.List != 6 || e.Request.Holder != a.holder.Public().Thumbprint() || len(e.Request.Tokens) != 1 {
		t.Fatalf("challenge: %+v, %v", e, err)
	}
	asked, _ := evidence.Qualify(nonce, c.Binding(), e.Request)
	if !bytes.Equal(e.Attest, asked[:]) || c.Binding() == [evidence.BindingSize]byte{} {
		t.Error("the quote is not over nonce, connection and lease request")
	}
	k.take()
	token := tokenFor(t, a.holder.Public().Thumbprint())
	g, err := c.Grant(ctx, &evidence.Grant{Lease: []byte("L"), Tokens: [][]byte{token}, Orders: evidence.Orders{List: []byte("R"), Agents: []string{"x"}}, Start: []string{"hello"}})
	if err != nil || len(g.Refused) != 0 {
		t.Errorf("grant: %+v, %v", g, err)
	}
	if got := k.take(); got != "revocations R, orders x, lease L, nonce, token, start hello" {
		t.Errorf("the kernel was told: %s", got)
	}
	o, err := c.Orders(ctx, &evidence.Orders{List: []byte("S"), Agents: []string{"a", "b"}, Kills: []evidence.Kill{{Command: [16]byte{7}, Agents: []string{"a", "b"}, Nonce: [32]byte{'n'}}}})
	if err != nil || len(o.Receipts) != 2 || string(o.Receipts[1].Attest) != "nreceipt of b" || o.Receipts[1].Command != [16]byte{7} {
		t.Errorf("orders: %+v, %v", o, err)
	}
	if got := k.take(); got != "kill a, kill b, revocations S, orders a+b, quote, quote" {
		t.Errorf("the kernel was told: %s", got)
	}
	if err := c.Refuse(ctx, strings.Repeat("no", 2000)); err != nil {
		t.Error(err)
	}
	if text := l.String(); !strings.Contains(text, `verifier refused reason="nono`) {
		t.Error(text)
	}
	k.events <- aios.AgentEvent{Number: 4, Kind: "start", Agent: "hello"}
	if w, err := c.Watch(ctx, 3); err != nil || len(w.Events) != 1 || w.Events[0].Agent != "hello" {
		t.Errorf("watch: %+v, %v", w, err)
	}
}

// A watch that waits keeps nothing else waiting.
func TestWatchDoesNotBlock(t *testing.T) {
	key := identity(t, 1)
	k := &fakeKernel{events: make(chan aios.AgentEvent)}
	a := newAttester(fakeTPM{})
	a.authority = k
	n, _ := host(t, a, key.Public())
	c := accept(t, n, key)
	watched := make(chan error, 1)
	go func() {
		_, err := c.Watch(t.Context(), 0)
		watched <- err
	}()
	if _, err := c.Orders(t.Context(), &evidence.Orders{Kills: []evidence.Kill{{Agents: []string{"a"}}}}); err != nil {
		t.Error(err)
	}
	close(k.events)
	if err := <-watched; err != nil {
		t.Error(err)
	}
}

func TestKernelRefuses(t *testing.T) {
	for _, c := range []struct {
		refuse, told string
	}{
		{"revocations", "revocations R"},
		{"orders", "revocations R, orders "},
		{"lease", "revocations R, orders , lease L"},
		{"nonce", "revocations R, orders , lease L, nonce, start hello"},
		{"token", "revocations R, orders , lease L, nonce, token, start hello"},
		{"start", "revocations R, orders , lease L, nonce, token, start hello"},
	} {
		k := &fakeKernel{refuse: c.refuse}
		m := &member{attester: newAttester(fakeTPM{}), log: &log{}}
		m.authority = k
		r, err := m.grant(&evidence.Grant{Lease: []byte("L"), Tokens: [][]byte{tokenFor(t, m.holder.Public().Thumbprint())}, Orders: evidence.Orders{List: []byte("R")}, Start: []string{"hello"}})
		if err != nil || len(r.Granted.Refused) != 1 || !strings.Contains(r.Granted.Refused[0], c.refuse) {
			t.Errorf("%s: %+v, %v", c.refuse, r, err)
		}
		if got := k.take(); got != c.told {
			t.Errorf("%s: the kernel was told %q, want %q", c.refuse, got, c.told)
		}
	}
}

// Each token is proven over a nonce of its own, with the key that the lease request names;
// one that another key holds is refused, and what to do is said.
func TestProvesTokens(t *testing.T) {
	k := &fakeKernel{}
	m := &member{attester: newAttester(fakeTPM{}), log: &log{}}
	m.authority = k
	for range 2 {
		token := tokenFor(t, m.holder.Public().Thumbprint())
		if err := m.token(token); err != nil {
			t.Fatal(err)
		}
		_, left, err := captoken.Read(token)
		if err != nil {
			t.Fatal(err)
		}
		if err := captoken.VerifyProof(k.proof, token, left, [32]byte{k.nonces}); err != nil || !bytes.Equal(k.token, token) {
			t.Errorf("proof: %v", err)
		}
	}
	k.take()
	other := tokenFor(t, captoken.NewPrivateKey(identity(t, 5)).Public().Thumbprint())
	r, err := m.grant(&evidence.Grant{Tokens: [][]byte{other}})
	if err != nil || len(r.Granted.Refused) != 1 || !strings.Contains(r.Granted.Refused[0], "has to delegate it to this host's key first") || k.nonces != 3 {
		t.Errorf("a token of another holder: %+v, %v", r, err)
	}
	if got := k.take(); strings.Contains(got, "token") {
		t.Errorf("the kernel was told: %s", got)
	}
}

// A verifier with another identity learns nothing, not even a certificate.
func TestOtherVerifier(t *testing.T) {
	a := newAttester(fakeTPM{})
	a.authority = &fakeKernel{}
	n, l := host(t, a, identity(t, 1).Public())
	impostor := accept(t, n, identity(t, 2))
	if id, err := impostor.Identity(t.Context()); err == nil {
		t.Errorf("it was told %+v", id)
	}
	// The host comes again, and its right verifier is still served.
	c := accept(t, n, identity(t, 1))
	if _, err := c.Hello(t.Context()); err != nil {
		t.Error(err)
	}
	if text := l.String(); !strings.Contains(text, "verifier away") || !strings.Contains(text, "identity key expected") {
		t.Error(text)
	}
}

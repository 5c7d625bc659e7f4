package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aios/boot/predict"
	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/eventlog"
	"aios/verifier/quote/tpmtest"
	"aios/verifier/session"
)

const (
	installation = "installation-1"
	bearer       = "the bearer token of the tests"
)

// patience bounds every wait; nothing is concluded from how long something took.
const patience = 60 * time.Second

func key(seed string) *mldsa.PrivateKey {
	k, err := mldsa.NewPrivateKey(bytes.Repeat([]byte(seed), mldsa.SeedSize)[:mldsa.SeedSize])
	if err != nil {
		panic(err)
	}
	return k
}

var (
	identityKey = key("identity")
	resultKey   = key("result")
	tokenKey    = captoken.NewPrivateKey(key("token"))
	operatorKey = captoken.NewPrivateKey(key("operator"))
	readerKey   = captoken.NewPrivateKey(key("reader")) // without the role that may kill
	strangerKey = captoken.NewPrivateKey(key("stranger"))
	hostKey     = captoken.NewPrivateKey(key("host"))
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "session", "testdata", name))
	check(t, err)
	return b
}

// site is a running verifier and the CA of its hosts' TPMs.
type site struct {
	*Service
	t       testing.TB
	config  Config
	ca      *tpmtest.CA
	hostsAt string // addresses
	api     string
	stop    func() // as kill -9 does, but for the goroutines
	order   atomic.Uint64
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	ca, err := tpmtest.NewCA("test manufacturer")
	check(t, err)
	reference, err := predict.Parse(read(t, "reference.json"))
	check(t, err)
	engine, err := policy.Compile(t.Context(), policy.Default())
	check(t, err)
	v := &session.Verifier{Reference: reference, Shape: "large", Policy: engine, PolicyID: "sha256:00", Results: resultKey, Build: "test"}
	v.Roots.Add(ca.Certificate)
	s := &site{t: t, ca: ca, config: Config{
		Dir: filepath.Join(t.TempDir(), "verifier"), Sessions: v, Identity: identityKey, Token: tokenKey, Installation: installation,
		Operators: []captoken.Operator{{Key: operatorKey.Public(), Roles: []string{"operator"}}, {Key: readerKey.Public(), Roles: []string{"reader"}}},
		Interval:  time.Hour, APIToken: bearer, Build: "test",
	}}
	s.order.Store(1)
	for _, c := range change {
		c(&s.config)
	}
	s.start()
	return s
}

// start serves on new ports, from what is on the disk.
func (s *site) start() {
	s.t.Helper()
	var err error
	s.Service, err = New(s.config)
	check(s.t, err)
	hosts, err := net.Listen("tcp", "127.0.0.1:0")
	check(s.t, err)
	api, err := net.Listen("tcp", "127.0.0.1:0")
	check(s.t, err)
	s.hostsAt, s.api = hosts.Addr().String(), "http://"+api.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	serving := s.Service
	go func() { done <- serving.Serve(ctx, hosts, api) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, serving.Close()); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(s.stop)
}

func (s *site) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

// await returns the first event after a number that is wanted.
func (s *site) await(after int64, what string, want func(Event) bool) Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var found Event
	var seen []string
	done := errors.New("found")
	err := s.Follow(ctx, after, func(e Event) error {
		if seen = append(seen, fmt.Sprintf("%s %s %s: %s", e.Kind, e.Host, e.Agent, e.Text)); !want(e) {
			return nil
		}
		found = e
		return done
	})
	if !errors.Is(err, done) {
		s.t.Fatalf("waited for %s, and saw %q", what, seen)
	}
	return found
}

func (s *site) awaitKind(after int64, kind, host string) Event {
	s.t.Helper()
	return s.await(after, kind, func(e Event) bool { return e.Kind == kind && (host == "" || e.Host == host) })
}

// command is signed by the operator unless change says otherwise.
func (s *site) command(target captoken.Target, change ...func(*captoken.Command)) []byte {
	s.t.Helper()
	return s.commandBy(operatorKey, target, change...)
}

func (s *site) commandBy(signer captoken.Signer, target captoken.Target, change ...func(*captoken.Command)) []byte {
	s.t.Helper()
	at := time.Now().Truncate(time.Second)
	c := captoken.Command{Audience: installation, IssuedAt: at, Expires: at.Add(time.Minute), Sequence: s.order.Add(1), Role: "operator",
		Action: captoken.ActionKill, Target: target, Reason: "test"}
	for _, f := range change {
		f(&c)
	}
	raw, err := captoken.MintCommand(signer, c)
	check(s.t, err)
	return raw
}

// assign has an agent run on every host.
func (s *site) assign(agents ...string) {
	s.t.Helper()
	for _, agent := range agents {
		check(s.t, s.Assign(agent, Assignment{Agent: agent, Hosts: []string{"*"}, Rights: []string{"log", "clock"}}))
	}
}

// fakeHost is a host whose TPM is made of software keys. It keeps leases and tokens as a
// kernel does.
type fakeHost struct {
	t        testing.TB
	tpm      *tpmtest.TPM
	id       string
	token    []byte // for enrolment
	log      []byte
	manifest []byte
	start    time.Time

	mu      sync.Mutex
	boot    captoken.Boot
	lease   *captoken.LeaseState
	nonces  byte
	held    map[string]captoken.ID // agent -> token that runs
	events  []evidence.Event
	fresh   chan struct{}
	orders  evidence.Orders // the last that were taken
	list    *captoken.RevocationState
	grants  int
	alter   func(*evidence.ProvenReceipt) // of what it sends
	mute    bool                          // it makes no receipts
	silent  bool                          // it answers nothing from now on
	secret  func([]byte) []byte           // what it makes of a credential
	hold    func()                        // called in the next challenge, without the lock
	quoteBy *tpmtest.TPM                  // whose quotes it passes off as its own
	obeyed  chan struct{}                 // told when orders were taken
	entered chan struct{}                 // told when a challenge has come and silent is set
}

func (s *site) newHost() *fakeHost {
	s.t.Helper()
	tpm, err := tpmtest.New()
	check(s.t, err)
	tpm.Certificate, err = s.ca.Issue(tpm.EK(), nil)
	check(s.t, err)
	tpm.ResetCount = 1
	h := &fakeHost{t: s.t, tpm: tpm, log: read(s.t, "event.log"), manifest: read(s.t, "manifest"), start: time.Now(),
		held: map[string]captoken.ID{}, fresh: make(chan struct{}), entered: make(chan struct{}, 64), obeyed: make(chan struct{}, 64)}
	hash, err := enrol.CertificateHash(tpm.Certificate)
	check(s.t, err)
	h.id = "host-" + hash[:16]
	h.measure()
	h.begin()
	return h
}

// enrolled is a host with a token that was issued to it.
func (s *site) enrolled() *fakeHost {
	s.t.Helper()
	h := s.newHost()
	text, _, err := s.NewEnrolmentToken("test", 0)
	check(s.t, err)
	h.token = []byte(text)
	return h
}

// measure puts the log's digests into the TPM's PCRs.
func (h *fakeHost) measure() {
	h.t.Helper()
	l, err := eventlog.Parse(h.log)
	check(h.t, err)
	for i := range l.Events {
		if e := &l.Events[i]; e.Extends() {
			check(h.t, h.tpm.Extend(int(e.PCR), e.Digest(eventlog.SHA256)))
		}
	}
}

// begin is a start of the kernel.
func (h *fakeHost) begin() {
	h.boot = captoken.Boot{ResetCount: h.tpm.ResetCount}
	copy(h.boot.ID[:], fmt.Sprintf("%s boot %d", h.id[5:12], h.tpm.ResetCount))
	h.lease = captoken.NewLeaseState([]*captoken.PublicKey{tokenKey.Public()}, h.id, h.boot, 3*time.Minute, 0)
	h.held, h.events, h.orders = map[string]captoken.ID{}, nil, evidence.Orders{}
	h.list = captoken.NewRevocationState(tokenKey.Public())
}

func (h *fakeHost) reboot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tpm.Reset()
	h.measure()
	h.begin()
}

func (h *fakeHost) clock() time.Duration { return time.Since(h.start) }

// tell adds an event. Precondition: h.mu is held.
func (h *fakeHost) tell(e evidence.Event) {
	e.Number = uint64(len(h.events) + 1)
	h.events = append(h.events, e)
	close(h.fresh)
	h.fresh = make(chan struct{})
}

// connected is a running connection of a host.
type connected struct {
	host *fakeHost
	done chan error
	end  func()
}

// connect dials the verifier as the host does.
func (s *site) connect(h *fakeHost) *connected {
	s.t.Helper()
	return s.dial(h, identityKey.Public())
}

func (s *site) dial(h *fakeHost, trusts *mldsa.PublicKey) *connected {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.hostsAt)
	check(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	c := &connected{host: h, done: make(chan error, 1)}
	go func() {
		secured, err := evidence.Secure(ctx, conn, trusts)
		if err == nil {
			err = evidence.ServeSecured(ctx, secured, &talk{h, secured.Binding})
		}
		conn.Close()
		c.done <- err
	}()
	c.end = sync.OnceFunc(func() {
		cancel()
		conn.Close()
	})
	s.t.Cleanup(c.end)
	return c
}

// up connects a host and waits until it has a lease.
func (s *site) up(h *fakeHost) *connected {
	s.t.Helper()
	at := s.Position()
	c := s.connect(h)
	s.awaitKind(at, HostLease, h.id)
	return c
}

// talk answers on one connection.
type talk struct {
	*fakeHost
	binding [evidence.BindingSize]byte
}

func (h *talk) Handle(ctx context.Context, q *evidence.Request) (*evidence.Response, error) {
	h.mu.Lock()
	if h.silent {
		h.mu.Unlock()
		h.entered <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if q.Op == evidence.OpWatch {
		h.mu.Unlock()
		return h.watch(ctx, q.After)
	}
	if hold := h.hold; hold != nil && q.Op == evidence.OpChallenge {
		h.hold = nil
		h.mu.Unlock()
		hold()
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	switch q.Op {
	case evidence.OpIdentity:
		id, err := h.tpm.Identity()
		if err != nil {
			return nil, err
		}
		id.Token = h.token
		return &evidence.Response{Identity: id}, nil
	case evidence.OpActivate:
		secret, err := h.tpm.Activate(q.Credential, q.Secret)
		if h.secret != nil {
			secret = h.secret(secret)
		}
		return &evidence.Response{Secret: secret}, err
	case evidence.OpChallenge:
		return h.challenge(q)
	case evidence.OpGrant:
		return h.take(q.Grant)
	case evidence.OpOrders:
		return h.obey(q.Orders)
	}
	return nil, nil
}

func (h *talk) watch(ctx context.Context, after uint64) (*evidence.Response, error) {
	for {
		h.mu.Lock()
		out := &evidence.Events{Events: []evidence.Event{}}
		for _, e := range h.events {
			if e.Number > after {
				out.Events = append(out.Events, e)
			}
		}
		fresh := h.fresh
		h.mu.Unlock()
		if len(out.Events) > 0 {
			return &evidence.Response{Events: out}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-fresh:
		}
	}
}

func (h *talk) challenge(q *evidence.Request) (*evidence.Response, error) {
	h.nonces++
	request := &evidence.LeaseRequest{Nonce: [32]byte{h.nonces, 1}, Boot: h.boot.ID, Resets: h.boot.ResetCount, Held: h.lease.ID(h.clock()), Seen: h.lease.Sequence(), Tokens: [][16]byte{}, List: h.listed(), Holder: hostKey.Public().Thumbprint()}
	for _, id := range h.held {
		request.Tokens = append(request.Tokens, id)
	}
	h.lease.Sent(request.Nonce, h.clock())
	asked, err := evidence.Qualify(q.Nonce, h.binding, request)
	if err != nil {
		return nil, err
	}
	qualifying := captoken.ChallengeQuote(asked[:])
	tpm := h.tpm
	if h.quoteBy != nil {
		tpm = h.quoteBy
	}
	attest, signature, err := tpm.Quote(qualifying[:])
	return &evidence.Response{Evidence: &evidence.Evidence{Attest: attest, Signature: signature, PCRs: slices.Clone(h.tpm.PCRs[:]), EventLog: h.log,
		Manifest: h.manifest, Request: request}}, err
}

// take is what a kernel makes of a grant: the lease, the tokens, then agents start.
func (h *talk) take(g *evidence.Grant) (*evidence.Response, error) {
	h.grants++
	out := &evidence.Granted{Refused: []string{}}
	h.revoke(g.Orders.List)
	if _, err := h.lease.Renew(g.Lease, h.clock()); err != nil {
		out.Refused = append(out.Refused, err.Error())
	}
	h.orders = g.Orders
	if h.lease.Sequence() > h.listed() {
		h.t.Errorf("%s: the lease names revocation list %d, and it was given %d", h.id, h.lease.Sequence(), h.listed())
	}
	now, _ := h.lease.Time(h.clock())
	installed := map[string]captoken.ID{}
	for _, raw := range g.Tokens {
		links, _, err := captoken.Read(raw)
		check(h.t, err)
		grant, err := captoken.Verify(raw, captoken.Want{Trusted: []captoken.Issuer{{Key: tokenKey.Public(), Revoked: h.list.List()}}, Host: h.id,
			Agent: links[0].Subject, Now: now, Lease: h.lease.ID(h.clock()), Rights: captoken.RightLog, Revoked: nobody{}})
		if err != nil {
			out.Refused = append(out.Refused, err.Error())
			continue
		}
		if _, err := captoken.Prove(hostKey, raw, [32]byte{1}); err != nil { // a kernel would not take it
			out.Refused = append(out.Refused, err.Error())
			continue
		}
		installed[grant.Subject] = grant.ID
	}
	for _, agent := range g.Start {
		if id, ok := installed[agent]; ok {
			if _, running := h.held[agent]; !running {
				h.tell(evidence.Event{Kind: "start", Agent: agent, Instance: uint64(len(h.events) + 1), Text: "started"})
			}
			h.held[agent] = id
		}
	}
	return &evidence.Response{Granted: out}, nil
}

// listed is the sequence of the revocation list that it holds.
func (h *fakeHost) listed() uint64 {
	if l := h.list.List(); l != nil {
		return l.Sequence
	}
	return 0
}

// revoke takes a revocation list, if one came, and ends what it names.
func (h *talk) revoke(list []byte) {
	if len(list) == 0 {
		return
	}
	l, err := h.list.Take(list)
	check(h.t, err)
	h.lease.Raise(l.Sequence)
	for agent, id := range h.held {
		if l.RevokedToken(id) || l.RevokedSubject(agent) || l.Epoch > 0 {
			delete(h.held, agent)
			h.tell(evidence.Event{Kind: "gone", Agent: agent, Instance: 1, Text: "revoked"})
		}
	}
}

type nobody struct{}

func (nobody) RevokedToken(captoken.ID) bool { return false }
func (nobody) RevokedSubject(string) bool    { return false }

// obey kills, and proves it.
func (h *talk) obey(o *evidence.Orders) (*evidence.Response, error) {
	h.orders = *o
	h.revoke(o.List)
	h.obeyed <- struct{}{}
	out := &evidence.Obeyed{Receipts: []evidence.ProvenReceipt{}, Refused: []string{}}
	for _, k := range o.Kills {
		for _, agent := range k.Agents {
			if h.mute {
				out.Refused = append(out.Refused, agent+": cannot be proven")
				continue
			}
			r, err := h.kill(k, agent)
			if err != nil {
				return nil, err
			}
			if h.alter != nil {
				h.alter(&r)
			}
			out.Receipts = append(out.Receipts, r)
		}
	}
	return &evidence.Response{Obeyed: out}, nil
}

func (h *fakeHost) kill(k evidence.Kill, agent string) (r evidence.ProvenReceipt, err error) {
	delete(h.held, agent)
	receipt := captoken.Receipt{Host: h.id, Boot: h.boot, Agent: agent, Instance: 1, Cause: captoken.CauseCommand, Command: k.Command,
		Frames: 100, Handles: 5, Asked: time.Second, Gone: time.Second + time.Millisecond}
	encoded, err := receipt.Encode()
	if err != nil {
		return r, err
	}
	h.tell(evidence.Event{Kind: "gone", Agent: agent, Instance: 1, Text: "command", Receipt: encoded})
	want := captoken.ReceiptQuote(k.Nonce, captoken.ReceiptHash(encoded))
	attest, signature, err := h.tpm.Quote(want[:])
	return evidence.ProvenReceipt{Command: k.Command, Receipt: encoded, Attest: attest, Signature: signature, PCRs: slices.Clone(h.tpm.PCRs[:])}, err
}

func (h *fakeHost) running(agent string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.held[agent]
	return ok
}

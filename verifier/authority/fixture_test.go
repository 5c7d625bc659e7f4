package authority

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/verifier/quote"
	"aios/verifier/quote/tpmtest"
)

const installation = "installation-1"

var epoch = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// failer is what both *testing.T and *rapid.T are.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func key(seed string) *captoken.PrivateKey {
	k, err := mldsa.NewPrivateKey(bytes.Repeat([]byte(seed), mldsa.SeedSize)[:mldsa.SeedSize])
	if err != nil {
		panic(err)
	}
	return captoken.NewPrivateKey(k)
}

var (
	tokenKey    = key("token")
	operatorKey = key("operator")
	helperKey   = key("helper") // without the role that may kill
	strangerKey = key("stranger")
	holder      = key("holder").Public().Thumbprint()
)

func id(text string) (out captoken.ID) {
	copy(out[:], text)
	return out
}

// memDisk is a disk in memory: what was synced survives a crash, and of what was not
// any part may. It can be told to fail.
type memDisk struct {
	files   map[string]*memFile
	room    int   // bytes that can still be written before it is full; negative: no bound
	crash   bool  // when it is full the power goes, instead of an error
	failing error // of every call from now on
	syncErr error // of the next sync of a file
	dirErr  error // of the next sync of the folder
	writes  int
}

type memFile struct {
	disk *memDisk
	data []byte
	safe int // bytes that were synced
}

var errPower = errors.New("the power is gone")

func newDisk() *memDisk { return &memDisk{files: map[string]*memFile{}, room: -1} }

func (d *memDisk) Read(name string) ([]byte, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return bytes.Clone(f.data), d.failing
}

func (d *memDisk) Append(name string) (File, error) {
	f, ok := d.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return f, d.failing
}

func (d *memDisk) Create(name string) (File, error) {
	if d.failing != nil {
		return nil, d.failing
	}
	d.files[name] = &memFile{disk: d}
	return d.files[name], nil
}

func (d *memDisk) Rename(from, to string) error {
	if d.failing != nil {
		return d.failing
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *memDisk) Remove(name string) error {
	delete(d.files, name)
	return d.failing
}

func (d *memDisk) Sync() error {
	err := d.dirErr
	d.dirErr = nil
	return errors.Join(err, d.failing)
}

func (d *memDisk) Close() error   { return nil }
func (d *memDisk) String() string { return "memory" }

func (f *memFile) Write(b []byte) (int, error) {
	f.disk.writes++
	if f.disk.failing != nil {
		return 0, f.disk.failing
	}
	n := len(b)
	var err error
	if f.disk.room >= 0 && n > f.disk.room {
		n, err = f.disk.room, syscall.ENOSPC
		if f.disk.crash {
			err = errPower
			f.disk.failing = err
		}
	}
	if f.disk.room >= 0 {
		f.disk.room -= n
	}
	f.data = append(f.data, b[:n]...)
	return n, err
}

func (f *memFile) Sync() error {
	if err := errors.Join(f.disk.failing, f.disk.syncErr); err != nil {
		f.disk.syncErr = nil
		return err
	}
	f.safe = len(f.data)
	return nil
}

func (f *memFile) Truncate(n int64) error {
	if f.disk.failing != nil {
		return f.disk.failing
	}
	f.data = f.data[:n]
	f.safe = min(f.safe, int(n))
	return nil
}

func (f *memFile) Close() error { return nil }

// crashed is the disk after a power cut: of each file what was synced and keep more
// bytes, the rest of it lost or, with zeros, never written.
func (d *memDisk) crashed(keep int, zeros bool) *memDisk {
	out := newDisk()
	for name, f := range d.files {
		n := min(len(f.data), f.safe+keep)
		data := bytes.Clone(f.data[:n])
		if zeros {
			data = append(data, make([]byte, len(f.data)-n)...)
		}
		out.files[name] = &memFile{out, data, len(data)}
	}
	return out
}

// world is an authority with a clock, hosts and labels.
type world struct {
	t      failer
	disk   *memDisk
	now    time.Time
	labels map[string][]string
	warned []string
	config Config
	a      *Authority
	order  uint64
}

func newWorld(t failer, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, disk: newDisk(), now: epoch, labels: map[string][]string{}}
	w.config = Config{
		Key: tokenKey, Installation: installation, Create: true,
		Operators: []captoken.Operator{{Key: operatorKey.Public(), Roles: []string{"responder"}}, {Key: helperKey.Public(), Roles: []string{"reader"}}},
		Permits: func(role string, action captoken.Action, _ captoken.Target) bool {
			return role == "responder" && action == captoken.ActionKill
		},
		Labelled: func(label string) []string { return w.labels[label] },
		Now:      func() time.Time { return w.now },
		Warn:     func(s string) { w.warned = append(w.warned, s) },
	}
	for _, c := range change {
		c(&w.config)
	}
	w.reopen(w.disk)
	w.config.Create = false
	return w
}

func (w *world) reopen(d *memDisk) {
	w.t.Helper()
	if w.a != nil {
		w.a.Close()
	}
	w.disk = d
	a, err := Open(d, w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.a = a
}

func (w *world) tick(d time.Duration) { w.now = w.now.Add(d) }

// dump is all that is remembered, in one form.
func dump(t failer, a *Authority) string {
	t.Helper()
	var out []byte
	for _, r := range a.state.snapshot() {
		b, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return string(out)
}

// verdict is a good one of this moment.
func (w *world) verdict(host string) Verdict {
	at := w.now.Truncate(time.Second)
	return Verdict{Host: host, Status: "affirming", IssuedAt: at, Expires: at.Add(5 * time.Minute), ResetCount: 1, Measured: Measurement{1}}
}

// host is the other side: it keeps its lease as a real one does.
type host struct {
	w     *world
	name  string
	boot  captoken.Boot
	start time.Time
	state *captoken.LeaseState
	nonce byte
	held  map[string]captoken.ID // agent -> token
	list  captoken.RevocationList
}

func (w *world) host(name string) *host {
	h := &host{w: w, name: name, held: map[string]captoken.ID{}}
	h.reboot(1)
	return h
}

func (h *host) reboot(resets uint32) {
	h.boot = captoken.Boot{ID: id(fmt.Sprintf("%s %d", h.name, resets)), ResetCount: resets}
	h.start = h.w.now
	h.state = leaseState(h)
	h.held = map[string]captoken.ID{}
	h.list = captoken.RevocationList{}
}

func leaseState(h *host) *captoken.LeaseState {
	return captoken.NewLeaseState([]*captoken.PublicKey{tokenKey.Public()}, h.name, h.boot, DefaultGrace, 0)
}

func (h *host) mono() time.Duration { return h.w.now.Sub(h.start) }

func (h *host) request(agents ...string) Request {
	h.nonce++
	q := Request{Nonce: [32]byte{h.nonce, 1}, Boot: h.boot.ID, Held: h.state.ID(h.mono()), Seen: h.state.Sequence(), List: h.list.Sequence, Holder: holder}
	for _, a := range agents {
		q.Agents = append(q.Agents, Assignment{Agent: a, Rights: captoken.RightLog})
	}
	for _, t := range h.held {
		q.Tokens = append(q.Tokens, t)
	}
	h.state.Sent(q.Nonce, h.mono())
	return q
}

// attest is a whole round: request, grant, and what the host makes of the answer.
func (h *host) attest(agents ...string) *Granted {
	h.w.t.Helper()
	v := h.w.verdict(h.name)
	v.ResetCount = h.boot.ResetCount
	g, err := h.w.a.Grant(v, h.request(agents...))
	if err != nil {
		h.w.t.Fatal(err)
	}
	h.take(g)
	return g
}

func (h *host) take(g *Granted) {
	h.w.t.Helper()
	if len(g.Orders.List) > 0 {
		h.list = *h.w.revocations(g.Orders)
	}
	if g.Lease.Sequence != h.list.Sequence {
		h.w.t.Fatalf("the lease names revocation list %d, and the newest is %d", g.Lease.Sequence, h.list.Sequence)
	}
	if _, err := h.state.Renew(g.Signed, h.mono()); err != nil {
		h.w.t.Fatal(err)
	}
	if !g.Renewed {
		h.held = map[string]captoken.ID{}
	}
	for _, token := range g.Tokens {
		links, _, err := captoken.Read(token)
		if err != nil {
			h.w.t.Fatal(err)
		}
		grant, err := h.verify(token, links[0].Subject, g.Orders)
		if err != nil {
			h.w.t.Fatal(err)
		}
		h.held[grant.Subject] = grant.ID
	}
}

// verify is what the host's kernel asks of a token, knowing the orders.
func (h *host) verify(token captoken.Token, agent string, o Orders) (*captoken.Grant, error) {
	now, _ := h.state.Time(h.mono())
	return captoken.Verify(token, captoken.Want{
		Trusted: []captoken.Issuer{{Key: tokenKey.Public(), Revoked: h.w.revocations(o)}}, Host: h.name, Agent: agent, Now: now,
		Lease: h.state.ID(h.mono()), Rights: captoken.RightLog, Revoked: told{o},
	})
}

// revocations is the list that comes with orders, nil if none does.
func (w *world) revocations(o Orders) *captoken.RevocationList {
	w.t.Helper()
	if len(o.List) == 0 {
		return nil
	}
	l, err := captoken.VerifyRevocations(o.List, w.config.Key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	if l.Sequence != o.Listed || l.Sequence > o.Sequence {
		w.t.Fatalf("list %d in orders %d, which say %d", l.Sequence, o.Sequence, o.Listed)
	}
	return l
}

// revoked is the newest list, an empty one before the first.
func (w *world) revoked() captoken.RevocationList { return w.a.state.list }

// told are orders as a host's list of who may not run.
type told struct{ Orders }

func (told) RevokedToken(captoken.ID) bool  { return false }
func (o told) RevokedSubject(s string) bool { return o.All || slices.Contains(o.Agents, s) }

// command is signed by the operator, with a number that was not used before.
func (w *world) command(target captoken.Target, change ...func(*captoken.Command)) []byte {
	w.t.Helper()
	w.order++
	at := w.now.Truncate(time.Second)
	c := captoken.Command{Audience: installation, IssuedAt: at, Expires: at.Add(time.Minute), Sequence: w.order, Role: "responder",
		Action: captoken.ActionKill, Target: target, Reason: "test"}
	for _, f := range change {
		f(&c)
	}
	raw, err := captoken.MintCommand(operatorKey, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func (w *world) kill(target captoken.Target) *Outcome {
	w.t.Helper()
	out, err := w.a.Command(w.command(target))
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func newTPM(t testing.TB, resets uint32) (*tpmtest.TPM, *quote.Key, Measurement) {
	t.Helper()
	tpm, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	tpm.ResetCount = resets
	ak, err := quote.ParseKey(tpm.AKPublic())
	if err != nil {
		t.Fatal(err)
	}
	m, err := measure(func(i int) []byte { return tpm.PCRs[i] })
	if err != nil {
		t.Fatal(err)
	}
	return tpm, ak, m
}

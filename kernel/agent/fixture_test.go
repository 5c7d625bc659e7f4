package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/agent/agenttest"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// fakeProcess is one of 1000 frames and 7 handles that ends when it is told to.
type fakeProcess struct {
	cfg   process.Config
	table cap.Table
	named map[string]abi.Handle

	mu     sync.Mutex
	exit   process.Exit
	done   chan struct{}
	linger time.Duration // how long it takes to die
}

func (p *fakeProcess) end(reason string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit.Reason == "" {
		p.exit = process.Exit{Reason: reason, OK: ok, Freed: 1000, Handles: 7}
		time.AfterFunc(p.linger, func() { close(p.done) })
	}
}

func (p *fakeProcess) Kill(reason string) { p.end("killed: "+reason, false) }
func (p *fakeProcess) Wait() process.Exit { <-p.done; return p.exit }
func (p *fakeProcess) Restrict(l cap.Limit) {
	p.table.Restrict(l)
}

// machine is a host with an Authority, and a verifier for it.
type machine struct {
	*testing.T
	*Authority
	v       *agenttest.Verifier
	boot    time.Time
	started []*fakeProcess
	refuse  error         // what Start says
	wait    chan struct{} // what Start waits for
	slow    chan struct{} // what the log waits for before a line of an agent's end
	linger  time.Duration
	quotes  int
	drawn   atomic.Uint64 // random numbers

	mu    sync.Mutex
	lines []string
}

var (
	echod, other = new(ipc.Port), new(ipc.Port)
	hello, spare = new(ipc.Port), new(ipc.Port)
)

const grace = 30 * time.Second

func newMachine(t *testing.T) *machine {
	m := &machine{T: t, boot: time.Now().Add(-5 * time.Second)}
	now := func() time.Duration { return time.Since(m.boot) }
	m.v = agenttest.New(now)
	everything := func() []process.Grant {
		return []process.Grant{
			{Name: abi.CapLog, Type: abi.TypeLog, Rights: abi.RightWrite},
			{Name: abi.CapClock, Type: abi.TypeClock, Rights: abi.RightRead},
			{Name: abi.CapAttest, Type: abi.TypeAttestor, Rights: abi.RightInvoke},
			{Name: "SEND_ECHOD", Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: echod},
			{Name: "SEND_OTHER", Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: other},
			{Name: abi.CapReply, Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: hello},
		}
	}
	pids := 0
	m.Authority = New(Config{
		Agents: []Spec{
			{Name: "hello", Runtime: "wasmhost", Image: []byte("runtime"), Module: strings.NewReader("module"), Memory: 1 << 20, Grants: everything(), Port: hello},
			{Name: "spare", Runtime: "wasmhost", Image: []byte("runtime"), Module: strings.NewReader("spare"), Memory: 1 << 20, Port: spare},
		},
		Issuer: m.v.Key.Public(), Grace: grace,
		Host:   func() (string, error) { return m.v.Host, nil },
		Resets: func() (uint32, error) { return 4, nil },
		Boot:   captoken.ID{9},
		Prove: func(nonce [32]byte, receipt []byte) ([]byte, []byte, []byte, error) {
			m.quotes++
			d := captoken.ReceiptQuote(nonce, captoken.ReceiptHash(receipt))
			return d[:], []byte("signature"), []byte("values"), nil
		},
		Now:    now,
		Random: func(b []byte) { binary.LittleEndian.PutUint64(b, m.drawn.Add(1)); b[31] = 1 },
		NewPID: func() int { pids++; return pids },
		Start: func(c process.Config) (Process, error) {
			if m.wait != nil {
				<-m.wait
			}
			if m.refuse != nil {
				return nil, m.refuse
			}
			p := &fakeProcess{cfg: c, named: map[string]abi.Handle{}, done: make(chan struct{}), linger: m.linger}
			p.table.Hang(c.Gate, c.Limit)
			for _, g := range c.Grants {
				var object any = g.Object
				if port, ok := object.(*ipc.Port); ok {
					object = port.Endpoint(1)
				}
				p.named[g.Name], _ = p.table.Insert(object, g.Type, g.Rights)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.started = append(m.started, p)
			return p, nil
		},
		Peers: map[*ipc.Port]string{echod: "echod", other: "other", hello: "hello", spare: "spare"},
		Log: func(line string) {
			if m.slow != nil && strings.Contains(line, "agent gone") {
				<-m.slow
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lines = append(m.lines, line)
		},
	})
	return m
}

// on runs f in a bubble whose time is the test's.
func on(t *testing.T, f func(m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		f(m)
		m.Authority.mu.Lock()
		if m.timer != nil {
			m.timer.Stop()
		}
		m.Authority.mu.Unlock()
		for _, p := range m.started {
			p.end("the test is over", true)
		}
		time.Sleep(time.Minute) // for those that linger
	})
}

// call makes the system call. A token comes with the holder's proof, unless another one
// is given.
func (m *machine) call(op uint32, fields ...[]byte) ([][]byte, error) {
	if op == abi.AuthorityToken && len(fields) == 1 {
		nonce, err := m.call(abi.AuthorityNonce)
		if err != nil {
			return nil, err
		}
		fields = [][]byte{fields[0], m.v.Proof(fields[0], nonce[0])}
	}
	return agenttest.Answer(m.Authority.Authority(m.Context(), op, abi.Message(fields...)))
}

func (m *machine) must(op uint32, fields ...[]byte) [][]byte {
	m.Helper()
	f, err := m.call(op, fields...)
	if err != nil {
		m.Fatalf("operation %d: %v", op, err)
	}
	return f
}

// refused wants a refusal that says want, on the log too, and nothing changed.
func (m *machine) refused(want string, op uint32, fields ...[]byte) {
	m.Helper()
	before := m.holds()
	_, err := m.call(op, fields...)
	if err == nil || !strings.Contains(err.Error(), want) {
		m.Errorf("operation %d: %v, want %q", op, err, want)
		return
	}
	if line := m.lastLine(); !strings.Contains(line, " refused") || !strings.Contains(line, "reason=") {
		m.Errorf("the log ends with %q", line)
	}
	if after := m.holds(); after != before {
		m.Errorf("refused with %q, and changed:\n%s\n%s", err, before, after)
	}
}

// holds is what the next request would say, and who runs.
func (m *machine) holds() string {
	m.Authority.mu.Lock()
	defer m.Authority.mu.Unlock()
	s := "no lease"
	if m.state != nil {
		s = m.state.String()
	}
	for _, g := range m.order {
		if g.token != nil {
			s += " token " + g.token.grant.ID.String()
		}
		if g.run != nil {
			s += " runs " + g.Name
		}
	}
	return s
}

func (m *machine) lastLine() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.lines) == 0 {
		return ""
	}
	return m.lines[len(m.lines)-1]
}

func (m *machine) said(part string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.lines, func(l string) bool { return strings.Contains(l, part) })
}

// attest has the host hold a lease.
func (m *machine) attest() {
	m.Helper()
	m.must(abi.AuthorityLease, m.v.Lease(m.must(abi.AuthorityRequest), nil))
}

// run has an agent run on a token.
func (m *machine) run(name string, change func(*captoken.Claims)) *fakeProcess {
	m.Helper()
	m.must(abi.AuthorityToken, m.v.Token(name, change))
	m.must(abi.AuthorityStart, []byte(name))
	return m.started[len(m.started)-1]
}

// dead wants the process ended for the cause, with a receipt.
func (m *machine) dead(p *fakeProcess, cause captoken.Cause) *captoken.Receipt {
	m.Helper()
	synctest.Wait()
	select {
	case <-p.done:
	default:
		m.Fatal("it runs on")
	}
	if e := p.check("SELF", abi.TypeProcess, abi.RightControl, m.c.Now()); e != abi.Lapsed {
		m.Errorf("a handle of the dead: %v", e)
	}
	events, _ := m.Authority.Watch(m.Context(), 0, 0)
	for _, e := range slices.Backward(events) {
		f, err := abi.Fields(e, 7)
		if err != nil {
			m.Fatal(err)
		}
		if string(f[3]) == "gone" && string(f[4]) == p.cfg.Name {
			r, err := captoken.ParseReceipt(f[6])
			if err != nil {
				m.Fatal(err)
			}
			if r.Cause != cause || r.Host != m.v.Host || r.Boot != (captoken.Boot{ID: captoken.ID{9}, ResetCount: 4}) {
				m.Errorf("receipt %+v, want cause %v", r, cause)
			}
			return r
		}
	}
	m.Fatal("no event tells of its end")
	return nil
}

// revoke brings a revocation list of the next sequence.
func (m *machine) revoke(change func(*captoken.RevocationList)) []byte {
	m.Helper()
	m.v.Sequence++
	list := m.v.Revocations(change)
	m.must(abi.AuthorityRevocations, list)
	return list
}

// theToken, theLease and theAgent are what a list revokes.
func theToken(ids ...captoken.ID) func(*captoken.RevocationList) {
	return func(l *captoken.RevocationList) { l.Revoke(ids, nil, nil) }
}

func theLease(ids ...captoken.ID) func(*captoken.RevocationList) {
	return func(l *captoken.RevocationList) { l.Revoke(nil, ids, nil) }
}

func theAgent(names ...string) func(*captoken.RevocationList) {
	return func(l *captoken.RevocationList) { l.Revoke(nil, nil, names) }
}

func (m *machine) alive(p *fakeProcess) {
	m.Helper()
	synctest.Wait()
	select {
	case <-p.done:
		m.Fatalf("it ended: %s", p.exit.Reason)
	default:
	}
}

func (p *fakeProcess) check(name string, typ abi.Type, r abi.Rights, now time.Duration) abi.Errno {
	return p.table.Check(p.named[name], typ, r, now)
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// orders are those of a sequence.
func (m *machine) orders(o Orders) [][]byte {
	var names bytes.Buffer
	for _, n := range o.Agents {
		names.WriteString(n + "\n")
	}
	all := []byte{0}
	if o.All {
		all[0] = 1
	}
	return [][]byte{u64(o.Sequence), all, names.Bytes()}
}

var errStart = errors.New("no room for it")

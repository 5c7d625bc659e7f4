package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/agent/agenttest"
)

// The whole of it: lease, token, start, kill, receipt, quote.
func TestLife(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p := m.run("hello", func(c *captoken.Claims) { c.Quotas.MemoryBytes = 1 << 18 })
		if c := p.cfg; c.Memory != 1<<18 || strings.Join(c.Args, " ") != "wasmhost hello" || string(c.Image) != "runtime" || c.Port != hello || c.Gate == nil {
			t.Errorf("started with %+v", c)
		}
		if f := m.must(abi.AuthorityStart, []byte("hello")); len(f) != 1 || binary.LittleEndian.Uint64(f[0]) != 1 {
			t.Errorf("to start what runs gives %x, want instance 1", f)
		}
		time.Sleep(time.Second)
		command := captoken.ID{5}
		f := m.must(abi.AuthorityKill, command[:], []byte("hello"))
		if len(f) != 1 {
			t.Fatalf("%d receipts", len(f))
		}
		if p.exit.Reason != "killed: a command: "+command.String() {
			t.Error(p.exit.Reason)
		}
		r, err := captoken.ParseReceipt(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if r.Cause != captoken.CauseCommand || r.Command != command || r.Agent != "hello" || r.Instance != 1 || r.Frames != 1000 || r.Handles != 7 || r.Asked != m.c.Now() {
			t.Errorf("receipt %+v", r)
		}
		q := m.must(abi.AuthorityQuote, bytes.Repeat([]byte{1}, 32), f[0])
		want := captoken.ReceiptQuote([32]byte(bytes.Repeat([]byte{1}, 32)), captoken.ReceiptHash(f[0]))
		if len(q) != 3 || !bytes.Equal(q[0], want[:]) {
			t.Errorf("quote %x", q)
		}
		forged := bytes.Clone(f[0])
		forged[len(forged)-1] ^= 1
		m.refused("none of the last 64", abi.AuthorityQuote, make([]byte, 32), forged)
		m.refused("none of the last 64", abi.AuthorityQuote, make([]byte, 32), nil)
		if m.quotes != 1 {
			t.Errorf("%d quotes", m.quotes)
		}
		// The same command again: the same receipt, whatever runs.
		if again := m.must(abi.AuthorityKill, command[:], []byte("hello")); !bytes.Equal(again[0], f[0]) {
			t.Error("another receipt for the same command")
		}
		m.refused("stopped it", abi.AuthorityStart, []byte("hello"))
		m.refused("revoked", abi.AuthorityToken, m.v.Token("hello", nil))
		for _, line := range []string{
			"aios kernel: lease held id=01000000000000000000000000000000 duration_ms=60000",
			"aios kernel: token installed agent=hello id=0201",
			"aios kernel: agent start agent=hello instance=1 pid=1",
			`aios kernel: agent gone agent=hello instance=1 cause=command frames_freed=1000 frames_lost=0 handles=7 ms=0 reason="a command: 05`,
			"aios kernel: agent refused agent=hello reason=",
		} {
			if !m.said(line) {
				t.Errorf("the log lacks %q:\n%s", line, strings.Join(m.lines, "\n"))
			}
		}
	})
}

// When the lease is over, everything ends, at its moment; what runs goes on in the grace.
func TestLapse(t *testing.T) {
	on(t, func(m *machine) {
		m.refused("no lease is held", abi.AuthorityStart, []byte("hello"))
		m.attest()
		p, q := m.run("hello", nil), m.run("spare", nil)
		end := m.c.Now() + m.v.Duration + grace
		time.Sleep(m.v.Duration - 1)
		m.alive(p)
		time.Sleep(1)
		synctest.Wait()
		if !m.said("lease grace") {
			t.Error("nobody said that the grace began")
		}
		m.refused("in its grace", abi.AuthorityToken, m.v.Token("hello", nil))
		q.end("exit status 0", true)
		m.dead(q, captoken.CauseExit)
		m.refused("in its grace", abi.AuthorityStart, []byte("spare"))
		time.Sleep(grace - 1)
		m.alive(p)
		if e := p.check("CLOCK", abi.TypeClock, abi.RightRead, end-1); e != 0 {
			t.Errorf("in the last moment: %v", e)
		}
		if e := p.check("CLOCK", abi.TypeClock, abi.RightRead, end); e != abi.Lapsed {
			t.Errorf("at the end, whatever the timer does: %v", e)
		}
		time.Sleep(1)
		r := m.dead(p, captoken.CauseLease)
		if r.Asked != end || r.Gone != end {
			t.Errorf("asked %v, gone %v, want %v", r.Asked, r.Gone, end)
		}
		m.refused("has lapsed", abi.AuthorityStart, []byte("hello"))
		if f := m.must(abi.AuthorityRequest); !bytes.Equal(f[3], make([]byte, 16)) || len(f[5]) != 0 {
			t.Errorf("it still says that it holds lease %x and tokens %x", f[3], f[5])
		}
		m.refused("has lapsed", abi.AuthorityLease, m.v.Lease(m.must(abi.AuthorityRequest), nil))
		m.v.LeaseID = captoken.ID{8}
		m.attest()
		m.alive(m.run("hello", nil))
	})
}

// A renewal lets everything go on; another lease ends what hung from the one before.
func TestRenewal(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p := m.run("hello", nil)
		for range 4 {
			time.Sleep(80 * time.Second) // well into the grace
			m.attest()
		}
		m.alive(p)
		if !m.said("lease renewed") {
			t.Error("nobody said that it was renewed")
		}
		m.v.LeaseID = captoken.ID{8}
		m.linger = time.Second
		p.linger = time.Second
		m.attest()
		m.dead(p, captoken.CauseLease) // it is gone when the call returns
		m.refused("no token", abi.AuthorityStart, []byte("hello"))
		m.alive(m.run("hello", nil))
	})
}

func TestBadLeases(t *testing.T) {
	on(t, func(m *machine) {
		first := m.must(abi.AuthorityRequest)
		flipped := m.v.Lease(first, nil)
		flipped[len(flipped)-3] ^= 1
		m.refused("signature", abi.AuthorityLease, flipped)
		m.refused("lease", abi.AuthorityLease, nil)
		m.refused("host expected", abi.AuthorityLease, m.v.Lease(first, func(l *captoken.Lease) { l.Host = "host-fedcba9876543210" }))
		m.refused("boot expected", abi.AuthorityLease, m.v.Lease(first, func(l *captoken.Lease) { l.Boot.ID[0]++ }))
		m.refused("boot expected", abi.AuthorityLease, m.v.Lease(first, func(l *captoken.Lease) { l.Boot.ResetCount++ }))
		m.refused("answers no request", abi.AuthorityLease, m.v.Lease(first, func(l *captoken.Lease) { l.Nonce[0]++ }))
		good := m.v.Lease(first, nil)
		m.must(abi.AuthorityLease, good)
		m.refused("answers no request", abi.AuthorityLease, good)
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 9})...)
		m.refused("revocation sequence expected at least 9, found 8", abi.AuthorityOrders, m.orders(Orders{Sequence: 8, All: true})...)
		if f := m.must(abi.AuthorityRequest); binary.LittleEndian.Uint64(f[4]) != 9 || !bytes.Equal(f[3], m.v.LeaseID[:]) {
			t.Errorf("it says sequence %x, lease %x", f[4], f[3])
		}
	})
}

// Orders end what they forbid.
func TestOrders(t *testing.T) {
	for _, c := range []struct {
		name   string
		orders func(o *Orders)
		dies   bool
	}{
		{"nothing", func(*Orders) {}, false},
		{"another agent", func(o *Orders) { o.Agents = []string{"stranger", "spare"} }, false},
		{"the agent", func(o *Orders) { o.Agents = []string{"hello"} }, true},
		{"all", func(o *Orders) { o.All = true }, true},
	} {
		on(t, func(m *machine) {
			m.attest()
			p := m.run("hello", nil)
			p.linger = 50 * time.Millisecond
			o := Orders{Sequence: 3}
			c.orders(&o)
			m.must(abi.AuthorityOrders, m.orders(o)...)
			if !c.dies {
				m.alive(p)
				m.must(abi.AuthorityToken, m.v.Token("hello", nil))
				return
			}
			m.dead(p, captoken.CauseRevoked)
			m.refused("everything of agent", abi.AuthorityToken, m.v.Token("hello", nil))
			m.refused("may not run", abi.AuthorityStart, []byte("hello"))
			m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 4})...)
			m.alive(m.run("hello", nil))
		})
	}
}

func TestMalformed(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		before := m.holds()
		id := make([]byte, 16)
		for _, c := range []struct {
			op     uint32
			fields [][]byte
		}{
			{0, nil}, {11, nil}, {abi.AuthorityNonce, [][]byte{{}}}, {abi.AuthorityRequest, [][]byte{{}}}, {abi.AuthorityLease, nil}, {abi.AuthorityToken, [][]byte{{}}}, {abi.AuthorityToken, [][]byte{{}, {}, {}}},
			{abi.AuthorityStart, nil}, {abi.AuthorityKill, [][]byte{id[:15], {}}}, {abi.AuthorityKill, [][]byte{id}},
			{abi.AuthorityQuote, [][]byte{id, {}}}, {abi.AuthorityWatch, [][]byte{id[:8]}}, {abi.AuthorityWatch, [][]byte{id, id}},
			{abi.AuthorityOrders, [][]byte{id[:8], {2}, nil}}, {abi.AuthorityOrders, [][]byte{id[:8], nil, nil}},
			{abi.AuthorityOrders, [][]byte{id[:7], {0}, nil}}, {abi.AuthorityOrders, [][]byte{id[:8], {0}, []byte("no newline")}},
			{abi.AuthorityOrders, [][]byte{id[:8], {0}, bytes.Repeat([]byte("\n"), maxNames+1)}},
			{abi.AuthorityRevocations, nil}, {abi.AuthorityRevocations, [][]byte{{}, {}}},
		} {
			_, err := m.Authority.Authority(m.Context(), c.op, abi.Message(c.fields...))
			if !errors.Is(err, abi.Invalid) && !errors.Is(err, abi.ErrField) {
				t.Errorf("operation %d, %x: %v", c.op, c.fields, err)
			}
		}
		if m.holds() != before {
			t.Error("something changed")
		}
		m.refused("the id of the command is missing", abi.AuthorityKill, id, nil)
		m.refused("none of this host's", abi.AuthorityKill, bytes.Repeat([]byte{1}, 16), []byte("stranger"))
		m.refused("none of this host's", abi.AuthorityStart, []byte("stranger"))
	})
}

// An agent that did not run when the command came has a receipt too.
func TestKillOfWhatDoesNotRun(t *testing.T) {
	on(t, func(m *machine) {
		first, second, third := captoken.ID{1}, captoken.ID{2}, captoken.ID{3}
		parse := func(f [][]byte, i int) *captoken.Receipt {
			t.Helper()
			r, err := captoken.ParseReceipt(f[i])
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		// It never ran; and without a name all are meant.
		f := m.must(abi.AuthorityKill, first[:], nil)
		if len(f) != 2 {
			t.Fatalf("%d receipts", len(f))
		}
		if r := parse(f, 1); r.Agent != "spare" || r.Instance != 0 || r.Frames != 0 || r.Command != first {
			t.Errorf("%+v", r)
		}
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 1})...) // lifts it
		m.attest()
		p := m.run("hello", nil)
		p.end("page fault: read of 0x0", false)
		m.dead(p, captoken.CauseFault)
		if r := parse(m.must(abi.AuthorityKill, second[:], []byte("hello")), 0); r.Instance != 1 || r.Frames != 0 || r.Handles != 0 || r.Cause != captoken.CauseCommand {
			t.Errorf("it had ended by itself: %+v", r)
		}
		// Orders that came before the command have ended it.
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 2})...)
		m.run("hello", nil)
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 3, Agents: []string{"hello"}})...)
		if r := parse(m.must(abi.AuthorityKill, third[:], []byte("hello")), 0); r.Instance != 2 || r.Frames != 1000 || r.Handles != 7 || r.Command != third {
			t.Errorf("orders had ended it: %+v", r)
		}
		fourth := captoken.ID{4}
		if r := parse(m.must(abi.AuthorityKill, fourth[:], []byte("hello")), 0); r.Instance != 2 || r.Frames != 0 {
			t.Errorf("the next command frees nothing: %+v", r)
		}
	})
}

// A kill holds until later orders do not name the agent; those that were on their way
// lift nothing, and an old command that comes again kills nothing that was started since.
func TestLift(t *testing.T) {
	on(t, func(m *machine) {
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 4})...)
		m.attest()
		m.run("hello", nil)
		command := captoken.ID{5}
		f := m.must(abi.AuthorityKill, command[:], []byte("hello"))
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 4})...)
		m.refused("stopped it", abi.AuthorityStart, []byte("hello"))
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 5, Agents: []string{"hello"}})...)
		m.refused("may not run", abi.AuthorityStart, []byte("hello"))
		m.must(abi.AuthorityOrders, m.orders(Orders{Sequence: 6})...)
		p := m.run("hello", nil)
		if again := m.must(abi.AuthorityKill, command[:], []byte("hello")); !bytes.Equal(again[0], f[0]) {
			t.Error("another receipt")
		}
		m.alive(p)
	})
}

// Its token ends: so does it, at that moment.
func TestExpiry(t *testing.T) {
	on(t, func(m *machine) {
		m.v.Duration = time.Hour
		m.attest()
		p := m.run("hello", func(c *captoken.Claims) { c.Expires = m.v.Time().Add(20 * time.Second) })
		time.Sleep(20*time.Second - 1)
		m.alive(p)
		time.Sleep(1)
		r := m.dead(p, captoken.CauseRevoked)
		if !m.said("its token expired") || r.Gone-r.Asked != 0 {
			t.Errorf("receipt %+v; log:\n%s", r, strings.Join(m.lines, "\n"))
		}
		m.refused("no token", abi.AuthorityStart, []byte("hello"))
	})
}

// Whoever ends an agent while it is being started is heard.
func TestKillWhileStarting(t *testing.T) {
	for _, fails := range []bool{false, true} {
		on(t, func(m *machine) {
			m.attest()
			m.must(abi.AuthorityToken, m.v.Token("hello", nil))
			m.wait = make(chan struct{})
			if fails {
				m.refuse = errStart
			}
			started := make(chan error, 1)
			go func() {
				_, err := m.call(abi.AuthorityStart, []byte("hello"))
				started <- err
			}()
			synctest.Wait()
			command := captoken.ID{5}
			killed := make(chan [][]byte, 1)
			go func() { f, _ := m.call(abi.AuthorityKill, command[:], []byte("hello")); killed <- f }()
			synctest.Wait()
			close(m.wait)
			if err := <-started; (err != nil) != fails {
				t.Errorf("start: %v", err)
			}
			f := <-killed
			if len(f) != 1 {
				t.Fatalf("%d receipts", len(f))
			}
			r, err := captoken.ParseReceipt(f[0])
			if err != nil || r.Command != command || (r.Frames == 0) != fails {
				t.Errorf("%+v, %v", r, err)
			}
			m.wait, m.refuse = nil, nil
		})
	}
}

// A start that fails leaves nothing behind.
func TestStartFails(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		m.must(abi.AuthorityToken, m.v.Token("hello", nil))
		m.refuse = errStart
		m.refused(errStart.Error(), abi.AuthorityStart, []byte("hello"))
		m.refuse = nil
		m.must(abi.AuthorityStart, []byte("hello"))
		m.must(abi.AuthorityToken, m.v.Token("spare", func(c *captoken.Claims) { c.Quotas.MemoryBytes = 0 }))
		m.refused("admits no memory", abi.AuthorityStart, []byte("spare"))
	})
}

func TestWatch(t *testing.T) {
	on(t, func(m *machine) {
		type event struct {
			number, instance uint64
			kind, agent      string
		}
		watch := func(after uint64, timeout uint64) (out []event) {
			t.Helper()
			f := m.must(abi.AuthorityWatch, u64(after), u64(timeout))
			for _, b := range f {
				e, err := abi.Fields(b, 7)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, event{binary.LittleEndian.Uint64(e[0]), binary.LittleEndian.Uint64(e[2]), string(e[3]), string(e[4])})
			}
			return out
		}
		began := time.Now()
		if got := watch(0, uint64(time.Second)); len(got) != 0 || time.Since(began) != time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		got := make(chan []event)
		go func() { got <- watch(0, abi.Forever) }()
		synctest.Wait()
		m.attest()
		if e := <-got; len(e) != 1 || e[0] != (event{1, 0, "lease", ""}) {
			t.Errorf("%+v", e)
		}
		p := m.run("hello", nil)
		p.cfg.Refused(abi.Lookup(uint64(abi.CallAttest)), abi.Denied)
		p.end("exit status 0", true)
		synctest.Wait()
		want := []event{{2, 1, "start", "hello"}, {3, 1, "denied", "hello"}, {4, 1, "gone", "hello"}}
		if e := watch(1, 0); len(e) != 3 || e[0] != want[0] || e[1] != want[1] || e[2] != want[2] {
			t.Errorf("%+v", e)
		}
		for range maxEvents {
			m.attest()
		}
		e := watch(2, 0)
		if len(e) != maxTold || e[0].number != 5 {
			t.Errorf("%d events from %d on: the gap has to show", len(e), e[0].number)
		}
		ctx, cancel := context.WithCancel(m.Context())
		go func() { synctest.Wait(); cancel() }()
		if _, err := m.Authority.Authority(ctx, abi.AuthorityWatch, abi.Message(u64(1<<40), u64(abi.Forever))); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// The largest answer fits the call.
func TestAnswerFits(t *testing.T) {
	on(t, func(m *machine) {
		m.Authority.mu.Lock()
		for range maxEvents {
			m.eventOf(0, "denied", strings.Repeat("a", captoken.MaxName), 1<<63, strings.Repeat("x", 2000), make([]byte, captoken.MaxReceipt))
		}
		m.Authority.mu.Unlock()
		f, err := m.Authority.Authority(m.Context(), abi.AuthorityWatch, abi.Message(u64(0), u64(0)))
		if err != nil || len(f) > abi.MaxOrder || len(f) < abi.MaxOrder/2 {
			t.Errorf("%d bytes, %v", len(f), err)
		}
	})
}

// An agent cannot flood the log by calls that are refused.
func TestDenials(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p := m.run("hello", nil)
		before := len(m.lines)
		attest := abi.Lookup(uint64(abi.CallAttest))
		for range 1000 {
			p.cfg.Refused(attest, abi.Denied)
		}
		if n := len(m.lines) - before; n != maxDenials {
			t.Errorf("%d lines", n)
		}
		if want := `aios kernel: agent denied agent=hello call=Attest reason="the agent's token does not admit the right attest"`; m.lastLine() != want {
			t.Errorf("%s", m.lastLine())
		}
		time.Sleep(time.Second)
		p.cfg.Refused(abi.Lookup(uint64(abi.CallIPCSend)), abi.Quota)
		if !strings.Contains(m.lastLine(), "quota of messages") || !strings.Contains(m.lastLine(), "and 992 more calls were refused") {
			t.Errorf("%s", m.lastLine())
		}
	})
}

// Without the TPM's word on who the host is there is no lease.
func TestNoIdentity(t *testing.T) {
	on(t, func(m *machine) {
		host := m.c.Host
		m.c.Host = func() (string, error) { return "", errors.New("TPM is off") }
		for op, fields := range map[uint32][][]byte{
			abi.AuthorityRequest: {}, abi.AuthorityLease: {nil}, abi.AuthorityToken: {nil}, abi.AuthorityStart: {nil},
			abi.AuthorityOrders: m.orders(Orders{}), abi.AuthorityRevocations: {nil}, abi.AuthorityKill: {make([]byte, 16), nil},
		} {
			m.refused("TPM is off", op, fields...)
		}
		m.c.Host = host
		m.attest()
	})
}

// FuzzAuthority: whatever ring 3 says, there is an answer or an error, and nothing runs
// or is held by it.
func FuzzAuthority(f *testing.F) {
	v := agenttest.New(func() time.Duration { return time.Second })
	token := v.Token("hello", nil)
	f.Add(uint32(abi.AuthorityToken), abi.Message(token, v.Proof(token, bytes.Repeat([]byte{1}, 32))))
	f.Add(uint32(abi.AuthorityNonce), []byte{})
	f.Add(uint32(abi.AuthorityOrders), abi.Message(u64(1), []byte{1}, []byte("hello\n")))
	f.Add(uint32(abi.AuthorityRevocations), abi.Message(v.Revocations(func(l *captoken.RevocationList) { l.Sequence = 1 })))
	f.Add(uint32(abi.AuthorityKill), abi.Message(bytes.Repeat([]byte{1}, 16), nil))
	f.Add(uint32(abi.AuthorityWatch), abi.Message(u64(0), u64(0)))
	f.Fuzz(func(t *testing.T, op uint32, request []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if op == abi.AuthorityWatch { // it may wait
			cancel()
		}
		m := newMachine(t)
		answer, err := m.Authority.Authority(ctx, op, request)
		if err != nil {
			return
		}
		agenttest.Answer(answer, nil)
		if len(m.started) != 0 || m.Authority.order[0].token != nil {
			t.Fatal("something was granted")
		}
	})
}

package captoken

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var testBoot = Boot{testID("boot"), 17}

func testNonce(label string) (n [NonceSize]byte) {
	copy(n[:], label)
	n[NonceSize-1] = 1
	return n
}

func testLease() Lease {
	return Lease{ID: testID("lease"), Host: testHost, Boot: testBoot, Nonce: testNonce("one"), Duration: 90 * time.Second, IssuedAt: testNow, Sequence: 5}
}

func testLeaseBytes(t testing.TB, change func(*Lease)) []byte {
	t.Helper()
	l := testLease()
	if change != nil {
		change(&l)
	}
	raw, err := MintLease(testKey(t, "verifier"), l)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestVerifyLease(t *testing.T) {
	trusted := []*PublicKey{testKey(t, "verifier").Public()}
	l, err := VerifyLease(testLeaseBytes(t, nil), trusted, testHost, testBoot)
	if err != nil {
		t.Fatal(err)
	}
	want := testLease()
	want.Issuer = trusted[0].Thumbprint()
	if *l != want {
		t.Errorf("got  %+v\nwant %+v", *l, want)
	}
	foreign := want
	foreign.Issuer = testKey(t, "issuer").Public().Thumbprint()
	named, err := seal(testKey(t, "verifier"), "lease", kindLease, foreign.encode())
	if err != nil {
		t.Fatal(err)
	}
	flipped := testLeaseBytes(t, nil)
	flipped[len(flipped)-9] ^= 4
	asToken, err := seal(testKey(t, "verifier"), "lease", kindToken, want.encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		raw     []byte
		trusted []*PublicKey
		host    string
		boot    Boot
		kind    error
	}{
		{"unknown key", testLeaseBytes(t, nil), nil, testHost, testBoot, ErrIssuer},
		{"other host", testLeaseBytes(t, nil), trusted, "host-x", testBoot, ErrAudience},
		{"other boot", testLeaseBytes(t, nil), trusted, testHost, Boot{testID("x"), 17}, ErrBoot},
		{"TPM was reset", testLeaseBytes(t, nil), trusted, testHost, Boot{testBoot.ID, 18}, ErrBoot},
		{"names another issuer", named, trusted, testHost, testBoot, ErrIssuer},
		{"flipped", flipped, trusted, testHost, testBoot, ErrSignature},
		{"bytes after", append(testLeaseBytes(t, nil), 0), trusted, testHost, testBoot, ErrForm},
		{"a token's type", asToken, trusted, testHost, testBoot, ErrForm},
		{"empty", nil, trusted, testHost, testBoot, ErrForm},
	} {
		l, err := VerifyLease(c.raw, c.trusted, c.host, c.boot)
		if l != nil || !errors.Is(err, c.kind) {
			t.Errorf("%s: %v and %v, want %v", c.name, l, err, c.kind)
		}
		checkError(t, err)
	}
}

func TestMintLeaseRefuses(t *testing.T) {
	for name, change := range map[string]func(*Lease){
		"no host":                   func(l *Lease) { l.Host = "" },
		"no boot":                   func(l *Lease) { l.Boot.ID = ID{} },
		"no nonce":                  func(l *Lease) { l.Nonce = [NonceSize]byte{} },
		"no duration":               func(l *Lease) { l.Duration = 0 },
		"a day and more":            func(l *Lease) { l.Duration = MaxLease + time.Millisecond },
		"fraction of a millisecond": func(l *Lease) { l.Duration = time.Second + 1 },
		"no time":                   func(l *Lease) { l.IssuedAt = time.Time{} },
	} {
		l := testLease()
		change(&l)
		if _, err := MintLease(testKey(t, "verifier"), l); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v, want ErrForm", name, err)
		}
	}
}

func newTestLeaseState(t testing.TB) *LeaseState {
	return NewLeaseState([]*PublicKey{testKey(t, "verifier").Public()}, testHost, testBoot, 30*time.Second, 4)
}

const s = time.Second

// The life of a lease: each phase begins when it should, counted from the request.
func TestLeaseLife(t *testing.T) {
	state := newTestLeaseState(t)
	if state.Phase(9*s) != LeaseNone || !state.ID(9*s).IsZero() {
		t.Error("a lease before the first")
	}
	if _, ok := state.Time(9 * s); ok {
		t.Error("a time before the first lease")
	}
	if _, ok := state.Deadline(); ok {
		t.Error("a deadline before the first lease")
	}
	if _, ok := state.When(testNow); ok {
		t.Error("a moment before the first lease")
	}
	state.Sent(testNonce("one"), 10*s)
	if _, err := state.Renew(testLeaseBytes(t, nil), 15*s); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		now   time.Duration
		phase Phase
	}{
		{15 * s, LeaseHeld}, {100*s - 1, LeaseHeld}, {100 * s, LeaseGrace}, {130*s - 1, LeaseGrace}, {130 * s, LeaseLapsed}, {200 * s, LeaseLapsed},
		{20 * s, LeaseLapsed}, // time does not go back
	} {
		if p := state.Phase(c.now); p != c.phase {
			t.Errorf("at %s: %s, want %s", c.now, p, c.phase)
		}
		if id := state.ID(c.now); id.IsZero() != (c.phase == LeaseLapsed) {
			t.Errorf("at %s: lease %s", c.now, id)
		}
	}
	for at, want := range map[time.Time]time.Duration{testNow: 10 * s, testNow.Add(290 * s): 300 * s, testNow.Add(-20 * s): -10 * s, time.Unix(maxTime, 0): 1<<63 - 1} {
		if when, ok := state.When(at); !ok || when != want {
			t.Errorf("the verifier's time is %s at %s, want %s", at, when, want)
		}
	}
	if now, ok := state.Time(300 * s); !ok || !now.Equal(testNow.Add(290*s)) {
		t.Errorf("the verifier's time at 300 s: %v", now)
	}
}

func TestRenew(t *testing.T) {
	trusting := func() *LeaseState {
		st := newTestLeaseState(t)
		st.Sent(testNonce("one"), 10*s)
		return st
	}
	held := func() *LeaseState {
		st := trusting()
		if _, err := st.Renew(testLeaseBytes(t, nil), 11*s); err != nil {
			t.Fatal(err)
		}
		st.Sent(testNonce("two"), 40*s)
		st.Sent(testNonce("three"), 50*s)
		return st
	}
	nonce := func(n string, more ...func(*Lease)) []byte {
		return testLeaseBytes(t, func(l *Lease) {
			l.Nonce = testNonce(n)
			for _, f := range more {
				f(l)
			}
		})
	}
	for _, c := range []struct {
		name  string
		state func() *LeaseState
		raw   []byte
		now   time.Duration
		kind  error
	}{
		{"first", trusting, nonce("one"), 11 * s, nil},
		{"no request", func() *LeaseState { return newTestLeaseState(t) }, nonce("one"), 11 * s, ErrNonce},
		{"other nonce", trusting, nonce("two"), 11 * s, ErrNonce},
		{"renewal", held, nonce("two"), 60 * s, nil},
		{"renewal by a new lease", held, nonce("three", func(l *Lease) { l.ID = testID("new") }), 60 * s, nil},
		{"the same again", held, nonce("one"), 60 * s, ErrNonce},
		{"in grace", held, nonce("two"), 110 * s, nil},
		{"held back too long", trusting, nonce("one"), 100 * s, ErrExpired},
		{"just in time", trusting, nonce("one"), 100*s - 1, nil},
		{"lower sequence", held, nonce("two", func(l *Lease) { l.Sequence = 4 }), 60 * s, ErrSequence},
		{"lower than what was kept", trusting, nonce("one", func(l *Lease) { l.Sequence = 3 }), 11 * s, ErrSequence},
		{"same sequence", held, nonce("two", func(l *Lease) { l.Sequence = 5 }), 60 * s, nil},
		{"lapsed one", held, nonce("three"), 135 * s, ErrLease},
		{"new one after the lapse", held, nonce("three", func(l *Lease) { l.ID = testID("new") }), 135 * s, nil},
		{"other boot", trusting, nonce("one", func(l *Lease) { l.Boot.ResetCount++ }), 11 * s, ErrBoot},
		{"other host", trusting, nonce("one", func(l *Lease) { l.Host = "host-x" }), 11 * s, ErrAudience},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := c.state()
			before := *st
			before.advance(c.now)
			_, err := st.Renew(c.raw, c.now)
			if !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			checkError(t, err)
			if err != nil && !equal(*st, before) {
				t.Error("a refused lease changed something")
			}
			if err == nil && st.Phase(c.now) != LeaseHeld {
				t.Errorf("phase %s", st.Phase(c.now))
			}
		})
	}
	// An answer to an older request comes after that to a newer one.
	st := held()
	if _, err := st.Renew(nonce("three"), 55*s); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Renew(nonce("two"), 56*s); !errors.Is(err, ErrNonce) {
		t.Errorf("the older answer: %v", err)
	}
	if at, ok := st.Deadline(); !ok || at != (50+90+30)*s {
		t.Errorf("deadline %s", at)
	}
	st.Raise(9)
	st.Raise(7)
	if st.Sequence() != 9 {
		t.Errorf("sequence %d", st.Sequence())
	}
	st.Sent(testNonce("four"), 57*s)
	if _, err := st.Renew(nonce("four"), 58*s); !errors.Is(err, ErrSequence) {
		t.Errorf("after a push of a higher sequence number: %v", err)
	}
}

// Only the last four requests are open.
func TestRequestsAreBounded(t *testing.T) {
	st := newTestLeaseState(t)
	names := []string{"a", "b", "c", "d", "e"}
	for i, n := range names {
		st.Sent(testNonce(n), time.Duration(i)*s)
	}
	for i, n := range names {
		if got := st.find(testNonce(n)) != nil; got != (i > 0) {
			t.Errorf("%s open: %v", n, got)
		}
	}
}

// leaseModel is the rule book, written down without any state but a history: what was
// accepted and when it was asked for.
type leaseModel struct {
	state    *LeaseState
	key      *PrivateKey
	now      time.Duration
	sent     map[byte]time.Duration
	accepted []Lease
	at       []time.Duration // when the request of each accepted lease was sent
	sequence uint64
	dead     map[ID]bool
}

func (m *leaseModel) deadline() time.Duration {
	n := len(m.accepted) - 1
	return m.at[n] + m.accepted[n].Duration + 30*s
}

// Whatever happens in whatever order: a lease is good for its duration from the request
// and the grace, no longer; the sequence number never falls; what has lapsed is dead.
func TestLeaseStateModel(t *testing.T) {
	key := testKey(t, "verifier")
	rapid.Check(t, func(t *rapid.T) {
		m := &leaseModel{state: NewLeaseState([]*PublicKey{key.Public()}, testHost, testBoot, 30*s, 0), key: key, sent: map[byte]time.Duration{}, dead: map[ID]bool{}}
		var nonces byte
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { m.now += time.Duration(rapid.IntRange(0, 60_000).Draw(t, "ms")) * time.Millisecond },
			"ask": func(t *rapid.T) {
				nonces++
				m.state.Sent(testNonce(string(rune('A'+nonces))), m.now)
				m.sent[nonces] = m.now
			},
			"push": func(t *rapid.T) {
				n := rapid.Uint64Range(0, 20).Draw(t, "sequence")
				m.state.Raise(n)
				m.sequence = max(m.sequence, n)
			},
			"answer": func(t *rapid.T) {
				n := byte(rapid.IntRange(0, int(nonces)+1).Draw(t, "request"))
				l := Lease{ID: testID(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "id")), Host: testHost, Boot: testBoot, Nonce: testNonce(string(rune('A' + n))),
					Duration: time.Duration(rapid.IntRange(1, 100).Draw(t, "duration")) * s, IssuedAt: testNow, Sequence: rapid.Uint64Range(0, 20).Draw(t, "sequence")}
				raw, err := MintLease(key, l)
				if err != nil {
					t.Fatal(err)
				}
				_, err = m.state.Renew(raw, m.now)
				sent, asked := m.sent[n]
				if err != nil {
					return
				}
				switch {
				case !asked:
					t.Fatal("an answer to no request was accepted")
				case l.Sequence < m.sequence:
					t.Fatalf("sequence %d was accepted after %d", l.Sequence, m.sequence)
				case m.now-sent >= l.Duration:
					t.Fatal("a lease that was over was accepted")
				case len(m.at) > 0 && sent < m.at[len(m.at)-1]:
					t.Fatal("an answer to an older request was accepted")
				case len(m.accepted) > 0 && m.now >= m.deadline() && l.ID == m.accepted[len(m.accepted)-1].ID:
					t.Fatal("a lapsed lease came back to life")
				}
				delete(m.sent, n)
				m.accepted, m.at, m.sequence = append(m.accepted, l), append(m.at, sent), l.Sequence
			},
			"": func(t *rapid.T) {
				if m.state.Sequence() != m.sequence {
					t.Fatalf("sequence %d, want %d", m.state.Sequence(), m.sequence)
				}
				id, want := m.state.ID(m.now), ID{}
				if n := len(m.accepted); n > 0 && m.now < m.deadline() {
					want = m.accepted[n-1].ID
				}
				if id != want {
					t.Fatalf("at %s: lease %s, want %s", m.now, id, want)
				}
			},
		})
	})
}

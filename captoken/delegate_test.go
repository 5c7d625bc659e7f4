package captoken

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"
)

func testDelegation(t testing.TB, to string, depth uint8) Delegation {
	return Delegation{
		ID: testID("delegation to " + to), Subject: to, Rights: RightLog | RightSend | RightDevice | RightMemory | RightSpawn,
		Scopes: Scopes{Peers: Patterns{"journald", "worker-1", "z*"}, Devices: Patterns{"*"},
			Services: []Service{{"memoryd", Patterns{"read"}}, {"netd", Patterns{"*"}}}, Network: Network{{TCP, "api.example.org", 1, 65535}}},
		Quotas:    Quotas{MemoryBytes: 1 << 40, MessagesPerSecond: 10},
		NotBefore: testNow.Add(-time.Hour), Expires: testNow.Add(time.Minute),
		Holder: testKey(t, to).Public().Thumbprint(), Depth: depth,
	}
}

func delegate(t testing.TB, by string, token Token, d Delegation) Token {
	t.Helper()
	out, err := Delegate(testKey(t, by), token, d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantAgent(t testing.TB, agent string) Want {
	w := testWant(t)
	w.Agent = agent
	return w
}

// A delegation narrows: what is left is what both sides admit.
func TestDelegate(t *testing.T) {
	token := mint(t, nil)
	d := testDelegation(t, "worker", 8)
	longer := delegate(t, "holder", token, d)
	if !bytes.HasPrefix(longer, token) {
		t.Error("the token before it was changed")
	}
	g, err := Verify(longer, wantAgent(t, "worker"))
	if err != nil {
		t.Fatal(err)
	}
	want := testClaims(t)
	want.Issuer = testKey(t, "issuer").Public().Thumbprint()
	want.ID, want.Subject, want.Holder = d.ID, "worker", d.Holder
	want.Rights = RightLog | RightSend | RightMemory | RightSpawn
	want.Scopes = Scopes{Peers: Patterns{"journald", "worker-1"}, Devices: Patterns{"gpu0"},
		Services: []Service{{"memoryd", Patterns{"read"}}}, Network: Network{{TCP, "api.example.org", 443, 443}}}
	want.Quotas = Quotas{MemoryBytes: 64 << 20, MessagesPerSecond: 10}
	want.Expires = d.Expires
	want.Depth = 3
	if !equal(g.Claims, want) {
		t.Errorf("got  %+v\nwant %+v", g.Claims, want)
	}
	if !equal(g.Chain, []ID{testID("token"), d.ID}) {
		t.Errorf("chain %v", g.Chain)
	}
	if _, err := Verify(longer, testWant(t)); !errors.Is(err, ErrSubject) {
		t.Errorf("the first holder presents what it passed on: %v", err)
	}
	if _, err := Verify(token, wantAgent(t, "worker")); !errors.Is(err, ErrSubject) {
		t.Errorf("the delegation was cut off: %v", err)
	}
}

func TestDelegateChain(t *testing.T) {
	token := mint(t, nil)
	holders := []string{"holder", "a", "b", "c", "d"}
	for i, to := range holders[1:] {
		token = delegate(t, holders[i], token, testDelegation(t, to, 8))
		g, err := Verify(token, wantAgent(t, to))
		if err != nil {
			t.Fatal(err)
		}
		if int(g.Depth) != 3-i || len(g.Chain) != i+2 {
			t.Errorf("after %d: depth %d, chain %v", i+1, g.Depth, g.Chain)
		}
		t.Logf("%d delegations: %d bytes", i+1, len(token))
	}
	if _, err := Delegate(testKey(t, "d"), token, testDelegation(t, "e", 0)); !errors.Is(err, ErrDelegation) {
		t.Errorf("deeper than allowed: %v", err)
	}
	for i, id := range []string{"token", "delegation to a", "delegation to d"} {
		w := wantAgent(t, "d")
		w.Revoked = revocations{tokens: []ID{testID(id)}}
		if _, err := Verify(token, w); !errors.Is(err, ErrRevoked) {
			t.Errorf("%d: %s was revoked: %v", i, id, err)
		}
	}
	for _, agent := range []string{testAgent, "a", "d"} {
		w := wantAgent(t, "d")
		w.Revoked = revocations{subjects: []string{agent}}
		if _, err := Verify(token, w); !errors.Is(err, ErrRevoked) {
			t.Errorf("agent %s was revoked: %v", agent, err)
		}
	}
}

// forge appends a delegation without the checks of Delegate.
func forge(t *testing.T, by string, token Token, d Delegation, parent []byte) Token {
	t.Helper()
	block, err := seal(testKey(t, by), "delegation", kindDelegation, d.encode(sha256.Sum256(parent)))
	if err != nil {
		t.Fatal(err)
	}
	return append(append(Token(nil), token...), block...)
}

func TestDelegationRefused(t *testing.T) {
	token := mint(t, nil)
	flat := mint(t, func(c *Claims) { c.Depth = 0 })
	one := delegate(t, "holder", token, testDelegation(t, "a", 0))
	d := testDelegation(t, "worker", 1)
	short := d
	short.Expires = testNow
	inverted := d
	inverted.NotBefore, inverted.Expires = testNow.Add(2*time.Hour), testNow.Add(3*time.Hour)
	cut := len(token)
	block, err := readSign1(one[cut:], "delegation", kindDelegation)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append(Token(nil), one...)
	flipped[len(flipped)-1] ^= 1
	nine := token
	for range MaxDelegations + 1 {
		nine = append(append(Token(nil), nine...), one[cut:]...)
	}
	for _, c := range []struct {
		name  string
		token Token
		agent string
		kind  error
	}{
		{"good", forge(t, "holder", token, d, token), "worker", nil},
		{"not by the holder", forge(t, "thief", token, d, token), "worker", ErrDelegation},
		{"by the issuer", forge(t, "issuer", token, d, token), "worker", ErrDelegation},
		{"no depth", forge(t, "holder", flat, d, flat), "worker", ErrDelegation},
		{"no depth left", forge(t, "a", one, d, one), "worker", ErrDelegation},
		{"for another token", forge(t, "holder", token, d, flat), "worker", ErrDelegation},
		{"one left out", append(append(Token(nil), token...), forge(t, "a", one, d, one)[len(one):]...), "worker", ErrDelegation},
		{"twice", append(append(Token(nil), one...), one[cut:]...), "a", ErrDelegation},
		{"signature flipped", flipped, "a", ErrSignature},
		{"alone", append(Token(nil), one[cut:]...), "a", ErrForm},
		{"two tokens", append(append(Token(nil), token...), token...), testAgent, ErrForm},
		{"too many", nine, "a", ErrForm},
		{"expired", forge(t, "holder", token, short, token), "worker", ErrExpired},
		{"never valid", forge(t, "holder", token, inverted, token), "worker", ErrNotYet},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(c.token, wantAgent(t, c.agent))
			if !errors.Is(err, c.kind) {
				t.Errorf("got %v, want %v", err, c.kind)
			}
			checkError(t, err)
		})
	}
	if len(block.key) == 0 {
		t.Error("the delegation carries no key")
	}
	if _, _, err := Read(forge(t, "holder", flat, d, flat)); !errors.Is(err, ErrDelegation) {
		t.Errorf("read, though it was not to be passed on: %v", err)
	}
}

// Delegate refuses what no verifier would accept.
func TestDelegateRefuses(t *testing.T) {
	token := mint(t, nil)
	for _, c := range []struct {
		name   string
		by     string
		change func(*Delegation)
		kind   error
	}{
		{"not the holder", "thief", func(*Delegation) {}, ErrDelegation},
		{"no subject", "holder", func(d *Delegation) { d.Subject = "" }, ErrForm},
		{"no holder", "holder", func(d *Delegation) { d.Holder = Thumbprint{} }, ErrForm},
		{"ends before it begins", "holder", func(d *Delegation) { d.Expires = d.NotBefore }, ErrForm},
		{"scopes out of order", "holder", func(d *Delegation) { d.Scopes.Peers = Patterns{"b", "a"} }, ErrForm},
	} {
		d := testDelegation(t, "worker", 1)
		c.change(&d)
		if _, err := Delegate(testKey(t, c.by), token, d); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.name, err, c.kind)
		}
	}
	if _, err := Delegate(testKey(t, "holder"), token[1:], testDelegation(t, "worker", 1)); !errors.Is(err, ErrForm) {
		t.Errorf("behind a broken token: %v", err)
	}
}

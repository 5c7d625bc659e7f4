package captoken

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"
)

// testKey derives a key from its name, whose end says the algorithm; its signatures are
// deterministic.
func testKey(t testing.TB, label string) *PrivateKey {
	t.Helper()
	a := MLDSA65
	for suffix, other := range map[string]Algorithm{"-44": MLDSA44, "-87": MLDSA87, "-hybrid": MLDSA65Ed25519} {
		if strings.HasSuffix(label, suffix) {
			a = other
		}
	}
	sum := sha256.Sum256([]byte("aios captoken test key " + label))
	seed := sum[:]
	if a == MLDSA65Ed25519 {
		second := sha256.Sum256([]byte("aios captoken test key " + label + " ed25519"))
		seed = append(seed, second[:]...)
	}
	private, err := ParsePrivateKey(a, seed)
	if err != nil {
		t.Fatal(err)
	}
	private.deterministic = true
	return private
}

func testID(label string) (id ID) {
	sum := sha256.Sum256([]byte(label))
	copy(id[:], sum[:])
	return id
}

const (
	testHost  = "host-00112233445566aa"
	testAgent = "planner"
)

var testNow = time.Unix(1_800_000_000, 0).UTC()

// testClaims is a token that fills every field.
func testClaims(t testing.TB) Claims {
	return Claims{
		ID: testID("token"), Subject: testAgent, Audience: testHost,
		Rights: RightLog | RightClock | RightSend | RightReceive | RightMemory | RightService | RightConnect | RightSpawn,
		Scopes: Scopes{
			Peers:    Patterns{"journald", "worker-*"},
			Memory:   Patterns{"shared/planner"},
			Devices:  Patterns{"gpu0"},
			Services: []Service{{"journald", Patterns{"append"}}, {"memoryd", Patterns{"*"}}},
			Network:  Network{{TCP, "*.example.org", 443, 443}, {TCP, "192.0.2.0/24", 8000, 8999}, {UDP, "192.0.2.53/32", 53, 53}},
		},
		Quotas:    Quotas{MemoryBytes: 64 << 20, CPUMillis: 500, MessagesPerSecond: 1000, BytesPerSecond: 1 << 20, DeviceMillis: 20},
		NotBefore: testNow.Add(-time.Minute), Expires: testNow.Add(time.Hour), Epoch: 3, Lease: testID("lease"),
		Holder: testKey(t, "holder").Public().Thumbprint(), Depth: 4,
	}
}

func testWant(t testing.TB) Want {
	return Want{
		Trusted: []Issuer{{Key: testKey(t, "other-issuer").Public(), Epoch: 0}, {Key: testKey(t, "issuer").Public(), Epoch: 3}},
		Host:    testHost, Agent: testAgent, Now: testNow, Lease: testID("lease"), Rights: RightSend | RightMemory,
	}
}

func mint(t testing.TB, change func(*Claims)) Token {
	t.Helper()
	c := testClaims(t)
	if change != nil {
		change(&c)
	}
	token, err := Mint(testKey(t, "issuer"), c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

type revocations struct {
	tokens   []ID
	subjects []string
}

func (r revocations) RevokedToken(id ID) bool {
	for _, x := range r.tokens {
		if x == id {
			return true
		}
	}
	return false
}

func (r revocations) RevokedSubject(s string) bool {
	for _, x := range r.subjects {
		if x == s {
			return true
		}
	}
	return false
}

// What is minted comes back, field by field.
func TestVerify(t *testing.T) {
	token := mint(t, nil)
	g, err := Verify(token, testWant(t))
	if err != nil {
		t.Fatal(err)
	}
	want := testClaims(t)
	want.Issuer = testKey(t, "issuer").Public().Thumbprint()
	if !equal(g.Claims, want) {
		t.Errorf("got  %+v\nwant %+v", g.Claims, want)
	}
	if len(g.Chain) != 1 || g.Chain[0] != want.ID {
		t.Errorf("chain %v", g.Chain)
	}
	t.Logf("%d bytes, %d of them claims", len(token), len(want.encode()))
}

func TestVerifyRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		claims func(*Claims)
		want   func(*Want)
		kind   error
	}{
		{"nobody is trusted", nil, func(w *Want) { w.Trusted = nil }, ErrIssuer},
		{"other issuer", nil, func(w *Want) { w.Trusted = w.Trusted[:1] }, ErrIssuer},
		{"other host", nil, func(w *Want) { w.Host = "host-00112233445566ab" }, ErrAudience},
		{"no host", nil, func(w *Want) { w.Host = "" }, ErrAudience},
		{"other agent", nil, func(w *Want) { w.Agent = "planner2" }, ErrSubject},
		{"no agent", nil, func(w *Want) { w.Agent = "" }, ErrSubject},
		{"a second early", nil, func(w *Want) { w.Now = testNow.Add(-61 * time.Second) }, ErrNotYet},
		{"in its last second", nil, func(w *Want) { w.Now = testNow.Add(time.Hour - 1) }, nil},
		{"in its first second", nil, func(w *Want) { w.Now = testNow.Add(-time.Minute) }, nil},
		{"at its end", nil, func(w *Want) { w.Now = testNow.Add(time.Hour) }, ErrExpired},
		{"old epoch", func(c *Claims) { c.Epoch = 2 }, nil, ErrEpoch},
		{"later epoch", func(c *Claims) { c.Epoch = 4 }, nil, nil},
		{"other lease", nil, func(w *Want) { w.Lease = testID("other") }, ErrLease},
		{"no lease", nil, func(w *Want) { w.Lease = ID{} }, ErrLease},
		{"revoked", nil, func(w *Want) { w.Revoked = revocations{tokens: []ID{testID("token")}} }, ErrRevoked},
		{"agent revoked", nil, func(w *Want) { w.Revoked = revocations{subjects: []string{testAgent}} }, ErrRevoked},
		{"others revoked", nil, func(w *Want) {
			w.Revoked = revocations{tokens: []ID{testID("x")}, subjects: []string{"x"}}
		}, nil},
		{"right missing", nil, func(w *Want) { w.Rights = RightSend | RightDevice }, ErrRight},
		{"no rights at all", func(c *Claims) { c.Rights = 0 }, nil, ErrRight},
		{"none needed", func(c *Claims) { c.Rights = 0 }, func(w *Want) { w.Rights = 0 }, nil},
		// The order of the checks is fixed: the first refusal is returned.
		{"everything wrong", func(c *Claims) { c.Epoch, c.Rights = 0, 0 }, func(w *Want) { w.Host, w.Agent, w.Now = "x", "x", time.Time{} }, ErrAudience},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := testWant(t)
			if c.want != nil {
				c.want(&want)
			}
			g, err := Verify(mint(t, c.claims), want)
			if !errors.Is(err, c.kind) || (c.kind == nil) != (g != nil) {
				t.Fatalf("got %v and %v, want %v", g, err, c.kind)
			}
			checkError(t, err)
		})
	}
}

// checkError holds an error to the form of all of them.
func checkError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err == nil {
		return
	}
	if !errors.As(err, &e) || e.Object == "" || e.Reason == "" || e.Remedy == "" || e.Kind == nil {
		t.Errorf("%#v lacks a part", err)
	}
}

// Every single flipped bit is refused; most of it by the signature.
func TestVerifyFlippedBits(t *testing.T) {
	token, want := mint(t, nil), testWant(t)
	step := 1
	if testing.Short() {
		step = 17
	}
	for i := 0; i < len(token); i += step {
		bad := append(Token(nil), token...)
		bad[i] ^= 1 << (i % 8)
		g, err := Verify(bad, want)
		if g != nil || !errors.Is(err, ErrSignature) && !errors.Is(err, ErrForm) && !errors.Is(err, ErrIssuer) {
			t.Fatalf("byte %d: %v and %v", i, g, err)
		}
	}
	for _, n := range []int{0, 1, 10, len(token) - 1} {
		if _, err := Verify(token[:n], want); !errors.Is(err, ErrForm) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := Verify(append(append(Token(nil), token...), 0), want); !errors.Is(err, ErrForm) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := Verify(append(append(Token(nil), token...), make([]byte, MaxToken)...), want); !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), "at most 65536") {
		t.Errorf("too long: %v", err)
	}
}

// An issuer that names another key than its own is refused, although it signed.
func TestVerifyForeignIssuerClaim(t *testing.T) {
	c := testClaims(t)
	c.Issuer = testKey(t, "other-issuer").Public().Thumbprint()
	token, err := seal(testKey(t, "issuer"), "token", kindToken, c.encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(token, testWant(t)); !errors.Is(err, ErrIssuer) {
		t.Errorf("got %v, want ErrIssuer", err)
	}
	if _, err := Mint(testKey(t, "issuer"), c); !errors.Is(err, ErrForm) {
		t.Errorf("minted: %v", err)
	}
}

func TestMintRefuses(t *testing.T) {
	long := strings.Repeat("a", MaxName+1)
	many := make(Patterns, MaxList+1)
	for i := range many {
		many[i] = string(rune('a'+i/26)) + string(rune('a'+i%26))
	}
	for _, c := range []struct {
		name   string
		change func(*Claims)
	}{
		{"no subject", func(c *Claims) { c.Subject = "" }},
		{"long subject", func(c *Claims) { c.Subject = long }},
		{"pattern as subject", func(c *Claims) { c.Subject = "a*" }},
		{"space in audience", func(c *Claims) { c.Audience = "a b" }},
		{"no lease", func(c *Claims) { c.Lease = ID{} }},
		{"no holder", func(c *Claims) { c.Holder = Thumbprint{} }},
		{"too deep", func(c *Claims) { c.Depth = MaxDelegations + 1 }},
		{"ends before it begins", func(c *Claims) { c.Expires = c.NotBefore }},
		{"fraction of a second", func(c *Claims) { c.Expires = c.Expires.Add(1) }},
		{"before 1970", func(c *Claims) { c.NotBefore = time.Unix(-1, 0) }},
		{"after 9999", func(c *Claims) { c.Expires = time.Unix(maxTime+1, 0) }},
		{"no time", func(c *Claims) { c.NotBefore = time.Time{} }},
		{"peers out of order", func(c *Claims) { c.Scopes.Peers = Patterns{"b", "a"} }},
		{"peer twice", func(c *Claims) { c.Scopes.Peers = Patterns{"a", "a"} }},
		{"star inside", func(c *Claims) { c.Scopes.Peers = Patterns{"a*b"} }},
		{"two stars", func(c *Claims) { c.Scopes.Peers = Patterns{"a**"} }},
		{"too many peers", func(c *Claims) { c.Scopes.Peers = many }},
		{"service without operations", func(c *Claims) { c.Scopes.Services = []Service{{"a", nil}} }},
		{"service twice", func(c *Claims) { c.Scopes.Services = []Service{{"a", Patterns{"*"}}, {"a", Patterns{"*"}}} }},
		{"pattern as service", func(c *Claims) { c.Scopes.Services = []Service{{"a*", Patterns{"*"}}} }},
		{"other protocol", func(c *Claims) { c.Scopes.Network = Network{{1, "*", 0, 0}} }},
		{"host in capitals", func(c *Claims) { c.Scopes.Network = Network{{TCP, "Example.org", 1, 1}} }},
		{"address as name", func(c *Claims) { c.Scopes.Network = Network{{TCP, "192.0.2.1", 1, 1}} }},
		{"bits below the mask", func(c *Claims) { c.Scopes.Network = Network{{TCP, "192.0.2.1/24", 1, 1}} }},
		{"mapped address", func(c *Claims) { c.Scopes.Network = Network{{TCP, "::ffff:192.0.2.1/128", 1, 1}} }},
		{"other spelling", func(c *Claims) { c.Scopes.Network = Network{{TCP, "2001:DB8::/32", 1, 1}} }},
		{"ports the wrong way round", func(c *Claims) { c.Scopes.Network = Network{{TCP, "*", 2, 1}} }},
		{"network out of order", func(c *Claims) { c.Scopes.Network = Network{{UDP, "*", 1, 1}, {TCP, "*", 1, 1}} }},
		{"too much of everything", func(c *Claims) {
			names := make(Patterns, MaxList)
			for i := range names {
				names[i] = strings.Repeat("x", MaxName-2) + string(rune('a'+i/26)) + string(rune('a'+i%26))
			}
			c.Scopes.Peers, c.Scopes.Memory, c.Scopes.Devices = names, names, names
			for _, n := range names {
				c.Scopes.Services = append(c.Scopes.Services, Service{n, names})
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := testClaims(t)
			c.change(&claims)
			_, err := Mint(testKey(t, "issuer"), claims)
			if !errors.Is(err, ErrForm) {
				t.Errorf("got %v, want ErrForm", err)
			}
			checkError(t, err)
			// A verifier that is shown such claims under a good signature refuses them too.
			if payload := claims.encode(); len(payload) <= MaxClaims && claims.Expires.Unix() >= 0 && claims.NotBefore.Unix() >= 0 && claims.Expires.Nanosecond() == 0 {
				claims.Issuer = testKey(t, "issuer").Public().Thumbprint()
				token, err := seal(testKey(t, "issuer"), "token", kindToken, claims.encode())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Verify(token, testWant(t)); !errors.Is(err, ErrForm) {
					t.Errorf("verified: %v, want ErrForm", err)
				}
			}
		})
	}
}

// Mint chooses an id, a new one each time, and does not change what it is given.
func TestMintChoosesID(t *testing.T) {
	seen := map[ID]bool{}
	for range 3 {
		links, _, err := Read(mint(t, func(c *Claims) { c.ID = ID{} }))
		if err != nil {
			t.Fatal(err)
		}
		seen[links[0].ID] = true
	}
	if len(seen) != 3 || seen[ID{}] {
		t.Errorf("ids %v", seen)
	}
}

package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"

	"github.com/biscuit-auth/biscuit-go/v2"
	"github.com/biscuit-auth/biscuit-go/v2/datalog"
	"github.com/biscuit-auth/biscuit-go/v2/parser"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// Verification of one token that says what may be done: ours, a JWT under ES256 with
// the registered claims, and a Biscuit under Ed25519. All three are for an agent on a
// host, for an hour, with the same four rights; each check wants two of them. The
// keys are parsed before, as a verifier has them.

const (
	tokenHost  = "host-0123456789abcdef"
	tokenAgent = "planner"
)

var tokenRights = [...]string{"log", "clock", "send", "memory"}

// verifier tells whether an agent's token is good on a host now.
type verifier func(token []byte, host, agent string, now time.Time) error

// ourToken makes a token and what verifies it.
func ourToken(t testing.TB, now time.Time) ([]byte, verifier) {
	t.Helper()
	issuer, lease := newKey(t), captoken.ID{1}
	token, err := captoken.Mint(issuer, captoken.Claims{
		Subject: tokenAgent, Audience: tokenHost, Lease: lease, Epoch: 1, Holder: newKey(t).Public().Thumbprint(),
		Rights:    captoken.RightLog | captoken.RightClock | captoken.RightSend | captoken.RightMemory,
		Scopes:    captoken.Scopes{Peers: captoken.Patterns{"echod"}},
		Quotas:    captoken.Quotas{MemoryBytes: 64 << 20, MessagesPerSecond: 1000, BytesPerSecond: 1 << 20},
		NotBefore: now.Add(-time.Minute), Expires: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	trusted := []captoken.Issuer{{Key: issuer.Public(), Epoch: 1}}
	return token, func(token []byte, host, agent string, now time.Time) error {
		_, err := captoken.Verify(token, captoken.Want{Trusted: trusted, Host: host, Agent: agent, Now: now, Lease: lease,
			Rights: captoken.RightSend | captoken.RightMemory})
		return err
	}
}

func newKey(t testing.TB) *captoken.PrivateKey {
	t.Helper()
	k, err := mldsa.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return captoken.NewPrivateKey(k)
}

// jwtToken makes a JWT. Its verification does not look at the rights: who gets the
// claims would.
func jwtToken(t testing.TB, now time.Time) ([]byte, verifier) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := jwt.NewBuilder().JwtID("0123456789abcdef").Issuer("issuer").Subject(tokenAgent).Audience([]string{tokenHost}).
		NotBefore(now.Add(-time.Minute)).Expiration(now.Add(time.Hour)).Claim("rights", tokenRights[:]).Build()
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Sign(c, jwt.WithKey(jwa.ES256(), key))
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	return token, func(token []byte, host, agent string, now time.Time) error {
		_, err := jwt.Parse(token, jwt.WithKey(jwa.ES256(), public), jwt.WithAudience(host), jwt.WithSubject(agent),
			jwt.WithClock(jwt.ClockFunc(func() time.Time { return now })))
		return err
	}
}

// biscuitToken makes a Biscuit. What it checks and what is wanted of it are Datalog;
// the texts are parsed before, as far as the library lets them.
func biscuitToken(t testing.TB, now time.Time) ([]byte, verifier) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := parser.FromStringBlockWithParams(`
		right("log"); right("clock"); right("send"); right("memory");
		check if host({host}), agent({agent}), time($now), $now > {from}, $now < {until};`,
		map[string]biscuit.Term{"host": biscuit.String(tokenHost), "agent": biscuit.String(tokenAgent),
			"from": biscuit.Date(now.Add(-time.Minute)), "until": biscuit.Date(now.Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	builder := biscuit.NewBuilder(private)
	if err := builder.AddBlock(block); err != nil {
		t.Fatal(err)
	}
	b, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	token, err := b.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	policy, err := parser.FromStringPolicy(`allow if right("send"), right("memory")`)
	if err != nil {
		t.Fatal(err)
	}
	fact := func(name string, term biscuit.Term) biscuit.Fact {
		return biscuit.Fact{Predicate: biscuit.Predicate{Name: name, IDs: []biscuit.Term{term}}}
	}
	return token, func(token []byte, host, agent string, now time.Time) error {
		b, err := biscuit.Unmarshal(token)
		if err != nil {
			return err
		}
		// The library ends an authorization after 2 ms by default, which a busy machine exceeds.
		a, err := b.Authorizer(public, biscuit.WithWorldOptions(datalog.WithMaxDuration(time.Second)))
		if err != nil {
			return err
		}
		a.AddFact(fact("host", biscuit.String(host)))
		a.AddFact(fact("agent", biscuit.String(agent)))
		a.AddFact(fact("time", biscuit.Date(now)))
		a.AddPolicy(policy)
		return a.Authorize()
	}
}

var tokens = []struct {
	name string
	make func(testing.TB, time.Time) ([]byte, verifier)
}{{"ours", ourToken}, {"jwt", jwtToken}, {"biscuit", biscuitToken}}

// Each side must say no where it should: what accepts everything measures nothing.
func TestTokensAreVerified(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, k := range tokens {
		token, verify := k.make(t, now)
		flipped := append([]byte(nil), token...)
		flipped[len(flipped)-10] ^= 4
		other, _ := k.make(t, now)
		for _, c := range []struct {
			name        string
			token       []byte
			host, agent string
			now         time.Time
			good        bool
		}{
			{"good", token, tokenHost, tokenAgent, now, true},
			{"another host", token, "host-fedcba9876543210", tokenAgent, now, false},
			{"another agent", token, tokenHost, "worker", now, false},
			{"expired", token, tokenHost, tokenAgent, now.Add(2 * time.Hour), false},
			{"not yet valid", token, tokenHost, tokenAgent, now.Add(-2 * time.Minute), false},
			{"a flipped bit", flipped, tokenHost, tokenAgent, now, false},
			{"another issuer", other, tokenHost, tokenAgent, now, false},
		} {
			if err := verify(c.token, c.host, c.agent, c.now); (err == nil) != c.good {
				t.Errorf("%s, %s: %v", k.name, c.name, err)
			}
		}
	}
}

func BenchmarkTokenJWT(b *testing.B)     { besideToken(b, jwtToken) }
func BenchmarkTokenBiscuit(b *testing.B) { besideToken(b, biscuitToken) }

func besideToken(b *testing.B, peer func(testing.TB, time.Time) ([]byte, verifier)) {
	now := time.Now().Truncate(time.Second)
	for _, side := range []struct {
		name string
		make func(testing.TB, time.Time) ([]byte, verifier)
	}{{"ours", ourToken}, {"peer", peer}} {
		token, verify := side.make(b, now)
		b.Run(side.name, func(b *testing.B) {
			for b.Loop() {
				if err := verify(token, tokenHost, tokenAgent, now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(token)), "bytes")
		})
	}
}

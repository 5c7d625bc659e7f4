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
// the registered claims, a Biscuit under Ed25519, and a macaroon. All are for an agent on
// a host, for an hour, with the same four rights; each check wants two of them. What
// narrows a token offline leaves three rights and half an hour, each time. The issuers'
// keys are parsed before, as a verifier has them.

const (
	tokenHost  = "host-0123456789abcdef"
	tokenAgent = "planner"
)

var tokenRights = [...]string{"log", "clock", "send", "memory"}

// maker makes a token that was narrowed so many times, and what verifies it.
type maker func(t testing.TB, now time.Time, narrowed int) ([]byte, verifier)

// narrowings are how often the tokens that are compared were passed on.
var narrowings = [...]int{0, 1, 4}

// verifier tells whether an agent's token is good on a host now.
type verifier func(token []byte, host, agent string, now time.Time) error

// ourToken is passed on with a key of each receiver.
func ourToken(t testing.TB, now time.Time, narrowed int) ([]byte, verifier) {
	t.Helper()
	issuer, holder, lease := newKey(t), newKey(t), captoken.ID{1}
	c := captoken.Claims{
		Subject: tokenAgent, Audience: tokenHost, Lease: lease, Epoch: 1, Holder: holder.Public().Thumbprint(),
		Rights:    captoken.RightLog | captoken.RightClock | captoken.RightSend | captoken.RightMemory,
		Scopes:    captoken.Scopes{Peers: captoken.Patterns{"echod"}},
		Quotas:    captoken.Quotas{MemoryBytes: 64 << 20, MessagesPerSecond: 1000, BytesPerSecond: 1 << 20},
		NotBefore: now.Add(-time.Minute), Expires: now.Add(time.Hour), Depth: uint8(narrowed),
	}
	token, err := captoken.Mint(issuer, c)
	for left := narrowed; left > 0 && err == nil; left-- {
		next := newKey(t)
		token, err = captoken.Delegate(holder, token, captoken.Delegation{Subject: tokenAgent, Rights: c.Rights &^ captoken.RightClock, Scopes: c.Scopes, Quotas: c.Quotas,
			NotBefore: c.NotBefore, Expires: now.Add(time.Hour / 2), Holder: next.Public().Thumbprint(), Depth: uint8(left - 1)})
		holder = next
	}
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
// claims would. Nobody but the issuer can narrow it.
func jwtToken(t testing.TB, now time.Time, narrowed int) ([]byte, verifier) {
	t.Helper()
	if narrowed > 0 {
		t.Fatal("a JWT cannot be narrowed")
	}
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
func biscuitToken(t testing.TB, now time.Time, narrowed int) ([]byte, verifier) {
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
	less, err := parser.FromStringBlockWithParams(`
		check if time($now), $now < {until};
		check if needs($a, $b), ["log", "send", "memory"].contains($a), ["log", "send", "memory"].contains($b);`,
		map[string]biscuit.Term{"until": biscuit.Date(now.Add(time.Hour / 2))})
	if err != nil {
		t.Fatal(err)
	}
	for range narrowed {
		builder := b.CreateBlock()
		if err := builder.AddBlock(less); err != nil {
			t.Fatal(err)
		}
		if b, err = b.Append(rand.Reader, builder.Build()); err != nil {
			t.Fatal(err)
		}
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
		if narrowed > 0 {
			a.AddFact(biscuit.Fact{Predicate: biscuit.Predicate{Name: "needs", IDs: []biscuit.Term{biscuit.String("send"), biscuit.String("memory")}}})
		}
		a.AddPolicy(policy)
		return a.Authorize()
	}
}

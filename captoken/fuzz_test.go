package captoken

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"
)

// vectorPayloads are the claims of everything in testdata/vectors that is signed, good
// and bad, to begin from.
func vectorPayloads(t testing.TB) (payloads [][]byte) {
	for _, v := range makeVectors(t) {
		for rest := v.body; len(rest) > 0; {
			o, err := Identify(rest)
			if err != nil || o == ObjectReceipt {
				break
			}
			s, err := readSign1(rest, v.name, kind(o))
			if err != nil {
				break
			}
			payloads, rest = append(payloads, s.payload), rest[len(s.raw):]
		}
	}
	return payloads
}

// FuzzChain signs whatever claims a token and two delegations can have: no chain that is
// accepted grants more than its first block.
func FuzzChain(f *testing.F) {
	issuer, holder := testKey(f, "issuer"), testKey(f, "holder")
	var delegations [][]byte
	for _, payload := range vectorPayloads(f) {
		if _, _, err := decodeClaims(payload, "delegation", true); err == nil {
			delegations = append(delegations, payload)
		}
	}
	for i, payload := range vectorPayloads(f) {
		f.Add(payload, delegations[i%len(delegations)], delegations[(i+1)%len(delegations)])
	}
	c, d := testClaims(f), testDelegation(f, "a", MaxDelegations)
	d.Expires = c.Expires.Add(time.Hour) // than which the token is shorter
	f.Add(c.encode(), d.encode([32]byte{}), d.encode([32]byte{}))
	f.Fuzz(func(t *testing.T, token, first, second []byte) {
		c, _, err := decodeClaims(token, "token", false)
		if err != nil {
			return
		}
		c.Issuer, c.Holder = issuer.Public().Thumbprint(), holder.Public().Thumbprint()
		chain, err := seal(issuer, "token", kindToken, c.encode())
		if err != nil {
			return // longer than a token may be, with this issuer
		}
		w := Want{Trusted: []Issuer{{Key: issuer.Public(), Epoch: c.Epoch}}, Host: c.Audience, Agent: c.Subject, Now: c.NotBefore, Lease: c.Lease}
		links := 0
		for _, payload := range [][]byte{first, second} {
			d, _, err := decodeClaims(payload, "delegation", true)
			if err != nil {
				break
			}
			next := Delegation{d.ID, d.Subject, d.Rights, d.Scopes, d.Quotas, d.NotBefore, d.Expires, c.Holder, d.Depth}
			block, err := seal(holder, "delegation", kindDelegation, next.encode(sha256.Sum256(chain)))
			if err != nil {
				break
			}
			chain, w.Agent = append(chain, block...), d.Subject
			if d.NotBefore.After(w.Now) {
				w.Now = d.NotBefore
			}
			links++
		}
		g, err := Verify(chain, w)
		if err != nil {
			if links == 0 {
				t.Fatalf("a token with claims that have their form is refused: %v", err)
			}
			return
		}
		if len(g.Chain) != links+1 || int(c.Depth) < links || int(g.Depth) > int(c.Depth)-links {
			t.Fatalf("depth %d, passed on %d times, leaves %d", c.Depth, links, g.Depth)
		}
		if g.Rights&^c.Rights != 0 || g.NotBefore.Before(c.NotBefore) || g.Expires.After(c.Expires) || g.Quotas.intersect(c.Quotas) != g.Quotas {
			t.Fatalf("%+v grants more than %+v", g.Claims, c)
		}
		if g.Audience != c.Audience || g.Epoch != c.Epoch || g.Lease != c.Lease || g.Issuer != c.Issuer {
			t.Fatalf("%+v is not of the token %+v", g.Claims, c)
		}
		if !scopesWithin(&g.Scopes, &c.Scopes) {
			t.Fatalf("%+v reaches further than %+v", g.Scopes, c.Scopes)
		}
	})
}

// scopesWithin tells whether one entry of outer covers each entry of inner.
func scopesWithin(inner, outer *Scopes) bool {
	for _, d := range inner.Network {
		if !slices.ContainsFunc(outer.Network, func(o Destination) bool {
			return o.Protocol == d.Protocol && o.First <= d.First && d.Last <= o.Last && coversHost(o.Host, d.Host)
		}) {
			return false
		}
	}
	for _, s := range inner.Services {
		if !slices.ContainsFunc(outer.Services, func(o Service) bool { return o.Name == s.Name && patternsWithin(s.Operations, o.Operations) }) {
			return false
		}
	}
	return patternsWithin(inner.Peers, outer.Peers) && patternsWithin(inner.Memory, outer.Memory) && patternsWithin(inner.Devices, outer.Devices)
}

func patternsWithin(inner, outer Patterns) bool {
	for _, p := range inner {
		if !slices.ContainsFunc(outer, func(o string) bool { return covers(o, p) }) {
			return false
		}
	}
	return true
}

// FuzzVerifyProof looks for bytes that panic, or pass without the holder's signature.
func FuzzVerifyProof(f *testing.F) {
	token, nonce := mint(f, nil), testNonce("proof")
	good, err := Prove(testKey(f, "holder"), token, nonce)
	if err != nil {
		f.Fatal(err)
	}
	g, err := Verify(token, testWant(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, v := range makeVectors(f) {
		if v.get("kind") == "proof" {
			f.Add(v.body)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := VerifyProof(b, token, g, nonce); err == nil && !bytes.Equal(b, good) {
			t.Fatalf("%x was accepted", b)
		}
		if p, err := ReadProof(b); err == nil {
			p.Describe()
		}
	})
}

// FuzzRevocationState has an issuer sign one list after another: what was taken is never
// given back within its epoch, and numbers and epochs only rise.
func FuzzRevocationState(f *testing.F) {
	issuer := testKey(f, "issuer")
	payloads := vectorPayloads(f)
	for i := range payloads {
		f.Add(payloads[i], payloads[(i+1)%len(payloads)], payloads[(i+2)%len(payloads)])
	}
	// Lists that go back, each in one thing.
	for _, back := range []func(*RevocationList){
		func(l *RevocationList) { l.Epoch-- }, func(l *RevocationList) { l.Tokens = nil },
		func(l *RevocationList) { l.Leases = nil }, func(l *RevocationList) { l.Subjects = nil },
	} {
		l := testRevocations(nil)
		before := l.encode()
		l.Sequence++
		back(&l)
		f.Add(before, l.encode(), before)
	}
	l := testRevocations(nil)
	first := l.encode()
	l.Revoke([]ID{{1}}, []ID{{2}}, []string{"a"})
	l.Sequence++
	second := l.encode()
	l.Epoch, l.Tokens = l.Epoch+1, nil
	l.Sequence++
	f.Add(first, second, l.encode())
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		state := NewRevocationState(issuer.Public())
		for _, payload := range [][]byte{a, b, c} {
			before := state.List()
			l, err := decodeRevocations(payload)
			if err != nil {
				continue
			}
			l.Issuer = issuer.Public().Thumbprint()
			raw, err := seal(issuer, revocationName, kindRevocations, l.encode())
			if err != nil {
				continue
			}
			taken, err := state.Take(raw)
			if err != nil {
				if state.List() != before || !errors.Is(err, ErrSequence) {
					t.Fatalf("a list that is refused changed something, or for another reason: %v", err)
				}
				continue
			}
			if before == nil || taken == before {
				continue
			}
			if taken.Sequence <= before.Sequence || taken.Epoch < before.Epoch {
				t.Fatalf("list %d of epoch %d was taken after list %d of epoch %d", taken.Sequence, taken.Epoch, before.Sequence, before.Epoch)
			}
			if taken.Epoch > before.Epoch {
				continue
			}
			for _, id := range before.Tokens {
				if !taken.RevokedToken(id) {
					t.Fatalf("token %v came back", id)
				}
			}
			for _, id := range before.Leases {
				if !taken.RevokedLease(id) {
					t.Fatalf("lease %v came back", id)
				}
			}
			for _, s := range before.Subjects {
				if !taken.RevokedSubject(s) {
					t.Fatalf("agent %s came back", s)
				}
			}
		}
	})
}

// FuzzIdentify looks for bytes that panic; what has the form of something is named for it.
func FuzzIdentify(f *testing.F) {
	for _, v := range makeVectors(f) {
		f.Add(v.body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Identify(b)
		if err != nil {
			o = ""
		}
		for k, want := range map[kind]Object{kindToken: ObjectToken, kindLease: ObjectLease, kindCommand: ObjectCommand, kindProof: ObjectProof, kindRevocations: ObjectRevocations} {
			if _, err := readSign1(b, "object", k); err == nil && o != want {
				t.Fatalf("%x has the form of %s and is called %q", b, want, o)
			}
		}
		if _, err := ParseReceipt(b); err == nil && o != ObjectReceipt {
			t.Fatalf("a receipt is called %q", o)
		}
	})
}

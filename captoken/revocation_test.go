package captoken

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"aios/captoken/cbor"
)

func testRevocations(change func(*RevocationList)) RevocationList {
	l := RevocationList{IssuedAt: testNow, Sequence: 7, Epoch: 3}
	l.Revoke([]ID{testID("gone"), testID("delegation to b")}, []ID{testID("old lease")}, []string{"worker", "gopher"})
	if change != nil {
		change(&l)
	}
	return l
}

func mintRevocations(t testing.TB, change func(*RevocationList)) []byte {
	t.Helper()
	b, err := MintRevocations(testKey(t, "issuer"), testRevocations(change))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// revocationLists: a verifier that knows the list of the file "known" gets this one.
func (m *vectors) revocationLists() {
	t := m.t
	add := func(name, expect, comment string, body []byte, lines ...string) {
		v := m.add("revocations", name, expect, comment, body, []string{"trusted: issuer", "known: revocations-good"}, lines...)
		if l, err := ReadRevocations(body); expect == "ok" && err == nil {
			v.header = append(v.header, revocationLines(l)...)
		}
	}
	good := mintRevocations(t, nil)
	next := func(change func(*RevocationList)) []byte {
		return mintRevocations(t, func(l *RevocationList) { l.Sequence = 8; change(l) })
	}
	empty := RevocationList{IssuedAt: testNow, Sequence: 1}
	first, err := MintRevocations(testKey(t, "issuer"), empty)
	if err != nil {
		t.Fatal(err)
	}
	add("good", "ok", "the first list that the verifier gets", good, "known:")
	add("empty", "ok", "nothing is revoked", first, "known:")
	add("again", "ok", "the list that is known", good)
	add("more", "ok", "one more of each", next(func(l *RevocationList) { l.Revoke([]ID{testID("x")}, []ID{testID("y")}, []string{"z"}) }))
	add("epoch", "ok", "a higher epoch makes room", next(func(l *RevocationList) { l.Epoch, l.Tokens, l.Leases, l.Subjects = 4, nil, nil, nil }))
	add("older", "sequence", "an older list", mintRevocations(t, func(l *RevocationList) { l.Sequence = 6 }))
	add("other", "sequence", "another list of the same number", mintRevocations(t, func(l *RevocationList) { l.Revoke([]ID{testID("x")}, nil, nil) }))
	add("lower-epoch", "sequence", "a lower epoch", next(func(l *RevocationList) { l.Epoch = 2 }))
	add("token-back", "sequence", "a token is no longer named", next(func(l *RevocationList) { l.Tokens = l.Tokens[1:] }))
	add("lease-back", "sequence", "a lease is no longer named", next(func(l *RevocationList) { l.Leases = nil }))
	add("agent-back", "sequence", "an agent is no longer named", next(func(l *RevocationList) { l.Subjects = l.Subjects[:1] }))
	add("stranger", "issuer", "signed by another key", good, "trusted: other-issuer", "known:")
	flipped := bytes.Clone(good)
	flipped[250] ^= 1
	add("flipped", "signature", "one bit was flipped", flipped, "known:")
	l := testRevocations(nil)
	l.Issuer = testKey(t, "other-issuer").Public().Thumbprint()
	head := header(t, "issuer", kindRevocations)
	add("names-other-issuer", "issuer", "names another issuer than the one that signed", sign(t, "issuer", head, l.encode(), nil), "known:")
	l.Issuer = testKey(t, "issuer").Public().Thumbprint()
	p := pairs(t, l.encode())
	form := func(name, comment string, payload []byte) {
		add(name, "form", comment, sign(t, "issuer", head, payload, nil), "known:")
	}
	ids := func(labels ...string) (b []byte) {
		for _, label := range labels {
			id := testID(label)
			b = append(b, id[:]...)
		}
		return cbor.AppendBytes(nil, b)
	}
	form("sequence-0", "a sequence number of zero", join(with(p, claimSequence, []byte{0})))
	form("no-epoch", "no epoch", join(with(p, claimEpoch, nil)))
	form("token-twice", "a token twice", join(with(p, claimRevokedTokens, ids("gone", "gone"))))
	form("lease-order", "leases out of order", join(with(p, claimRevokedLeases, func() []byte {
		a, b := testID("gone"), testID("old lease")
		if compareIDs(a, b) < 0 {
			return ids("old lease", "gone")
		}
		return ids("gone", "old lease")
	}())))
	form("id-cut", "an id of 15 bytes", join(with(p, claimRevokedTokens, cbor.AppendBytes(nil, make([]byte, 31)))))
	form("no-id", "an empty string of ids, which is to be left out", join(with(p, claimRevokedTokens, []byte{0x40})))
	form("no-agent", "an empty list of agents, which is to be left out", join(with(p, claimRevokedSubjects, []byte{0x80})))
	form("agent-order", "agents out of order", join(with(p, claimRevokedSubjects, []byte{0x82, 0x61, 'b', 0x61, 'a'})))
	form("agent-pattern", "a pattern for an agent", join(with(p, claimRevokedSubjects, []byte{0x81, 0x61, '*'})))
	add("kind", "form", "the kind of a token", sign(t, "issuer", header(t, "issuer", kindToken), l.encode(), nil), "known:")
	add("trailing", "form", "a byte more than there should be", append(bytes.Clone(good), 0), "known:")
	m.tokensOnList()
}

// tokensOnList are tokens that a list of their issuer concerns.
func (m *vectors) tokensOnList() {
	t := m.t
	chain := delegate(t, "holder", mint(t, nil), testDelegation(t, "b", 1))
	full := mint(t, nil)
	m.token("list", "ok", "a list of the issuer that does not name it", full, "list: revocations-good")
	m.token("list-delegation", "revoked", "a list of the issuer names its delegation", chain, "agent: b", "list: revocations-good")
	m.token("list-lease", "revoked", "a list of the issuer names its lease", mint(t, func(c *Claims) { c.Lease = testID("old lease") }), "lease: "+testID("old lease").String(), "list: revocations-good")
	m.token("list-agent", "revoked", "a list of the issuer names its agent", mint(t, func(c *Claims) { c.Subject = "gopher" }), "agent: gopher", "list: revocations-good")
	m.token("list-epoch", "epoch", "a list of the issuer says a higher epoch", full, "list: revocations-epoch")
}

func revocationLines(l *RevocationList) []string {
	return []string{"result-issuer: " + l.Issuer.String(), fmt.Sprintf("result-sequence: %d", l.Sequence), fmt.Sprintf("result-epoch: %d", l.Epoch),
		fmt.Sprintf("result-tokens: %v", l.Tokens), fmt.Sprintf("result-leases: %v", l.Leases), fmt.Sprintf("result-agents: %v", l.Subjects)}
}

func (v *vector) verifyRevocations(t *testing.T) ([]string, error) {
	state := NewRevocationState(readVectorKey(t, v.get("trusted")))
	if known := v.get("known"); known != "" {
		if _, err := state.Take(readVector(t, vectorDir+"/"+known+".txt").body); err != nil {
			t.Fatal(err)
		}
	}
	before := state.List()
	l, err := state.Take(v.body)
	if err != nil {
		if state.List() != before {
			t.Error("a list that was refused has changed the state")
		}
		return nil, err
	}
	return revocationLines(l), nil
}

func TestRevocationBounds(t *testing.T) {
	l := testRevocations(nil)
	var names []string
	for i := range MaxRevoked - len(l.Tokens) - len(l.Leases) - len(l.Subjects) {
		names = append(names, fmt.Sprintf("%04d%s", i, strings.Repeat("x", MaxName-4)))
	}
	l.Revoke(nil, nil, names)
	b, err := MintRevocations(testKey(t, "issuer"), l)
	if err != nil {
		t.Fatal(err)
	}
	got, err := VerifyRevocations(b, testKey(t, "issuer").Public())
	if err != nil || len(got.Subjects) != len(l.Subjects) {
		t.Fatalf("a full list: %v", err)
	}
	l.Revoke([]ID{testID("one too many")}, nil, nil)
	if _, err := MintRevocations(testKey(t, "issuer"), l); !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), "raise the epoch") {
		t.Errorf("a list that is too full: %v", err)
	}
	if n := MaxRevoked*(MaxName+2) + 1024; n > MaxRevocationClaims {
		t.Errorf("%d bytes of claims are possible, the bound is %d", n, MaxRevocationClaims)
	}
	l.Subjects = []string{"b", "a"}
	if _, err := MintRevocations(testKey(t, "issuer"), l); !errors.Is(err, ErrForm) {
		t.Errorf("agents out of order: %v", err)
	}
}

// A list of one issuer never stands for another.
func TestRevocationsOfAnotherIssuer(t *testing.T) {
	other := testRevocations(nil)
	other.Issuer = testKey(t, "other-issuer").Public().Thumbprint()
	w := testWant(t)
	w.Trusted = []Issuer{{Key: testKey(t, "issuer").Public(), Revoked: &other}}
	if _, err := Verify(mint(t, nil), w); !errors.Is(err, ErrIssuer) {
		t.Errorf("got %v", err)
	}
}

// What is accepted as a list re-encodes to the same bytes.
func FuzzRevocations(f *testing.F) {
	l := testRevocations(nil)
	f.Add(l.encode())
	l.Revoke([]ID{{1}}, nil, []string{"a"})
	f.Add(l.encode())
	for _, payload := range vectorPayloads(f) {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if l, err := decodeRevocations(payload); err == nil && !bytes.Equal(l.encode(), payload) {
			t.Fatalf("%x is written differently", payload)
		}
	})
}

func TestDescribeRevocations(t *testing.T) {
	l := testRevocations(nil)
	lines := l.Describe()
	for _, want := range []string{"revoked is every token of an epoch below 3", "revoked is everything of agent gopher, and what it passed on",
		"revoked is every token under lease " + testID("old lease").String(), "revoked is token or delegation " + testID("gone").String() + ", and what was passed on from it"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q is missing in %q", want, lines)
		}
	}
}

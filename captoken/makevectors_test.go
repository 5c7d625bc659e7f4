package captoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aios/captoken/cbor"
)

// vectorKeys are the keys that vectors name, see testKey.
var vectorKeys = []string{"issuer", "other-issuer", "holder", "a", "b", "c", "d", "verifier", "operator", "auditor",
	"issuer-44", "issuer-87", "issuer-hybrid", "a-44", "b-87", "c-hybrid"}

// vectors collects what makeVectors makes.
type vectors struct {
	t    testing.TB
	list []*vector
}

func makeVectors(t testing.TB) []*vector {
	m := &vectors{t: t}
	m.tokens()
	m.tokenForms()
	m.delegations()
	m.algorithms()
	m.proofs()
	m.revocationLists()
	m.leases()
	m.commands()
	m.receipts()
	return m.list
}

// add appends a vector whose defaults are overridden by "key: value" lines; a line
// without a value removes the default.
func (m *vectors) add(kind, name, expect, comment string, body []byte, defaults []string, lines ...string) *vector {
	v := &vector{name: kind + "-" + name, body: body, header: []string{"expect: " + expect, "comment: " + comment, "kind: " + kind}}
	for _, d := range defaults {
		key, _, _ := strings.Cut(d, ": ")
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+":") }) {
			v.header = append(v.header, d)
		}
	}
	for _, l := range lines {
		if !strings.HasSuffix(l, ":") {
			v.header = append(v.header, l)
		}
	}
	m.list = append(m.list, v)
	return v
}

func (m *vectors) token(name, expect, comment string, body []byte, lines ...string) {
	v := m.add("token", name, expect, comment, body, []string{"trusted: other-issuer 0", "trusted: issuer 3", "host: " + testHost, "agent: " + testAgent,
		"now: " + stamp(testNow), "lease: " + testID("lease").String(), fmt.Sprintf("rights: %#x", uint64(RightSend|RightMemory))}, lines...)
	if expect != "ok" {
		return
	}
	w := testWant(m.t)
	w.Agent, w.Now, w.Rights = v.get("agent"), testNow, 0
	for _, s := range v.all("trusted") {
		name, _, _ := strings.Cut(s, " ")
		w.Trusted = append(w.Trusted, Issuer{Key: testKey(m.t, name).Public()})
	}
	if v.get("now") != stamp(testNow) {
		w.Now, _ = time.Parse(time.RFC3339, v.get("now"))
	}
	g, err := Verify(body, w)
	if err != nil {
		m.t.Fatalf("%s: %v", v.name, err)
	}
	v.header = append(v.header, grantLines(g)...)
}

func (m *vectors) tokens() {
	t := m.t
	full := mint(t, nil)
	minimal := mint(t, func(c *Claims) { c.Rights, c.Scopes, c.Quotas, c.Depth, c.Epoch = 0, Scopes{}, Quotas{}, 0, 3 })
	m.token("full", "ok", "every claim is there", full)
	m.token("minimal", "ok", "no right, no scope, no quota, no delegation", minimal, "rights: 0")
	m.token("first-second", "ok", "valid from its first second on", full, "now: "+stamp(testNow.Add(-time.Minute)))
	m.token("last-second", "ok", "valid in its last second", full, "now: "+stamp(testNow.Add(time.Hour-time.Second)))
	m.token("unnamed-rights", "ok", "bits without a name admit nothing and are no error", mint(t, func(c *Claims) { c.Rights = ^Rights(0) }))

	m.token("not-yet", "not-yet", "a second before it is valid", full, "now: "+stamp(testNow.Add(-time.Minute-time.Second)))
	m.token("expired", "expired", "exp is the first moment at which it is not valid", full, "now: "+stamp(testNow.Add(time.Hour)))
	m.token("host", "audience", "for another host", full, "host: host-ffffffffffffffff")
	m.token("agent", "subject", "for another agent", full, "agent: planner2")
	m.token("epoch", "epoch", "of the epoch before", mint(t, func(c *Claims) { c.Epoch = 2 }))
	m.token("lease", "lease", "hangs from another lease", full, "lease: "+testID("other lease").String())
	m.token("no-lease", "lease", "the host holds no lease", full, "lease:")
	m.token("right", "right", "the device right is needed too", full, fmt.Sprintf("rights: %#x", uint64(RightSend|RightDevice)))
	m.token("revoked", "revoked", "its id was revoked", full, "revoked-token: "+testID("token").String())
	m.token("revoked-agent", "revoked", "everything of the agent was revoked", full, "revoked-agent: "+testAgent)
	m.token("unknown-issuer", "issuer", "signed by a key that is not trusted", full, "trusted: other-issuer 0")

	flipped := bytes.Clone(full)
	flipped[300] ^= 1
	m.token("flipped-claim", "signature", "one bit of the claims was flipped", flipped)
	flipped = bytes.Clone(full)
	flipped[len(flipped)-1] ^= 0x80
	m.token("flipped-signature", "signature", "one bit of the signature was flipped", flipped)

	c := testClaims(t)
	c.Issuer = testKey(t, "issuer").Public().Thumbprint()
	m.token("other-key", "signature", "signed by another key under the issuer's key id", sign(t, "a", header(t, "issuer", kindToken), c.encode(), nil))
	m.token("context", "signature", "signed under an ML-DSA context, which RFC 9964 rules out", sign(t, "issuer", header(t, "issuer", kindToken), c.encode(), []byte("aios-token")))
	c.Issuer = testKey(t, "other-issuer").Public().Thumbprint()
	m.token("names-other-issuer", "issuer", "signed by one trusted issuer and naming another", sign(t, "issuer", header(t, "issuer", kindToken), c.encode(), nil))
}

// header is the protected header that the format asks for.
func header(t testing.TB, key string, k kind) []byte {
	id := testKey(t, key).Public().ID()
	b := cbor.AppendInt(cbor.AppendInt(cbor.AppendMap(nil, 3), 1), -49)
	b = cbor.AppendBytes(cbor.AppendInt(b, 4), id[:])
	return cbor.AppendText(cbor.AppendInt(b, 16), string(k))
}

// sign puts a COSE_Sign1 together from any header and payload, under a good signature.
func sign(t testing.TB, key string, header, payload, context []byte) []byte {
	t.Helper()
	signature, err := testKey(t, key).key.Sign(toBeSigned(header, payload), context)
	if err != nil {
		t.Fatal(err)
	}
	return assemble(cbor.AppendMap(nil, 0), header, payload, signature)
}

func assemble(unprotected, header, payload, signature []byte) []byte {
	b := cbor.AppendArray(cbor.AppendTag(nil, 18), 4)
	b = append(cbor.AppendBytes(b, header), unprotected...)
	return cbor.AppendBytes(cbor.AppendBytes(b, payload), signature)
}

// pair is an encoded key with its encoded value.
type pair struct {
	key   int64
	value []byte
}

// pairs takes a map with integer keys apart, by the reader of the tests.
func pairs(t testing.TB, b []byte) (out []pair) {
	t.Helper()
	r := cbor.NewReader(b)
	m := r.Map(0, 64)
	for key, ok := m.Next(); ok; key, ok = m.Next() {
		start := r.Offset()
		skip(t, r)
		out = append(out, pair{key, b[start:r.Offset()]})
	}
	if err := r.End(); err != nil {
		t.Fatal(err)
	}
	return out
}

// skip passes over one item.
func skip(t testing.TB, r *cbor.Reader) {
	switch at := *r; {
	case ok(r, func() { r.Int() }):
	case ok(restore(r, at), func() { r.Uint() }): // above what an int64 holds
	case ok(restore(r, at), func() { r.Bytes(0, 1<<16) }):
	case ok(restore(r, at), func() { r.Text(0, 1<<16) }):
	case ok(restore(r, at), func() {
		for n := r.Array(0, 64); n > 0; n-- {
			skip(t, r)
		}
	}):
	case ok(restore(r, at), func() {
		m := r.Map(0, 64)
		for _, more := m.Next(); more; _, more = m.Next() {
			skip(t, r)
		}
	}):
	default:
		t.Fatal(r.Err())
	}
}

func ok(r *cbor.Reader, f func()) bool { f(); return r.Err() == nil }

func restore(r *cbor.Reader, to cbor.Reader) *cbor.Reader { *r = to; return r }

func join(list []pair) []byte {
	b := cbor.AppendMap(nil, len(list))
	for _, p := range list {
		b = append(cbor.AppendInt(b, p.key), p.value...)
	}
	return b
}

// with replaces the value of a key, or removes the pair if the value is nil.
func with(list []pair, key int64, value []byte) (out []pair) {
	for _, p := range list {
		if p.key == key {
			if value != nil {
				out = append(out, pair{key, value})
			}
			continue
		}
		out = append(out, p)
	}
	return out
}

// tokenForms are tokens under a good signature that are not in the one form.
func (m *vectors) tokenForms() {
	t := m.t
	full := mint(t, nil)
	form := func(name, comment string, body []byte) { m.token(name, "form", comment, body) }
	form("empty", "no byte at all", nil)
	form("cut", "the last byte is missing", full[:len(full)-1])
	form("trailing", "a byte more than there should be", append(bytes.Clone(full), 0))
	form("untagged", "COSE_Sign1 without its tag", full[1:])
	form("cwt-tag", "the CWT tag before it, which RFC 8392 leaves open and this format leaves out", append([]byte{0xd8, 61}, full...))
	form("sign-tag", "tagged as COSE_Sign", append([]byte{0xd8, 98}, full[1:]...))
	form("five-items", "an array of five", append([]byte{0xd2, 0x85}, append(bytes.Clone(full[2:]), 0)...))

	s, err := readSign1(full, "token", kindToken)
	if err != nil {
		t.Fatal(err)
	}
	form("indefinite", "the outer array has no definite length", append(append([]byte{0xd2, 0x9f}, full[2:]...), 0xff))
	form("unprotected", "a header outside the signature", assemble(cbor.AppendBytes(cbor.AppendInt(cbor.AppendMap(nil, 1), 4), s.keyID[:]), s.protected, s.payload, s.signature))
	form("short-signature", "a signature of 3308 bytes", assemble(cbor.AppendMap(nil, 0), s.protected, s.payload, s.signature[1:]))

	h := pairs(t, s.protected)
	head := func(name, comment string, list []pair) {
		form("header-"+name, comment, sign(t, "issuer", join(list), s.payload, nil))
	}
	head("algorithm", "the identifier of ML-DSA-44", with(h, 1, cbor.AppendInt(nil, -48)))
	head("no-algorithm", "no algorithm", with(h, 1, nil))
	head("no-key-id", "no key id", with(h, 4, nil))
	head("no-type", "no type", with(h, 16, nil))
	head("lease-type", "the type of a lease", with(h, 16, cbor.AppendText(nil, string(kindLease))))
	head("critical", "a header too many (crit)", append([]pair{h[0], {2, cbor.AppendInt(cbor.AppendArray(nil, 1), 16)}}, h[1:]...))
	head("unknown", "a header that is unknown (content type) in the place of the type", []pair{h[0], {3, cbor.AppendInt(nil, 61)}, h[1]})
	head("order", "headers out of order", []pair{h[1], h[0], h[2]})
	head("key", "a public key, which only delegations carry", append(slices.Clone(h), pair{-65537, cbor.AppendBytes(nil, make([]byte, 1952))}))

	p := pairs(t, s.payload)
	claim := func(name, comment string, payload []byte) {
		form(name, comment, sign(t, "issuer", s.protected, payload, nil))
	}
	for _, c := range []struct {
		name string
		key  int64
	}{{"issuer", 1}, {"subject", 2}, {"audience", 3}, {"expires", 4}, {"not-before", 5}, {"id", 7}, {"holder", 8}, {"rights", claimRights}, {"epoch", claimEpoch}, {"lease", claimLease}} {
		claim("missing-"+c.name, "claim "+fmt.Sprint(c.key)+" is missing", join(with(p, c.key, nil)))
	}
	flat := with(p, claimDepth, nil) // so that there is room for one more
	claim("unknown-claim", "a claim that is unknown", join(append(slices.Clone(flat), pair{-65600, []byte{0}})))
	claim("issued-at", "a claim of RFC 8392 that this format leaves out", join(append(slices.Clone(flat[:5]), append([]pair{{6, cbor.AppendUint(nil, uint64(testNow.Unix()))}}, flat[5:]...)...)))
	claim("too-many", "more claims than there are", join(append(slices.Clone(p), pair{-65600, []byte{0}})))
	claim("order", "claims out of order", join(append([]pair{p[1], p[0]}, p[2:]...)))
	claim("twice", "a claim twice", join(append([]pair{flat[0]}, flat...)))
	claim("trailing-claims", "a byte after the claims", append(bytes.Clone(s.payload), 0))
	claim("long-integer", "an integer that is not in its shortest form", join(with(p, claimEpoch, []byte{0x18, 3})))
	claim("long-length", "a length that is not in its shortest form", join(with(p, 2, append([]byte{0x78, byte(len(testAgent))}, testAgent...))))
	claim("float", "a time as a float", join(with(p, 4, []byte{0xfb, 0x41, 0xda, 0xd2, 0x74, 0x80, 0, 0, 0})))
	claim("negative-time", "a time before 1970", join(with(p, 5, cbor.AppendInt(nil, -1))))
	claim("year-10000", "a time after 9999", join(with(p, 4, cbor.AppendUint(nil, maxTime+1))))
	claim("empty-life", "ends when it begins", join(with(p, 4, p[4].value)))
	claim("id-15", "an id of 15 bytes", join(with(p, 7, cbor.AppendBytes(nil, make([]byte, 15)))))
	claim("id-text", "an id as text", join(with(p, 7, cbor.AppendText(nil, strings.Repeat("a", 16)))))
	claim("subject-pattern", "a pattern as the subject", join(with(p, 2, cbor.AppendText(nil, "plan*"))))
	claim("subject-utf8", "a subject that is no UTF-8", join(with(p, 2, append([]byte{0x61}, 0xff))))
	claim("subject-empty", "an empty subject", join(with(p, 2, []byte{0x60})))
	claim("issuer-hex", "an issuer that is no thumbprint URI", join(with(p, 1, cbor.AppendText(nil, testKey(t, "issuer").Public().Thumbprint().String()))))
	uri := []byte(testKey(t, "issuer").Public().Thumbprint().URI())
	uri[len(uri)-1]++ // the two spare bits of the last character
	claim("issuer-spare-bits", "base64url with spare bits that are not zero", join(with(p, 1, cbor.AppendText(nil, string(uri)))))
	claim("holder-key-id", "a holder by key id", join(with(p, 8, cbor.AppendBytes(cbor.AppendInt(cbor.AppendMap(nil, 1), 3), make([]byte, 16)))))
	claim("zero-lease", "a lease id of zeros", join(with(p, claimLease, cbor.AppendBytes(nil, make([]byte, 16)))))
	claim("zero-depth", "a depth of zero, which is to be left out", join(with(p, claimDepth, []byte{0})))
	claim("depth-9", "a depth above the bound", join(with(p, claimDepth, []byte{9})))
	claim("zero-quota", "a quota of zero, which is to be left out", join(with(p, claimQuotas, []byte{0xa1, 1, 0})))
	claim("empty-quotas", "empty quotas, which are to be left out", join(with(p, claimQuotas, []byte{0xa0})))
	claim("unknown-quota", "a quota that is unknown", join(with(p, claimQuotas, []byte{0xa1, 6, 1})))
	claim("empty-scopes", "empty scopes, which are to be left out", join(with(p, claimScopes, []byte{0xa0})))
	claim("empty-peers", "an empty list of peers, which is to be left out", join(with(p, claimScopes, []byte{0xa1, 1, 0x80})))
	claim("unknown-scope", "a scope that is unknown", join(with(p, claimScopes, []byte{0xa1, 6, 0x81, 0x61, 'a'})))
	scope := func(name, comment string, s Scopes) { claim(name, comment, join(with(p, claimScopes, s.append(nil)))) }
	scope("peers-order", "peers out of order", Scopes{Peers: Patterns{"b", "a"}})
	scope("peers-twice", "a peer twice", Scopes{Peers: Patterns{"a", "a"}})
	scope("peers-star", "a star inside a pattern", Scopes{Peers: Patterns{"a*b"}})
	many := make(Patterns, MaxList+1)
	for i := range many {
		many[i] = fmt.Sprintf("p%02d", i)
	}
	scope("peers-33", "more peers than the bound", Scopes{Peers: many})
	scope("no-operation", "a service without an operation", Scopes{Services: []Service{{"journald", nil}}})
	scope("protocol", "a protocol other than TCP and UDP", Scopes{Network: Network{{1, "*", 0, 0}}})
	scope("host-case", "a host in capitals", Scopes{Network: Network{{TCP, "Example.org", 443, 443}}})
	scope("host-bits", "an address range with bits below its mask", Scopes{Network: Network{{TCP, "192.0.2.1/24", 443, 443}}})
	scope("ports", "ports the wrong way round", Scopes{Network: Network{{TCP, "*", 2, 1}}})
	form("lease-as-token", "a lease that is well signed by a trusted key", sign(t, "issuer", header(t, "issuer", kindLease), s.payload, nil))
}

func (m *vectors) delegations() {
	t := m.t
	token := mint(t, nil)
	one := delegate(t, "holder", token, testDelegation(t, "a", 3))
	chain := one
	for i, to := range []string{"b", "c", "d"} {
		chain = delegate(t, []string{"a", "b", "c"}[i], chain, testDelegation(t, to, 8))
	}
	m.token("one-delegation", "ok", "passed on once; what both admit is left", one, "agent: a")
	m.token("four-delegations", "ok", "passed on as often as its depth allows", chain, "agent: d")
	m.token("delegation-cut", "subject", "the last delegation was cut off", token, "agent: a")
	m.token("delegation-revoked", "revoked", "a delegation in the middle was revoked", chain, "agent: d", "revoked-token: "+testID("delegation to b").String())
	m.token("delegation-token-revoked", "revoked", "the token before all delegations was revoked", chain, "agent: d", "revoked-token: "+testID("token").String())
	m.token("delegation-agent-revoked", "revoked", "an agent in the middle was revoked", chain, "agent: d", "revoked-agent: b")
	m.token("delegation-right", "right", "a right that only the delegation names", one, "agent: a", fmt.Sprintf("rights: %#x", uint64(RightDevice)))
	m.token("delegation-expired", "expired", "the delegation ends before the token", one, "agent: a", "now: "+stamp(testNow.Add(time.Minute)))

	block := func(by string, before, parent []byte, d Delegation) []byte {
		b, err := seal(testKey(t, by), "delegation", kindDelegation, d.encode(sha256.Sum256(parent)))
		if err != nil {
			t.Fatal(err)
		}
		return append(bytes.Clone(before), b...)
	}
	d := testDelegation(t, "b", 1)
	m.token("delegation-stranger", "delegation", "signed by somebody who does not hold the token", block("c", token, token, d), "agent: b")
	m.token("delegation-parent", "delegation", "made for another token", block("holder", token, one, d), "agent: b")
	flat := mint(t, func(c *Claims) { c.Depth = 0 })
	m.token("delegation-depth", "delegation", "the token may not be passed on", block("holder", flat, flat, d), "agent: b")
	m.token("delegation-depth-spent", "delegation", "the delegation before it may not be passed on", func() []byte {
		last := delegate(t, "holder", token, testDelegation(t, "a", 0))
		return block("a", last, last, d)
	}(), "agent: b")
	second := block("a", one, one, d)
	m.token("delegation-left-out", "delegation", "one in the middle was left out", append(bytes.Clone(token), second[len(one):]...), "agent: b")
	m.token("delegation-twice", "delegation", "the same one twice", append(bytes.Clone(one), one[len(token):]...), "agent: a")
	flipped := bytes.Clone(one)
	flipped[len(flipped)-1] ^= 1
	m.token("delegation-flipped", "signature", "one bit of its signature was flipped", flipped, "agent: a")
	m.token("delegation-alone", "form", "a delegation without a token", one[len(token):], "agent: a")
	m.token("delegation-second-token", "form", "a second token in its place", append(bytes.Clone(token), token...))
	m.token("delegation-audience", "form", "it names a host, which only the token does", func() []byte {
		s, err := readSign1(one[len(token):], "delegation", kindDelegation)
		if err != nil {
			t.Fatal(err)
		}
		p := with(pairs(t, s.payload), claimDepth, nil)
		p = append(p[:1:1], append([]pair{{3, cbor.AppendText(nil, testHost)}}, p[1:]...)...)
		return append(bytes.Clone(token), sign(t, "holder", s.protected, join(p), nil)...)
	}(), "agent: a")
}

func (m *vectors) leases() {
	t := m.t
	lease := func(name, expect, comment string, body []byte, lines ...string) {
		nonce := testNonce("one")
		v := m.add("lease", name, expect, comment, body, []string{"trusted: verifier", "host: " + testHost, "boot: " + testBoot.ID.String(), "reset-count: 17",
			"nonce: " + hex.EncodeToString(nonce[:]), "age: 2s", "sequence: 5"}, lines...)
		if expect == "ok" {
			l := testLease()
			v.header = append(v.header, "result-lease: "+l.ID.String(), "result-milliseconds: 90000", "result-issued-at: "+stamp(l.IssuedAt), "result-sequence: 5")
		}
	}
	good := testLeaseBytes(t, nil)
	lease("good", "ok", "answers the request in time", good)
	lease("late", "ok", "in its last second", good, "age: 89s")
	lease("over", "expired", "held back until it was over", good, "age: 90s")
	lease("host", "audience", "for another host", good, "host: host-ffffffffffffffff")
	lease("boot", "boot", "for another boot", good, "boot: "+testID("other boot").String())
	lease("reset", "boot", "the TPM was reset since", good, "reset-count: 18")
	other := testNonce("two")
	lease("nonce", "nonce", "answers another request", good, "nonce: "+hex.EncodeToString(other[:]))
	lease("sequence", "sequence", "older than a revocation that the host knows", good, "sequence: 6")
	lease("issuer", "issuer", "signed by a key that is not the verifier's", good, "trusted: issuer")
	flipped := bytes.Clone(good)
	flipped[250] ^= 2
	lease("flipped", "signature", "one bit was flipped", flipped)
	lease("trailing", "form", "a byte more than there should be", append(bytes.Clone(good), 0))
	l := testLease()
	l.Issuer = testKey(t, "verifier").Public().Thumbprint()
	lease("token-type", "form", "the type of a token", sign(t, "verifier", header(t, "verifier", kindToken), l.encode(), nil))
	p := pairs(t, l.encode())
	lease("no-duration", "form", "no duration", sign(t, "verifier", header(t, "verifier", kindLease), join(with(p, claimDuration, nil)), nil))
	lease("zero-duration", "form", "a duration of zero", sign(t, "verifier", header(t, "verifier", kindLease), join(with(p, claimDuration, []byte{0})), nil))
	lease("zero-id", "form", "an id of zeros", sign(t, "verifier", header(t, "verifier", kindLease), join(with(p, 7, cbor.AppendBytes(nil, make([]byte, 16)))), nil))
	lease("long", "form", "longer than a day", sign(t, "verifier", header(t, "verifier", kindLease), join(with(p, claimDuration, cbor.AppendUint(nil, 86400001))), nil))
}

func (m *vectors) commands() {
	t := m.t
	command := func(name, expect, comment string, body []byte, lines ...string) {
		v := m.add("command", name, expect, comment, body, []string{"trusted: operator responder reader", "trusted: auditor auditor", "audience: aios-test",
			"now: " + stamp(testNow.Add(time.Second)), "last: 11", "permits: responder"}, lines...)
		if expect == "ok" {
			c, err := ReadCommand(body)
			if err != nil {
				t.Fatal(err)
			}
			v.header = append(v.header, "result-command: "+c.ID.String(), "result-operator: "+c.Operator.String(), "result-action: "+c.Action.String()+" "+c.Target.String(),
				"result-role: "+c.Role, fmt.Sprintf("result-sequence: %d", c.Sequence), "result-reason: "+c.Reason)
		}
	}
	good := testCommandBytes(t, nil)
	command("kill-agent", "ok", "kill an agent on a host", good)
	command("kill-everywhere", "ok", "kill an agent wherever it is", testCommandBytes(t, func(c *Command) { c.Target = Target{Agent: testAgent} }))
	command("kill-host", "ok", "kill all agents of a host", testCommandBytes(t, func(c *Command) { c.Target = Target{Host: testHost} }))
	command("kill-label", "role", "kill all agents of a label, which the role may not", testCommandBytes(t, func(c *Command) { c.Target = Target{Label: "eu-west"} }))
	revoke := func(target Target) []byte {
		return testCommandBytes(t, func(c *Command) { c.Action, c.Target = ActionRevoke, target })
	}
	command("revoke-agent", "ok", "revoke everything of an agent", revoke(Target{Agent: testAgent}))
	command("revoke-token", "ok", "revoke a token or delegation", revoke(Target{Token: testID("token")}))
	command("revoke-lease", "ok", "revoke a lease", revoke(Target{Lease: testID("lease")}))
	command("revoke-epoch", "ok", "revoke every epoch below", revoke(Target{Epoch: 4}))
	command("revoke-role", "role", "revoke in a role that may not", testCommandBytes(t, func(c *Command) { c.Action, c.Target, c.Role = ActionRevoke, Target{Epoch: 4}, "reader" }))
	command("role", "role", "in a role that the operator lacks", testCommandBytes(t, func(c *Command) { c.Role = "auditor" }))
	command("not-permitted", "role", "in a role that may not", testCommandBytes(t, func(c *Command) { c.Role = "reader" }))
	command("replayed", "replay", "carried out before", good, "last: 12")
	command("expired", "expired", "no longer valid", good, "now: "+stamp(testNow.Add(5*time.Minute)))
	command("future", "not-yet", "issued more than a minute ahead", good, "now: "+stamp(testNow.Add(-time.Minute-time.Second)))
	command("audience", "audience", "for another installation", good, "audience: aios-prod")
	command("stranger", "issuer", "signed by nobody who is known", good, "trusted: auditor auditor")
	flipped := bytes.Clone(good)
	flipped[260] ^= 1
	command("flipped", "signature", "one bit was flipped", flipped)
	c := testCommand()
	c.Operator = testKey(t, "operator").Public().Thumbprint()
	p := pairs(t, c.encode())
	form := func(name, comment string, list []pair) {
		command(name, "form", comment, sign(t, "operator", header(t, "operator", kindCommand), join(list), nil))
	}
	form("no-sequence", "no sequence number", with(p, claimOrder, nil))
	form("sequence-0", "a sequence number of zero", with(p, claimOrder, []byte{0}))
	form("action-3", "an action that is unknown", with(p, claimAction, []byte{3}))
	form("revoke-on-host", "a revocation on one host, which is for all", with(p, claimAction, []byte{2}))
	form("kill-epoch", "an epoch is nothing to kill", with(p, claimTarget, []byte{0xa1, targetEpoch, 4}))
	form("revoke-zero-epoch", "an epoch of zero, below which there is none", with(with(p, claimAction, []byte{2}), claimTarget, []byte{0xa1, targetEpoch, 0}))
	form("revoke-zero-token", "a token id of zeros", with(with(p, claimAction, []byte{2}), claimTarget, cbor.AppendBytes([]byte{0xa1, targetToken}, make([]byte, 16))))
	form("no-target", "an empty target", with(p, claimTarget, []byte{0xa0}))
	form("two-targets", "a label and a host", with(p, claimTarget, []byte{0xa2, 2, 0x61, 'h', 3, 0x61, 'l'}))
	form("reason", "a reason with a control character", with(p, claimReason, []byte{0x62, 'a', 0x1b}))
	form("two-days", "valid for more than a day", with(p, 4, cbor.AppendUint(nil, uint64(testNow.Add(48*time.Hour).Unix()))))
}

func (m *vectors) receipts() {
	t := m.t
	receipt := func(name, expect, comment string, body []byte) {
		v := m.add("receipt", name, expect, comment, body, nil)
		if lines, err := v.verifyReceipt(); err == nil {
			v.header = append(v.header, lines...)
		}
	}
	encode := func(change func(*Receipt)) []byte {
		r := testReceipt()
		if change != nil {
			change(&r)
		}
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := encode(nil)
	receipt("command", "ok", "killed by a command", good)
	receipt("lease", "ok", "stopped because the lease lapsed", encode(func(r *Receipt) { r.Cause, r.Command = CauseLease, ID{} }))
	receipt("trailing", "form", "a byte more than there should be", append(bytes.Clone(good), 0))
	receipt("empty", "form", "no byte at all", nil)
	start := 1 + 1 + 1 + len(kindReceipt) // array, text of more than 23 bytes
	p := pairs(t, good[start:])
	form := func(name, comment string, list []pair) {
		receipt(name, "form", comment, append(bytes.Clone(good[:start]), join(list)...))
	}
	form("no-command", "caused by a command that it does not name", with(p, receiptCommand, nil))
	form("zero-command", "a command id of zeros", with(p, receiptCommand, cbor.AppendBytes(nil, make([]byte, 16))))
	form("cause-8", "a cause that is unknown", with(p, receiptCause, []byte{8}))
	form("gone-first", "gone before it was asked for", with(p, receiptGone, []byte{1}))
	form("asked", "a time of 2^63 nanoseconds", with(with(p, receiptGone, cbor.AppendUint(nil, 1<<63)), receiptAsked, cbor.AppendUint(nil, 1<<63)))
	form("no-frames", "no count of frames", with(p, receiptFrames, nil))
	receipt("type", "form", "another type", append(cbor.AppendText([]byte{0x82}, "application/aios-other+cbor"), join(p)...))
}

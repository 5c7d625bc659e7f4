package captoken

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aios/captoken/cbor"

	"pgregory.net/rapid"
)

// Vectors are what somebody thought of. Mutants are changed at random and signed again,
// so that they get past the signature; what this package says of each of them the
// checker in sdk/python has to say too. The seed is fixed: a run that fails fails again.
func TestCheckerAgreesOnMutants(t *testing.T) {
	const perKind, chains = 60, 40
	m := &mutants{t: t, random: rand.New(rand.NewPCG(20270115, 4)), dir: t.TempDir(), seen: map[string]int{}}
	linkKeys(t, m.dir)
	m.load()
	for _, kind := range []string{"token", "proof", "revocations", "lease", "command", "receipt"} {
		for i := range perKind {
			m.mutate(fmt.Sprintf("%s-%03d", kind, i), kind)
		}
	}
	for i := range chains {
		m.chain(i)
	}
	checkWithPython(t, m.dir, m.written)
	t.Logf("%d mutants: %v", m.written, m.seen)
	for _, want := range []string{"token ok", "token form", "lease ok", "command ok", "proof ok", "revocations ok", "receipt ok"} {
		if m.seen[want] == 0 {
			t.Errorf("no mutant is %s", want)
		}
	}
}

type mutants struct {
	t       *testing.T
	random  *rand.Rand
	dir     string
	bases   map[string][]*vector // by kind
	signers map[ID]string        // name of the test key, by key id
	values  map[int64][][]byte   // encoded claims of all kinds, by key
	written int
	seen    map[string]int
}

// load takes the vectors that have the form of their kind as what to begin with.
func (m *mutants) load() {
	m.bases, m.signers, m.values = map[string][]*vector{}, map[ID]string{}, map[int64][][]byte{}
	for _, name := range vectorKeys {
		m.signers[testKey(m.t, name).Public().ID()] = name
	}
	for _, v := range makeVectors(m.t) {
		if v.get("expect") == "form" || v.get("expect") == "signature" {
			continue
		}
		kind := v.get("kind")
		m.bases[kind] = append(m.bases[kind], v)
		if kind == "receipt" {
			continue
		}
		for _, p := range pairs(m.t, m.last(v).payload) {
			m.values[p.key] = append(m.values[p.key], p.value)
		}
		for _, beside := range append(v.all("list"), append(v.all("known"), v.all("token")...)...) {
			m.copy(beside)
		}
	}
}

// copy puts a vector that others name beside them.
func (m *mutants) copy(name string) {
	path := filepath.Join(m.dir, name+".txt")
	if _, err := os.Stat(path); err == nil {
		return
	}
	b, err := os.ReadFile(filepath.Join(vectorDir, name+".txt"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(path, b)
}

func (m *mutants) write(path string, b []byte) {
	if err := os.WriteFile(path, b, 0o644); err != nil {
		m.t.Fatal(err)
	}
	m.written++
}

// last is the envelope at the end of an object.
func (m *mutants) last(v *vector) (s sign1) {
	m.t.Helper()
	kinds := map[string]kind{"token": kindToken, "proof": kindProof, "revocations": kindRevocations, "lease": kindLease, "command": kindCommand}
	want := kinds[v.get("kind")]
	for rest := v.body; len(rest) > 0; rest = rest[len(s.raw):] {
		var err error
		if s, err = readSign1(rest, v.name, want); err != nil {
			m.t.Fatal(err)
		}
		want = kindDelegation
	}
	return s
}

// mutate writes one vector with a mutant of one of a kind.
func (m *mutants) mutate(name, kind string) {
	base := m.bases[kind][m.random.IntN(len(m.bases[kind]))]
	v := &vector{name: name, body: bytes.Clone(base.body)}
	for _, h := range base.header {
		if !strings.HasPrefix(h, "result-") {
			v.header = append(v.header, h)
		}
	}
	switch {
	case kind == "receipt":
		start := 1 + 1 + 1 + len(kindReceipt)
		v.body = append(v.body[:start:start], m.claims(v.body[start:])...)
	case m.random.IntN(12) == 0:
		v.body = m.scramble(v.body)
	default:
		s := m.last(base)
		header, payload := bytes.Clone(s.protected), m.claims(s.payload)
		if m.random.IntN(10) == 0 {
			header, payload = m.scramble(header), s.payload
		}
		signature, err := testKey(m.t, m.signers[s.keyID]).Sign(toBeSigned(header, payload))
		if err != nil {
			m.t.Fatal(err)
		}
		before := base.body[:len(base.body)-len(s.raw)]
		v.body = append(bytes.Clone(before), assemble(cbor.AppendMap(nil, 0), header, payload, signature)...)
	}
	m.judge(v)
}

// judge has this package say what is expected of the checker.
func (m *mutants) judge(v *vector) {
	var lines []string
	var err error
	switch v.get("kind") {
	case "token":
		lines, err = v.verifyToken(m.t)
	case "proof":
		err = v.verifyProof(m.t)
	case "revocations":
		lines, err = v.verifyRevocations(m.t)
	case "lease":
		lines, err = v.verifyLease(m.t)
	case "command":
		lines, err = v.verifyCommand(m.t)
	case "receipt":
		lines, err = v.verifyReceipt()
	}
	word := "ok"
	if err != nil {
		word = kindOf(m.t, err)
	}
	v.header[0] = "expect: " + word
	v.header = append(v.header, lines...)
	m.seen[v.get("kind")+" "+word]++
	m.write(filepath.Join(m.dir, v.name+".txt"), v.encode())
}

// claims changes one claim of a map, mostly so that it is still a map.
func (m *mutants) claims(payload []byte) []byte {
	list := pairs(m.t, payload)
	i := m.random.IntN(len(list))
	switch m.random.IntN(8) {
	case 0:
		return m.scramble(payload)
	case 1:
		list = slices.Delete(list, i, i+1)
	case 2:
		list = append(list, list[i])
	case 3:
		if same := m.values[list[i].key]; len(same) > 0 {
			list[i].value = same[m.random.IntN(len(same))]
		}
	case 4:
		list[i].value = m.odd()
	case 5: // a claim that the kind may not know, in its place
		keys := slices.Sorted(maps.Keys(m.values)) // in an order, so that a run can be repeated
		key := keys[m.random.IntN(len(keys))]
		list = append(list, pair{key, m.values[key][0]})
		slices.SortFunc(list, func(a, b pair) int { return bytes.Compare(cbor.AppendInt(nil, a.key), cbor.AppendInt(nil, b.key)) })
	default:
		list[i].value = m.letter(list[i].value)
	}
	return join(list)
}

// odd is an encoded value that some claim may take wrongly.
func (m *mutants) odd() []byte {
	zeros := func(n int) []byte { return cbor.AppendBytes(nil, make([]byte, n)) }
	all := [][]byte{{0}, {1}, {0x18, 0x18}, {0x20}, {0x40}, {0x60}, {0x80}, {0xa0}, {0xf4}, {0xf6}, {0xf9, 0, 0}, {0xd2, 0}, zeros(15), zeros(16), zeros(17), zeros(32),
		cbor.AppendUint(nil, 1<<64-1), cbor.AppendUint(nil, maxTime), cbor.AppendUint(nil, maxTime+1), cbor.AppendUint(nil, 1<<32), {0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		cbor.AppendText(nil, "*"), cbor.AppendText(nil, strings.Repeat("a", MaxName)), cbor.AppendText(nil, strings.Repeat("a", MaxName+1)), cbor.AppendText(nil, "a\u00e4"), {0x62, 0xc3, 0x28}}
	return all[m.random.IntN(len(all))]
}

// letter changes a byte of a value to one that means something in names, hosts and heads.
func (m *mutants) letter(value []byte) []byte {
	const letters = "*.-/:@_09azAZ \x00\x01\x06\x11\x18\x19\x1a\x40\x50\x58\x60\x61\x80\x81\xa1\xff"
	out := bytes.Clone(value)
	out[m.random.IntN(len(out))] = letters[m.random.IntN(len(letters))]
	return out
}

// scramble flips a bit, or puts in, takes out or replaces a byte.
func (m *mutants) scramble(b []byte) []byte {
	i := m.random.IntN(len(b))
	out := bytes.Clone(b)
	switch m.random.IntN(4) {
	case 0:
		out[i] ^= 1 << m.random.IntN(8)
	case 1:
		out[i] = byte(m.random.IntN(256))
	case 2:
		out = slices.Delete(out, i, i+1)
	case 3:
		out = slices.Insert(out, i, byte(m.random.IntN(256)))
	}
	return out
}

// chain writes a token with any claims and up to three delegations with any others: what
// is left has to be the same.
func (m *mutants) chain(i int) {
	holder := testKey(m.t, "holder")
	draw := rapid.Custom(func(t *rapid.T) Claims {
		c := drawClaims(t, holder.Public().Thumbprint())
		c.NotBefore, c.Expires = testNow.Add(-time.Duration(rapid.IntRange(0, 9).Draw(t, "since"))*time.Second), testNow.Add(time.Duration(rapid.IntRange(1, 9).Draw(t, "for"))*time.Second)
		return c
	})
	seed := 1000 * i
	c := draw.Example(seed)
	binary.BigEndian.PutUint64(c.ID[:], uint64(i))
	c.Depth = MaxDelegations
	token, err := seal(testKey(m.t, "issuer"), "token", kindToken, m.issued(c).encode())
	if err != nil {
		m.t.Fatal(err)
	}
	agent := c.Subject
	for range i % 4 {
		seed++
		d := draw.Example(seed)
		agent = d.Subject
		token = delegate(m.t, "holder", token, Delegation{d.ID, d.Subject, d.Rights, d.Scopes, d.Quotas, d.NotBefore, d.Expires, d.Holder, max(d.Depth, 3)})
	}
	m.judge(&vector{name: fmt.Sprintf("chain-%03d", i), body: token, header: []string{"expect:", "kind: token", "trusted: issuer 0", "host: " + c.Audience, "agent: " + agent,
		"now: " + stamp(testNow), "lease: " + c.Lease.String(), "rights: 0"}})
}

func (m *mutants) issued(c Claims) *Claims {
	c.Issuer = testKey(m.t, "issuer").Public().Thumbprint()
	return &c
}

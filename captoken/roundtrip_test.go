package captoken

import (
	"bytes"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"aios/captoken/cbor"
	"aios/captoken/mldsa"

	second "filippo.io/mldsa"
	codec "github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"
)

func drawClaims(t *rapid.T, holder Thumbprint) Claims {
	from := rapid.Int64Range(0, maxTime-1).Draw(t, "from")
	return Claims{
		ID: ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Filter(notZero).Draw(t, "id")), Subject: rapid.StringMatching(`[a-z0-9._:/@-]{1,64}`).Draw(t, "subject"),
		Audience: rapid.StringMatching(`[A-Za-z0-9-]{1,64}`).Draw(t, "audience"), Rights: Rights(rapid.Uint64().Draw(t, "rights")), Scopes: drawScopes(t, "scope"),
		Quotas:    drawQuotas(t),
		NotBefore: time.Unix(from, 0).UTC(), Expires: time.Unix(rapid.Int64Range(from+1, maxTime).Draw(t, "until"), 0).UTC(),
		Epoch: rapid.Uint64().Draw(t, "epoch"), Lease: ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Filter(notZero).Draw(t, "lease")),
		Holder: holder, Depth: rapid.Uint8Range(0, MaxDelegations).Draw(t, "depth"),
	}
}

func drawQuotas(t *rapid.T) (q Quotas) {
	q.each(func(_ int64, v *uint64) { *v = rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64()).Draw(t, "quota") })
	return q
}

func notZero(b []byte) bool { return !bytes.Equal(b, make([]byte, len(b))) }

// Whatever can be minted is verified, and says what was minted.
func TestMintVerify(t *testing.T) {
	issuer, holder := testKey(t, "issuer"), testKey(t, "holder")
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaims(t, holder.Public().Thumbprint())
		token, err := Mint(issuer, c)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Verify(token, Want{Trusted: []Issuer{{Key: issuer.Public(), Epoch: 0}}, Host: c.Audience, Agent: c.Subject, Now: c.NotBefore, Lease: c.Lease, Rights: c.Rights})
		if err != nil {
			t.Fatal(err)
		}
		c.Issuer = issuer.Public().Thumbprint()
		if !equal(g.Claims, c) {
			t.Fatalf("got  %+v\nwant %+v", g.Claims, c)
		}
	})
}

// No chain of delegations admits anything that one of its links does not.
func TestDelegationOnlyNarrows(t *testing.T) {
	issuer, holder := testKey(t, "issuer"), testKey(t, "holder")
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaims(t, holder.Public().Thumbprint())
		c.NotBefore, c.Expires, c.Depth = testNow, testNow.Add(1000*time.Second), MaxDelegations
		token, err := Mint(issuer, c)
		if err != nil {
			t.Fatal(err)
		}
		links := []Claims{c}
		for range rapid.IntRange(1, 3).Draw(t, "delegations") {
			d := drawClaims(t, holder.Public().Thumbprint())
			d.NotBefore, d.Expires = testNow, testNow.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "seconds"))*time.Second)
			d.Depth = MaxDelegations
			if token, err = Delegate(holder, token, Delegation{ID: d.ID, Subject: d.Subject, Rights: d.Rights, Scopes: d.Scopes, Quotas: d.Quotas,
				NotBefore: d.NotBefore, Expires: d.Expires, Holder: d.Holder, Depth: d.Depth}); err != nil {
				t.Fatal(err)
			}
			links = append(links, d)
		}
		last := links[len(links)-1]
		g, err := Verify(token, Want{Trusted: []Issuer{{Key: issuer.Public(), Epoch: 0}}, Host: c.Audience, Agent: last.Subject, Now: testNow, Lease: c.Lease})
		if err != nil {
			t.Fatal(err)
		}
		rights, quotas, until, admitted := ^Rights(0), Quotas{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}, links[0].Expires, map[string]int{}
		for _, l := range links {
			rights &= l.Rights
			quotas = quotas.intersect(l.Quotas)
			if l.Expires.Before(until) {
				until = l.Expires
			}
			for _, x := range reach(&l.Scopes) {
				admitted[x]++
			}
		}
		if g.Rights != rights || g.Quotas != quotas || !g.Expires.Equal(until) || int(g.Depth) != MaxDelegations-len(links)+1 {
			t.Fatalf("got %+v, want rights %v, quotas %+v, until %v", g, rights, quotas, until)
		}
		got := reach(&g.Scopes)
		for _, x := range got {
			if admitted[x] != len(links) {
				t.Fatalf("%q is admitted, though only by %d of %d links", x, admitted[x], len(links))
			}
			delete(admitted, x)
		}
		for x, n := range admitted {
			if n == len(links) {
				t.Fatalf("%q is refused, though all links admit it", x)
			}
		}
	})
}

// A token is what the standards say: a general CBOR library reads it, the signature
// verifies with another implementation of ML-DSA over a Sig_structure that the library
// wrote, and the thumbprint is that of RFC 9679.
func TestIsCWT(t *testing.T) {
	var tagged codec.RawTag
	if err := codec.Unmarshal(mint(t, nil), &tagged); err != nil || tagged.Number != 18 {
		t.Fatalf("tag %d, %v", tagged.Number, err)
	}
	var s struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[int64]any
		Payload     []byte
		Signature   []byte
	}
	if err := codec.Unmarshal(tagged.Content, &s); err != nil || len(s.Unprotected) != 0 {
		t.Fatalf("%v, %v", s.Unprotected, err)
	}
	var header struct {
		Algorithm int64  `cbor:"1,keyasint"`
		KeyID     []byte `cbor:"4,keyasint"`
		Type      string `cbor:"16,keyasint"`
	}
	if err := codec.Unmarshal(s.Protected, &header); err != nil {
		t.Fatal(err)
	}
	issuer := testKey(t, "issuer").Public()
	if id := issuer.ID(); header.Algorithm != -49 || !bytes.Equal(header.KeyID, id[:]) || header.Type != "application/aios-token+cwt" {
		t.Errorf("header %+v", header)
	}
	encoder, err := codec.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	message, err := encoder.Marshal([]any{"Signature1", s.Protected, []byte{}, s.Payload})
	if err != nil {
		t.Fatal(err)
	}
	key, err := second.NewPublicKey(second.MLDSA65(), issuer.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Verify(key, message, s.Signature, nil); err != nil {
		t.Error(err)
	}
	coseKey, err := encoder.Marshal(map[int]any{1: 7, 3: -49, -1: issuer.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(coseKey); Thumbprint(sum) != issuer.Thumbprint() {
		t.Errorf("thumbprint %v, of the COSE_Key %x", issuer.Thumbprint(), sum)
	}
	var claims map[int64]any
	if err := codec.Unmarshal(s.Payload, &claims); err != nil {
		t.Fatal(err)
	}
	again, err := encoder.Marshal(claims)
	if err != nil || !bytes.Equal(again, s.Payload) {
		t.Errorf("the library writes the claims differently: %v", err)
	}
	if claims[1] != issuer.Thumbprint().URI() || claims[2] != testAgent || claims[3] != testHost || claims[4] != uint64(testNow.Add(time.Hour).Unix()) {
		t.Errorf("claims %v", claims)
	}
}

// The thumbprint of the ML-DSA-65 key whose seed is all zeros, as the authors of RFC
// 9964 give it beside their COSE example.
func TestThumbprintOfExample(t *testing.T) {
	k, err := mldsa.NewPrivateKey(make([]byte, mldsa.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	const want = "b788acf242f1f1d6532926d816e76e1636874267f2a48c84c4e65789ab80cc02"
	if got := NewPublicKey(k.Public()).Thumbprint().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// reencode writes again what was read.
func reencode(t testing.TB, raw []byte, s sign1, k kind, payload []byte) []byte {
	t.Helper()
	header := cbor.AppendMap(nil, 3)
	if k.carriesKey() {
		header = cbor.AppendMap(nil, 4)
	}
	header = cbor.AppendInt(cbor.AppendInt(header, headerAlgorithm), int64(s.algorithm))
	header = cbor.AppendBytes(cbor.AppendInt(header, headerKeyID), s.keyID[:])
	header = cbor.AppendText(cbor.AppendInt(header, headerType), string(k))
	if k.carriesKey() {
		header = cbor.AppendBytes(cbor.AppendInt(header, headerKey), s.key)
	}
	b := cbor.AppendArray(cbor.AppendTag(nil, tagSign1), 4)
	b = cbor.AppendMap(cbor.AppendBytes(b, header), 0)
	return cbor.AppendBytes(cbor.AppendBytes(b, payload), s.signature)
}

// What has the form of a token, lease, command, proof, revocation list or receipt is
// written again to the same bytes: nobody can change a byte without changing what it says.
func FuzzOneForm(f *testing.F) {
	token := mint(f, nil)
	f.Add([]byte(token))
	f.Add([]byte(mint(f, func(c *Claims) { c.Scopes, c.Quotas, c.Depth = Scopes{}, Quotas{}, 0 })))
	f.Add([]byte(delegate(f, "holder", token, testDelegation(f, "worker", 2))))
	f.Add(testLeaseBytes(f, nil))
	f.Add(testCommandBytes(f, nil))
	f.Add(testCommandBytes(f, func(c *Command) { c.Action, c.Target = ActionRevoke, Target{Lease: ID{1}} }))
	receipt := testReceipt()
	encoded, err := receipt.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		f.Add(readVector(f, name).body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if signed, err := split(b); err == nil {
			var again []byte
			good := true
			for i, s := range signed {
				c, parent, err := decodeClaims(s.payload, linkName(i), i > 0)
				if good = good && err == nil; !good {
					break
				}
				k, payload := kindToken, c.encode()
				if i > 0 {
					d := Delegation{c.ID, c.Subject, c.Rights, c.Scopes, c.Quotas, c.NotBefore, c.Expires, c.Holder, c.Depth}
					k, payload = kindDelegation, d.encode(parent)
				}
				again = append(again, reencode(t, b, s, k, payload)...)
			}
			if good && !bytes.Equal(again, b) {
				t.Fatalf("token %x is written %x", b, again)
			}
		}
		if s, err := readSign1(b, "lease", kindLease); err == nil && s.end(b, "lease") == nil {
			if l, err := decodeLease(s.payload, "lease"); err == nil && !bytes.Equal(reencode(t, b, s, kindLease, l.encode()), b) {
				t.Fatalf("lease %x is written differently", b)
			}
		}
		if c, err := ReadCommand(b); err == nil {
			s, _ := readSign1(b, "command", kindCommand)
			if !bytes.Equal(reencode(t, b, s, kindCommand, c.encode()), b) {
				t.Fatalf("command %x is written differently", b)
			}
		}
		if s, err := readSign1(b, proofName, kindProof); err == nil && s.end(b, proofName) == nil {
			if host, nonce, token, err := decodeProof(s.payload); err == nil && !bytes.Equal(reencode(t, b, s, kindProof, encodeProof(host, nonce, token)), b) {
				t.Fatalf("proof %x is written differently", b)
			}
		}
		if l, err := ReadRevocations(b); err == nil {
			s, _ := readSign1(b, revocationName, kindRevocations)
			if !bytes.Equal(reencode(t, b, s, kindRevocations, l.encode()), b) {
				t.Fatalf("revocation list %x is written differently", b)
			}
		}
		if r, err := ParseReceipt(b); err == nil {
			if again, err := r.Encode(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("receipt %x is written %x, %v", b, again, err)
			}
		}
	})
}

// Claims are fuzzed by themselves too: the signature around them keeps a fuzzer from
// getting anywhere.
func FuzzClaims(f *testing.F) {
	c := testClaims(f)
	f.Add(c.encode(), false)
	d := testDelegation(f, "worker", 2)
	f.Add(d.encode([32]byte{1}), true)
	for _, payload := range vectorPayloads(f) {
		f.Add(payload, false)
		f.Add(payload, true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, delegation bool) {
		c, parent, err := decodeClaims(payload, "token", delegation)
		if err != nil {
			return
		}
		again := c.encode()
		if delegation {
			d := Delegation{c.ID, c.Subject, c.Rights, c.Scopes, c.Quotas, c.NotBefore, c.Expires, c.Holder, c.Depth}
			again = d.encode(parent)
		}
		if !bytes.Equal(again, payload) {
			t.Fatalf("%x was accepted and is written %x", payload, again)
		}
		var v map[int64]any
		if err := codec.Unmarshal(payload, &v); err != nil {
			t.Fatalf("%x was accepted; a general library: %v", payload, err)
		}
	})
}

// FuzzVerify looks for bytes that panic, or pass without the issuer's signature.
func FuzzVerify(f *testing.F) {
	token := mint(f, nil)
	longer := delegate(f, "holder", token, testDelegation(f, "worker", 2))
	f.Add([]byte(token))
	f.Add([]byte(longer))
	want := testWant(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Verify(b, want); err == nil && !bytes.Equal(b, token) {
			t.Fatalf("%x was accepted", b)
		}
		w := want
		w.Agent = "worker"
		if _, err := Verify(b, w); err == nil && !bytes.Equal(b, longer) {
			t.Fatalf("%x was accepted", b)
		}
	})
}

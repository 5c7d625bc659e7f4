package captoken

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"slices"
	"strings"
	"testing"

	"aios/captoken/cbor"
	"aios/captoken/mldsa"

	second "filippo.io/mldsa"
	"pgregory.net/rapid"
)

// algorithms makes the vectors of the other algorithms, and of those who try to have a
// signature checked by a weaker one than the key is trusted for.
func (m *vectors) algorithms() {
	t := m.t
	by := func(issuer string) []byte {
		token, err := Mint(testKey(t, issuer), testClaims(t))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, a := range []string{"44", "87", "hybrid"} {
		m.token("algorithm-"+a, "ok", "signed by "+testKey(t, "issuer-"+a).Public().Algorithm().String(), by("issuer-"+a), "trusted: issuer-"+a+" 3")
	}
	mixed := mint(t, nil)
	for i, to := range []string{"a-44", "b-87", "c-hybrid", "d"} {
		mixed = delegate(t, []string{"holder", "a-44", "b-87", "c-hybrid"}[i], mixed, testDelegation(t, to, 8))
	}
	m.token("algorithm-mixed", "ok", "passed on by holders of every algorithm", mixed, "agent: d")

	hybrid := by("issuer-hybrid")
	for _, half := range []struct {
		name string
		back int
	}{{"ML-DSA", ed25519.SignatureSize + 1}, {"Ed25519", 1}} {
		flipped := bytes.Clone(hybrid)
		flipped[len(flipped)-half.back] ^= 1
		m.token("hybrid-"+strings.ToLower(half.name)+"-flipped", "signature", "one bit of the "+half.name+" half was flipped", flipped, "trusted: issuer-hybrid 3")
	}
	c := testClaims(t)
	key := testKey(t, "issuer-hybrid")
	c.Issuer = key.Public().Thumbprint()
	id, payload := key.Public().ID(), c.encode()
	head := func(a Algorithm) []byte {
		b := cbor.AppendInt(cbor.AppendInt(cbor.AppendMap(nil, 3), 1), int64(a))
		b = cbor.AppendBytes(cbor.AppendInt(b, 4), id[:])
		return cbor.AppendText(cbor.AppendInt(b, 16), string(kindToken))
	}
	first, err := mldsa.NewPrivateKey(key.Seed()[:mldsa.SeedSize])
	if err != nil {
		t.Fatal(err)
	}
	alone, err := first.Sign(toBeSigned(head(MLDSA65), payload), nil)
	if err != nil {
		t.Fatal(err)
	}
	m.token("hybrid-stripped", "signature", "the ML-DSA half of a hybrid key signs alone and says so", assemble(cbor.AppendMap(nil, 0), head(MLDSA65), payload, alone), "trusted: issuer-hybrid 3")
	m.token("hybrid-stripped-id", "issuer", "the same under the id of that half", sealBy(t, NewPrivateKey(first), payload), "trusted: issuer-hybrid 3")
	m.token("hybrid-empty-context", "signature", "the ML-DSA half signs without the label as its context", func() []byte {
		rep := representative(toBeSigned(head(MLDSA65Ed25519), payload))
		one, err := first.Sign(rep, nil)
		if err != nil {
			t.Fatal(err)
		}
		return assemble(cbor.AppendMap(nil, 0), head(MLDSA65Ed25519), payload, append(one, ed25519.Sign(ed25519.NewKeyFromSeed(key.Seed()[mldsa.SeedSize:]), rep)...))
	}(), "trusted: issuer-hybrid 3")
	weak := testKey(t, "issuer-44")
	short, err := weak.Sign(toBeSigned(head(MLDSA44), payload))
	if err != nil {
		t.Fatal(err)
	}
	m.token("downgrade-hybrid", "signature", "ML-DSA-44 under the id of a hybrid key", assemble(cbor.AppendMap(nil, 0), head(MLDSA44), payload, short), "trusted: issuer-hybrid 3")
	id = testKey(t, "issuer").Public().ID()
	signature, err := weak.Sign(toBeSigned(head(MLDSA44), payload))
	if err != nil {
		t.Fatal(err)
	}
	m.token("downgrade", "signature", "ML-DSA-44 under the id of a key of ML-DSA-65", assemble(cbor.AppendMap(nil, 0), head(MLDSA44), payload, signature))
	m.token("algorithm-unknown", "form", "the identifier of ES256", assemble(cbor.AppendMap(nil, 0), head(-7), payload, signature))
	m.token("algorithm-87-short", "form", "a signature of ML-DSA-44 said to be of ML-DSA-87", assemble(cbor.AppendMap(nil, 0), head(MLDSA87), payload, signature))

	// The holder named is the hybrid key; its ML-DSA half is another key.
	held := mint(t, func(c *Claims) { c.Holder = key.Public().Thumbprint() })
	half := NewPrivateKey(first)
	half.deterministic = true
	block, err := seal(half, "delegation", kindDelegation, func() []byte {
		d := testDelegation(t, "b", 1)
		return d.encode(sha256.Sum256(held))
	}())
	if err != nil {
		t.Fatal(err)
	}
	m.token("delegation-hybrid-stripped", "delegation", "passed on by one half of the holder's hybrid key", append(bytes.Clone(held), block...), "agent: b")
}

func sealBy(t testing.TB, key *PrivateKey, payload []byte) []byte {
	t.Helper()
	key.deterministic = true
	b, err := seal(key, "token", kindToken, payload)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Second implementations agree: ML-DSA-44 and -87 by one of ML-DSA, the hybrid by that
// and the Ed25519 of the standard library over M' put together here.
func TestAlgorithmsAgreeWithSecondImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "message")
		seed := rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "seed")
		for _, c := range []struct {
			a          Algorithm
			parameters second.Parameters
			context    string
		}{{MLDSA44, second.MLDSA44(), ""}, {MLDSA65, second.MLDSA65(), ""}, {MLDSA87, second.MLDSA87(), ""},
			{MLDSA65Ed25519, second.MLDSA65(), "COMPSIG-MLDSA65-Ed25519-SHA512"}} {
			ours, err := ParsePrivateKey(c.a, seed[:c.a.SeedSize()])
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := second.NewPrivateKey(c.parameters, seed[:32])
			if err != nil {
				t.Fatal(err)
			}
			m, want, wantKey := message, []byte(nil), theirs.PublicKey().Bytes()
			if c.a == MLDSA65Ed25519 {
				sum := sha512.Sum512(message)
				m = append([]byte("CompositeAlgorithmSignatures2025COMPSIG-MLDSA65-Ed25519-SHA512\x00"), sum[:]...)
			}
			if want, err = theirs.SignDeterministic(m, &second.Options{Context: c.context}); err != nil {
				t.Fatal(err)
			}
			if c.a == MLDSA65Ed25519 {
				k := ed25519.NewKeyFromSeed(seed[32:])
				want = append(want, ed25519.Sign(k, m)...)
				wantKey = append(wantKey, k.Public().(ed25519.PublicKey)...)
			}
			ours.deterministic = true
			got, err := ours.Sign(message)
			if err != nil || !bytes.Equal(got, want) || !bytes.Equal(ours.Public().Bytes(), wantKey) {
				t.Fatalf("%s: key or signature differs (%v)", c.a, err)
			}
			ours.deterministic = false
			if got, err = ours.Sign(message); err != nil || !ours.Public().verify(message, got) {
				t.Fatalf("%s: hedged signature refused (%v)", c.a, err)
			}
			got[rapid.IntRange(0, len(got)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			if ours.Public().verify(message, got) {
				t.Fatalf("%s: accepted with a bit changed", c.a)
			}
		}
	})
}

// The algorithm is part of a key's name, and key files keep it.
func TestKeysOfAllAlgorithms(t *testing.T) {
	var keys []*PublicKey
	for _, a := range Algorithms() {
		k, err := GenerateKey(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParsePrivateKeyText(EncodePrivateKey(k))
		if err != nil || back.Public().Thumbprint() != k.Public().Thumbprint() {
			t.Errorf("%s: private key came back as %v, %v", a, back, err)
		}
		if _, err := ParsePublicKey(a, make([]byte, 7)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: key of 7 bytes: %v", a, err)
		}
		if _, err := ParsePrivateKey(a, make([]byte, 7)); err == nil {
			t.Errorf("%s: seed of 7 bytes accepted", a)
		}
		keys = append(keys, k.Public())
	}
	back, err := ParsePublicKeys(EncodePublicKeys(keys...))
	if err != nil || !slices.EqualFunc(back, keys, func(a, b *PublicKey) bool { return a.Thumbprint() == b.Thumbprint() && a.Algorithm() == b.Algorithm() }) {
		t.Errorf("public keys came back as %v, %v", back, err)
	}
	for name, text := range map[string][]byte{"empty": nil, "twice": EncodePublicKeys(keys[0], keys[0]), "text before": append([]byte("x\n"), EncodePublicKeys(keys[0])...),
		"other algorithm": mldsa.EncodeBlock(publicBlock(MLDSA44), keys[1].Bytes())} {
		if _, err := ParsePublicKeys(text); !errors.Is(err, mldsa.ErrPEM) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParsePublicKey(-7, nil); !errors.Is(err, ErrForm) {
		t.Errorf("unknown algorithm: %v", err)
	}
	old := testKey(t, "issuer")
	if !bytes.Equal(EncodePublicKeys(old.Public()), mldsa.EncodePublicKeys(old.key.Public())) {
		t.Error("the key file of ML-DSA-65 differs from that of package mldsa")
	}
}

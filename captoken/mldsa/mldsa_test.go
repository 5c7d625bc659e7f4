package mldsa

import (
	"bytes"
	"crypto/sha256"
	"testing"

	second "filippo.io/mldsa"
	"pgregory.net/rapid"
)

// testKey derives a key from a label, so that tests are repeatable.
func testKey(t testing.TB, label string) *PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte(label))
	k, err := NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Two independent implementations have to agree on keys, on deterministic signatures
// and on what verifies. If this test were gone, a wrong circl release would go unseen.
func TestAgreesWithSecondImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.SliceOfN(rapid.Byte(), SeedSize, SeedSize).Draw(t, "seed")
		msg := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "msg")
		ctx := rapid.SliceOfN(rapid.Byte(), 0, MaxContext).Draw(t, "ctx")

		ours, err := NewPrivateKey(seed)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := second.NewPrivateKey(second.MLDSA65(), seed)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours.Public().Bytes(), theirs.PublicKey().Bytes()) {
			t.Fatal("the public keys differ")
		}
		opts := &second.Options{Context: string(ctx)}
		sig, err := ours.Sign(msg, ctx)
		if err != nil {
			t.Fatal(err)
		}
		theirSig, err := theirs.SignDeterministic(msg, opts)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(sig, theirSig) {
			t.Fatal("the deterministic signatures differ")
		}
		hedged, err := ours.SignHedged(msg, ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Verify(theirs.PublicKey(), msg, hedged, opts); err != nil {
			t.Fatalf("the second implementation refuses our hedged signature: %v", err)
		}
		theirHedged, err := theirs.Sign(nil, msg, opts)
		if err != nil {
			t.Fatal(err)
		}
		if !ours.Public().Verify(msg, ctx, theirHedged) {
			t.Fatal("we refuse the second implementation's signature")
		}

		// A damaged signature has to fail in both.
		i := rapid.IntRange(0, len(sig)-1).Draw(t, "byte")
		bad := bytes.Clone(sig)
		bad[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if ours.Public().Verify(msg, ctx, bad) {
			t.Fatalf("accepted with byte %d changed", i)
		}
		if second.Verify(theirs.PublicKey(), msg, bad, opts) == nil {
			t.Fatalf("the second implementation accepts byte %d changed", i)
		}
	})
}

func TestVerify(t *testing.T) {
	key, other := testKey(t, "a"), testKey(t, "b")
	msg, ctx := []byte("message"), []byte("context")
	sig, err := key.Sign(msg, ctx)
	if err != nil {
		t.Fatal(err)
	}
	long := make([]byte, MaxContext+1)
	for _, c := range []struct {
		name          string
		key           *PrivateKey
		msg, ctx, sig []byte
		want          bool
	}{
		{"good", key, msg, ctx, sig, true},
		{"other key", other, msg, ctx, sig, false},
		{"other message", key, []byte("Message"), ctx, sig, false},
		{"other context", key, msg, []byte("Context"), sig, false},
		{"no context", key, msg, nil, sig, false},
		{"border of context and message moved", key, []byte("tmessage"), []byte("contex"), sig, false},
		{"context too long", key, msg, long, sig, false},
		{"signature empty", key, msg, ctx, nil, false},
		{"signature one byte short", key, msg, ctx, sig[:len(sig)-1], false},
		{"signature one byte long", key, msg, ctx, append(bytes.Clone(sig), 0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.key.Public().Verify(c.msg, c.ctx, c.sig); got != c.want {
				t.Errorf("Verify = %v, want %v", got, c.want)
			}
		})
	}
	if _, err := key.Sign(msg, long); err == nil {
		t.Error("Sign took a context that is too long")
	}
}

func TestSignVariants(t *testing.T) {
	key := testKey(t, "variants")
	sign := func(f func(msg, ctx []byte) ([]byte, error)) []byte {
		sig, err := f([]byte("m"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !key.Public().Verify([]byte("m"), nil, sig) {
			t.Fatal("own signature refused")
		}
		return sig
	}
	if !bytes.Equal(sign(key.Sign), sign(key.Sign)) {
		t.Error("Sign is not deterministic")
	}
	if bytes.Equal(sign(key.SignHedged), sign(key.SignHedged)) {
		t.Error("SignHedged repeated itself")
	}
}

func TestKeys(t *testing.T) {
	key := testKey(t, "keys")
	again, err := NewPrivateKey(key.Seed())
	if err != nil {
		t.Fatal(err)
	}
	public, err := NewPublicKey(key.Public().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !public.Equal(again.Public()) || public.ID() != key.Public().ID() {
		t.Error("a key changed on its way through its encoding")
	}
	sum := sha256.Sum256(public.Bytes())
	if id := public.ID(); !bytes.Equal(id[:], sum[:16]) {
		t.Errorf("ID = %x, want %x", id, sum[:16])
	}
	if public.Equal(testKey(t, "other").Public()) || public.Equal(nil) || public.Equal((*PublicKey)(nil)) {
		t.Error("Equal holds for a different key")
	}
	public.Bytes()[0] ^= 1
	key.Seed()[0] ^= 1
	if !public.Equal(again.Public()) || !bytes.Equal(key.Seed(), again.Seed()) {
		t.Error("a caller can change a key through what it returns")
	}
	fresh, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if fresh2, err := GenerateKey(); err != nil || fresh.Public().Equal(fresh2.Public()) {
		t.Errorf("GenerateKey gave the same key twice (%v)", err)
	}
	for _, n := range []int{0, SeedSize - 1, SeedSize + 1} {
		if _, err := NewPrivateKey(make([]byte, n)); err == nil {
			t.Errorf("a seed of %d bytes was accepted", n)
		}
	}
	for _, n := range []int{0, PublicKeySize - 1, PublicKeySize + 1} {
		if _, err := NewPublicKey(make([]byte, n)); err == nil {
			t.Errorf("a public key of %d bytes was accepted", n)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key := testKey(b, "bench")
	sig, err := key.Sign([]byte("m"), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		key.Public().Verify([]byte("m"), nil, sig)
	}
}

func BenchmarkParseAndVerify(b *testing.B) {
	key := testKey(b, "bench")
	sig, err := key.Sign([]byte("m"), nil)
	if err != nil {
		b.Fatal(err)
	}
	raw := key.Public().Bytes()
	for b.Loop() {
		k, _ := NewPublicKey(raw)
		k.Verify([]byte("m"), nil, sig)
	}
}

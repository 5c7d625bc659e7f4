package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"aios/captoken/mldsa"
)

func testKey(t testing.TB, label string) *mldsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte(label))
	k, err := mldsa.NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publics(keys ...*mldsa.PrivateKey) (out []*mldsa.PublicKey) {
	for _, k := range keys {
		out = append(out, k.Public())
	}
	return out
}

func sign(t testing.TB, payload []byte, keys ...*mldsa.PrivateKey) []byte {
	t.Helper()
	envelope, err := Sign(payload, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

func TestOpen(t *testing.T) {
	a, b, c := testKey(t, "a"), testKey(t, "b"), testKey(t, "c")
	payload := example().Encode()
	type keys = []*mldsa.PrivateKey
	for _, tc := range []struct {
		name      string
		signed    keys
		trusted   keys
		threshold int
		signers   keys // nil: refused
		want      string
	}{
		{"one key", keys{a}, keys{a}, 1, keys{a}, ""},
		{"one of two trusted", keys{b}, keys{a, b}, 1, keys{b}, ""},
		{"an unknown key beside", keys{a, c}, keys{a, b}, 1, keys{a}, ""},
		{"two of two", keys{b, a}, keys{a, b}, 2, keys{a, b}, ""},
		{"two of three", keys{a, c}, keys{a, b, c}, 2, keys{a, c}, ""},
		{"unknown key", keys{c}, keys{a}, 1, nil, "by 1 of 1 trusted keys, found 0 and signatures by unknown keys "},
		{"one of two needed", keys{a}, keys{a, b}, 2, nil, "by 2 of 2 trusted keys, found 1"},
		{"unknown key does not count", keys{a, c}, keys{a, b}, 2, nil, "found 1 and signatures by unknown keys "},
		{"a key trusted twice counts once", keys{a}, keys{a, a}, 2, nil, "threshold of 2"},
		{"no trusted key", keys{a}, nil, 1, nil, "found 0 keys"},
		{"threshold zero", keys{a}, keys{a}, 0, nil, "threshold of at least 1"},
		{"threshold above the keys", keys{a}, keys{a}, 2, nil, "threshold of 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			envelope := sign(t, payload, tc.signed...)
			s, err := OpenSigned(envelope, publics(tc.trusted...), tc.threshold)
			if tc.signers == nil {
				if !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("err = %v, want ErrSignature and %q", err, tc.want)
				}
				checkError(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.Payload, payload) || !reflect.DeepEqual(s.Manifest, example()) {
				t.Error("another manifest came out than went in")
			}
			var want [][16]byte
			for _, k := range tc.signers {
				want = append(want, k.Public().ID())
			}
			slices.SortFunc(want, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
			if !reflect.DeepEqual(s.Keys, want) {
				t.Errorf("Keys = %x, want %x", s.Keys, want)
			}
			m, p, err := Open(envelope, publics(tc.trusted...), tc.threshold)
			if err != nil || !reflect.DeepEqual(m, s.Manifest) || !bytes.Equal(p, s.Payload) {
				t.Errorf("Open differs from OpenSigned (%v)", err)
			}
		})
	}
}

// Every cut and every single changed byte is refused, in the text and in the signature.
// Whoever can write to the disk can do this.
func TestDamagedEnvelope(t *testing.T) {
	key := testKey(t, "a")
	trusted := publics(key)
	good := sign(t, example().Encode(), key)
	for n := range good {
		if _, _, err := Open(good[:n], trusted, 1); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrSignature) {
			t.Fatalf("cut to %d bytes: %v, want a refusal", n, err)
		}
	}
	for i := range good {
		// All eight bits where it is cheap, one where each costs a verification or the parse of 4 kB.
		for bit := range 8 {
			if bit != i%8 && i > len(example().Encode()) {
				continue
			}
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			_, _, err := Open(bad, trusted, 1)
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrSignature) {
				t.Fatalf("byte %d bit %d: %v, want a refusal", i, bit, err)
			}
			checkError(t, err)
		}
	}
	for _, tail := range []string{"\n", "x", "x\n", "\x00", "signature"} {
		if _, _, err := Open(append(bytes.Clone(good), tail...), trusted, 1); err == nil {
			t.Errorf("accepted with %q appended", tail)
		}
	}
}

// One manifest has one envelope for given signers: lines cannot be reordered, repeated,
// re-spelled or moved to another text.
func TestMalleability(t *testing.T) {
	a, b := testKey(t, "a"), testKey(t, "b")
	trusted := publics(a, b)
	payload := example().Encode()
	good := sign(t, payload, a, b)
	if again := sign(t, payload, b, a); !bytes.Equal(good, again) {
		t.Error("the order of the signers shows in the envelope")
	}
	lines := bytes.SplitAfter(good[len(payload)+1:], []byte("\n"))
	first, second := string(lines[0]), string(lines[1])
	newer := example()
	newer.Version = 8
	head := string(payload) + "\n"
	foreign, err := a.Sign(payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text string
		kind       error
		want       string
	}{
		{"signatures swapped", head + second + first, ErrFormat, "ascending order"},
		{"signature repeated", head + first + first, ErrFormat, "ascending order"},
		{"second empty line", head + "\n" + first, ErrFormat, "line 8"},
		{"no empty line", string(payload) + first, ErrSignature, "no empty line"},
		{"no signature", head, ErrFormat, "line 8"},
		{"key id in upper case", head + signaturePrefix + strings.ToUpper(first[len(signaturePrefix):len(signaturePrefix)+32]) +
			first[len(signaturePrefix)+32:], ErrFormat, "line 8"},
		{"carriage return in base64", head + strings.TrimSuffix(first, "\n") + "\r\n", ErrFormat, "line 8"},
		{"two spaces", head + strings.Replace(first, "ml-dsa-65 ", "ml-dsa-65  ", 1), ErrFormat, "line 8"},
		{"other algorithm", head + strings.Replace(first, "ml-dsa-65", "ml-dsa-44", 1), ErrFormat, "line 8"},
		{"signature of another manifest", string(newer.Encode()) + "\n" + first, ErrSignature, "does not fit the text"},
		{"signature under another context", head + signature{a.Public().ID(), foreign}.line() + "\n", ErrSignature, "does not fit the text"},
		{"one good, one bad", string(newer.Encode()) + "\n" + mixed(t, a, b, newer.Encode(), payload), ErrSignature, "does not fit the text"},
		{"too long", head + strings.Repeat("x", MaxSize), ErrFormat, "at most 131072 bytes"},
		{"nine signatures", head + strings.Repeat(first, 9), ErrFormat, "at most 8 signatures, found 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Open([]byte(c.text), trusted, 1)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want %v and %q", err, c.kind, c.want)
			}
			checkError(t, err)
		})
	}
}

// mixed returns signature lines of which a's fits text and b's fits other.
func mixed(t *testing.T, a, b *mldsa.PrivateKey, text, other []byte) string {
	good, bad := sign(t, text, a), sign(t, other, b)
	var s []signature
	for _, e := range [][]byte{good, bad} {
		_, one, err := split(e)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, one...)
	}
	return string(join(nil, s)[1:])
}

func TestSignRefuses(t *testing.T) {
	a, b := testKey(t, "a"), testKey(t, "b")
	payload := example().Encode()
	if _, err := Sign([]byte("anything\n"), a); !errors.Is(err, ErrFormat) {
		t.Errorf("signing what is no manifest: %v", err)
	}
	if _, err := Sign(payload); !errors.Is(err, ErrSignature) {
		t.Errorf("signing with no key: %v", err)
	}
	if _, err := Sign(payload, a, a); !errors.Is(err, ErrSignature) {
		t.Errorf("signing twice with one key: %v", err)
	}
	var many []*mldsa.PrivateKey
	for i := range MaxSignatures + 1 {
		many = append(many, testKey(t, string(rune('a'+i))))
	}
	if _, err := Sign(payload, many...); !errors.Is(err, ErrSignature) {
		t.Errorf("signing with %d keys: %v", len(many), err)
	}
	if _, err := Sign(payload, many[:MaxSignatures]...); err != nil {
		t.Errorf("signing with %d keys: %v", MaxSignatures, err)
	}
	// The largest manifest has room for all signatures.
	if e, err := Sign(largest().Encode(), many[:MaxSignatures]...); err != nil || len(e) > MaxSize {
		t.Errorf("signing the largest: %d bytes, %v", len(e), err)
	}
	one := sign(t, payload, a)
	if _, err := AddSignatures(one, a); !errors.Is(err, ErrSignature) {
		t.Errorf("adding the same signature: %v", err)
	}
	both, err := AddSignatures(one, b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(both, sign(t, payload, a, b)) {
		t.Error("signing one after the other gives another envelope than signing at once")
	}
}

func TestSignedRoundTrip(t *testing.T) {
	key := testKey(t, "a")
	rapid.Check(t, func(t *rapid.T) {
		m := genManifest().Draw(t, "manifest")
		envelope, err := Sign(m.Encode(), key)
		if err != nil {
			t.Fatal(err)
		}
		back, payload, err := Open(envelope, []*mldsa.PublicKey{key.Public()}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, m) || !bytes.Equal(payload, m.Encode()) {
			t.Fatal("another manifest came out than went in")
		}
	})
}

// The measured key id is the hex form of Keys[0]; this pins how it reads in the text.
func TestSignatureLine(t *testing.T) {
	key := testKey(t, "a")
	payload := example().Encode()
	id := key.Public().ID()
	want := "\nsignature ml-dsa-65 " + hex.EncodeToString(id[:]) + " "
	if envelope := sign(t, payload, key); !bytes.HasPrefix(envelope[len(payload):], []byte(want)) {
		t.Errorf("the envelope lacks %q after the payload", want)
	}
}

func TestParseConf(t *testing.T) {
	for _, c := range []Conf{{"a", ""}, {"b", "quiet log=debug"}, {"a", " two  spaces "}} {
		back, err := ParseConf(c.Encode())
		if err != nil || back != c {
			t.Errorf("%+v became %+v (%v)", c, back, err)
		}
	}
	for _, text := range []string{
		"", "slot a", "slot a\n", "slot c\ncmdline \n", "slot a\ncmdline\n", "slot a\ncmdline x", "slot a\ncmdline x\n\n",
		"slot a\ncmdline x\ny\n", "cmdline x\nslot a\n", "slot a\r\ncmdline x\r\n", " slot a\ncmdline x\n", "slot a\ncmdline \x1b[2J\n",
		"slot a\ncmdline " + strings.Repeat("x", MaxConf) + "\n", "slot a\ncmdline \u00e9\n",
	} {
		_, err := ParseConf([]byte(text))
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, want ErrFormat", text, err)
			continue
		}
		checkError(t, err)
	}
}

func FuzzParseConf(f *testing.F) {
	f.Add([]byte("slot a\ncmdline x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := ParseConf(text); err == nil && !bytes.Equal(c.Encode(), text) {
			t.Errorf("accepted %q, which re-encodes to %q", text, c.Encode())
		}
	})
}

// Whatever the split accepts joins to the same bytes, and nothing opens that was not signed.
func FuzzOpen(f *testing.F) {
	a, b := testKey(f, "a"), testKey(f, "b")
	good := sign(f, example().Encode(), a, b)
	f.Add(good)
	f.Add(sign(f, example().Encode(), b))
	trusted := publics(a)
	f.Fuzz(func(t *testing.T, envelope []byte) {
		if payload, signatures, err := split(envelope); err == nil {
			if !bytes.Equal(join(payload, signatures), envelope) {
				t.Errorf("%q does not join to what it was split from", envelope)
			}
		} else {
			checkError(t, err)
		}
		if _, payload, err := Open(envelope, trusted, 1); err == nil && !bytes.Equal(payload, example().Encode()) {
			t.Errorf("opened %q, which was never signed", payload)
		}
	})
}

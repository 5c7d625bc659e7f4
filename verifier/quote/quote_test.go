package quote

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

func load(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// windows is a SHA-1 quote with an empty nonce, from go-attestation's test data.
func windows(t testing.TB) (*Key, *Quote) {
	var d struct {
		AK    struct{ Public []byte }
		Quote struct{ Quote, Signature []byte }
		Log   struct {
			PCRs []struct {
				Index  int
				Digest []byte
			}
		}
	}
	load(t, "windows_gcp_shielded_vm.json", &d)
	k, err := ParseKey(d.AK.Public)
	if err != nil {
		t.Fatal(err)
	}
	q := &Quote{Attest: d.Quote.Quote, Signature: d.Quote.Signature}
	for _, p := range d.Log.PCRs {
		q.PCRs[p.Index] = p.Digest
	}
	return k, q
}

func TestWindows(t *testing.T) {
	recorded := Policy{AllowEmpty: true, Banks: []crypto.Hash{crypto.SHA1}}
	for _, c := range []struct {
		name   string
		alter  func(q *Quote)
		policy Policy
		want   error
	}{
		{"good", func(*Quote) {}, recorded, nil},
		{"another nonce", func(*Quote) {}, Policy{Nonce: []byte("x"), Banks: recorded.Banks}, ErrNonce},
		{"a fresh nonce is wanted", func(*Quote) {}, Policy{Banks: recorded.Banks}, ErrNonce},
		{"SHA-256 is wanted", func(*Quote) {}, Policy{AllowEmpty: true}, ErrBank},
		{"PCR bit flipped", func(q *Quote) { q.PCRs[4] = flip(q.PCRs[4], 3) }, recorded, ErrPCRs},
		{"PCR missing", func(q *Quote) { q.PCRs[4] = nil }, recorded, ErrPCRs},
		{"signature bit flipped", func(q *Quote) { q.Signature = flip(q.Signature, len(q.Signature)-1) }, recorded, ErrSignature},
		{"signature cut", func(q *Quote) { q.Signature = q.Signature[:8] }, recorded, ErrSignature},
		{"clock altered", func(q *Quote) { q.Attest = flip(q.Attest, 50) }, recorded, ErrSignature},
		{"magic altered", func(q *Quote) { q.Attest = flip(q.Attest, 0) }, recorded, ErrFormat},
		{"bytes behind", func(q *Quote) { q.Attest = append(q.Attest[:len(q.Attest):len(q.Attest)], 0) }, recorded, ErrFormat},
		{"cut", func(q *Quote) { q.Attest = q.Attest[:20] }, recorded, ErrFormat},
		{"empty", func(q *Quote) { q.Attest = nil }, recorded, ErrFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, q := windows(t)
			c.alter(q)
			info, err := Verify(k, q, c.policy)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if (info == nil) != (c.want != nil) {
				t.Error("an Info without a good quote, or the other way round")
			}
		})
	}
}

func flip(b []byte, i int) []byte {
	b = append([]byte(nil), b...)
	b[i] ^= 1
	return b
}

func TestTrustee(t *testing.T) {
	var d struct {
		AK    string `json:"ak_public"`
		Quote struct {
			Message, Signature string
			PCRs               []string
		} `json:"tpm_quote"`
	}
	load(t, "trustee_tpm_evidence.json", &d)
	raw := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pub, err := x509.ParsePKIXPublicKey(raw(d.AK))
	if err != nil {
		t.Fatal(err)
	}
	q := &Quote{Attest: raw(d.Quote.Message), Signature: raw(d.Quote.Signature)}
	for i, s := range d.Quote.PCRs {
		if q.PCRs[i], err = hex.DecodeString(s); err != nil {
			t.Fatal(err)
		}
	}
	k := &Key{pub, crypto.SHA256}
	_, err = Verify(k, q, Policy{Nonce: []byte("not this one")})
	if !errors.Is(err, ErrNonce) || errors.Is(err, ErrSignature) || errors.Is(err, ErrPCRs) {
		t.Errorf("%v, want only the nonce to be wrong", err)
	}
	q.PCRs[0] = flip(q.PCRs[0], 0)
	if _, err = Verify(k, q, Policy{}); !errors.Is(err, ErrPCRs) {
		t.Errorf("%v, want ErrPCRs", err)
	}
}

func TestParseKey(t *testing.T) {
	var d struct{ AK struct{ Public []byte } }
	load(t, "windows_gcp_shielded_vm.json", &d)
	for name, b := range map[string][]byte{
		"empty": nil, "cut": d.AK.Public[:20],
		"not restricted": flip(d.AK.Public, 5), // attributes are bytes 4 to 7, big endian: restricted is bit 16
	} {
		if _, err := ParseKey(b); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	k, q := windows(b)
	p := Policy{AllowEmpty: true, Banks: []crypto.Hash{crypto.SHA1}}
	for b.Loop() {
		if _, err := Verify(k, q, p); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	k, q := windows(f)
	f.Add(q.Attest, q.Signature)
	f.Fuzz(func(t *testing.T, attest, sig []byte) {
		_, err := Verify(k, &Quote{Attest: attest, Signature: sig, PCRs: q.PCRs}, Policy{AllowEmpty: true, Banks: []crypto.Hash{crypto.SHA1}})
		if err == nil && string(attest) != string(q.Attest) {
			t.Error("other bytes verify")
		}
	})
}

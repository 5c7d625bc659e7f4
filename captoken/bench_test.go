package captoken

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"aios/captoken/mldsa"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// BenchmarkVerify is what an installation costs, with the issuers' keys parsed before.
// A delegation brings its key along, so each costs the parsing of one.
func BenchmarkVerify(b *testing.B) {
	token := mint(b, nil)
	holders := []string{"holder", "a", "b", "c", "d"}
	for n := range holders {
		if n > 0 {
			token = delegate(b, holders[n-1], token, testDelegation(b, holders[n], 8))
		}
		if n > 1 && n < 4 {
			continue
		}
		b.Run(fmt.Sprintf("delegations=%d", n), func(b *testing.B) {
			want := testWant(b)
			if n > 0 {
				want.Agent = holders[n]
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Verify(token, want); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(token)), "bytes")
		})
	}
}

// BenchmarkVerifyForged is what it costs at most to refuse a token that nobody signed:
// the signature is well-formed up to its last step.
func BenchmarkVerifyForged(b *testing.B) {
	token := mint(b, nil)
	token[len(token)-mldsa.SignatureSize] ^= 1
	want := testWant(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(token, want); err == nil {
			b.Fatal("accepted")
		}
	}
}

// BenchmarkDecodeClaims is what of it is not the signature.
func BenchmarkDecodeClaims(b *testing.B) {
	c := testClaims(b)
	payload := c.encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := decodeClaims(payload, "token", false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(payload)), "bytes")
}

func BenchmarkMint(b *testing.B) {
	issuer, c := testKey(b, "issuer"), testClaims(b)
	issuer.deterministic = false
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Mint(issuer, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyLease(b *testing.B) {
	raw, trusted := testLeaseBytes(b, nil), []*PublicKey{testKey(b, "verifier").Public()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := VerifyLease(raw, trusted, testHost, testBoot); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(raw)), "bytes")
}

// BenchmarkPeerJWT is a JWT under ES256 by a common library, for comparison: the
// registered claims alone.
func BenchmarkPeerJWT(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c, err := jwt.NewBuilder().JwtID("0123456789abcdef").Issuer("issuer").Subject(testAgent).Audience([]string{testHost}).
		NotBefore(time.Now().Add(-time.Minute)).Expiration(time.Now().Add(time.Hour)).Build()
	if err != nil {
		b.Fatal(err)
	}
	token, err := jwt.Sign(c, jwt.WithKey(jwa.ES256(), key))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jwt.Parse(token, jwt.WithKey(jwa.ES256(), key.Public()), jwt.WithAudience(testHost), jwt.WithSubject(testAgent)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(token)), "bytes")
}

package main

import (
	"testing"
	"time"
)

var tokens = []struct {
	name  string
	make  maker
	count int // of narrowings that it takes part in
}{{"ours", ourToken, len(narrowings)}, {"jwt", jwtToken, 1}, {"biscuit", biscuitToken, len(narrowings)}, {"macaroon", macaroonToken, len(narrowings)}}

// Each side must say no where it should: what accepts everything measures nothing.
func TestTokensAreVerified(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, k := range tokens {
		for _, n := range narrowings[:k.count] {
			token, verify := k.make(t, now, n)
			flipped := append([]byte(nil), token...)
			flipped[len(flipped)-10] ^= 4
			other, _ := k.make(t, now, n)
			for _, c := range []struct {
				name        string
				token       []byte
				host, agent string
				now         time.Time
				good        bool
			}{
				{"good", token, tokenHost, tokenAgent, now, true},
				{"another host", token, "host-fedcba9876543210", tokenAgent, now, false},
				{"another agent", token, tokenHost, "worker", now, false},
				{"expired", token, tokenHost, tokenAgent, now.Add(2 * time.Hour), false},
				{"after what it was narrowed to", token, tokenHost, tokenAgent, now.Add(45 * time.Minute), n == 0},
				{"not yet valid", token, tokenHost, tokenAgent, now.Add(-2 * time.Minute), false},
				{"a flipped bit", flipped, tokenHost, tokenAgent, now, false},
				{"another issuer", other, tokenHost, tokenAgent, now, false},
			} {
				if err := verify(c.token, c.host, c.agent, c.now); (err == nil) != c.good {
					t.Errorf("%s narrowed %d times, %s: %v", k.name, n, c.name, err)
				}
			}
		}
	}
}

func BenchmarkTokenJWT(b *testing.B)       { besideToken(b, jwtToken, 0) }
func BenchmarkTokenBiscuit(b *testing.B)   { besideToken(b, biscuitToken, 0) }
func BenchmarkTokenBiscuit1(b *testing.B)  { besideToken(b, biscuitToken, 1) }
func BenchmarkTokenBiscuit4(b *testing.B)  { besideToken(b, biscuitToken, 4) }
func BenchmarkTokenMacaroon(b *testing.B)  { besideToken(b, macaroonToken, 0) }
func BenchmarkTokenMacaroon1(b *testing.B) { besideToken(b, macaroonToken, 1) }
func BenchmarkTokenMacaroon4(b *testing.B) { besideToken(b, macaroonToken, 4) }

func besideToken(b *testing.B, peer maker, narrowed int) {
	now := time.Now().Truncate(time.Second)
	for _, side := range []struct {
		name string
		make maker
	}{{"ours", ourToken}, {"peer", peer}} {
		token, verify := side.make(b, now, narrowed)
		b.Run(side.name, func(b *testing.B) {
			for b.Loop() {
				if err := verify(token, tokenHost, tokenAgent, now); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(token)), "bytes")
		})
	}
}

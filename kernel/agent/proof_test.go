package agent

import (
	"bytes"
	"strings"
	"testing"

	"aios/captoken"
	"aios/kernel/abi"
)

// A token counts only with a proof by its holder over the nonce that the kernel has just
// made up, and each attempt spends that.
func TestProofOfPossession(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		token, other := m.v.Token("hello", nil), m.v.Token("spare", nil)
		nonce := func() []byte { return m.must(abi.AuthorityNonce)[0] }
		prove := func(key captoken.Signer, token captoken.Token, nonce []byte) []byte {
			t.Helper()
			proof, err := captoken.Prove(key, token, [32]byte(nonce))
			if err != nil {
				t.Fatal(err)
			}
			return proof
		}
		const spent = "nonce expected " + "00000000"
		elsewhere := m.v.Token("hello", func(c *captoken.Claims) { c.Audience = "host-fedcba9876543210" })
		stolen := m.v.Token("hello", func(c *captoken.Claims) { c.Holder = m.v.Other.Public().Thumbprint() })
		first := nonce()
		good := prove(m.v.Holder, token, first)
		flipped := bytes.Clone(good)
		flipped[len(flipped)-9] ^= 1
		for _, c := range []struct {
			name, want string
			proof      func(nonce []byte) []byte
		}{
			{"none", "proof of possession", func([]byte) []byte { return nil }},
			{"the token itself", "proof of possession", func([]byte) []byte { return token }},
			{"a flipped bit", "signature", func([]byte) []byte { return flipped }},
			{"by another key", "signer expected", func(n []byte) []byte { return prove(m.v.Other, stolen, n) }},
			{"for another token", "it was made for another token", func(n []byte) []byte { return prove(m.v.Holder, other, n) }},
			{"for another host", "host expected", func(n []byte) []byte { return prove(m.v.Holder, elsewhere, n) }},
			{"over an older nonce", "nonce expected", func([]byte) []byte { return good }},
		} {
			n := nonce()
			m.refused(c.want, abi.AuthorityToken, token, c.proof(n))
			m.refused(spent, abi.AuthorityToken, token, prove(m.v.Holder, token, n)) // whatever was wrong, it is spent
		}
		m.refused(spent, abi.AuthorityToken, token, good)
		n := nonce()
		late := prove(m.v.Holder, token, n)
		m.refused("token", abi.AuthorityToken, []byte("no token"), late)
		m.refused(spent, abi.AuthorityToken, token, late)
		n = nonce()
		late = prove(m.v.Holder, token, n)
		nonce() // takes its place
		m.refused("nonce expected", abi.AuthorityToken, token, late)
		m.refused("no token for it is installed", abi.AuthorityStart, []byte("hello"))

		n = nonce()
		now := prove(m.v.Holder, token, n)
		m.must(abi.AuthorityToken, token, now)
		m.refused(spent, abi.AuthorityToken, token, now) // once
		m.must(abi.AuthorityStart, []byte("hello"))
		m.alive(m.started[0])
	})
}

// Of a token that was passed on the last holder proves that it has the key.
func TestProofOfDelegation(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		broker := m.v.Token("spare", func(c *captoken.Claims) { c.Depth = 1 }) // held by Holder
		_, left, err := captoken.Read(broker)
		if err != nil {
			t.Fatal(err)
		}
		token, err := captoken.Delegate(m.v.Holder, broker, captoken.Delegation{Subject: "hello", Holder: m.v.Other.Public().Thumbprint(), Rights: left.Rights,
			Scopes: left.Scopes, Quotas: left.Quotas, NotBefore: left.NotBefore, Expires: left.Expires})
		if err != nil {
			t.Fatal(err)
		}
		nonce := [32]byte(m.must(abi.AuthorityNonce)[0])
		if _, err := captoken.Prove(m.v.Holder, token, nonce); err == nil {
			t.Fatal("who passed it on is still its holder")
		}
		// The proof for what was passed on is none for the rest.
		before, err := captoken.Prove(m.v.Holder, broker, nonce)
		if err != nil {
			t.Fatal(err)
		}
		m.refused("signer expected "+m.v.Other.Public().Thumbprint().String(), abi.AuthorityToken, token, before)
		nonce = [32]byte(m.must(abi.AuthorityNonce)[0])
		last, err := captoken.Prove(m.v.Other, token, nonce)
		if err != nil {
			t.Fatal(err)
		}
		m.must(abi.AuthorityToken, token, last)
		if !strings.Contains(m.lastLine(), "token installed agent=hello") {
			t.Error(m.lastLine())
		}
	})
}

// Each nonce is another one.
func TestNonces(t *testing.T) {
	on(t, func(m *machine) {
		seen := map[string]bool{}
		for range 100 {
			f := m.must(abi.AuthorityNonce)
			if len(f) != 1 || len(f[0]) != captoken.NonceSize || seen[string(f[0])] {
				t.Fatalf("nonce %x", f)
			}
			seen[string(f[0])] = true
		}
	})
}

package captoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"aios/captoken/cbor"
)

// proofs are verified for the token in testdata/vectors/token-one-delegation.txt, which
// a holds.
func (m *vectors) proofs() {
	t := m.t
	token := m.proofToken()
	nonce, other := testNonce("proof"), testNonce("other proof")
	add := func(name, expect, comment string, body []byte, lines ...string) {
		m.add("proof", name, expect, comment, body, []string{"token: token-one-delegation", "trusted: issuer 3", "host: " + testHost, "agent: a",
			"now: " + stamp(testNow), "lease: " + testID("lease").String(), "rights: 0", "nonce: " + hex.EncodeToString(nonce[:])}, lines...)
	}
	good, err := Prove(testKey(t, "a"), token, nonce)
	if err != nil {
		t.Fatal(err)
	}
	add("good", "ok", "the holder signs the nonce of the host", good)
	add("nonce", "nonce", "the nonce of another time", good, "nonce: "+hex.EncodeToString(other[:]))
	add("no-nonce", "nonce", "the host has made up no nonce", good, "nonce: "+hex.EncodeToString(make([]byte, NonceSize)))
	hash := sha256.Sum256(token)
	by := func(key string, k kind, payload []byte) []byte {
		b, err := seal(testKey(t, key), proofName, k, payload)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	payload := encodeProof(testHost, nonce, hash)
	add("stranger", "issuer", "signed by somebody who does not hold the token", by("b", kindProof, payload))
	add("former-holder", "issuer", "signed by the holder before the last delegation", by("holder", kindProof, payload))
	add("host", "audience", "the nonce of another host", by("a", kindProof, encodeProof("host-ffffffffffffffff", nonce, hash)))
	add("other-token", "delegation", "made for the token before it was passed on", by("a", kindProof, encodeProof(testHost, nonce, sha256.Sum256(mint(t, nil)))))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	add("flipped", "signature", "one bit of the signature was flipped", flipped)
	add("trailing", "form", "a byte more than there should be", append(bytes.Clone(good), 0))
	add("kind", "form", "the kind of a delegation", by("a", kindDelegation, payload))
	p := pairs(t, payload)
	add("no-token", "form", "no hash of a token", by("a", kindProof, join(with(p, claimToken, nil))))
	add("short-nonce", "form", "a nonce of 31 bytes", by("a", kindProof, join(with(p, claimNonce, cbor.AppendBytes(nil, nonce[1:])))))
	add("zero-nonce", "form", "a nonce of zeros", by("a", kindProof, join(with(p, claimNonce, cbor.AppendBytes(nil, make([]byte, NonceSize))))))
	add("host-pattern", "form", "a pattern for a host", by("a", kindProof, join(with(p, claimAudience, cbor.AppendText(nil, "host-*")))))
	s, err := readSign1(good, proofName, kindProof)
	if err != nil {
		t.Fatal(err)
	}
	h := pairs(t, s.protected)
	add("key-id", "form", "the id of another key than the one beside it", sign(t, "a", join(with(h, headerKeyID, cbor.AppendBytes(nil, make([]byte, 16)))), payload, nil))
}

func (m *vectors) proofToken() Token {
	return delegate(m.t, "holder", mint(m.t, nil), testDelegation(m.t, "a", 3))
}

// verifyProof verifies the token that the file names, and the proof for what it grants.
func (v *vector) verifyProof(t *testing.T) error {
	nonce, err := hex.DecodeString(v.get("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	token := readVector(t, vectorDir+"/"+v.get("token")+".txt").body
	w := v.want(t)
	g, err := Verify(token, w)
	if err != nil {
		t.Fatal(err)
	}
	return VerifyProof(v.body, token, g, [NonceSize]byte(nonce))
}

func TestProve(t *testing.T) {
	token, nonce := mint(t, nil), testNonce("proof")
	for name, c := range map[string]struct {
		key   string
		token Token
		nonce [NonceSize]byte
		want  error
	}{
		"holder": {"holder", token, nonce, nil}, "stranger": {"a", token, nonce, ErrIssuer},
		"no nonce": {"holder", token, [NonceSize]byte{}, ErrForm}, "no token": {"holder", nil, nonce, ErrForm},
	} {
		b, err := Prove(testKey(t, c.key), c.token, c.nonce)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		checkError(t, err)
		if err == nil {
			g, err := Verify(token, testWant(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyProof(b, token, g, nonce); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What is accepted as a proof re-encodes to the same bytes.
func FuzzProof(f *testing.F) {
	f.Add(encodeProof(testHost, testNonce("proof"), [32]byte{1}))
	for _, payload := range vectorPayloads(f) {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if host, nonce, token, err := decodeProof(payload); err == nil && !bytes.Equal(encodeProof(host, nonce, token), payload) {
			t.Fatalf("%x is written differently", payload)
		}
	})
}

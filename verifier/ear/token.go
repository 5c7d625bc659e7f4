package ear

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"aios/captoken/mldsa"
)

// Type is the token's typ: an EAT as a JWT (RFC 9782 section 4).
const Type = "eat+jwt"

// skew is how far the issuer's clock may be ahead of the reader's.
const skew = time.Minute

// Causes for which Verify refuses a token.
var (
	ErrFormat    = errors.New("not an attestation result of AIOS")
	ErrAlgorithm = errors.New("wrong signature algorithm")
	ErrKey       = errors.New("signed by another key")
	ErrSignature = errors.New("bad signature")
	ErrProfile   = errors.New("unknown profile")
	ErrTime      = errors.New("attestation result not valid now")
	ErrNonce     = errors.New("attestation result for another nonce")
)

// header is the protected header. Fields stand in the order of their names, which is
// the order that Issue writes.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// claims is the payload, in the order of names.
type claims struct {
	Status   string   `json:"ear_status"`
	Verifier Verifier `json:"ear_verifier_id"`
	Nonce    string   `json:"eat_nonce"`
	Profile  string   `json:"eat_profile"`
	Expires  int64    `json:"exp"`
	IssuedAt int64    `json:"iat"`
	Submods  submods  `json:"submods"`
}

type submods struct {
	Host appraisal `json:"aios-host"`
}

type appraisal struct {
	PolicyIDs []string          `json:"ear_appraisal_policy_ids"`
	Attester  map[string]string `json:"ear_attester_claims,omitempty"`
	Status    string            `json:"ear_status"`
	Vector    Vector            `json:"ear_trustworthiness_vector"`
	Verifier  *verifierClaims   `json:"ear_verifier_claims,omitempty"`
}

type verifierClaims struct {
	Reasons []Reason `json:"reasons"`
}

// encode writes JSON without escaping <, > and &, which JOSE does not ask for.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// decode reads into v what encode would write for it, and nothing else.
func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	again, err := encode(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(again, text) {
		return fmt.Errorf("%w: names, order or spelling differ from the one accepted form", ErrFormat)
	}
	return nil
}

// Issue signs a result. The key should serve no other purpose, since JOSE signs with
// an empty context string (RFC 9964).
func Issue(key *mldsa.PrivateKey, r Result) (string, error) {
	r = r.toUTF8()
	if err := r.check(); err != nil {
		return "", fmt.Errorf("issue attestation result: %w", err)
	}
	h, err := encode(header{mldsa.Algorithm, Thumbprint(key.Public()), Type})
	if err != nil {
		return "", fmt.Errorf("issue attestation result: %w", err)
	}
	host := appraisal{PolicyIDs: []string{r.PolicyID}, Attester: r.Host, Status: r.Status, Vector: r.Vector}
	if len(r.Reasons) > 0 {
		host.Verifier = &verifierClaims{r.Reasons}
	}
	p, err := encode(claims{
		Status: r.Status, Verifier: r.Verifier, Nonce: base64.RawURLEncoding.EncodeToString(r.Nonce),
		Profile: Profile, Expires: r.Expires.Unix(), IssuedAt: r.IssuedAt.Unix(), Submods: submods{host},
	})
	if err != nil {
		return "", fmt.Errorf("issue attestation result: %w", err)
	}
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	signature, err := key.SignHedged([]byte(input), nil)
	if err != nil {
		return "", fmt.Errorf("issue attestation result: %w", err)
	}
	token := input + "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(token) > MaxToken {
		return "", fmt.Errorf("issue attestation result: %w: %d bytes, at most %d; shorten the reasons", ErrResult, len(token), MaxToken)
	}
	return token, nil
}

// Expect is what the reader of a token demands.
type Expect struct {
	Nonce    []byte    // the nonce that the reader sent; required unless AnyNonce is set
	AnyNonce bool      // for readers that did not ask for the appraisal themselves
	Now      time.Time // required
}

// Verify checks that key signed the token, that it is valid now, and that it answers
// the reader's nonce. The result may still be a bad one: look at its Status.
func Verify(token string, key *mldsa.PublicKey, want Expect) (*Result, error) {
	r, err := verify(token, key, want)
	if err != nil {
		return nil, fmt.Errorf("verify attestation result: %w", err)
	}
	return r, nil
}

func verify(token string, key *mldsa.PublicKey, want Expect) (*Result, error) {
	if want.Now.IsZero() || (len(want.Nonce) == 0) != want.AnyNonce {
		return nil, errors.New("the caller must say what time it is, and either a nonce or that any will do")
	}
	if len(token) > MaxToken {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrFormat, len(token), MaxToken)
	}
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: expected three parts with dots between them", ErrFormat)
	}
	var raw [3][]byte
	for i, name := range []string{"header", "claims", "signature"} {
		var err error
		if raw[i], err = unbase64(parts[i]); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
		}
	}
	if err := checkHeader(raw[0], key); err != nil {
		return nil, err
	}
	// Nothing of the payload is looked at before this line.
	if !key.Verify([]byte(token[:len(parts[0])+1+len(parts[1])]), nil, raw[2]) {
		return nil, fmt.Errorf("%w: the token was changed, or its key identifier is false", ErrSignature)
	}
	r, err := parseClaims(raw[1])
	if err != nil {
		return nil, err
	}
	if r.IssuedAt.After(want.Now.Add(skew)) {
		return nil, fmt.Errorf("%w: issued at %v, now it is %v; compare the clocks of verifier and reader", ErrTime, r.IssuedAt, want.Now.UTC())
	}
	if !want.Now.Before(r.Expires) {
		return nil, fmt.Errorf("%w: expired at %v, now it is %v; have the host appraised again", ErrTime, r.Expires, want.Now.UTC())
	}
	if !want.AnyNonce && !bytes.Equal(r.Nonce, want.Nonce) {
		return nil, fmt.Errorf("%w: expected %x, found %x; it answers another challenge, or is a replay", ErrNonce, want.Nonce, r.Nonce)
	}
	return r, nil
}

// checkHeader wants exactly the header that Issue writes for key. The algorithm is
// ours to state, not the token's to choose; it is read to name the mistake.
func checkHeader(text []byte, key *mldsa.PublicKey) error {
	var loose struct {
		Algorithm string `json:"alg"`
	}
	if err := json.Unmarshal(text, &loose); err != nil {
		return fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	if loose.Algorithm != mldsa.Algorithm {
		return fmt.Errorf("%w: expected %s, found %q", ErrAlgorithm, mldsa.Algorithm, loose.Algorithm)
	}
	var h header
	if err := decode(text, &h); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if h.Algorithm != mldsa.Algorithm {
		return fmt.Errorf("%w: expected %s, found %q", ErrAlgorithm, mldsa.Algorithm, h.Algorithm)
	}
	if h.Type != Type {
		return fmt.Errorf("%w: typ: expected %s, found %q", ErrFormat, Type, h.Type)
	}
	if id := Thumbprint(key); h.KeyID != id {
		return fmt.Errorf("%w: kid: expected %s, found %q; use the public key of the verifier that issued it", ErrKey, id, h.KeyID)
	}
	return nil
}

func parseClaims(text []byte) (*Result, error) {
	// The profile decides how the rest is read, so it is looked at first.
	var loose struct {
		Profile string `json:"eat_profile"`
	}
	if err := json.Unmarshal(text, &loose); err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrFormat, err)
	}
	if loose.Profile != Profile {
		return nil, fmt.Errorf("%w: expected %s, found %q", ErrProfile, Profile, loose.Profile)
	}
	var c claims
	if err := decode(text, &c); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	nonce, err := unbase64(c.Nonce)
	if err != nil {
		return nil, fmt.Errorf("%w: eat_nonce: %w", ErrFormat, err)
	}
	host := c.Submods.Host
	if c.Profile != Profile || c.Status != host.Status || len(host.PolicyIDs) != 1 {
		return nil, fmt.Errorf("%w: profile %q, status %q of the whole and %q of its one part, %d policies", ErrResult, c.Profile, c.Status, host.Status, len(host.PolicyIDs))
	}
	r := &Result{
		Status: host.Status, Nonce: nonce, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), Expires: time.Unix(c.Expires, 0).UTC(),
		Verifier: c.Verifier, PolicyID: host.PolicyIDs[0], Vector: host.Vector, Host: host.Attester,
	}
	if host.Verifier != nil {
		r.Reasons = host.Verifier.Reasons
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// unbase64 takes unpadded base64url in its one canonical form (RFC 7515 section 2).
// Go's decoder skips line breaks and ignores spare bits, hence the comparison.
func unbase64(text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if base64.RawURLEncoding.EncodeToString(raw) != text {
		return nil, errors.New("not in canonical base64url")
	}
	return raw, nil
}

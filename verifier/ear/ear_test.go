package ear

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aios/captoken/mldsa"

	second "filippo.io/mldsa"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
)

var issued = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func testKey(t testing.TB, label string) *mldsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte(label))
	k, err := mldsa.NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func good() Result {
	return Result{
		Status: Affirming, Nonce: bytes.Repeat([]byte{7}, 32), IssuedAt: issued, Expires: issued.Add(time.Hour),
		Verifier: Verifier{Build: "aios 0.2", Developer: "AIOS"}, PolicyID: "sha256:00ff",
		Vector: Vector{Executables: ExecutablesApprovedBoot, Hardware: HardwareGenuine, InstanceIdentity: InstanceTrusted, Configuration: ConfigurationApproved},
		Host:   map[string]string{"ak": "00", "name": "a<b>&c"},
	}
}

func bad() Result {
	r := good()
	r.Status, r.Vector.Executables = Contraindicated, ExecutablesContraindicated
	r.Reasons = []Reason{{"pcr.9.differs", "PCR 9: expected 00, quoted 01", "install the image again"}}
	return r
}

func expect() Expect { return Expect{Nonce: good().Nonce, Now: issued.Add(time.Minute)} }

func issue(t testing.TB, key *mldsa.PrivateKey, r Result) string {
	t.Helper()
	token, err := Issue(key, r)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestRoundTrip(t *testing.T) {
	key := testKey(t, "a")
	for name, r := range map[string]Result{"affirming": good(), "contraindicated": bad()} {
		got, err := Verify(issue(t, key, r), key.Public(), expect())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(*got, r) {
			t.Errorf("%s: found %+v, want %+v", name, *got, r)
		}
	}
	if got, err := Verify(issue(t, key, good()), key.Public(), Expect{AnyNonce: true, Now: issued}); err != nil || !bytes.Equal(got.Nonce, good().Nonce) {
		t.Errorf("any nonce: %v, %v", got, err)
	}
}

// The claims stand under the names of draft-ietf-rats-ear-04.
func TestClaimNames(t *testing.T) {
	token := issue(t, testKey(t, "a"), bad())
	raw, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	want := `{"ear_status":"contraindicated","ear_verifier_id":{"build":"aios 0.2","developer":"AIOS"},` +
		`"eat_nonce":"` + base64.RawURLEncoding.EncodeToString(bad().Nonce) + `","eat_profile":"tag:ietf.org,2026:rats/ear#04",` +
		`"exp":1795428000,"iat":1795424400,"submods":{"aios-host":{"ear_appraisal_policy_ids":["sha256:00ff"],` +
		`"ear_attester_claims":{"ak":"00","name":"a<b>&c"},"ear_status":"contraindicated",` +
		`"ear_trustworthiness_vector":{"configuration":2,"executables":96,"hardware":2,"instance-identity":2},` +
		`"ear_verifier_claims":{"reasons":[{"code":"pcr.9.differs","text":"PCR 9: expected 00, quoted 01","remedy":"install the image again"}]}}}}`
	if string(raw) != want {
		t.Errorf("found %s\nwant  %s", raw, want)
	}
}

// Any single change of a token, in any part, is refused.
func TestTamper(t *testing.T) {
	key := testKey(t, "a")
	token := issue(t, key, good())
	parts := strings.Split(token, ".")
	positions := []int{}
	for i := 0; i < len(parts[0])+len(parts[1])+2; i++ {
		positions = append(positions, i)
	}
	for i := len(parts[0]) + len(parts[1]) + 2; i < len(token); i += 97 {
		positions = append(positions, i)
	}
	positions = append(positions, len(token)-1)
	for _, i := range positions {
		for _, c := range []byte("A_.\n") {
			changed := []byte(token)
			if changed[i] == c {
				continue
			}
			changed[i] = c
			if _, err := Verify(string(changed), key.Public(), expect()); err == nil {
				t.Fatalf("byte %d changed to %q: accepted", i, c)
			}
		}
	}
	other := strings.Split(issue(t, key, bad()), ".")
	for name, changed := range map[string]string{
		"claims of another token":    parts[0] + "." + other[1] + "." + parts[2],
		"signature of another token": parts[0] + "." + parts[1] + "." + other[2],
		"signature cut":              token[:len(token)-4],
		"no signature":               parts[0] + "." + parts[1] + ".",
		"two parts":                  parts[0] + "." + parts[1],
		"four parts":                 token + ".",
		"padding":                    token + "=",
		"line break":                 token + "\n",
		"space before":               " " + token,
		"JSON serialization":         `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"empty":                      "",
		"large":                      strings.Repeat("A", MaxToken+1),
	} {
		if _, err := Verify(changed, key.Public(), expect()); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want ErrFormat or ErrSignature", name, err)
		}
	}
}

// sign makes a token from any header and claims, as an attacker with the key could.
func sign(t *testing.T, key *mldsa.PrivateKey, header, claims string) string {
	t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	s, err := key.Sign([]byte(input), nil)
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(s)
}

func halves(t *testing.T, key *mldsa.PrivateKey, r Result) (header, claims string) {
	t.Helper()
	parts := strings.Split(issue(t, key, r), ".")
	h, _ := base64.RawURLEncoding.DecodeString(parts[0])
	c, _ := base64.RawURLEncoding.DecodeString(parts[1])
	return string(h), string(c)
}

func TestAlgorithmConfusion(t *testing.T) {
	key := testKey(t, "a")
	header, claims := halves(t, key, good())
	encode := base64.RawURLEncoding.EncodeToString
	forge := func(alg string, signer func(input string) []byte) string {
		input := encode([]byte(strings.Replace(header, mldsa.Algorithm, alg, 1))) + "." + encode([]byte(claims))
		return input + "." + encode(signer(input))
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{
		"none": forge("none", func(string) []byte { return nil }),
		"NONE": forge("NONE", func(string) []byte { return nil }),
		// The classic: the public key taken as the secret of a MAC.
		"HS256": forge("HS256", func(input string) []byte {
			m := hmac.New(sha256.New, key.Public().Bytes())
			m.Write([]byte(input))
			return m.Sum(nil)
		}),
		"ES256": forge("ES256", func(input string) []byte {
			sum := sha256.Sum256([]byte(input))
			r, s, err := ecdsa.Sign(rand.Reader, ec, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}),
		// Signed by the right key: even then only the one name will do.
		"ML-DSA-44": sign(t, key, strings.Replace(header, mldsa.Algorithm, "ML-DSA-44", 1), claims),
		"ml-dsa-65": sign(t, key, strings.Replace(header, mldsa.Algorithm, "ml-dsa-65", 1), claims),
		"missing":   sign(t, key, strings.Replace(header, `"alg":"ML-DSA-65",`, "", 1), claims),
		"twice":     sign(t, key, strings.Replace(header, `{`, `{"alg":"ML-DSA-65","alg":"none",`, 1), claims),
	}
	for name, token := range tokens {
		_, err := Verify(token, key.Public(), expect())
		if name == "twice" && errors.Is(err, ErrFormat) {
			continue
		}
		if !errors.Is(err, ErrAlgorithm) {
			t.Errorf("%s: %v, want ErrAlgorithm", name, err)
		}
	}
}

// Tokens that the right key signed and that are refused all the same.
func TestVerifyRefuses(t *testing.T) {
	key := testKey(t, "a")
	header, claims := halves(t, key, good())
	_, badClaims := halves(t, key, bad())
	swap := func(text, old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
	late, early, otherNonce := expect(), expect(), expect()
	late.Now, early.Now = issued.Add(time.Hour), issued.Add(-skew-time.Second)
	otherNonce.Nonce = bytes.Repeat([]byte{8}, 32)
	for _, c := range []struct {
		name           string
		header, claims string
		want           Expect
		err            error
	}{
		{"expired", header, claims, late, ErrTime},
		{"from the future", header, claims, early, ErrTime},
		{"other nonce", header, claims, otherNonce, ErrNonce},
		{"typ JWT", swap(header, "eat+jwt", "JWT"), claims, expect(), ErrFormat},
		{"no typ", swap(header, `,"typ":"eat+jwt"`, ""), claims, expect(), ErrFormat},
		{"crit", swap(header, `{"alg":"ML-DSA-65"`, `{"alg":"ML-DSA-65","crit":["b64"]`), claims, expect(), ErrFormat},
		{"key in the header", swap(header, `"kid"`, `"jwk":{},"kid"`), claims, expect(), ErrFormat},
		{"header with a space", swap(header, `,`, `, `), claims, expect(), ErrFormat},
		{"header with an escape", swap(header, `ML-`, `M\u004c-`), claims, expect(), ErrFormat},
		{"header not JSON", "hello", claims, expect(), ErrFormat},
		{"header null", "null", claims, expect(), ErrAlgorithm},
		{"other kid", swap(header, Thumbprint(key.Public()), Thumbprint(testKey(t, "b").Public())), claims, expect(), ErrKey},
		{"old profile", header, swap(claims, Profile, "tag:github.com,2023:veraison/ear"), expect(), ErrProfile},
		{"no profile", header, swap(claims, `"eat_profile":"`+Profile+`",`, ""), expect(), ErrProfile},
		{"claim twice", header, swap(claims, `{"ear_status"`, `{"ear_status":"affirming","ear_status"`), expect(), ErrFormat},
		{"claim in capitals", header, swap(claims, `"exp"`, `"EXP"`), expect(), ErrFormat},
		{"unknown claim", header, swap(claims, `"exp"`, `"also":1,"exp"`), expect(), ErrFormat},
		{"second submodule", header, swap(claims, `"submods":{`, `"submods":{"a":{},`), expect(), ErrFormat},
		{"claims not JSON", header, "hello", expect(), ErrFormat},
		{"bytes after claims", header, claims + " ", expect(), ErrFormat},
		{"time as text", header, swap(claims, `"iat":1795424400`, `"iat":"1795424400"`), expect(), ErrFormat},
		{"time as fraction", header, swap(claims, `"iat":1795424400`, `"iat":1795424400.5`), expect(), ErrFormat},
		{"long life", header, swap(claims, `"exp":1795428000`, `"exp":1895428000`), expect(), ErrResult},
		{"expiry before issue", header, swap(claims, `"exp":1795428000`, `"exp":1`), expect(), ErrResult},
		{"status of the whole", header, swap(badClaims, `{"ear_status":"contraindicated"`, `{"ear_status":"affirming"`), expect(), ErrResult},
		{"status none", header, strings.ReplaceAll(claims, "affirming", "none"), expect(), ErrResult},
		{"affirming against the vector", header, swap(claims, `"executables":3`, `"executables":33`), expect(), ErrResult},
		{"vector out of range", header, swap(claims, `"executables":3`, `"executables":300`), expect(), ErrFormat},
		{"no policy", header, swap(claims, `["sha256:00ff"]`, `[]`), expect(), ErrResult},
		{"short nonce", header, swap(claims, base64.RawURLEncoding.EncodeToString(good().Nonce), "AAAA"), expect(), ErrResult},
		{"nonce not base64url", header, swap(claims, base64.RawURLEncoding.EncodeToString(good().Nonce), "AAAA+AAA="), expect(), ErrFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r, err := Verify(sign(t, key, c.header, c.claims), key.Public(), c.want); !errors.Is(err, c.err) {
				t.Errorf("found %+v, %v, want %v", r, err, c.err)
			}
		})
	}
	if _, err := Verify(issue(t, key, good()), testKey(t, "b").Public(), expect()); !errors.Is(err, ErrKey) {
		t.Errorf("other key: %v, want ErrKey", err)
	}
	// The right identifier over another key's signature.
	b := testKey(t, "b")
	if _, err := Verify(sign(t, b, header, claims), key.Public(), expect()); !errors.Is(err, ErrSignature) {
		t.Errorf("other key, false kid: %v, want ErrSignature", err)
	}
	for name, want := range map[string]Expect{
		"no time": {Nonce: good().Nonce}, "no nonce": {Now: issued}, "nonce and any": {Nonce: good().Nonce, AnyNonce: true, Now: issued},
	} {
		if _, err := Verify(issue(t, key, good()), key.Public(), want); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	key := testKey(t, "a")
	for name, change := range map[string]func(*Result){
		"no status":        func(r *Result) { r.Status = "" },
		"short nonce":      func(r *Result) { r.Nonce = r.Nonce[:7] },
		"long nonce":       func(r *Result) { r.Nonce = make([]byte, 65) },
		"no time":          func(r *Result) { r.IssuedAt = time.Time{} },
		"fraction":         func(r *Result) { r.IssuedAt = r.IssuedAt.Add(time.Millisecond) },
		"no expiry":        func(r *Result) { r.Expires = time.Time{} },
		"long life":        func(r *Result) { r.Expires = r.IssuedAt.Add(MaxLifetime + time.Second) },
		"no build":         func(r *Result) { r.Verifier.Build = "" },
		"no policy":        func(r *Result) { r.PolicyID = "" },
		"no vector":        func(r *Result) { r.Vector = Vector{} },
		"vector is worse":  func(r *Result) { r.Vector.Hardware = HardwareUnsafe },
		"vector below 0":   func(r *Result) { r.Vector.Hardware = -128 },
		"warned, affirmed": func(r *Result) { r.Reasons = []Reason{{"c", "t", "r"}} },
		"no reason":        func(r *Result) { r.Status = Warning },
		"empty reason":     func(r *Result) { r.Status, r.Reasons = Warning, []Reason{{}} },
		"large":            func(r *Result) { r.Host = map[string]string{"x": strings.Repeat("x", MaxToken)} },
	} {
		r := good()
		change(&r)
		if _, err := Issue(key, r); !errors.Is(err, ErrResult) {
			t.Errorf("%s: %v, want ErrResult", name, err)
		}
	}
}

// Texts can come from a hostile log. They must not make a token that does not verify.
func TestHostileTexts(t *testing.T) {
	key := testKey(t, "a")
	r := bad()
	r.Reasons[0].Text = "\xff\xfe\x00\u2028</script>\"\\"
	r.Host = map[string]string{"\xff": "\xff"}
	got, err := Verify(issue(t, key, r), key.Public(), expect())
	if err != nil {
		t.Fatal(err)
	}
	if got.Reasons[0].Text != "\ufffd\x00\u2028</script>\"\\" || !maps.Equal(got.Host, map[string]string{"\ufffd": "\ufffd"}) {
		t.Errorf("found %q, %q", got.Reasons[0].Text, got.Host)
	}
}

func TestJWK(t *testing.T) {
	key := testKey(t, "a").Public()
	text := EncodeJWK(key)
	back, err := ParseJWK(text)
	if err != nil || !back.Equal(key) {
		t.Fatalf("another key came back: %v", err)
	}
	var members map[string]string
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(members)); !slices.Equal(names, []string{"alg", "kid", "kty", "pub"}) || members["kty"] != "AKP" || members["alg"] != "ML-DSA-65" {
		t.Errorf("members: %v", names)
	}
	// RFC 7638 section 3: required members, by name, without white space.
	sum := sha256.Sum256([]byte(`{"alg":"ML-DSA-65","kty":"AKP","pub":"` + members["pub"] + `"}`))
	if want := base64.RawURLEncoding.EncodeToString(sum[:]); members["kid"] != want || Thumbprint(key) != want {
		t.Errorf("thumbprint: found %s, want %s", members["kid"], want)
	}
	for name, text := range map[string]string{
		"private":   strings.Replace(string(text), `"pub"`, `"priv":"AA","pub"`, 1),
		"other kty": strings.Replace(string(text), "AKP", "OKP", 1),
		"other alg": strings.Replace(string(text), "ML-DSA-65", "ML-DSA-44", 1),
		"other kid": strings.Replace(string(text), members["kid"], Thumbprint(testKey(t, "b").Public()), 1),
		"short pub": strings.Replace(string(text), members["pub"], "AAAA", 1),
		"bad pub":   strings.Replace(string(text), members["pub"], "=", 1),
		"spaces":    string(text) + "\n",
		"empty":     "",
	} {
		if _, err := ParseJWK([]byte(text)); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrAlgorithm) && !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// secondMLDSA gives lestrrat-go/jwx the other implementation of ML-DSA.
type secondMLDSA struct{}

func (secondMLDSA) Algorithm() jwa.SignatureAlgorithm {
	return jwa.NewSignatureAlgorithm(mldsa.Algorithm)
}

func (secondMLDSA) Verify(key any, payload, signature []byte) error {
	return second.Verify(key.(*second.PublicKey), payload, signature, nil)
}

func (secondMLDSA) Sign(key any, payload []byte) ([]byte, error) {
	return key.(*second.PrivateKey).Sign(nil, payload, &second.Options{})
}

// A library that knows nothing of ours reads our tokens, and we read its.
func TestAgreesWithSecondImplementation(t *testing.T) {
	alg := jwa.NewSignatureAlgorithm(mldsa.Algorithm)
	if err := jws.RegisterVerifier(alg, secondMLDSA{}); err != nil {
		t.Fatal(err)
	}
	if err := jws.RegisterSigner(alg, secondMLDSA{}); err != nil {
		t.Fatal(err)
	}
	key := testKey(t, "a")
	theirs, err := second.NewPrivateKey(second.MLDSA65(), key.Seed())
	if err != nil {
		t.Fatal(err)
	}
	token := issue(t, key, bad())
	payload, err := jws.Verify([]byte(token), jws.WithCompact(), jws.WithKey(alg, theirs.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	headers := jws.NewHeaders()
	for name, value := range map[string]any{jws.TypeKey: Type, jws.KeyIDKey: Thumbprint(key.Public())} {
		if err := headers.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	again, err := jws.Sign(payload, jws.WithCompact(), jws.WithKey(alg, theirs, jws.WithProtectedHeaders(headers)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(string(again), key.Public(), expect())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*r, bad()) {
		t.Errorf("found %+v", r)
	}
}

// Whatever verifies was issued: the fuzzer has no key. What parses as claims is
// consistent, and is written again as the same bytes.
func FuzzVerify(f *testing.F) {
	key := testKey(f, "a")
	token := issue(f, key, good())
	parts := strings.Split(token, ".")
	f.Add(token)
	f.Add(issue(f, key, bad()))
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := Verify(text, key.Public(), expect()); err == nil {
			if again := strings.Split(text, "."); again[0] != parts[0] || !reflect.DeepEqual(*r, good()) && !reflect.DeepEqual(*r, bad()) {
				t.Errorf("forged: %s", text)
			}
		}
	})
}

func FuzzClaims(f *testing.F) {
	key := testKey(f, "a")
	for _, r := range []Result{good(), bad()} {
		raw, _ := base64.RawURLEncoding.DecodeString(strings.Split(issue(f, key, r), ".")[1])
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseClaims(text)
		if err != nil {
			return
		}
		token, err := Issue(key, *r)
		if err != nil {
			t.Fatalf("accepted, but cannot be issued: %v", err)
		}
		if raw, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1]); !bytes.Equal(raw, text) {
			t.Errorf("accepted %s\nwrites   %s", text, raw)
		}
	})
}

func BenchmarkIssue(b *testing.B) {
	key := testKey(b, "a")
	for b.Loop() {
		issue(b, key, good())
	}
}

func BenchmarkVerify(b *testing.B) {
	key := testKey(b, "a")
	token := issue(b, key, good())
	public := key.Public()
	for b.Loop() {
		if _, err := Verify(token, public, expect()); err != nil {
			b.Fatal(err)
		}
	}
}

// A vector never says worse than the status that it explains.
func TestVectorAtBest(t *testing.T) {
	v := Vector{Hardware: HardwareUnsafe, Executables: ExecutablesContraindicated, Configuration: ConfigurationApproved, InstanceIdentity: CryptoFailed}
	for status, want := range map[string]Vector{
		Affirming:       {Configuration: ConfigurationApproved},
		Warning:         {Configuration: ConfigurationApproved, Hardware: HardwareUnsafe},
		Contraindicated: v,
	} {
		// Executables are contraindicated at 96, so they go with a warning too.
		if got := v.AtBest(status); got != want {
			t.Errorf("%s: found %+v, want %+v", status, got, want)
		}
	}
}

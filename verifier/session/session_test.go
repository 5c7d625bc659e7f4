package session

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aios/boot/predict"
	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/policy"
	"aios/verifier/ear"
	"aios/verifier/ek"
	"aios/verifier/enrol"
	"aios/verifier/eventlog"
	"aios/verifier/quote/tpmtest"
)

var clock = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// host is the attester of testdata on a TPM of software keys. Its fields alter
// what it says.
type host struct {
	t         *testing.T
	tpm       *tpmtest.TPM
	log       []byte
	manifest  []byte
	nonces    [][]byte
	activated int
	secret    func([]byte) []byte // what it makes of the secret
	quoteOf   func(nonce []byte) []byte
	request   *evidence.LeaseRequest
	swap      *evidence.LeaseRequest     // what is sent in its place
	binding   [evidence.BindingSize]byte // of its end of the connection
}

func (h *host) Binding() [evidence.BindingSize]byte { return [evidence.BindingSize]byte{7} }

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// boot puts the log's digests into the TPM's PCRs.
func (h *host) boot() {
	h.t.Helper()
	l, err := eventlog.Parse(h.log)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := range l.Events {
		if e := &l.Events[i]; e.Extends() {
			if err := h.tpm.Extend(int(e.PCR), e.Digest(eventlog.SHA256)); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

func (h *host) Identity(context.Context) (*evidence.Identity, error) { return h.tpm.Identity() }

func (h *host) Activate(_ context.Context, credential, secret []byte) ([]byte, error) {
	h.activated++
	s, err := h.tpm.Activate(credential, secret)
	if h.secret != nil {
		s = h.secret(s)
	}
	return s, err
}

func (h *host) Challenge(_ context.Context, nonce []byte) (*evidence.Evidence, error) {
	h.nonces = append(h.nonces, bytes.Clone(nonce))
	if h.quoteOf != nil {
		nonce = h.quoteOf(nonce)
	}
	asked, err := evidence.Qualify(nonce, h.binding, h.request)
	if err != nil {
		return nil, err
	}
	qualifying := captoken.ChallengeQuote(asked[:])
	attest, signature, err := h.tpm.Quote(qualifying[:])
	sent := h.request
	if h.swap != nil {
		sent = h.swap
	}
	return &evidence.Evidence{Attest: attest, Signature: signature, PCRs: slices.Clone(h.tpm.PCRs[:]), EventLog: h.log, Manifest: h.manifest, Request: sent}, err
}

// site is a verifier with one host that its CA has certified.
type site struct {
	*Verifier
	host *host
	ca   *tpmtest.CA
	dir  string // of the store
}

func newSite(t *testing.T) *site {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tpm, err := tpmtest.New()
	check(err)
	ca, err := tpmtest.NewCA("test manufacturer")
	check(err)
	tpm.Certificate, err = ca.Issue(tpm.EK(), nil)
	check(err)
	h := &host{t: t, tpm: tpm, binding: [evidence.BindingSize]byte{7}, log: read(t, "event.log"), manifest: read(t, "manifest")}
	h.boot()

	s := &site{Verifier: &Verifier{Shape: "large", Build: "test", Now: func() time.Time { return clock }}, host: h, ca: ca,
		dir: filepath.Join(t.TempDir(), "hosts")}
	s.Roots.Add(ca.Certificate)
	s.Hosts, err = enrol.OpenStore(s.dir)
	check(err)
	s.Reference, err = predict.Parse(read(t, "reference.json"))
	check(err)
	s.usePolicy(t, policy.Default())
	seed := sha256.Sum256([]byte("result key"))
	s.Results, err = mldsa.NewPrivateKey(seed[:])
	check(err)
	return s
}

func (s *site) usePolicy(t *testing.T, modules map[string]string) {
	t.Helper()
	var err error
	if s.Policy, err = policy.Compile(t.Context(), modules); err != nil {
		t.Fatal(err)
	}
	s.PolicyID = "sha256:00"
}

func (s *site) open(t *testing.T) *Session {
	t.Helper()
	session, err := s.Open(t.Context(), s.host)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// round also reads the result as a relying party does.
func (s *site) round(t *testing.T, session *Session) (*Result, *ear.Result) {
	t.Helper()
	r, err := session.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result, err := ear.Verify(r.EAR, s.Results.Public(), ear.Expect{Nonce: s.host.nonces[len(s.host.nonces)-1], Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != r.Status || len(result.Reasons) != len(r.Reasons) {
		t.Errorf("the result says %s with %d reasons, the verdict %s with %d", result.Status, len(result.Reasons), r.Status, len(r.Reasons))
	}
	return r, result
}

func (s *site) enrolled(t *testing.T) []*enrol.Host {
	t.Helper()
	hosts, err := s.Hosts.List()
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

func codes(r *Result) string {
	var c []string
	for _, reason := range r.Reasons {
		c = append(c, reason.Code)
	}
	return strings.Join(c, " ")
}

func TestFirstContactEnrols(t *testing.T) {
	s := newSite(t)
	session := s.open(t)
	if !session.First || s.host.activated != 1 {
		t.Errorf("first %v, %d activations", session.First, s.host.activated)
	}
	r, result := s.round(t, session)
	if r.Status != policy.Affirming || r.Round != 1 {
		t.Fatalf("verdict %s: %+v", r.Status, r.Reasons)
	}
	want := ear.Vector{InstanceIdentity: ear.InstanceTrusted, Configuration: ear.ConfigurationApproved,
		Executables: ear.ExecutablesApprovedBoot, Hardware: ear.HardwareGenuine}
	if result.Vector != want || result.Host["manifest_version"] != "1" || result.Host["secure_boot"] != "enabled" ||
		result.Host["image_sha256"] != s.Reference.ImageSHA256.String() || result.Expires.Sub(result.IssuedAt) != DefaultValidity {
		t.Errorf("result %+v", result)
	}
	// Nothing in it follows the machine from one relying party to the next.
	for name, v := range result.Host {
		if strings.Contains(v, session.Host.EKHash[:8]) || strings.Contains(v, session.Host.AKName[8:16]) {
			t.Errorf("claim %s = %s names the TPM", name, v)
		}
	}
	hosts := s.enrolled(t)
	if len(hosts) != 1 || len(hosts[0].Baselines["large"]) == 0 {
		t.Fatalf("records %+v", hosts)
	}

	again := s.open(t)
	if again.First || s.host.activated != 1 || again.Host.ID != session.Host.ID {
		t.Errorf("second contact: first %v, %d activations", again.First, s.host.activated)
	}
	for want := 1; want <= 3; want++ {
		if r, _ := s.round(t, again); r.Status != policy.Affirming || r.Round != want {
			t.Errorf("round %d of the second session: %d, %s", want, r.Round, r.Status)
		}
	}
	seen := map[string]bool{}
	for _, n := range s.host.nonces {
		if len(n) != evidence.NonceSize || seen[string(n)] {
			t.Errorf("nonce %x", n)
		}
		seen[string(n)] = true
	}
}

// What is refused at first contact leaves no record.
func TestOpenRefuses(t *testing.T) {
	other, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		alter func(*site)
		err   error
	}{
		{"unknown CA", func(s *site) { s.Roots = ek.Roots{}; s.Roots.Add(must(tpmtest.NewCA("other")).Certificate) }, ek.ErrUnknownCA},
		{"no CA at all", func(s *site) { s.Roots = ek.Roots{} }, ek.ErrUnknownCA},
		{"no certificate", func(s *site) { s.host.tpm.Certificate = nil }, enrol.ErrNoCertificate},
		{"certificate of another TPM", func(s *site) { s.host.tpm.Certificate = must(s.ca.Issue(other.EK(), nil)) }, enrol.ErrEK},
		{"AK in another TPM", func(s *site) { s.host.secret = func(b []byte) []byte { return bytes.Repeat([]byte{1}, len(b)) } }, enrol.ErrActivation},
		{"no secret", func(s *site) { s.host.secret = func([]byte) []byte { return nil } }, enrol.ErrActivation},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			c.alter(s)
			if session, err := s.Open(t.Context(), s.host); !errors.Is(err, c.err) {
				t.Errorf("%+v, %v, want %v", session, err, c.err)
			}
			if hosts := s.enrolled(t); len(hosts) != 0 {
				t.Errorf("%d records", len(hosts))
			}
		})
	}
}

// A CA that is trusted no longer takes its hosts with it.
func TestCertificateIsVerifiedEachTime(t *testing.T) {
	s := newSite(t)
	s.round(t, s.open(t))
	s.Roots = ek.Roots{}
	if _, err := s.Open(t.Context(), s.host); !errors.Is(err, ek.ErrUnknownCA) {
		t.Error(err)
	}
}

func TestKnownTPMWithAnotherAK(t *testing.T) {
	s := newSite(t)
	s.round(t, s.open(t))
	s.host.tpm.AKAttributes.NoDA = false // another template, so another key
	if _, err := s.Open(t.Context(), s.host); !errors.Is(err, ErrOtherAK) {
		t.Error(err)
	}
	if s.host.activated != 1 {
		t.Error("the new key was enrolled")
	}
}

func TestRound(t *testing.T) {
	old := bytes.Repeat([]byte{9}, evidence.NonceSize)
	failed := ear.Vector{InstanceIdentity: ear.CryptoFailed, Configuration: ear.CryptoFailed, Executables: ear.CryptoFailed, Hardware: ear.HardwareGenuine}
	// A log that is not the whole truth proves nothing about Secure Boot either.
	logFailed := func(v *ear.Vector) {
		v.Configuration, v.Executables = ear.ConfigurationUnsupportable, ear.ExecutablesContraindicated
	}
	for _, c := range []struct {
		name   string
		alter  func(*host)
		code   string // of the first reason
		vector func(*ear.Vector)
	}{
		{"old nonce", func(h *host) { h.quoteOf = func([]byte) []byte { return old } }, "check.nonce", func(v *ear.Vector) { *v = failed }},
		{"quote of another connection", func(h *host) { h.binding[0]++ }, "check.nonce", func(v *ear.Vector) { *v = failed }},
		{"another lease request than was quoted", func(h *host) { h.swap = &evidence.LeaseRequest{Seen: 9} }, "check.nonce", func(v *ear.Vector) { *v = failed }},
		{"another PCR 11", func(h *host) { h.tpm.Extend(11, make([]byte, 32)) }, "check.log_replay", logFailed},
		{"other firmware", func(h *host) { h.tpm.Extend(0, make([]byte, 32)) }, "check.log_replay",
			func(v *ear.Vector) { logFailed(v); v.Hardware = ear.HardwareContraindicated }},
		{"truncated log", func(h *host) { h.log = h.log[:len(h.log)-7] }, "check.log_parse", logFailed},
		{"another manifest", func(h *host) { h.manifest = append(h.manifest, '\n') }, "check.manifest",
			func(v *ear.Vector) { v.Executables = ear.ExecutablesContraindicated }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			session := s.open(t)
			_, good := s.round(t, session)
			c.alter(s.host)
			r, result := s.round(t, session)
			if r.Status != policy.Contraindicated || r.Reasons[0].Code != c.code {
				t.Errorf("verdict %s: %s", r.Status, codes(r))
			}
			want := good.Vector
			c.vector(&want)
			if result.Vector != want {
				t.Errorf("vector %+v, want %+v", result.Vector, want)
			}
			if claimed := len(result.Host) > 0; claimed != r.Quoted {
				t.Errorf("claims %v of a host whose quote is good: %v", result.Host, r.Quoted)
			}
			if _, ok := result.Host["image_sha256"]; ok {
				t.Error("the result names an image that was not proven")
			}
		})
	}
}

// The first evidence must be good for its firmware to become the baseline, and
// what became the baseline stays it.
func TestBaseline(t *testing.T) {
	s := newSite(t)
	manifest := s.host.manifest
	s.host.manifest = nil
	session := s.open(t)
	r, _ := s.round(t, session)
	if r.Status != policy.Contraindicated || s.enrolled(t)[0].Baselines != nil || r.PCRs["0"].Basis != policy.BasisNone {
		t.Fatalf("verdict %s, PCR 0 %+v, record %+v", r.Status, r.PCRs["0"], s.enrolled(t)[0])
	}
	s.host.manifest = manifest
	if r, _ := s.round(t, session); r.Status != policy.Affirming {
		t.Fatalf("verdict %s: %s", r.Status, codes(r))
	}
	first := maps.Clone(s.enrolled(t)[0].Baselines["large"])

	s.Shape = "small"
	if r, _ := s.round(t, s.open(t)); r.Status != policy.Affirming {
		t.Fatalf("another shape: verdict %s: %s", r.Status, codes(r))
	}
	baselines := s.enrolled(t)[0].Baselines
	if len(baselines) != 2 || !maps.Equal(baselines["large"], first) {
		t.Errorf("baselines %v", baselines)
	}
}

func TestResetEndsTheSession(t *testing.T) {
	s := newSite(t)
	session := s.open(t)
	s.round(t, session)
	s.host.tpm.Reset()
	s.host.boot()
	if r, err := session.Round(t.Context()); !errors.Is(err, ErrRestarted) {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _ := s.round(t, s.open(t)); r.Status != policy.Affirming {
		t.Errorf("a new session: %s", codes(r))
	}
}

// A policy may be content with less than ours. The result then makes no claim
// where the finding is worse than the verdict.
func TestPolicyOverrulesFindings(t *testing.T) {
	s := newSite(t)
	modules := policy.Default()
	modules["attest.rego"] = `package aios.attest

decision := {"status": "affirming", "reasons": []}
`
	s.usePolicy(t, modules)
	session := s.open(t)
	s.round(t, session)
	s.host.manifest = nil
	r, result := s.round(t, session)
	if r.Status != policy.Affirming || result.Vector.Executables != 0 || result.Vector.Hardware != ear.HardwareGenuine {
		t.Errorf("verdict %s, vector %+v", r.Status, result.Vector)
	}
}

func TestStoreFailureIsAnError(t *testing.T) {
	s := newSite(t)
	session := s.open(t)
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	if r, err := session.Round(t.Context()); err == nil {
		t.Errorf("an affirming verdict whose baseline is lost: %+v", r)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Package session is the verifier's part in a conversation with one host (RATS
// challenge and response, RFC 9334 section 10.3): it recognises the host or
// enrols it, then appraises it round after round and signs each result.
//
// It knows no transport: an Attester is whatever answers, over a virtio console
// now, over a network later. Every failure of a check means no; what fails
// before a verdict is reached is an error, and nothing is recorded of it.
package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"aios/boot/predict"
	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/policy"
	"aios/verifier/appraisal"
	"aios/verifier/ear"
	"aios/verifier/ek"
	"aios/verifier/enrol"
)

// DefaultValidity is how long a relying party may rely on one result. It
// covers a few lost rounds and no more: what was so is not what is so.
const DefaultValidity = 5 * time.Minute

var (
	// ErrOtherAK says that a known TPM shows another attestation key than it was
	// enrolled with.
	ErrOtherAK = errors.New("the host shows another attestation key than it was enrolled with")
	// ErrRestarted says that the host was reset after the session was opened.
	ErrRestarted = errors.New("the host was reset during the session")
)

// Attester answers a verifier; *evidence.Client is one.
type Attester interface {
	Identity(context.Context) (*evidence.Identity, error)
	Activate(ctx context.Context, credential, secret []byte) ([]byte, error)
	Challenge(ctx context.Context, nonce []byte) (*evidence.Evidence, error)
	// Binding names the connection, so that a quote is worth nothing on another one.
	Binding() [evidence.BindingSize]byte
}

// Admission says which unknown TPMs may be enrolled.
type Admission interface {
	// Admit is asked before a credential is made. commit is called once the TPM has
	// opened it and before the host is on record: it uses up what admitted the host,
	// durably, and an error means that somebody else was faster.
	Admit(ekHash string, token []byte) (commit func() error, err error)
}

// Verifier is what every session shares. It may serve many at once.
type Verifier struct {
	Roots     ek.Roots           // CAs whose TPMs are believed to be TPMs
	Hosts     *enrol.Store       // records of enrolled hosts
	Reference *predict.Reference // of the image; its signature has been verified
	Shape     string             // what the operator says of the machine's hardware: each shape has a baseline of its own
	Policy    *policy.Engine
	PolicyID  string // names the policy in results: "sha256:" and its digest
	Results   *mldsa.PrivateKey
	Admission Admission        // nil: every TPM that a trusted CA vouches for is enrolled
	Build     string           // of this program, for results
	Validity  time.Duration    // of a result; 0 means DefaultValidity
	Now       func() time.Time // nil means time.Now
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

// Session is one conversation with one start of one host. Its methods are for
// one goroutine.
type Session struct {
	Host  *enrol.Host
	First bool // the host was enrolled by this session

	v        *Verifier
	attester Attester
	round    int
	resets   *uint32 // TPM resets, as of the first good quote
}

// Open asks who is there. An unknown TPM is enrolled if its EK certificate
// leads to a trusted CA and it opens the credential that only the TPM with
// that EK and that AK can open; a known one must show the key on record.
func (v *Verifier) Open(ctx context.Context, a Attester) (*Session, error) {
	id, err := a.Identity(ctx)
	if err != nil {
		return nil, err
	}
	// The certificate is verified each time: a CA that is trusted no longer
	// takes the hosts with it that it once vouched for.
	pending, err := enrol.Begin(id, v.Roots, v.now())
	if err != nil {
		return nil, fmt.Errorf("enrol the host: %w", err)
	}
	s := &Session{v: v, attester: a}
	s.Host, err = v.Hosts.Get(pending.HostID())
	switch {
	case errors.Is(err, enrol.ErrUnknownHost):
		s.First = true
		return s, s.enrol(ctx, pending, id.Token)
	case err != nil:
		return nil, err
	case !s.Host.SameEK(id.EKPublic):
		return nil, fmt.Errorf("%s: %w", s.Host.ID, enrol.ErrEK)
	case !s.Host.SameAK(id.AKPublic):
		return nil, fmt.Errorf("%s: %w (AK %.16s...)", s.Host.ID, ErrOtherAK, s.Host.AKName)
	}
	s.Host.Baseline = s.Host.Baselines[v.Shape]
	return s, nil
}

func (s *Session) enrol(ctx context.Context, pending *enrol.Pending, token []byte) error {
	commit := func() error { return nil }
	if s.v.Admission != nil {
		var err error
		if commit, err = s.v.Admission.Admit(pending.EKHash(), token); err != nil {
			return fmt.Errorf("enrol %s: %w", pending.HostID(), err)
		}
	}
	secret, err := s.attester.Activate(ctx, pending.Credential, pending.Secret)
	if err != nil {
		return fmt.Errorf("enrol the host: %w: %w", enrol.ErrActivation, err)
	}
	if s.Host, err = pending.Finish(secret); err != nil {
		return fmt.Errorf("enrol the host: %w", err)
	}
	if err := commit(); err != nil {
		return fmt.Errorf("enrol %s: %w", pending.HostID(), err)
	}
	return s.v.Hosts.Put(s.Host)
}

// Result is one round's outcome.
type Result struct {
	*appraisal.Verdict
	Round int    // from 1
	EAR   string // the signed attestation result
	// Request is what the host asks of the token authority. The quote is over it, as
	// over the nonce; so it is the host's own if the quote is good.
	Request *evidence.LeaseRequest
}

// Round challenges the host with a nonce that is used for nothing else, judges
// the evidence and signs the result. The error is that of a conversation that
// failed; bad evidence gives a verdict.
func (s *Session) Round(ctx context.Context) (*Result, error) {
	nonce := make([]byte, evidence.NonceSize)
	rand.Read(nonce) // never fails (Go 1.24)
	e, err := s.attester.Challenge(ctx, nonce)
	if err != nil {
		return nil, err
	}
	asked, err := evidence.Qualify(nonce, s.attester.Binding(), e.Request)
	if err != nil {
		return nil, err
	}
	qualifying := captoken.ChallengeQuote(asked[:])
	verdict, err := s.appraise(ctx, appraisal.Input{
		Evidence: e, Nonce: qualifying[:], Host: s.Host, Reference: s.v.Reference, Policy: s.v.Policy,
	})
	if err != nil {
		return nil, err
	}
	if err := s.sameBoot(verdict); err != nil {
		return nil, err
	}
	token, err := s.v.sign(verdict, nonce)
	if err != nil {
		return nil, err
	}
	s.round++
	return &Result{Verdict: verdict, Round: s.round, EAR: token, Request: e.Request}, nil
}

// sameBoot holds the host to one boot for the length of a session.
func (s *Session) sameBoot(verdict *appraisal.Verdict) error {
	switch {
	case !verdict.Quoted: // nothing is known; the verdict says so
	case s.resets == nil:
		s.resets = &verdict.ResetCount
	case *s.resets != verdict.ResetCount:
		return fmt.Errorf("%s: %w: TPM reset count %d, %d when it began", s.Host.ID, ErrRestarted, verdict.ResetCount, *s.resets)
	}
	return nil
}

// appraise judges, and takes the baseline of the firmware's PCRs from the first
// evidence that is good in every other respect: trust on first use, which is
// why it is labelled as such wherever it is shown.
func (s *Session) appraise(ctx context.Context, in appraisal.Input) (*appraisal.Verdict, error) {
	if s.Host.Baseline != nil {
		return appraisal.Appraise(ctx, in)
	}
	baseline, err := appraisal.Baseline(in)
	if err != nil { // the appraisal will say the same, and more
		return appraisal.Appraise(ctx, in)
	}
	plain := in
	with := *s.Host
	with.Baseline = baseline
	with.Baselines = maps.Clone(s.Host.Baselines)
	if with.Baselines == nil {
		with.Baselines = map[string]map[string]string{}
	}
	with.Baselines[s.v.Shape] = baseline
	in.Host = &with
	verdict, err := appraisal.Appraise(ctx, in)
	switch {
	case err != nil:
		return nil, err
	case !verdict.Affirming(): // nothing is taken, so nothing was compared
		return appraisal.Appraise(ctx, plain)
	}
	if err := s.v.Hosts.Put(&with); err != nil {
		return nil, err
	}
	s.Host = &with
	return verdict, nil
}

// sign makes the result that relying parties see.
func (v *Verifier) sign(verdict *appraisal.Verdict, nonce []byte) (string, error) {
	now := v.now().UTC().Truncate(time.Second)
	validity := v.Validity
	if validity == 0 {
		validity = DefaultValidity
	}
	return ear.Issue(v.Results, ear.Result{
		Status: verdict.Status, Nonce: nonce, IssuedAt: now, Expires: now.Add(validity),
		Verifier: ear.Verifier{Build: v.Build, Developer: "AIOS"}, PolicyID: v.PolicyID,
		Vector: vector(verdict), Host: v.claims(verdict), Reasons: reasons(verdict),
	})
}

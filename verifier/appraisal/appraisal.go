// Package appraisal judges the evidence of an AIOS host (RATS, RFC 9334
// sections 4.2 and 8.3). It is a library: it knows no network and no store.
//
// Appraise establishes facts (is the quote fresh, does the log lead to the
// quoted PCRs, are its events what their digests say, do the PCRs have the
// values predicted from the signed image) and lets the Rego policy
// aios.attest decide what they are worth. A check that cannot be made counts
// as failed.
package appraisal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"aios/boot/manifest"
	"aios/boot/measure"
	"aios/boot/predict"
	"aios/evidence"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/eventlog"
	"aios/verifier/quote"
)

// PCRs that are compared with predictions, and with the enrolment baseline.
var (
	PredictedPCRs = []int{4, 7, 8, 9, 11}
	BaselinePCRs  = []int{0, 2, 3, 6}
)

// Input is one piece of evidence and what it is held against.
type Input struct {
	Evidence  *evidence.Evidence
	Nonce     []byte             // of the challenge that the evidence answers
	Host      *enrol.Host        // the enrolled host that the channel claims to be
	Reference *predict.Reference // of the image; its signature has been verified
	Policy    *policy.Engine
}

// Verdict is the result with its grounds.
type Verdict struct {
	Status     string                `json:"status"` // AR4SI tier: affirming, warning, contraindicated
	Reasons    []policy.Reason       `json:"reasons"`
	Checks     []policy.Check        `json:"checks"`
	PCRs       map[string]policy.PCR `json:"pcrs"`
	SecureBoot eventlog.SecureBoot   `json:"secure_boot"`
	Manifest   policy.Manifest       `json:"manifest"`
	Quoted     bool                  `json:"quoted"` // the quote is good: what follows was said by the TPM
	ResetCount uint32                `json:"reset_count"`
	Clock      uint64                `json:"clock_ms"`
}

// Affirming tells whether the host may be trusted.
func (v *Verdict) Affirming() bool { return v.Status == "affirming" }

// Appraise judges. The error is that of the policy engine or a missing input,
// never of the evidence: bad evidence gives a verdict.
func Appraise(ctx context.Context, in Input) (*Verdict, error) {
	if in.Evidence == nil || in.Host == nil || in.Reference == nil || in.Policy == nil {
		return nil, errors.New("appraisal: evidence, host, reference and policy are all needed")
	}
	f := establish(in)
	decision, err := in.Policy.Attest(ctx, f.input())
	if err != nil {
		return nil, err
	}
	v := &Verdict{
		Status: decision.Status, Reasons: append(decision.Reasons, f.explanations...), Checks: f.checks, PCRs: f.pcrs,
		SecureBoot: f.secureBoot, Manifest: f.manifest,
	}
	if f.info != nil {
		v.Quoted, v.ResetCount, v.Clock = true, f.info.ResetCount, f.info.Clock
	}
	return v, nil
}

// Baseline takes the values of the firmware's PCRs from the evidence of an
// enrolment: fresh, signed by the host's key, and explained by its log.
func Baseline(in Input) (map[string]string, error) {
	f := &facts{in: in}
	if err := f.quote(); err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	f.eventLog()
	for _, c := range f.checks {
		if !c.OK {
			return nil, fmt.Errorf("baseline: %s: %s", c.Name, c.Text)
		}
	}
	out := map[string]string{}
	for _, i := range BaselinePCRs {
		out[strconv.Itoa(i)] = hex.EncodeToString(in.Evidence.PCRs[i])
	}
	return out, nil
}

// facts are what has been established so far.
type facts struct {
	in           Input
	checks       []policy.Check
	pcrs         map[string]policy.PCR
	explanations []policy.Reason
	secureBoot   eventlog.SecureBoot
	manifest     policy.Manifest
	info         *quote.Info
	log          *eventlog.Log
}

func (f *facts) ok(name, format string, a ...any) {
	f.checks = append(f.checks, policy.Check{Name: name, OK: true, Text: fmt.Sprintf(format, a...)})
}

func (f *facts) fail(name, remedy, format string, a ...any) {
	f.checks = append(f.checks, policy.Check{Name: name, Text: fmt.Sprintf(format, a...), Remedy: remedy})
}

func establish(in Input) *facts {
	f := &facts{in: in}
	f.ok(policy.CheckEKChain, "EK certificate issued by %s", in.Host.EKIssuer)
	f.ok(policy.CheckAKBound, "attestation key proven to be in that TPM at enrolment")
	f.quote()
	f.eventLog()
	f.systemManifest()
	f.ok(policy.CheckReference, "reference values of manifest version %d are signed", in.Reference.ManifestVersion)
	f.compare()
	return f
}

func (f *facts) input() policy.Input {
	in := policy.Input{
		Checks: f.checks, PCRs: f.pcrs, Manifest: f.manifest, Host: map[string]any{"id": f.in.Host.ID},
		SecureBoot: policy.SecureBoot{State: string(f.secureBoot.State), Reason: f.secureBoot.Reason},
	}
	if f.info != nil {
		in.Banks = []string{"sha256"} // the only one that quote was told to take
	}
	return in
}

// quote checks nonce, signature and PCR values.
func (f *facts) quote() error {
	e := f.in.Evidence
	key, err := quote.ParseKey(f.in.Host.AKPublic)
	if err != nil {
		f.fail(policy.CheckSignature, "the host's record is damaged: enrol it again", "%v", err)
		return err
	}
	q := &quote.Quote{Attest: e.Attest, Signature: e.Signature}
	if len(e.PCRs) != quote.PCRs {
		err = fmt.Errorf("%w: %d values, want %d", quote.ErrPCRs, len(e.PCRs), quote.PCRs)
	} else {
		copy(q.PCRs[:], e.PCRs)
		f.info, err = quote.Verify(key, q, quote.Policy{Nonce: f.in.Nonce, Banks: sha256Only, All: true})
	}
	named := false
	for _, c := range []struct {
		name   string
		kinds  []error
		good   string
		remedy string
	}{
		{policy.CheckNonce, []error{quote.ErrNonce}, "the quote is over this challenge's nonce", "challenge the host again; if it recurs, something between verifier and host replays old quotes"},
		{policy.CheckSignature, []error{quote.ErrSignature, quote.ErrKey}, "signed by the enrolled attestation key", "enrol the host again if its TPM was replaced; otherwise treat the host as taken over"},
		{policy.CheckPCRDigest, []error{quote.ErrPCRs, quote.ErrBank}, "the PCR values are those that the TPM signed", "something between TPM and verifier altered them: treat the host as taken over"},
	} {
		failed := false
		for _, k := range c.kinds {
			failed = failed || errors.Is(err, k)
		}
		if failed {
			named = true
			f.fail(c.name, c.remedy, "%s", lineFor(err, c.kinds))
		} else if errors.Is(err, quote.ErrFormat) {
			named = true
			f.fail(c.name, "the host's attester is broken or lies: boot a good image", "%v", err)
		} else {
			f.ok(c.name, "%s", c.good)
		}
	}
	if err != nil && !named {
		f.fail(policy.CheckSignature, "report this error", "%v", err)
	}
	return err
}

// lineFor picks, of a joined error, the part of one of the kinds.
func lineFor(err error, kinds []error) string {
	parts := []error{err}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		parts = j.Unwrap()
	}
	for _, p := range parts {
		for _, k := range kinds {
			if errors.Is(p, k) {
				return p.Error()
			}
		}
	}
	return err.Error()
}

// systemManifest checks that the manifest in the evidence is the measured one.
func (f *facts) systemManifest() {
	const remedy = "boot an image whose manifest is signed by a trusted key"
	payload := f.in.Evidence.Manifest
	m, err := manifest.Parse(payload)
	if err != nil {
		f.fail(policy.CheckManifest, remedy, "the manifest in the evidence: %v", err)
		return
	}
	sum := sha256.Sum256(payload)
	want := fmt.Sprintf("aios.manifest sha256:%x version=%d key=", sum, m.Version)
	for i := range f.log.Events {
		e := &f.log.Events[i]
		if e.PCR != 9 || e.Type != eventlog.EVEventTag {
			continue
		}
		text, ok := measure.ParseTagged(e.Data)
		if !ok || len(text) < len(want) || text[:len(want)] != want {
			continue
		}
		f.manifest = policy.Manifest{Version: m.Version, Floor: f.in.Host.Floor, Key: text[len(want):]}
		if f.manifest.Key != f.in.Reference.ManifestKey.String() {
			f.fail(policy.CheckManifest, remedy, "the manifest was signed by key %s, the image's by %s", f.manifest.Key, f.in.Reference.ManifestKey)
			return
		}
		f.ok(policy.CheckManifest, "manifest version %d, signed by key %s, was measured", m.Version, f.manifest.Key)
		return
	}
	f.fail(policy.CheckManifest, remedy, "no event of PCR 9 measured the manifest that the host shows (sha256 %x)", sum)
}

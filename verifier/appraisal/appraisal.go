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
	"regexp"
	"strconv"
	"strings"

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
	SecureBoot eventlog.SecureBoot   `json:"secure_boot"` // not proven unless the log explains the quoted PCRs
	Manifest   policy.Manifest       `json:"manifest"`    // empty in the same case
	Quoted     bool                  `json:"quoted"`      // the quote is good: what follows was said by the TPM
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
	if !v.Quoted || !f.explained {
		v.SecureBoot = eventlog.SecureBoot{State: eventlog.SecureBootNotProven, Reason: "the event log does not explain PCRs that the TPM signed"}
		v.Manifest = policy.Manifest{Floor: in.Host.Floor}
	}
	return v, nil
}

// Baseline takes the values of the firmware's PCRs from the evidence of an
// enrolment: fresh, signed by the host's key, and explained by its log.
func Baseline(in Input) (map[string]string, error) {
	if in.Evidence == nil || in.Host == nil || in.Reference == nil {
		return nil, errors.New("baseline: evidence, host and reference are all needed")
	}
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
	explained    bool // the log was read to its end, leads to the PCRs, and its events are what was extended
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
		for _, name := range []string{policy.CheckNonce, policy.CheckSignature, policy.CheckPCRDigest} {
			f.fail(name, "the host's record is damaged: enrol it again", "cannot be checked: %v", err)
		}
		return err
	}
	q := &quote.Quote{Attest: e.Attest, Signature: e.Signature}
	copy(q.PCRs[:], e.PCRs)
	f.info, err = quote.Verify(key, q, quote.Policy{Nonce: f.in.Nonce, Banks: sha256Only, All: true})
	if n := len(e.PCRs); n != quote.PCRs {
		f.info, err = nil, join(err, fmt.Errorf("%w: %d values, want %d", quote.ErrPCRs, n, quote.PCRs))
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

// join puts err in front of what quote.Verify has joined.
func join(verified, err error) error { return errors.Join(err, verified) }

// lineFor picks, of a joined error, the part of one of the kinds.
func lineFor(err error, kinds []error) string {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, p := range j.Unwrap() {
			for _, k := range kinds {
				if errors.Is(p, k) {
					return lineFor(p, kinds)
				}
			}
		}
	}
	return err.Error()
}

var keyID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// systemManifest checks that the manifest in the evidence is the measured one:
// that of the first event of PCR 9.
func (f *facts) systemManifest() {
	const remedy = "boot an image whose manifest is signed by a trusted key"
	f.manifest.Floor = f.in.Host.Floor
	payload := f.in.Evidence.Manifest
	m, err := manifest.Parse(payload)
	if err != nil {
		f.fail(policy.CheckManifest, remedy, "the manifest in the evidence: %v", err)
		return
	}
	sum := sha256.Sum256(payload)
	e := f.first(measure.KernelPCR)
	if e == nil {
		f.fail(policy.CheckManifest, remedy, "the log has no event of PCR %d: no manifest was measured", measure.KernelPCR)
		return
	}
	key, ok := strings.CutPrefix(measured(e), fmt.Sprintf("aios.manifest sha256:%x version=%d key=", sum, m.Version))
	if !ok || !keyID.MatchString(key) {
		f.fail(policy.CheckManifest, remedy, "the manifest that the host shows (version %d, sha256 %x) is not the one that was measured: %s", m.Version, sum, e.Describe())
		return
	}
	f.manifest.Version, f.manifest.Key = m.Version, key
	if want := f.in.Reference.ManifestKey.String(); key != want {
		f.fail(policy.CheckManifest, remedy, "the manifest was signed by key %s, the image's by %s", key, want)
		return
	}
	f.ok(policy.CheckManifest, "manifest version %d, signed by key %s, was measured", m.Version, key)
}

// first gives the first event that extended a PCR, nil if there is none.
func (f *facts) first(pcr uint32) *eventlog.Event {
	for i := range f.log.Events {
		if e := &f.log.Events[i]; e.PCR == pcr && e.Extends() {
			return e
		}
	}
	return nil
}

// measured gives the text of an event that the boot stage made, "" for any other
// and for one whose text is not what was extended.
func measured(e *eventlog.Event) string {
	text, ok := measure.ParseTagged(e.Data)
	if !ok || uint32(e.Type) != measure.EventTag || e.CheckDigest().State != eventlog.Matched {
		return ""
	}
	return text
}

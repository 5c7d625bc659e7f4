package appraisal

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"aios/boot/predict"
	"aios/policy"
	"aios/verifier/eventlog"
	"aios/verifier/quote"
)

var sha256Only = []crypto.Hash{crypto.SHA256}

const remedyLog = "the log does not say what happened: treat the host as taken over, or fix what alters its log"

// eventLog parses the log, replays it against the quoted PCRs and recomputes
// digests from data.
func (f *facts) eventLog() {
	l, err := eventlog.Parse(f.in.Evidence.EventLog)
	f.log = l
	if err != nil {
		f.fail(policy.CheckLogParse, "the host must send its whole log: look for what cuts it", "%v", err)
	} else {
		f.ok(policy.CheckLogParse, "%d events", len(l.Events))
	}
	f.secureBoot = l.SecureBoot()

	replayed := l.Replay()[eventlog.SHA256]
	if replayed == nil {
		f.fail(policy.CheckLogReplay, remedyLog, "the log has no sha256 bank")
	} else if bad := differences(replayed, f.in.Evidence.PCRs); len(bad) > 0 {
		f.fail(policy.CheckLogReplay, remedyLog, "the log does not lead to the quoted value of PCR %s: an event's digest was altered, or events are missing", strings.Join(bad, ", "))
	} else {
		f.ok(policy.CheckLogReplay, "replaying the log gives every quoted PCR")
	}

	checked := 0
	for i := range l.Events {
		e := &l.Events[i]
		c := e.CheckDigest()
		bad := c.State == eventlog.Mismatched || c.State == eventlog.Unexplained && e.PCR == 7
		if e.Type == eventlog.EVEventTag && e.PCR >= 8 && c.State != eventlog.Matched {
			bad = true // PCR 8 to 15 are ours, and all we measure is tagged
		}
		if bad {
			f.fail(policy.CheckDigests, remedyLog, "event %d (%v, PCR %d) says %q, but its digest is of something else: its data was altered", e.Index, e.Type, e.PCR, e.Describe())
			return
		}
		if c.State == eventlog.Matched {
			checked++
		}
	}
	f.ok(policy.CheckDigests, "%d of %d events have the digest of their data; the others are digests of code", checked, len(l.Events))
}

// differences lists the PCRs whose replayed value is not the quoted one. PCRs
// that no event extended have their reset value: ones for 17 to 22 (the
// dynamic root of trust), zero otherwise.
func differences(replayed *eventlog.PCRs, quoted [][]byte) []string {
	var bad []string
	zero, ones := make([]byte, 32), bytes.Repeat([]byte{0xff}, 32)
	for i := range quote.PCRs {
		want := replayed[i]
		switch {
		case want != nil:
		case i >= 17 && i <= 22:
			want = ones
		default:
			want = zero
		}
		if i >= len(quoted) || !bytes.Equal(want, quoted[i]) {
			bad = append(bad, strconv.Itoa(i))
		}
	}
	return bad
}

// compare holds the PCRs against predictions and the baseline.
func (f *facts) compare() {
	f.pcrs = map[string]policy.PCR{}
	quoted := func(i int) []byte {
		if i < len(f.in.Evidence.PCRs) {
			return f.in.Evidence.PCRs[i]
		}
		return nil
	}
	for _, i := range PredictedPCRs {
		want := f.in.Reference.Value(predict.Bank("sha256"), i)
		match := len(want) > 0 && bytes.Equal(want, quoted(i))
		f.pcrs[strconv.Itoa(i)] = policy.PCR{
			Quoted: hex.EncodeToString(quoted(i)), Expected: hex.EncodeToString(want), Basis: policy.BasisPredicted, Match: match,
		}
		if !match {
			f.explain(i)
		}
	}
	for _, i := range BaselinePCRs {
		p := policy.PCR{Quoted: hex.EncodeToString(quoted(i)), Basis: policy.BasisNone}
		if want, ok := f.in.Host.Baseline[strconv.Itoa(i)]; ok {
			p.Expected, p.Basis, p.Match = want, policy.BasisBaseline, want == p.Quoted
		}
		f.pcrs[strconv.Itoa(i)] = p
	}
}

// explain finds the first event of a PCR that is not the predicted one.
func (f *facts) explain(pcr int) {
	var seen []*eventlog.Event
	for i := range f.log.Events {
		if e := &f.log.Events[i]; int(e.PCR) == pcr && e.Extends() {
			seen = append(seen, e)
		}
	}
	var want []predict.Event
	for _, e := range f.in.Reference.Events {
		if e.PCR == pcr {
			want = append(want, e)
		}
	}
	text := ""
	for n := range max(len(seen), len(want)) {
		switch {
		case n >= len(seen):
			text = fmt.Sprintf("event %d of PCR %d is missing: expected %s", n+1, pcr, want[n].Description)
		case n >= len(want):
			text = fmt.Sprintf("event %d of PCR %d is not expected: %v %q", n+1, pcr, seen[n].Type, seen[n].Describe())
		case !bytes.Equal(seen[n].Digest(eventlog.SHA256), want[n].Digests[predict.Bank("sha256")]):
			text = fmt.Sprintf("event %d of PCR %d: expected %s, found %v %q", n+1, pcr, want[n].Description, seen[n].Type, seen[n].Describe())
		default:
			continue
		}
		break
	}
	if text != "" {
		f.explanations = append(f.explanations, policy.Reason{
			Code: fmt.Sprintf("pcr.%d.event", pcr), Text: text, Remedy: "boot the image that the reference values are for, or give the verifier those of the image that was booted",
		})
	}
}

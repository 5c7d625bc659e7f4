package appraisal

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aios/boot/measure"
	"aios/boot/predict"
	"aios/policy"
	"aios/verifier/eventlog"
	"aios/verifier/quote"
)

var sha256Only = []crypto.Hash{crypto.SHA256}

const remedyLog = "the log does not say what happened: treat the host as taken over, or fix what alters its log"

// eventLog parses the log, replays it against the quoted PCRs and holds what its
// events say against what was extended.
func (f *facts) eventLog() {
	l, err := eventlog.Parse(f.in.Evidence.EventLog)
	f.log = l
	if err != nil {
		f.fail(policy.CheckLogParse, "the host must send its whole log: look for what cuts it", "%v", err)
	} else {
		f.ok(policy.CheckLogParse, "%d events", len(l.Events))
	}
	replayed := f.replay()
	f.secureBoot = l.SecureBoot()
	sound := f.digests()
	f.explained = err == nil && replayed && sound
}

// replay holds the log against the quoted PCRs. Events that the quote could not
// show to have happened fail it, and nothing else is taken from them.
func (f *facts) replay() bool {
	var why string
	f.log.Events = slices.DeleteFunc(f.log.Events, func(e eventlog.Event) bool {
		u := f.unbound(&e)
		if why == "" {
			why = u
		}
		return u != ""
	})
	replayed := f.log.Replay()[eventlog.SHA256]
	if replayed == nil {
		f.fail(policy.CheckLogReplay, remedyLog, "the log has no sha256 bank")
		return false
	}
	if why != "" {
		f.fail(policy.CheckLogReplay, remedyLog, "%s: no quote can show that it happened", why)
		return false
	}
	if bad := differences(replayed, f.in.Evidence.PCRs); len(bad) > 0 {
		f.fail(policy.CheckLogReplay, remedyLog, "the log does not lead to the quoted value of PCR %s: an event's digest was altered, or events are missing", strings.Join(bad, ", "))
		return false
	}
	f.ok(policy.CheckLogReplay, "replaying the log gives every quoted PCR")
	return true
}

// unbound tells why an event is not bound to the quote by the replay, "" if it
// is. EV_NO_ACTION never is: nothing but the startup locality is taken from it,
// and that is replayed.
func (f *facts) unbound(e *eventlog.Event) string {
	if e.Type == eventlog.EVNoAction {
		return ""
	}
	if e.PCR >= quote.PCRs {
		return fmt.Sprintf("event %d (%v) is of PCR %d, which is not in a quote", e.Index, e.Type, e.PCR)
	}
	if len(e.Digests) != len(f.log.Banks) {
		return fmt.Sprintf("event %d (%v, PCR %d) has digests for %d of %d banks", e.Index, e.Type, e.PCR, len(e.Digests), len(f.log.Banks))
	}
	for i, d := range e.Digests {
		for _, earlier := range e.Digests[:i] {
			if d.Algorithm == earlier.Algorithm {
				return fmt.Sprintf("event %d (%v, PCR %d) has two digests for bank %v", e.Index, e.Type, e.PCR, d.Algorithm)
			}
		}
	}
	return ""
}

// digests recomputes what can be recomputed. In the registers whose events decide
// (Secure Boot, and what the boot stage and the kernel measure) nothing may be
// left open. The replay alone binds digests, never the data and type beside them.
func (f *facts) digests() bool {
	checked := 0
	seen := map[uint32]int{} // events by PCR so far
	for i := range f.log.Events {
		e := &f.log.Events[i]
		if why := f.dubious(e, seen[e.PCR]); why != "" {
			f.fail(policy.CheckDigests, remedyLog, "event %d (%v, PCR %d) says %q, but %s", e.Index, e.Type, e.PCR, e.Describe(), why)
			return false
		}
		if e.Extends() {
			seen[e.PCR]++
		}
		if e.CheckDigest().State == eventlog.Matched {
			checked++
		}
	}
	f.ok(policy.CheckDigests, "%d of %d events have the digest of their data; the others are digests of code", checked, len(f.log.Events))
	return true
}

// dubious tells why the n-th event of a PCR (from 0) is not to be believed, "" if
// nothing speaks against it.
func (f *facts) dubious(e *eventlog.Event, n int) string {
	const altered = "its digest is of something else: its data was altered"
	if e.CheckDigest().State == eventlog.Mismatched {
		return altered
	}
	if !e.Extends() {
		return ""
	}
	if (e.PCR == secureBootPCR || ours(e.PCR)) && !e.HashesData() {
		return altered
	}
	if _, tagged := measure.ParseTagged(e.Data); ours(e.PCR) && (!tagged || uint32(e.Type) != measure.EventTag) {
		return "neither the boot stage nor the kernel makes such an event, and nobody else may measure into PCR 8 to 15"
	}
	if want, ok := f.predicted(e.PCR, n); ok && bytes.Equal(e.Digest(eventlog.SHA256), want.Digests[predict.SHA256]) {
		if uint32(e.Type) != want.Type {
			return fmt.Sprintf("by its digest it is the predicted %v %q: its type was altered", eventlog.Type(want.Type), want.Description)
		}
		if d := e.Digest(eventlog.SHA384); d != nil && !bytes.Equal(d, want.Digests[predict.SHA384]) {
			return fmt.Sprintf("its sha384 digest is not that of the predicted %q, which its sha256 digest is of", want.Description)
		}
	}
	return ""
}

// predicted gives the n-th event of a PCR that a good boot shows.
func (f *facts) predicted(pcr uint32, n int) (predict.Event, bool) {
	for _, e := range f.in.Reference.Events {
		if uint32(e.PCR) != pcr {
			continue
		}
		if n--; n < 0 {
			return e, true
		}
	}
	return predict.Event{}, false
}

const secureBootPCR = 7

// ours tells whether only the boot stage and the kernel measure into a PCR, each
// time a tagged event.
func ours(pcr uint32) bool { return pcr >= 8 && pcr <= 15 }

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
		want := f.in.Reference.Value(predict.SHA256, i)
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
		case !bytes.Equal(seen[n].Digest(eventlog.SHA256), want[n].Digests[predict.SHA256]):
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

//go:build swtpm

package appraisal

import (
	"bytes"
	"testing"
	"time"

	"aios/boot/measure"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/eventlog"
	"aios/verifier/quote/swtpmtest"
)

// TestSWTPM goes the whole way with a true TPM: enrolment, baseline, and verdicts
// on good evidence and on each kind of bad evidence.
func TestSWTPM(t *testing.T) {
	m, other := swtpmtest.New(t), swtpmtest.New(t)
	i := newImage(t, 7, "manifest")
	var host *enrol.Host
	var old Input
	m.Boot(t, func(d *swtpmtest.Device) {
		host = enrolled(t, m, d)
		measureInto(t, d, i.boot())
		old = attest(t, d, i, host, write(t, i.boot()))
		expect(t, appraise(t, old), policy.Warning, []string{"pcr.0.no_baseline", "pcr.2.no_baseline"}, "")
		var err error
		if host.Baseline, err = Baseline(old); err != nil {
			t.Fatal(err)
		}
		old = attest(t, d, i, host, old.Evidence.EventLog)
		expect(t, appraise(t, old), policy.Affirming, nil, "")
	})
	m.Boot(t, func(d *swtpmtest.Device) { // a reset later: the same keys, other counts
		measureInto(t, d, i.boot())
		log := write(t, i.boot())
		good := attest(t, d, i, host, log)
		v := appraise(t, good)
		expect(t, v, policy.Affirming, nil, "")
		if first := appraise(t, old); v.ResetCount <= first.ResetCount {
			t.Errorf("reset count %d after %d", v.ResetCount, first.ResetCount)
		}
		told := i.boot()
		told[find(t, told, 8, 2)].data = measure.AppendTagged(nil, "aios.cmdline loud")
		digest := i.boot()
		digest[find(t, digest, 9, 1)].hashed = []byte("another kernel")
		for _, c := range []struct {
			name  string
			alter func(in *Input)
			codes []string
			text  string
		}{
			{"an old quote", func(in *Input) { in.Evidence = old.Evidence }, []string{"check.nonce", "bank"}, "the quote is old"},
			{"one bit of the signature", func(in *Input) {
				in.Evidence.Signature = bytes.Clone(in.Evidence.Signature)
				in.Evidence.Signature[len(in.Evidence.Signature)-1] ^= 1
			}, []string{"check.signature", "bank"}, "does not verify"},
			{"one PCR", func(in *Input) { in.Evidence.PCRs[9] = make([]byte, 32) },
				[]string{"check.pcr_digest", "check.log_replay", "bank", "pcr.9.differs"}, "at least one was altered"},
			{"one digest in the log", func(in *Input) { in.Evidence.EventLog = write(t, digest) }, []string{"check.log_replay", "check.digests"}, "quoted value of PCR 9"},
			{"one event's data, its digest left alone", func(in *Input) { in.Evidence.EventLog = write(t, told) }, []string{"check.digests"}, "aios.cmdline loud"},
			{"a truncated log", func(in *Input) { in.Evidence.EventLog = log[:len(log)-1] }, []string{"check.log_parse", "check.log_replay"}, "truncated"},
		} {
			in := attest(t, d, i, host, log)
			c.alter(&in)
			v := appraise(t, in)
			expect(t, v, policy.Contraindicated, c.codes, c.text)
			if t.Failed() {
				t.Fatalf("the case is: %s", c.name)
			}
		}
		other.Boot(t, func(d *swtpmtest.Device) {
			measureInto(t, d, i.boot())
			foreign := attest(t, d, i, host, log)
			expect(t, appraise(t, foreign), policy.Contraindicated, []string{"check.signature", "bank"}, "not from the enrolled attestation key")
		})
	})
	m.Boot(t, func(d *swtpmtest.Device) { // Secure Boot is off, and the log says so
		events := i.boot()
		e := &events[find(t, events, 7, 0)]
		off := bytes.Clone(e.data)
		off[len(off)-1] = 0
		*e = plain(7, e.kind, off)
		measureInto(t, d, events)
		v := appraise(t, attest(t, d, i, host, write(t, events)))
		expect(t, v, policy.Contraindicated, []string{"secure_boot", "pcr.7.differs", "pcr.7.event"}, "expected SecureBoot: on")
		if v.SecureBoot.State != eventlog.SecureBootOff {
			t.Errorf("Secure Boot is %s", v.SecureBoot.State)
		}
	})
}

func enrolled(t *testing.T, m *swtpmtest.Machine, d *swtpmtest.Device) *enrol.Host {
	t.Helper()
	id, err := d.Identity()
	if err != nil {
		t.Fatal(err)
	}
	p, err := enrol.Begin(id, m.Roots, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := d.Activate(p.Credential, p.Secret)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Finish(secret)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

package appraisal

import (
	"bytes"
	"slices"
	"testing"

	"aios/boot/manifest"
	"aios/boot/measure"
	"aios/policy"
	"aios/verifier/eventlog"
)

// forge parses the log of a boot, lets edit change its events at will, and writes
// it again.
func forge(t testing.TB, log []byte, edit func(l *eventlog.Log)) []byte {
	t.Helper()
	l, err := eventlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	edit(l)
	return l.Encode()
}

// logged finds the n-th event of a PCR in a log.
func logged(t testing.TB, l *eventlog.Log, pcr uint32, n int) int {
	t.Helper()
	for i := range l.Events {
		if e := &l.Events[i]; e.PCR == pcr && e.Extends() {
			if n--; n < 0 {
				return i
			}
		}
	}
	t.Fatalf("the log has no event %d of PCR %d", n, pcr)
	return 0
}

// alone is an event with digests for some banks only, each that of its data.
func alone(t testing.TB, pcr uint32, kind eventlog.Type, data []byte, banks ...eventlog.Algorithm) eventlog.Event {
	t.Helper()
	b, err := eventlog.NewBuilder(banks...)
	if err != nil {
		t.Fatal(err)
	}
	b.Add(pcr, kind, data, data)
	l, err := eventlog.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return l.Events[1]
}

// TestForged: logs that lead to the quoted PCRs and lie all the same. What is in
// no digest (the type, data beside a digest of something else, the order between
// PCRs, banks that are not quoted) must decide nothing.
func TestForged(t *testing.T) {
	s := newSite(t)
	newest, err := manifest.Parse(s.payload)
	if err != nil {
		t.Fatal(err)
	}
	newest.Version = 1 << 40
	claimed := newest.Encode()
	claim := measure.AppendTagged(nil, measure.Events("a", nil, "", claimed, [16]byte(s.reference.ManifestKey), newest)[3].Text())
	variable := func(v byte) []byte {
		d := bytes.Clone(s.boot()[find(t, s.boot(), 7, 0)].data)
		d[len(d)-1] = v
		return d
	}
	off := func(e []event) []event {
		i := find(t, e, 7, 0)
		e[i] = plain(7, e[i].kind, variable(0))
		return e
	}
	good := func(e []event) []event { return e }
	for _, c := range []struct {
		name  string
		boot  func(e []event) []event
		forge func(l *eventlog.Log)
		alter func(in *Input)
		codes []string
		text  string
	}{
		{
			name: "an old image under a new version, in a bank that is not quoted",
			boot: good,
			forge: func(l *eventlog.Log) {
				l.Events = slices.Insert(l.Events, 1, alone(t, 9, eventlog.EVEventTag, claim, eventlog.SHA384))
			},
			alter: func(in *Input) { h := *in.Host; h.Floor = 8; in.Host, in.Evidence.Manifest = &h, claimed },
			codes: []string{"check.log_replay", "check.manifest", "manifest.rollback", "manifest.key"}, text: "event 1 (EV_EVENT_TAG, PCR 9) has digests for 1 of 2 banks",
		},
		{
			name: "an old image under a new version, without any digest",
			boot: good,
			forge: func(l *eventlog.Log) {
				l.Events = slices.Insert(l.Events, 1, eventlog.Event{PCR: 9, Type: eventlog.EVEventTag, Data: claim})
			},
			alter: func(in *Input) { h := *in.Host; h.Floor = 8; in.Host, in.Evidence.Manifest = &h, claimed },
			codes: []string{"check.log_replay", "check.manifest", "manifest.rollback", "manifest.key"}, text: "has digests for 0 of 2 banks",
		},
		{
			name: "an old image under a new version, measured after the boot",
			boot: func(e []event) []event { return append(e, plain(9, eventlog.EVEventTag, claim)) },
			alter: func(in *Input) {
				h := *in.Host
				h.Floor = 8
				in.Host, in.Evidence.Manifest = &h, claimed
			},
			codes: []string{"check.manifest", "manifest.rollback", "manifest.key", "pcr.9.differs", "pcr.9.event"}, text: "is not the one that was measured",
		},
		{
			name: "a manifest event with text behind the key",
			boot: func(e []event) []event {
				i := find(t, e, 9, 0)
				text, _ := measure.ParseTagged(e[i].data)
				e[i] = plain(9, eventlog.EVEventTag, measure.AppendTagged(nil, text+"\x1b[2J"))
				return e
			},
			codes: []string{"check.manifest", "manifest.rollback", "manifest.key", "pcr.9.differs", "pcr.9.event"}, text: "is not the one that was measured",
		},
		{
			name: "Secure Boot off, shown as on first in a bank that is not quoted",
			boot: off,
			forge: func(l *eventlog.Log) {
				l.Events = slices.Insert(l.Events, 1, alone(t, 7, eventlog.EVEFIVariableDriverConfig, variable(1), eventlog.SHA384))
			},
			codes: []string{"check.log_replay", "secure_boot", "pcr.7.differs", "pcr.7.event"}, text: "has digests for 1 of 2 banks",
		},
		{
			name: "Secure Boot off, shown as on first in PCR 23",
			boot: func(e []event) []event {
				return append(off(e), plain(23, eventlog.EVEFIVariableDriverConfig, variable(1)))
			},
			forge: func(l *eventlog.Log) {
				last := l.Events[len(l.Events)-1]
				l.Events = slices.Insert(l.Events[:len(l.Events)-1], 1, last)
			},
			codes: []string{"secure_boot", "pcr.7.differs", "pcr.7.event"}, text: "the SecureBoot variable is 00",
		},
		{
			name: "Secure Boot off, shown as on in a PCR that no quote has",
			boot: off,
			forge: func(l *eventlog.Log) {
				l.Events = slices.Insert(l.Events, 1, alone(t, 24, eventlog.EVEFIVariableDriverConfig, variable(1), eventlog.SHA256, eventlog.SHA384))
			},
			codes: []string{"check.log_replay", "secure_boot", "pcr.7.differs", "pcr.7.event"}, text: "is of PCR 24, which is not in a quote",
		},
		{
			name: "Secure Boot off, shown as the content of another variable",
			boot: func(e []event) []event {
				return append(off(e), plain(7, eventlog.EVEFIVariableDriverConfig, variable(1)))
			},
			forge: func(l *eventlog.Log) {
				e := &l.Events[logged(t, l, 7, 0)]
				// The digest is that of the true event, which is shown as what a variable "x" holds.
				d := append(bytes.Clone(e.Data[:16]), 1, 0, 0, 0, 0, 0, 0, 0, byte(len(e.Data)), 0, 0, 0, 0, 0, 0, 0, 'x', 0)
				e.Data = append(d, e.Data...)
			},
			codes: []string{"check.digests", "secure_boot", "pcr.7.differs", "pcr.7.event"}, text: "its data was altered",
		},
		{
			name: "an event of PCR 7 hidden as a vendor's",
			boot: off,
			forge: func(l *eventlog.Log) {
				e := &l.Events[logged(t, l, 7, 0)]
				e.Type, e.Data = 0x8000aaaa, []byte("nothing of interest")
			},
			codes: []string{"check.digests", "secure_boot", "pcr.7.differs", "pcr.7.event"}, text: "nothing of interest",
		},
		{
			name: "another kernel hidden as code",
			boot: func(e []event) []event {
				e[find(t, e, 9, 1)] = plain(9, eventlog.EVEventTag, measure.AppendTagged(nil, "aios.kernel evil"))
				return e
			},
			forge: func(l *eventlog.Log) {
				e := &l.Events[logged(t, l, 9, 1)]
				e.Type, e.Data = eventlog.EVEFIBootServicesApp, loadEvent(0x1000)
			},
			codes: []string{"check.digests", "pcr.9.differs", "pcr.9.event"}, text: "its data was altered",
		},
		{
			name:  "an agent that was started, hidden as text",
			boot:  func(e []event) []event { return append(e, plain(13, eventlog.EVIPL, []byte("nothing"))) },
			codes: []string{"check.digests"}, text: "nobody else may measure into PCR 8 to 15",
		},
		{
			name:  "a predicted event under another type",
			boot:  good,
			forge: func(l *eventlog.Log) { l.Events[logged(t, l, 7, 5)].Type = eventlog.EVEFIAction },
			codes: []string{"check.digests"}, text: `by its digest it is the predicted EV_SEPARATOR "separator": its type was altered`,
		},
		{
			name: "the application with another digest in a bank that is not quoted",
			boot: good,
			forge: func(l *eventlog.Log) {
				d := &l.Events[logged(t, l, 4, 2)].Digests[1]
				d.Bytes = append([]byte{}, d.Bytes...)
				d.Bytes[0] ^= 1
			},
			codes: []string{"check.digests"}, text: "its sha384 digest is not that of the predicted",
		},
		{
			name: "two digests for one bank",
			boot: good,
			forge: func(l *eventlog.Log) {
				e := &l.Events[logged(t, l, 0, 1)]
				e.Digests = []eventlog.Digest{e.Digests[0], e.Digests[0]}
			},
			codes: []string{"check.log_replay"}, text: "has two digests for bank sha256",
		},
		{
			name:  "an event hidden as one that extends nothing",
			boot:  good,
			forge: func(l *eventlog.Log) { l.Events[logged(t, l, 5, 0)].Type = eventlog.EVNoAction },
			codes: []string{"check.log_replay"}, text: "PCR 5",
		},
		{
			name: "another startup locality",
			boot: good,
			forge: func(l *eventlog.Log) {
				l.Events = slices.Insert(l.Events, 1, alone(t, 0, eventlog.EVNoAction, append([]byte("StartupLocality\x00"), 3), eventlog.SHA256, eventlog.SHA384))
			},
			codes: []string{"check.log_replay"}, text: "PCR 0",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := s.run(t, c.boot(s.boot()))
			if c.forge != nil {
				in.Evidence.EventLog = forge(t, in.Evidence.EventLog, c.forge)
			}
			if c.alter != nil {
				c.alter(&in)
			}
			v := appraise(t, in)
			expect(t, v, policy.Contraindicated, c.codes, c.text)
			if v.SecureBoot.State == eventlog.SecureBootOn && slices.Contains(c.codes, "pcr.7.differs") {
				t.Error("the verdict says that Secure Boot is on")
			}
			if v.Manifest.Version == newest.Version {
				t.Error("the verdict names a version that was not booted")
			}
		})
	}
}

// TestStartupLocality: a TPM that was started from locality 3 begins PCR 0 there.
func TestStartupLocality(t *testing.T) {
	s := newSite(t)
	s.tpm.Reset()
	s.tpm.PCRs[0][31] = 3
	measureInto(t, software{s.tpm}, s.boot())
	b := append([]event{plain(0, eventlog.EVNoAction, append([]byte("StartupLocality\x00"), 3))}, s.boot()...)
	in := attest(t, software{s.tpm}, s.image, s.host, write(t, b))
	expect(t, appraise(t, in), policy.Contraindicated, []string{"pcr.0.differs"}, "")
	h := *s.host
	var err error
	if h.Baseline, err = Baseline(in); err != nil {
		t.Fatal(err)
	}
	in.Host = &h
	expect(t, appraise(t, in), policy.Affirming, nil, "")
}

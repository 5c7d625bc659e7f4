package appraisal

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"aios/boot/measure"
	"aios/policy"
	"aios/verifier/eventlog"
	"aios/verifier/quote/tpmtest"
)

func TestGood(t *testing.T) {
	s := newSite(t)
	v := appraise(t, s.run(t, s.boot()))
	expect(t, v, policy.Affirming, nil, "")
	if !v.Affirming() || !v.Quoted || v.ResetCount != s.tpm.ResetCount || v.Clock == 0 {
		t.Errorf("quoted %v, reset count %d, clock %d", v.Quoted, v.ResetCount, v.Clock)
	}
	if v.Manifest != (policy.Manifest{Version: 7, Floor: 7, Key: s.reference.ManifestKey.String()}) {
		t.Errorf("manifest %+v", v.Manifest)
	}
	if v.SecureBoot.State != eventlog.SecureBootOn || len(v.SecureBoot.Authorities) != 1 {
		t.Errorf("Secure Boot %+v", v.SecureBoot)
	}
	for i, p := range v.PCRs {
		if !p.Match || p.Quoted == "" || p.Quoted != p.Expected {
			t.Errorf("PCR %s: %+v", i, p)
		}
	}
	if len(v.PCRs) != len(PredictedPCRs)+len(BaselinePCRs) {
		t.Errorf("%d PCRs are shown", len(v.PCRs))
	}
	for _, c := range v.Checks {
		if !c.OK || c.Text == "" {
			t.Errorf("check %+v", c)
		}
	}
}

// TestQuote: what is wrong with the quote itself. Nothing that was not verified is
// said to be good.
func TestQuote(t *testing.T) {
	s := newSite(t)
	other := newSite(t)
	old := s.run(t, s.boot())
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1
		return b
	}
	for _, c := range []struct {
		name  string
		alter func(in *Input)
		codes []string
		text  string
	}{
		{"an old quote", func(in *Input) {
			in.Evidence.Attest, in.Evidence.Signature = old.Evidence.Attest, old.Evidence.Signature
		}, []string{"check.nonce"}, "the quote is old"},
		{"a quote for another verifier", func(in *Input) { in.Nonce = bytes.Repeat([]byte{1}, 32) }, []string{"check.nonce"}, "or was made for someone else"},
		{"a nonce that was never made", func(in *Input) { in.Nonce = nil }, []string{"check.nonce"}, "gave none"},
		{"a quote by another host's key", func(in *Input) { in.Host = other.host }, []string{"check.signature"}, "not from the enrolled attestation key"},
		{"a bit of the signature", func(in *Input) { in.Evidence.Signature = flip(in.Evidence.Signature, 20) }, []string{"check.signature"}, "does not verify"},
		{"no signature", func(in *Input) { in.Evidence.Signature = nil }, []string{"check.signature"}, "not a TPMT_SIGNATURE"},
		{"one PCR altered", func(in *Input) { in.Evidence.PCRs[11] = flip(in.Evidence.PCRs[11], 0) },
			[]string{"check.pcr_digest", "check.log_replay", "pcr.11.differs"}, "at least one was altered"},
		{"a PCR short", func(in *Input) { in.Evidence.PCRs[23] = in.Evidence.PCRs[23][:31] }, []string{"check.pcr_digest", "check.log_replay"}, "PCR 23 has 31 bytes"},
		{"a PCR less", func(in *Input) { in.Evidence.PCRs = in.Evidence.PCRs[:23] }, []string{"check.pcr_digest", "check.log_replay"}, "23 values, want 24"},
		{"a PCR more", func(in *Input) { in.Evidence.PCRs = append(in.Evidence.PCRs, make([]byte, 32)) }, []string{"check.pcr_digest"}, "25 values, want 24"},
		{"no PCRs", func(in *Input) { in.Evidence.PCRs = nil },
			[]string{"check.pcr_digest", "check.log_replay", "pcr.0.differs", "pcr.11.differs", "pcr.2.differs", "pcr.4.differs", "pcr.7.differs", "pcr.8.differs", "pcr.9.differs", "pcr.3.differs", "pcr.6.differs"}, "0 values, want 24"},
		{"a PCR less in an old quote by another key", func(in *Input) { in.Nonce, in.Host, in.Evidence.PCRs = old.Nonce, other.host, in.Evidence.PCRs[:23] },
			[]string{"check.nonce", "check.signature", "check.pcr_digest", "check.log_replay"}, "23 values, want 24"},
		{"no quote", func(in *Input) { in.Evidence.Attest = nil }, []string{"check.nonce", "check.signature", "check.pcr_digest"}, "quote is malformed"},
		{"the host's record is damaged", func(in *Input) { h := *in.Host; h.AKPublic = h.AKPublic[:40]; in.Host = &h },
			[]string{"check.nonce", "check.signature", "check.pcr_digest"}, "not a TPMT_PUBLIC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := s.run(t, s.boot())
			c.alter(&in)
			v := appraise(t, in)
			if !slices.Contains(codes(v), "bank") {
				t.Error("without a good quote no bank is proven")
			}
			v.Reasons = slices.DeleteFunc(v.Reasons, func(r policy.Reason) bool { return r.Code == "bank" })
			expect(t, v, policy.Contraindicated, c.codes, c.text)
			if v.Quoted || v.ResetCount != 0 {
				t.Error("the verdict says that the quote is good")
			}
			claimsNothing(t, v)
		})
	}
	t.Run("an older bank", func(t *testing.T) {
		defer func() { s.tpm.Alter = nil }()
		s.tpm.Alter = func(a *tpm2.TPMSAttest) {
			q, err := a.Attested.Quote()
			if err != nil {
				return // another statement
			}
			q.PCRSelect = tpmtest.Selection(tpm2.TPMAlgSHA1, 0xff, 0xff, 0xff)
			a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, q)
		}
		expect(t, appraise(t, s.run(t, s.boot())), policy.Contraindicated, []string{"check.pcr_digest", "bank"}, "SHA-1 is not acceptable")
	})
}

// TestLog: what is wrong with the log while the quote is good.
func TestLog(t *testing.T) {
	s := newSite(t)
	banks := func(t *testing.T, algs ...eventlog.Algorithm) []byte {
		b, err := eventlog.NewBuilder(algs...)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range s.boot() {
			b.Add(uint32(e.pcr), e.kind, e.hashed, e.data)
		}
		return b.Bytes()
	}
	gone := []string{"secure_boot", "manifest.rollback", "manifest.key"}
	for _, c := range []struct {
		name  string
		told  func(events []event) []event // what the log says instead of what happened
		bytes func(t *testing.T, log []byte) []byte
		codes []string
		text  string
	}{
		{name: "an altered digest", told: func(e []event) []event { e[1].hashed = []byte("other firmware"); return e }, codes: []string{"check.log_replay"}, text: "quoted value of PCR 0"},
		{name: "altered data, its digest left alone", told: func(e []event) []event {
			e[find(t, e, 8, 2)].data = measure.AppendTagged(nil, "aios.cmdline loud")
			return e
		}, codes: []string{"check.digests"}, text: `says "tag 0x41494f53: aios.cmdline loud", but its digest is of something else`},
		{name: "an altered action", told: func(e []event) []event { e[len(e)-1].data = []byte("Nothing to see"); return e }, codes: []string{"check.digests"}, text: "Nothing to see"},
		{name: "a removed event", told: func(e []event) []event { return slices.Delete(e, 1, 2) }, codes: []string{"check.log_replay"}, text: "PCR 0"},
		{name: "an added event", told: func(e []event) []event {
			return slices.Insert(e, 5, plain(12, eventlog.EVEventTag, measure.AppendTagged(nil, "x")))
		}, codes: []string{"check.log_replay"}, text: "PCR 12"},
		{name: "events in another order", told: func(e []event) []event { e[0], e[1] = e[1], e[0]; return e }, codes: []string{"check.log_replay"}, text: "PCR 0"},
		{name: "cut in an event", bytes: func(_ *testing.T, b []byte) []byte { return b[:len(b)-1] }, codes: []string{"check.log_parse", "check.log_replay"}, text: "event log is truncated"},
		{name: "cut between events", told: func(e []event) []event { return e[:len(e)-1] }, codes: []string{"check.log_replay"}, text: "PCR 5"},
		{name: "bytes behind", bytes: func(_ *testing.T, b []byte) []byte { return append(b, 1, 2, 3) }, codes: []string{"check.log_parse"}, text: "bytes after the last event"},
		{name: "garbage", bytes: func(_ *testing.T, b []byte) []byte { return bytes.Repeat([]byte("garbage"), 100) },
			codes: append([]string{"check.log_parse", "check.log_replay", "check.manifest"}, gone...), text: "event log is truncated"},
		{name: "empty", bytes: func(*testing.T, []byte) []byte { return nil },
			codes: append([]string{"check.log_parse", "check.log_replay", "check.manifest"}, gone...), text: "0 bytes are left"},
		{name: "a SHA-384 bank alone", bytes: func(t *testing.T, _ []byte) []byte { return banks(t, eventlog.SHA384) }, codes: []string{"check.log_replay"}, text: "no sha256 bank"},
		{name: "a SHA-1 bank alone", bytes: func(t *testing.T, _ []byte) []byte { return banks(t, eventlog.SHA1) }, codes: []string{"check.log_replay"}, text: "no sha256 bank"},
		{name: "a SHA-256 bank alone", bytes: func(t *testing.T, _ []byte) []byte { return banks(t, eventlog.SHA256) }},
		{name: "four banks", bytes: func(t *testing.T, _ []byte) []byte {
			return banks(t, eventlog.SHA1, eventlog.SHA512, eventlog.SHA256, eventlog.SHA384)
		}},
		{name: "padding behind", bytes: func(_ *testing.T, b []byte) []byte { return append(b, make([]byte, 4096)...) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			told := s.boot()
			if c.told != nil {
				told = c.told(told)
			}
			in := s.tell(t, s.boot(), told)
			if c.bytes != nil {
				in.Evidence.EventLog = c.bytes(t, in.Evidence.EventLog)
			}
			v := appraise(t, in)
			if c.codes == nil {
				expect(t, v, policy.Affirming, nil, "")
				return
			}
			expect(t, v, policy.Contraindicated, c.codes, c.text)
			if !v.Quoted {
				t.Error("the quote is good, whatever the log says")
			}
			claimsNothing(t, v)
			if _, err := Baseline(in); err == nil {
				t.Error("and yet a baseline was taken from it")
			}
		})
	}
}

// claimsNothing: what goes into a signed result is proven, or it is not said.
func claimsNothing(t *testing.T, v *Verdict) {
	t.Helper()
	if v.SecureBoot.State != eventlog.SecureBootNotProven || v.SecureBoot.Reason == "" || v.Manifest.Version != 0 || v.Manifest.Key != "" {
		t.Errorf("the verdict claims %+v and %+v", v.SecureBoot, v.Manifest)
	}
}

// TestManifest: which manifest was measured, and what it is worth.
func TestManifest(t *testing.T) {
	s := newSite(t)
	newer, stranger := newImage(t, 8, "manifest"), newImage(t, 7, "stranger")
	for _, c := range []struct {
		name   string
		booted image
		alter  func(in *Input)
		codes  []string
		text   string
	}{
		{"none in the evidence", s.image, func(in *Input) { in.Evidence.Manifest = nil }, []string{"check.manifest", "manifest.rollback", "manifest.key"}, "the manifest in the evidence"},
		{"garbage in the evidence", s.image, func(in *Input) { in.Evidence.Manifest = []byte("garbage\n") }, []string{"check.manifest", "manifest.rollback", "manifest.key"}, "the manifest in the evidence"},
		{"another in the evidence", s.image, func(in *Input) { in.Evidence.Manifest = newer.payload }, []string{"check.manifest", "manifest.rollback", "manifest.key"}, "is not the one that was measured"},
		{"another was booted", newer, func(in *Input) { in.Evidence.Manifest = newer.payload }, []string{"pcr.9.differs", "pcr.9.event"}, "version=8"},
		{"another was booted, and the image's is shown", newer, func(*Input) {}, []string{"check.manifest", "manifest.rollback", "manifest.key", "pcr.9.differs", "pcr.9.event"}, "is not the one that was measured"},
		{"signed by another key", stranger, func(in *Input) { in.Evidence.Manifest = stranger.payload }, []string{"check.manifest", "pcr.9.differs", "pcr.9.event"}, "the manifest was signed by key"},
		{"below the floor", s.image, func(in *Input) { h := *in.Host; h.Floor = 8; in.Host = &h }, []string{"manifest.rollback"}, "expected at least 8, found 7"},
		{"above the floor", s.image, func(in *Input) { h := *in.Host; h.Floor = 3; in.Host = &h }, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := s.run(t, c.booted.boot())
			c.alter(&in)
			status := policy.Contraindicated
			if c.codes == nil {
				status = policy.Affirming
			}
			expect(t, appraise(t, in), status, c.codes, c.text)
		})
	}
}

// TestBooted: the evidence is sound, and shows that something else was booted. The
// explanation names the first event that is not the predicted one.
func TestBooted(t *testing.T) {
	s := newSite(t)
	variable := func(e event, last byte) event {
		b := append(bytes.Clone(e.data[:len(e.data)-1]), last)
		return plain(e.pcr, e.kind, b)
	}
	tagged := func(pcr int, text string) event {
		return plain(pcr, eventlog.EVEventTag, measure.AppendTagged(nil, text))
	}
	for _, c := range []struct {
		name  string
		boot  func(e []event) []event
		codes []string
		text  string
	}{
		{"Secure Boot off", func(e []event) []event { i := find(t, e, 7, 0); e[i] = variable(e[i], 0); return e },
			[]string{"secure_boot", "pcr.7.differs", "pcr.7.event"}, `event 1 of PCR 7: expected SecureBoot: on, found EV_EFI_VARIABLE_DRIVER_CONFIG "SecureBoot = 00"`},
		{"Secure Boot on, nothing verified", func(e []event) []event { i := find(t, e, 7, 6); return slices.Delete(e, i, i+1) },
			[]string{"secure_boot", "pcr.7.differs", "pcr.7.event"}, "event 7 of PCR 7 is missing: expected db entry that allowed bootx64.efi"},
		{"another key in db", func(e []event) []event { i := find(t, e, 7, 3); e[i] = variable(e[i], 'X'); return e },
			[]string{"pcr.7.differs", "pcr.7.event"}, "event 4 of PCR 7: expected allowed signers"},
		{"another application", func(e []event) []event { e[find(t, e, 4, 2)].hashed = []byte("another"); return e },
			[]string{"pcr.4.differs", "pcr.4.event"}, "event 3 of PCR 4: expected bootx64.efi, Authenticode digest, found EV_EFI_BOOT_SERVICES_APPLICATION"},
		{"a boot option that failed before", func(e []event) []event {
			i := find(t, e, 4, 2)
			return slices.Insert(e, i, plain(4, eventlog.EVEFIAction, []byte("Returning from EFI Application from Boot Option")), plain(4, eventlog.EVEFIAction, []byte("Calling EFI Application from Boot Option")))
		}, []string{"pcr.4.differs", "pcr.4.event"}, "Returning from EFI Application"},
		{"a second application", func(e []event) []event { return append(e, e[find(t, e, 4, 2)]) },
			[]string{"pcr.4.differs", "pcr.4.event"}, "event 4 of PCR 4 is not expected"},
		{"another command line", func(e []event) []event { e[find(t, e, 8, 2)] = tagged(8, "aios.cmdline loud"); return e },
			[]string{"pcr.8.differs", "pcr.8.event"}, "expected aios.cmdline quiet, found EV_EVENT_TAG \"tag 0x41494f53: aios.cmdline loud\""},
		{"another kernel", func(e []event) []event {
			e[find(t, e, 9, 1)] = tagged(9, "aios.kernel kernel.elf sha256:00 size=1")
			return e
		},
			[]string{"pcr.9.differs", "pcr.9.event"}, "event 2 of PCR 9: expected aios.kernel kernel.elf"},
		{"another service", func(e []event) []event {
			e[find(t, e, 11, 0)] = tagged(11, "aios.service attestd sha256:00 size=1")
			return e
		},
			[]string{"pcr.11.differs", "pcr.11.event"}, "event 1 of PCR 11: expected aios.service attestd"},
		{"another agent", func(e []event) []event {
			e[find(t, e, 11, 2)] = tagged(11, "aios.agent hello sha256:00 size=1")
			return e
		},
			[]string{"pcr.11.differs", "pcr.11.event"}, "event 3 of PCR 11: expected aios.agent hello"},
		{"a service more", func(e []event) []event { return append(e, tagged(11, "aios.service evil sha256:00 size=1")) },
			[]string{"pcr.11.differs", "pcr.11.event"}, "event 5 of PCR 11 is not expected"},
		{"other firmware", func(e []event) []event { e[find(t, e, 0, 1)].hashed = []byte("new firmware"); return e }, []string{"pcr.0.differs"}, "PCR 0 (firmware)"},
		{"another option ROM", func(e []event) []event { e[find(t, e, 2, 0)].hashed = []byte("new ROM"); return e }, []string{"pcr.2.differs"}, "PCR 2 (option ROMs and drivers)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := appraise(t, s.run(t, c.boot(s.boot())))
			expect(t, v, policy.Contraindicated, c.codes, c.text)
			for _, check := range v.Checks {
				if !check.OK {
					t.Errorf("the evidence is sound, but %s: %s", check.Name, check.Text)
				}
			}
			for i, p := range v.PCRs {
				if p.Match == slices.Contains(c.codes, "pcr."+i+".differs") || p.Match != (p.Quoted == p.Expected) {
					t.Errorf("PCR %s: %+v", i, p)
				}
			}
		})
	}
	for name, c := range map[string]struct {
		boot  func(e []event) []event
		codes []string
	}{
		"PCR 3 differs": {func(e []event) []event { return append(e, plain(3, eventlog.EVEFIAction, []byte("x"))) }, []string{"pcr.3.differs"}},
		"PCR 6 differs": {func(e []event) []event { return append(e, plain(6, eventlog.EVEFIAction, []byte("x"))) }, []string{"pcr.6.differs"}},
		"PCR 1 differs": {func(e []event) []event { return append(e, plain(1, eventlog.EVEFIAction, []byte("x"))) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			status := policy.Warning
			if c.codes == nil {
				status = policy.Affirming
			}
			expect(t, appraise(t, s.run(t, c.boot(s.boot()))), status, c.codes, "")
		})
	}
}

func TestBaseline(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		alter  func(map[string]string)
		status string
		codes  []string
	}{
		"none":              {func(b map[string]string) { clear(b) }, policy.Warning, []string{"pcr.0.no_baseline", "pcr.2.no_baseline"}},
		"none of PCR 2":     {func(b map[string]string) { delete(b, "2") }, policy.Warning, []string{"pcr.2.no_baseline"}},
		"empty":             {func(b map[string]string) { b["0"] = "" }, policy.Contraindicated, []string{"pcr.0.differs"}},
		"in capital digits": {func(b map[string]string) { b["0"] = strings.ToUpper(b["0"]) }, policy.Contraindicated, []string{"pcr.0.differs"}},
		"of more PCRs":      {func(b map[string]string) { b["5"] = "00" }, policy.Affirming, nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := s.run(t, s.boot())
			h := *in.Host
			h.Baseline = map[string]string{}
			for k, v := range in.Host.Baseline {
				h.Baseline[k] = v
			}
			c.alter(h.Baseline)
			in.Host = &h
			expect(t, appraise(t, in), c.status, c.codes, "")
		})
	}
	in := s.run(t, s.boot())
	in.Nonce = make([]byte, 32)
	if _, err := Baseline(in); err == nil || !strings.Contains(err.Error(), "nonce") {
		t.Errorf("a baseline from an old quote: %v", err)
	}
	for name, in := range map[string]Input{"nothing": {}, "no host": {Evidence: in.Evidence}, "no evidence": {Host: in.Host}} {
		if _, err := Baseline(in); err == nil {
			t.Errorf("a baseline from %s", name)
		}
	}
}

// TestMissing: an appraisal without one of its parts is an error of the caller.
func TestMissing(t *testing.T) {
	s := newSite(t)
	for name, drop := range map[string]func(*Input){
		"evidence": func(in *Input) { in.Evidence = nil }, "host": func(in *Input) { in.Host = nil },
		"reference": func(in *Input) { in.Reference = nil }, "policy": func(in *Input) { in.Policy = nil },
	} {
		in := s.run(t, s.boot())
		drop(&in)
		if v, err := Appraise(t.Context(), in); v != nil || err == nil {
			t.Errorf("without %s: %+v, %v", name, v, err)
		}
	}
}

// TestPolicyDecides: the same evidence under another rule.
func TestPolicyDecides(t *testing.T) {
	s := newSite(t)
	modules := policy.Default()
	changed := strings.Replace(modules["pcrs.rego"], `firmware_pcrs := ["0", "2"]`, `firmware_pcrs := ["0", "2", "5"]`, 1)
	if changed == modules["pcrs.rego"] {
		t.Fatal("the rule to change is not there")
	}
	modules["pcrs.rego"] = strings.Replace(changed, `"2": "option ROMs and drivers",`, `"2": "option ROMs and drivers", "5": "partitions",`, 1)
	strict, err := policy.Compile(t.Context(), modules)
	if err != nil {
		t.Fatal(err)
	}
	in := s.run(t, s.boot())
	in.Policy = strict
	expect(t, appraise(t, in), policy.Contraindicated, []string{"pcr.5.missing"}, "PCR 5 (partitions) is not among the findings")
}

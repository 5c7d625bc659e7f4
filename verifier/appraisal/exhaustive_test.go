package appraisal

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aios/evidence"
	"aios/policy"
	"aios/verifier/eventlog"
	"aios/verifier/quote/tpmtest"
)

// fields are the parts of evidence that a host sends, to be altered in place.
func fields(e *evidence.Evidence) map[string]*[]byte {
	m := map[string]*[]byte{"attest": &e.Attest, "signature": &e.Signature, "event log": &e.EventLog, "manifest": &e.Manifest}
	for i := range e.PCRs {
		m[fmt.Sprintf("PCR %d", i)] = &e.PCRs[i]
	}
	return m
}

// copied is evidence that can be altered without the original.
func copied(e *evidence.Evidence) *evidence.Evidence {
	c := *e
	c.PCRs = slices.Clone(e.PCRs)
	return &c
}

// unbound tells which bytes of a log are in no digest: what an event is called,
// where its data is only a description of what was hashed. PFP 1.06 leaves them
// open; they decide nothing.
func unbound(t testing.TB, log []byte) []bool {
	t.Helper()
	l, err := eventlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	open := make([]bool, len(log))
	mark := func(from, n int) {
		for i := range n {
			open[from+i] = true
		}
	}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type == eventlog.EVNoAction { // the Spec ID event
			mark(0, l.Events[1].Offset)
			continue
		}
		const typeAt, digestsAt = 4, 12
		data := e.Offset + digestsAt + 2 + sha256.Size + 2 + sha512.Size384 + 4
		other := *e
		other.Data = append(bytes.Clone(e.Data), 1)
		described := other.CheckDigest().State != eventlog.Mismatched && e.PCR != 7 && !ours(e.PCR)
		predicted := slices.Contains(PredictedPCRs, int(e.PCR))
		if !predicted {
			mark(e.Offset+typeAt, 4)
		}
		if described && !predicted {
			mark(e.Offset+digestsAt+2+sha256.Size+2, sha512.Size384)
		}
		if described {
			mark(data, len(e.Data))
		}
	}
	return open
}

// TestEveryByte: no byte of good evidence can be changed so that the host is still
// affirmed, but for those that are in no digest, and they change nothing that the
// verdict says.
func TestEveryByte(t *testing.T) {
	s := newSite(t)
	in := s.run(t, s.boot())
	good := in.Evidence
	want := appraise(t, in)
	expect(t, want, policy.Affirming, nil, "")
	open := unbound(t, good.EventLog)
	for name, field := range fields(good) {
		original := *field
		for i := range original {
			changed := copied(good)
			*fields(changed)[name] = tpmtest.Splice(original, i, 1, []byte{original[i] ^ 1<<(i%8)})
			in.Evidence = changed
			got := appraise(t, in)
			if !got.Affirming() {
				if len(got.Reasons) == 0 || got.Reasons[0].Remedy == "" {
					t.Fatalf("%s, byte %d: %s without a reason or remedy", name, i, got.Status)
				}
				continue
			}
			if name != "event log" || !open[i] {
				t.Errorf("%s, byte %d of %d: still affirming", name, i, len(original))
			}
			if !reflect.DeepEqual(got.PCRs, want.PCRs) || !reflect.DeepEqual(got.SecureBoot, want.SecureBoot) || got.Manifest != want.Manifest {
				t.Errorf("%s, byte %d: affirming, but it says something else", name, i)
			}
		}
	}
}

// TestEveryCut: evidence that ends early is never good. A log may end in padding.
func TestEveryCut(t *testing.T) {
	s := newSite(t)
	in := s.run(t, s.boot())
	good := in.Evidence
	for name, field := range fields(good) {
		for n := range *field {
			changed := copied(good)
			*fields(changed)[name] = (*field)[:n]
			in.Evidence = changed
			if appraise(t, in).Affirming() {
				t.Errorf("%s, cut to %d of %d bytes: still affirming", name, n, len(*field))
			}
		}
	}
}

// alter replaces a part of a field.
func alter(e *evidence.Evidence, field string, at, cut int, with []byte) {
	p := fields(e)[field]
	*p = tpmtest.Splice(*p, at, cut, with)
}

// TestAltered: no alteration, however large, is affirmed if it changes more than
// what is in no digest.
func TestAltered(t *testing.T) {
	s := newSite(t)
	in := s.run(t, s.boot())
	good := in.Evidence
	var names []string
	for name := range fields(good) {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(rt *rapid.T) {
		changed := copied(good)
		for range rapid.IntRange(1, 3).Draw(rt, "alterations") {
			name := rapid.SampledFrom(names).Draw(rt, "field")
			n := len(*fields(changed)[name])
			alter(changed, name, rapid.IntRange(0, n).Draw(rt, "at"), rapid.IntRange(0, 40).Draw(rt, "cut"), rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "with"))
		}
		if why := holds(t, in, good, changed); why != "" {
			rt.Fatal(why)
		}
	})
}

// holds appraises altered evidence and says what is wrong with the verdict.
func holds(t testing.TB, in Input, good, changed *evidence.Evidence) string {
	in.Evidence = changed
	v, err := Appraise(t.Context(), in)
	if err != nil {
		return err.Error()
	}
	if !v.Affirming() {
		if len(v.Reasons) == 0 {
			return v.Status + " without a reason"
		}
		return ""
	}
	for name, p := range fields(good) {
		if name != "event log" && !bytes.Equal(*p, *fields(changed)[name]) {
			return name + " was altered, and it is affirming"
		}
	}
	if !sameDigests(t, good.EventLog, changed.EventLog) {
		return "the event log was altered, and it is affirming"
	}
	return ""
}

// sameDigests tells whether two logs lead to the same PCRs by the same events,
// and say the same where that is in a digest.
func sameDigests(t testing.TB, a, b []byte) bool {
	var sides [2][]string
	for i, log := range [][]byte{a, b} {
		l, err := eventlog.Parse(log)
		if err != nil {
			return false
		}
		for j := range l.Events {
			e := &l.Events[j]
			if !e.Extends() {
				continue
			}
			line := fmt.Sprintf("%d %x", e.PCR, e.Digest(eventlog.SHA256))
			if e.HashesData() && slices.Contains(PredictedPCRs, int(e.PCR)) {
				line += fmt.Sprintf(" %v %x", e.Type, e.Data)
			}
			sides[i] = append(sides[i], line)
		}
		slices.SortStableFunc(sides[i], func(a, b string) int { // the order between PCRs is in no digest
			var x, y int
			fmt.Sscan(a, &x)
			fmt.Sscan(b, &y)
			return x - y
		})
	}
	return slices.Equal(sides[0], sides[1])
}

// FuzzAppraise: whatever a host sends, the verifier says no, or the host has sent
// good evidence.
func FuzzAppraise(f *testing.F) {
	s := newSite(f)
	in := s.run(f, s.boot())
	good := in.Evidence
	names := []string{"event log", "attest", "signature", "manifest", "PCR 7"}
	f.Add(uint8(0), uint16(0), uint16(0), []byte{}, uint16(0), uint16(0), []byte{})
	f.Add(uint8(0), uint16(200), uint16(20), []byte("spliced"), uint16(900), uint16(1), []byte{0})
	f.Add(uint8(1), uint16(4), uint16(2), []byte{0x80, 0x17}, uint16(0), uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, which uint8, at, cut uint16, with []byte, at2, cut2 uint16, with2 []byte) {
		changed := copied(good)
		name := names[int(which)%len(names)]
		alter(changed, name, int(at), int(cut), with)
		alter(changed, name, int(at2), int(cut2), with2)
		if why := holds(t, in, good, changed); why != "" {
			t.Error(why)
		}
	})
}

// TestHostile: evidence of the greatest size that the protocol lets through, made
// to cost as much as it can. A test that runs into the limit means that something
// is quadratic.
func TestHostile(t *testing.T) {
	const limit = time.Minute
	s := newSite(t)
	in := s.run(t, s.boot())
	good := in.Evidence.EventLog
	room := evidence.MaxResponse - len(good) - 1024
	grow := func(add func(b *eventlog.Builder)) []byte {
		b, err := eventlog.NewBuilder(eventlog.SHA256, eventlog.SHA384)
		if err != nil {
			t.Fatal(err)
		}
		for len(b.Bytes()) < room {
			add(b)
		}
		return b.Bytes()
	}
	zeros := append(bytes.Clone(good), make([]byte, room)...)
	zeros[len(zeros)-1] = 1
	tagged := s.boot()[find(t, s.boot(), 9, 0)]
	for name, log := range map[string][]byte{
		"zeros that are no padding": zeros,
		"noise":                     bytes.Repeat([]byte{0xa5, 0x5a, 0}, room/3),
		"one event":                 append(bytes.Clone(good), grow(func(b *eventlog.Builder) { b.Add(1, eventlog.EVIPL, nil, bytes.Repeat([]byte("a: "), room/3)) })...),
		"events of PCR 9":           grow(func(b *eventlog.Builder) { b.Add(9, tagged.kind, tagged.data, tagged.data) }),
		"events of PCR 4":           grow(func(b *eventlog.Builder) { b.Add(4, eventlog.EVEFIAction, []byte("x"), []byte("x")) }),
		"events in no bank":         grow(func(b *eventlog.Builder) { b.AddEvent(eventlog.Event{PCR: 7}) }),
		"authorities":               grow(func(b *eventlog.Builder) { b.Add(7, eventlog.EVEFIVariableAuthority, []byte("x"), []byte("x")) }),
	} {
		t.Run(name, func(t *testing.T) {
			hostile := in
			hostile.Evidence = copied(in.Evidence)
			hostile.Evidence.EventLog = log
			hostile.Evidence.Manifest = bytes.Repeat([]byte("x\n"), 1<<20)
			done := make(chan *Verdict, 1)
			go func() {
				v, _ := Appraise(t.Context(), hostile)
				done <- v
			}()
			select {
			case v := <-done:
				if v == nil || v.Status != policy.Contraindicated {
					t.Fatalf("verdict %+v", v)
				}
				for _, r := range v.Reasons {
					if len(r.Text) > 4096 {
						t.Errorf("%s is told in %d bytes", r.Code, len(r.Text))
					}
				}
			case <-time.After(limit):
				t.Fatalf("a log of %d bytes is not judged within %s", len(log), limit)
			}
		})
	}
}

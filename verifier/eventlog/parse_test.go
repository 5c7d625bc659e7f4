package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestCut: whatever a log is cut to, all whole events are kept and the place is named.
func TestCut(t *testing.T) {
	for _, name := range []string{"ovmf_swtpm_secureboot_uki.bin", "win_gcp_raw.bin"} {
		whole := readLog(t, name)
		l := parsed(t, whole)
		ends := map[int]int{} // offset -> events before it
		for i := range l.Events {
			ends[l.Events[i].Offset] = i
		}
		kept := 0
		for n := range l.Size {
			if k, ok := ends[n]; ok {
				kept = k
			}
			cut, err := Parse(whole[:n])
			if len(cut.Events) != kept {
				t.Fatalf("%s cut to %d bytes: %d events, want %d", name, n, len(cut.Events), kept)
			}
			if _, boundary := ends[n]; boundary && n > 0 {
				if err != nil {
					t.Fatalf("%s cut to %d bytes, between events: %v", name, n, err)
				}
				continue
			}
			var pe *ParseError
			if !errors.As(err, &pe) || pe.Event != kept || pe.Offset != cut.Size || !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrTrailing) {
				t.Fatalf("%s cut to %d bytes: %v, want the place where event %d begins", name, n, err, kept)
			}
		}
	}
}

func TestPadding(t *testing.T) {
	whole := newLog(t)
	whole.Add(4, EVSeparator, make([]byte, 4), make([]byte, 4))
	for _, c := range []struct {
		name string
		tail []byte
		want error
	}{
		{"none", nil, nil},
		{"zero", make([]byte, 1000), nil},
		{"0xff", bytes.Repeat([]byte{0xff}, 1000), nil},
		{"shorter than an event", make([]byte, minPadding), nil},
		{"too short", make([]byte, minPadding-1), ErrTrailing},
		{"other bytes", bytes.Repeat([]byte{7}, 1000), ErrFormat},
		{"a byte at its end", append(make([]byte, 7), 1), ErrTruncated},
	} {
		l, err := Parse(append(whole.Bytes()[:len(whole.Bytes()):len(whole.Bytes())], c.tail...))
		if !errors.Is(err, c.want) || len(l.Events) != 2 || l.Size != len(whole.Bytes()) {
			t.Errorf("%s: %d events in %d bytes, %v; want 2 in %d, %v", c.name, len(l.Events), l.Size, err, len(whole.Bytes()), c.want)
		}
	}
}

// header is the Spec ID event of a log with one SHA-256 bank, with its data altered.
func header(alter func(d []byte) []byte) []byte {
	d := append([]byte(specID03), 0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0)
	return appendLegacy(nil, &Event{Type: EVNoAction, Digests: []Digest{{SHA1, make([]byte, 20)}}, Data: alter(d)})
}

func TestRefused(t *testing.T) {
	same := func(d []byte) []byte { return d }
	put := func(at int, b ...byte) func([]byte) []byte {
		return func(d []byte) []byte { copy(d[at:], b); return d }
	}
	const count, alg, size = 24, 28, 30 // offsets in the Spec ID event
	event := func(digests uint32, rest ...byte) []byte {
		b := le.AppendUint32([]byte{4, 0, 0, 0, 4, 0, 0, 0}, digests)
		return append(header(same), append(b, rest...)...)
	}
	for _, c := range []struct {
		name string
		log  []byte
		kind error
		want string
	}{
		{"empty", nil, ErrTrailing, "0 bytes are left"},
		{"too long", make([]byte, MaxSize+1), ErrFormat, "at most 16777216"},
		{"text", []byte("this is not an event log, however long"), ErrTruncated, "event data of"},
		{"no banks", header(put(count, 0)), ErrFormat, "declares 0 banks"},
		{"too many banks", header(put(count, 17)), ErrFormat, "declares 17 banks"},
		{"2^32-1 banks", header(put(count, 0xff, 0xff, 0xff, 0xff)), ErrFormat, "declares 4294967295 banks"},
		{"banks cut", header(func(d []byte) []byte { d[count] = 2; return d[:size+2] }), ErrTruncated, "cannot hold 2 banks"},
		{"header cut", header(func(d []byte) []byte { return d[:20] }), ErrTruncated, "Spec ID event of 20 bytes"},
		{"wrong size of a known hash", header(put(size, 20)), ErrFormat, "gives sha256 20 bytes, it has 32"},
		{"unknown hash of no size", header(put(alg, 0x99, 0, 0)), ErrFormat, "gives alg-0099 0 bytes"},
		{"bank twice", header(func(d []byte) []byte { d[count] = 2; return append(d[:size+2], 0x0b, 0, 32, 0, 0) }), ErrFormat, "declares sha256 twice"},
		{"more digests than banks", event(2), ErrFormat, "2 digests, the log's header declares 1 banks"},
		{"digest of a bank that is not there", event(1, 0x04, 0), ErrFormat, "algorithm sha1, which the log's header does not declare"},
		{"digest cut", event(1, 0x0b, 0, 1, 2, 3), ErrTruncated, "takes 32 bytes, 3 are left"},
		{"algorithm cut", event(1, 0x0b), ErrTruncated, "digest 0 is cut"},
		{"size cut", event(0, 1, 2), ErrTruncated, "size of the event data is cut"},
		{"data of 4 GiB", event(0, 0xff, 0xff, 0xff, 0xff), ErrTruncated, "event data of 4294967295 bytes, 0 are left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Parse(c.log)
			if l == nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %v that says %q", err, c.kind, c.want)
			}
		})
	}
}

// hostile are logs as large as a log may be, made to cost as much as they can.
func hostile(t testing.TB) map[string][]byte {
	t.Helper()
	fill := func(b *Builder, add func(i int)) []byte {
		for i := 0; len(b.Bytes()) < MaxSize-1024 && i < maxEvents-2; i++ {
			add(i)
		}
		return b.Bytes()
	}
	zeros := append(newLog(t).Bytes(), make([]byte, MaxSize)...)[:MaxSize]
	zeros[MaxSize-1] = 1 // so that what looks like padding up to here is none
	small := newLog(t)
	wide, err := NewBuilder(SHA1, SHA256, SHA384, SHA512)
	if err != nil {
		t.Fatal(err)
	}
	authorities, variables := newLog(t), newLog(t)
	authorities.Add(7, EVEFIVariableDriverConfig, variable("SecureBoot", 1), variable("SecureBoot", 1))
	db := variable("db", bytes.Repeat(append(append(guidX509[:], 28+17, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0), make([]byte, 17)...), 5)...)
	blob := make([]byte, 200)
	return map[string][]byte{
		"events of nothing but zeros": zeros,
		"as many events as possible":  fill(small, func(int) { small.AddEvent(Event{PCR: 9, Type: EVIPL}) }),
		"one event in four banks":     fillOne(wide),
		"text in four banks": fill(wide, func(i int) {
			wide.Add(8, EVIPL, nil, fmt.Appendf(blob[:0], "grub_cmd: %-180d\x00", i))
		}),
		"authorities":     fill(authorities, func(int) { authorities.Add(7, EVEFIVariableAuthority, nil, variable("db", 1)) }),
		"signature lists": fill(variables, func(int) { variables.Add(7, EVEFIVariableDriverConfig, db, db) }),
	}
}

func fillOne(b *Builder) []byte {
	b.Add(8, EVIPL, nil, bytes.Repeat([]byte("grub: x "), (MaxSize-4096)/8))
	return bytes.Clone(b.Bytes())
}

// TestHostile: everything that is ever done with a log ends soon, and what is
// told of it is not larger than the log by more than a small factor. A test that
// runs into the limit means that something is quadratic: these logs took hours.
func TestHostile(t *testing.T) {
	const limit = time.Minute
	for name, b := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			done := make(chan string, 1)
			go func() { done <- survive(b) }()
			select {
			case wrong := <-done:
				if wrong != "" {
					t.Error(wrong)
				}
			case <-time.After(limit):
				t.Fatalf("a log of %d bytes is not judged within %s", len(b), limit)
			}
		})
	}
}

// survive does with a log whatever can be done with one, and says what is wrong.
func survive(b []byte) string {
	l, err := Parse(b)
	if err == nil && len(l.Events) == 0 {
		return "read to its end without one event"
	}
	if !bytes.Equal(l.Encode(), b[:l.Size]) {
		return "the events re-encode to other bytes than were read"
	}
	l.Replay()
	s := l.SecureBoot()
	if len(s.Authorities) > maxAuthorities {
		return fmt.Sprintf("%d authorities are named", len(s.Authorities))
	}
	r, code := ReplayReport(b)
	if want := map[bool]int{true: ExitComplete}[err == nil]; err == nil && code != want || err != nil && code == ExitComplete {
		return fmt.Sprintf("exit %d for error %v", code, err)
	}
	for i := range r.Events {
		if n := len(r.Events[i].Description); n > maxDescription+3 {
			return fmt.Sprintf("event %d is described in %d bytes", i, n)
		}
	}
	return ""
}

func FuzzParse(f *testing.F) {
	for name := range expectations(f) {
		if b := readLog(f, name); len(b) < 4<<10 { // larger ones slow the fuzzer down
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if wrong := survive(b); wrong != "" {
			t.Error(wrong)
		}
	})
}

// TestBuild: what a Builder writes is read back as it was added.
func TestBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		banks := rapid.SliceOfNDistinct(rapid.SampledFrom([]Algorithm{SHA1, SHA256, SHA384, SHA512}), 1, 4, rapid.ID[Algorithm]).Draw(t, "banks")
		b, err := NewBuilder(banks...)
		if err != nil {
			t.Fatal(err)
		}
		var added []Event
		for range rapid.IntRange(0, 8).Draw(t, "events") {
			e := Event{PCR: rapid.Uint32().Draw(t, "pcr"), Type: Type(rapid.Uint32().Draw(t, "type")), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data")}
			b.Add(e.PCR, e.Type, e.Data, e.Data)
			added = append(added, e)
		}
		// Last, so that nothing that was added can look like padding.
		b.Add(1, EVSeparator, []byte{1}, []byte{1})
		l, err := Parse(b.Bytes())
		if err != nil || len(l.Events) != len(added)+2 || !bytes.Equal(l.Encode(), b.Bytes()) {
			t.Fatalf("%d events of %d, %v", len(l.Events), len(added)+2, err)
		}
		for i, want := range added {
			got := l.Events[i+1]
			if got.PCR != want.PCR || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) || len(got.Digests) != len(banks) || !got.hashes(want.Data) {
				t.Fatalf("event %d is %+v, was added as %+v", i, got, want)
			}
		}
	})
	if _, err := NewBuilder(SHA256, SM3); err == nil {
		t.Error("a bank that cannot be computed was taken")
	}
}

package story

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var all = []Event{
	Progress{}, Keys{}, Image{}, Machine{}, Firmware{}, Boot{}, Kernel{}, Service{}, Channel{}, Console{}, Enrolled{}, Verdict{}, Summary{},
}

// Programs depend on these names.
func TestEventNamesAreStable(t *testing.T) {
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
		if len(e.Lines()) == 0 || e.Lines()[0] == "" {
			t.Errorf("%s says nothing", e.Name())
		}
		var m map[string]any
		if err := json.Unmarshal(encode(e, 1500*time.Millisecond), &m); err != nil {
			t.Errorf("%s: %v", e.Name(), err)
		}
		if m["event"] != e.Name() || m["at_ms"] != 1500.0 {
			t.Errorf("%s: event %v, at_ms %v", e.Name(), m["event"], m["at_ms"])
		}
	}
	want := "progress keys image machine firmware boot kernel service channel console enrolled verdict summary"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestJSONIsOneObjectALine(t *testing.T) {
	var b bytes.Buffer
	teller := New(&b, true)
	teller.Tell(Verdict{Status: "affirming", Reasons: []string{"two\nlines"}, Took: Milliseconds(1234 * time.Millisecond)})
	teller.Tell(Summary{OK: true, Stages: map[string]Milliseconds{"boot": Milliseconds(time.Second)}})
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	var v struct {
		Status string
		Took   int `json:"took_ms"`
	}
	if err := json.Unmarshal([]byte(lines[0]), &v); err != nil || v.Status != "affirming" || v.Took != 1234 {
		t.Fatalf("%+v, %v", v, err)
	}
}

func TestVerdictShowsEqualAndDifferentPCRs(t *testing.T) {
	v := Verdict{Round: 1, Status: "warning", Table: true, Findings: []Finding{{"c", "because", "mend it"}},
		Predicted: PCRs{"sha256": {"11": "bb", "4": "aa"}}, Quoted: PCRs{"sha256": {"4": "aa", "11": "cc", "0": "dd"}},
		Baseline: PCRs{"sha256": {"0": "dd"}}}
	got := strings.Join(v.Lines(), "\n")
	for _, want := range []string{"WARNING", "- because", "what to do: mend it", "PCR 4  equal:   quoted aa, predicted aa", "PCR 11 DIFFERS: quoted cc, predicted bb",
		"PCR 0  equal:   quoted dd, baseline of enrolment dd"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Index(got, "PCR 4 ") > strings.Index(got, "PCR 11") {
		t.Error("PCRs are not in numerical order")
	}
}

func TestFailureSaysWhatToDo(t *testing.T) {
	got := strings.Join(Summary{Error: "kernel.elf: wrong digest", Remedy: "rebuild it", Order: []string{"image"}}.Lines(), "\n")
	if !strings.Contains(got, "FAILED: kernel.elf: wrong digest") || !strings.Contains(got, "what to do: rebuild it") {
		t.Error(got)
	}
}

func TestProgressSpeaksOnlyWhenItTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		teller := New(&b, false)
		stop := teller.Progress("quick")
		time.Sleep(progressAfter - time.Millisecond)
		stop()
		if b.Len() > 0 {
			t.Errorf("a quick step said %q", b.String())
		}
		stop = teller.Progress("slow")
		time.Sleep(progressAfter + 10*time.Second + time.Millisecond)
		stop()
		if n := strings.Count(b.String(), "slow"); n != 2 {
			t.Errorf("%d lines after 12 s, want 2: %q", n, b.String())
		}
	})
}

func TestTellerRemembersWriteErrors(t *testing.T) {
	teller := New(failing{}, false)
	teller.Tell(Progress{What: "x"})
	if teller.Err() != errFull {
		t.Fatalf("got %v", teller.Err())
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestParseReport(t *testing.T) {
	for _, c := range []struct {
		line string
		want Report
		ok   bool
	}{
		{"aios boot: start version=1.2 slot=a secure_boot=on tpm=2.0",
			Report{"boot", "start", map[string]string{"version": "1.2", "slot": "a", "secure_boot": "on", "tpm": "2.0"}}, true},
		{"aios boot: manifest ok version=7", Report{"boot", "manifest ok", map[string]string{"version": "7"}}, true},
		{`aios boot: measured pcr=9 text="aios.kernel kernel.elf a=b"`,
			Report{"boot", "measured", map[string]string{"pcr": "9", "text": "aios.kernel kernel.elf a=b"}}, true},
		{`aios boot: REFUSED stage=kernel reason="say \"no\"" remedy=""`,
			Report{"boot", "REFUSED", map[string]string{"stage": "kernel", "reason": `say "no"`, "remedy": ""}}, true},
		{"aios attestd: ready", Report{"attestd", "ready", map[string]string{}}, true},
		{"garbage left by firmware aios kernel: start cpus=2", Report{"kernel", "start", map[string]string{"cpus": "2"}}, true},
		{`aios boot: odd key="unclosed rest`, Report{"boot", "odd rest", map[string]string{"key": `"unclosed`}}, true},
		{"aios boot: =x", Report{"boot", "=x", map[string]string{}}, true},
		{"BdsDxe: starting Boot0001", Report{}, false},
		{"aios is a word: here", Report{}, false},
		{"aios boot", Report{}, false},
	} {
		got, ok := ParseReport(c.line)
		if ok != c.ok || ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v, want %+v, %v", c.line, got, ok, c.want, c.ok)
		}
	}
}

// The console is what a guest, perhaps a hostile one, writes.
func FuzzParseReport(f *testing.F) {
	f.Add(`aios boot: REFUSED stage=kernel reason="a b" x= =`)
	f.Add(`aios a: k="\x00`)
	f.Fuzz(func(t *testing.T, line string) {
		r, ok := ParseReport(line)
		if ok && (r.From == "" || r.Values == nil) {
			t.Fatalf("%q: %+v", line, r)
		}
		for k := range r.Values {
			if k == "" {
				t.Fatalf("%q: empty key", line)
			}
		}
	})
}

package process

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// logged is a Log that remembers.
type logged []string

func (l *logged) Line(s string) { *l = append(*l, s) }

func TestLogLines(t *testing.T) {
	var got logged
	l := newLineLog("p", &got, func() time.Duration { return 0 })
	l.write([]byte("one\r\nt\two\n\x1b[2J\xff\naios p: twice\naios kernel: forged\n" + strings.Repeat("x", maxLine+1)))
	l.close()
	want := []string{"aios p: one", "aios p: t wo", "aios p: ?[2J?", "aios p: twice", "aios p: aios kernel: forged",
		"aios p: " + strings.Repeat("x", maxLine), "aios p: x"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A program that floods the console gets its burst, then its rate, and is told on.
func TestLogFlood(t *testing.T) {
	var got logged
	now := time.Duration(0)
	l := newLineLog("p", &got, func() time.Duration { return now })
	size := func() (n int) {
		for _, s := range got {
			n += len(s)
		}
		return n
	}
	flood := func() {
		for range 4 * logBurst / 100 {
			l.write([]byte(strings.Repeat("y", 99) + "\n"))
		}
	}
	flood()
	if n := size(); n > logBurst || n < logBurst-200 {
		t.Errorf("at once: %d bytes, want %d", n, logBurst)
	}
	first := l.lost
	got = nil
	now += 10 * time.Second
	flood()
	if n := size(); n > 10*logRate+200 || n < 10*logRate-200 {
		t.Errorf("in 10 seconds: %d bytes, want %d", n, 10*logRate)
	}
	if first == 0 || !strings.HasPrefix(got[0], "aios p: (") || !strings.Contains(got[0], " lines left out: more than 4096 bytes a second)") {
		t.Errorf("%d lines left out, told by %q", first, got[0])
	}
	got = nil
	now += 1 << 62 // as long as it takes: no more than a burst
	flood()
	if n := size(); n > logBurst+200 {
		t.Errorf("after a rest: %d bytes, want at most %d", n, logBurst)
	}
	got = nil
	l.close()
	if len(got) != 1 || !strings.Contains(got[0], "left out") {
		t.Errorf("at its end: %q", got)
	}
}

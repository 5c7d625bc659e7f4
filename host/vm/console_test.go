package vm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What firmware sends to a terminal must not reach ours.
func TestPrintable(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "aios boot: start\r\n", "aios boot: start"},
		{"clear screen and cursor", "\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe", "BdsDxe"},
		{"colour", "\x1b[0m\x1b[37m\x1b[40mok", "ok"},
		{"two-byte escape", "a\x1bcb", "ab"},
		{"escape at the end", "a\x1b", "a"},
		{"unfinished sequence", "a\x1b[12;", "a"},
		{"title setting leaves harmless text", "\x1b]0;evil\x07x", "0;evilx"},
		{"bytes above ASCII", "\xffA\x9b2J", "?A?2J"},
		{"tab", "a\tb", "a b"},
	} {
		if got := printable([]byte(c.in)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPrintableIsPrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.Byte()).Draw(t, "in")
		for _, c := range printable(in) {
			if c < 0x20 || c > 0x7e {
				t.Fatalf("%q leaves %q", in, c)
			}
		}
	})
}

// A follower sees every line once, in order, and then the end.
func TestFollow(t *testing.T) {
	c := newConsole()
	r, w := io.Pipe()
	go c.read(r, io.Discard, time.Now())
	go func() {
		io.WriteString(w, "one\r\n\r\ntwo\nthree without end")
		w.Close()
	}()
	f := c.Follow()
	for _, want := range []string{"one", "two", "three without end"} {
		if l, err := f.Next(t.Context()); err != nil || l.Text != want {
			t.Fatalf("got %q, %v, want %q", l.Text, err, want)
		}
	}
	if _, err := f.Next(t.Context()); err != io.EOF {
		t.Fatalf("after the last line: %v, want io.EOF", err)
	}
	if l, err := c.Follow().Next(t.Context()); err != nil || l.Text != "one" {
		t.Fatalf("second follower got %q, %v", l.Text, err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("enough")
	cancel(want)
	if _, err := newConsole().Follow().Next(ctx); err != want {
		t.Fatalf("got %v, want %v", err, want)
	}
}

// A guest that floods the console costs bounded memory, and a late reader goes
// on with what is left.
func TestConsoleIsBounded(t *testing.T) {
	c := newConsole()
	f := c.Follow()
	c.read(strings.NewReader("first\n"+strings.Repeat("x\n", 2*consoleLines)+"last\n"), io.Discard, time.Now())
	if n := len(c.Tail(1 << 30)); n != consoleLines {
		t.Fatalf("%d lines kept, want %d", n, consoleLines)
	}
	if l, _ := f.Next(t.Context()); l.Text != "x" {
		t.Fatalf("a late reader starts with %q", l.Text)
	}
	if l := c.Tail(1); l[0].Text != "last" {
		t.Fatalf("last line is %q", l[0].Text)
	}
}

func TestLongLineIsCut(t *testing.T) {
	c := newConsole()
	c.read(strings.NewReader(strings.Repeat("y", 100_000)+"\nz\n"), io.Discard, time.Now())
	n := 0
	for _, l := range c.Tail(100) {
		if len(l.Text) > 16<<10 {
			t.Fatalf("a line of %d bytes", len(l.Text))
		}
		n += len(l.Text)
	}
	if n != 100_001 {
		t.Fatalf("%d bytes in all", n)
	}
}

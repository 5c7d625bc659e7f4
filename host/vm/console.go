package vm

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync"
	"time"
)

// Line is one line of the serial console.
type Line struct {
	At   time.Duration // since the machine was started
	Text string        // without line end, escape sequences and control characters
}

// consoleLines bounds what is kept in memory: enough for a panic with all
// stacks after a normal boot.
const consoleLines = 4096

// Console is the serial console of a machine, kept as lines. Any number of
// readers may follow it, each from its own position.
type Console struct {
	mu      sync.Mutex
	lines   []Line // the last consoleLines ones
	dropped int    // how many came before lines[0]
	ended   bool
	changed chan struct{} // closed and replaced at each change
}

func newConsole() *Console { return &Console{changed: make(chan struct{})} }

// read copies r to raw and into lines until r ends.
func (c *Console) read(r io.Reader, raw io.Writer, since time.Time) {
	br := bufio.NewReaderSize(io.TeeReader(r, raw), 16<<10)
	for {
		part, err := br.ReadSlice('\n') // a longer line is cut into several
		if len(part) > 0 {
			c.add(Line{time.Since(since), printable(part)})
		}
		if err != nil && err != bufio.ErrBufferFull {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.changed)
}

func (c *Console) add(l Line) {
	if l.Text == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, l)
	if over := len(c.lines) - consoleLines; over > 0 {
		c.lines = append(c.lines[:0], c.lines[over:]...)
		c.dropped += over
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Tail returns the last n lines.
func (c *Console) Tail(n int) []Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Line(nil), c.lines[max(0, len(c.lines)-n):]...)
}

// Follow returns a reader that starts with the first line still kept.
func (c *Console) Follow() *Follower { return &Follower{c: c} }

// Follower reads a console line by line.
type Follower struct {
	c    *Console
	next int // absolute number of the next line
}

// Next waits for the next line; io.EOF once the machine has ended and all
// lines were read.
func (f *Follower) Next(ctx context.Context) (Line, error) {
	for {
		f.c.mu.Lock()
		f.next = max(f.next, f.c.dropped)
		if i := f.next - f.c.dropped; i < len(f.c.lines) {
			l := f.c.lines[i]
			f.next++
			f.c.mu.Unlock()
			return l, nil
		}
		ended, changed := f.c.ended, f.c.changed
		f.c.mu.Unlock()
		if ended {
			return Line{}, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Line{}, context.Cause(ctx)
		}
	}
}

// printable removes what firmware sends to steer a terminal, so that a line of
// the console can be shown on ours: a guest must not be able to move our cursor
// or to set our title.
func printable(b []byte) string {
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0x1b:
			i += escapeLen(b[i:]) - 1
		case c == '\t':
			s.WriteByte(' ')
		case c >= 0x20 && c < 0x7f:
			s.WriteByte(c)
		case c >= 0x80:
			s.WriteByte('?')
		}
	}
	return strings.TrimRight(s.String(), " ")
}

// escapeLen is the length of the escape sequence at the start of b: CSI
// sequences (ECMA-48 section 5.4) to their final byte, else two bytes.
func escapeLen(b []byte) int {
	if len(b) < 2 || b[1] != '[' {
		return min(2, len(b))
	}
	for i := 2; i < len(b); i++ {
		if b[i] >= 0x40 && b[i] <= 0x7e {
			return i + 1
		}
	}
	return len(b)
}

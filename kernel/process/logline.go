package process

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// maxLine is where a line without an end is broken.
	maxLine = 512
	// logBurst and logRate bound what one process puts on the console, which a
	// serial line drains at some 11 kB a second while others wait for it: the
	// trace of a large panic at once, and then this many bytes a second.
	logBurst = 256 << 10
	logRate  = 4 << 10
)

// lineLog turns what a program writes into lines under its name. A program
// cannot write a line that looks like another's: bytes that are not printable
// ASCII are replaced, and the name is put in front by the kernel.
type lineLog struct {
	prefix string
	sink   Log
	now    func() time.Duration

	mu     sync.Mutex
	line   []byte
	room   int           // bytes that may be passed on now
	filled time.Duration // when room was last added to
	lost   int           // lines that were not passed on, and not yet told of
}

func newLineLog(name string, sink Log, now func() time.Duration) *lineLog {
	return &lineLog{prefix: "aios " + name + ": ", sink: sink, now: now, room: logBurst, filled: now()}
}

func (l *lineLog) write(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range p {
		switch {
		case c == '\n':
			l.end()
			continue
		case c == '\t':
			c = ' '
		case c == '\r':
			continue
		case c < ' ' || c > '~':
			c = '?'
		}
		l.line = append(l.line, c)
		if len(l.line) >= maxLine {
			l.end()
		}
	}
}

// end passes on the line so far, if there is room for it. A name that the
// program itself put in front is not repeated.
func (l *lineLog) end() {
	text := l.prefix + strings.TrimPrefix(string(l.line), l.prefix)
	l.line = l.line[:0]
	l.fill()
	if l.room < len(text) {
		l.lost++
		return
	}
	l.tellLost()
	l.room -= len(text)
	l.sink.Line(text)
}

func (l *lineLog) fill() {
	const whole = logBurst / logRate * time.Second // fills it from empty
	now := l.now()
	added := int(min(now-l.filled, whole) * logRate / time.Second)
	if added > 0 {
		l.room, l.filled = min(l.room+added, logBurst), now
	}
}

func (l *lineLog) tellLost() {
	if l.lost > 0 {
		l.sink.Line(fmt.Sprintf("%s(%d lines left out: more than %d bytes a second)", l.prefix, l.lost, logRate))
		l.lost = 0
	}
}

// flush passes on a last line without an end.
func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.end()
	}
}

// close tells of what was left out last.
func (l *lineLog) close() {
	l.flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tellLost()
}

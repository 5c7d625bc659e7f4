package process

import (
	"strings"
	"sync"
)

// maxLine is where a line without an end is broken.
const maxLine = 512

// lineLog turns what a program writes into lines under its name. A program
// cannot write a line that looks like another's: bytes that are not printable
// ASCII are replaced, and the name is put in front by the kernel.
type lineLog struct {
	prefix string
	sink   Log

	mu   sync.Mutex
	line []byte
}

func newLineLog(name string, sink Log) *lineLog {
	return &lineLog{prefix: "aios " + name + ": ", sink: sink}
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

// end passes on the line so far. A name that the program itself put in front
// is not repeated.
func (l *lineLog) end() {
	l.sink.Line(l.prefix + strings.TrimPrefix(string(l.line), l.prefix))
	l.line = l.line[:0]
}

// flush passes on a last line without an end.
func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.end()
	}
}

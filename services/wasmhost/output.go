package main

import (
	"bytes"
	"fmt"

	"aios/kernel/abi"
)

// output turns what a module prints into lines of the log. It holds at most one line. A
// line that the kernel refuses is lost, and the next one that it takes is followed by how
// many were. The module is not told: a Go program whose runtime cannot print ends at
// once. The call log of the host module tells.
type output struct {
	log  func(line []byte) error
	line []byte
	lost int
}

func (o *output) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		take := min(len(p)-n, abi.MaxLog-len(o.line))
		end := bytes.IndexByte(p[n:n+take], '\n')
		if end >= 0 {
			take = end + 1
		}
		o.line = append(o.line, p[n:n+take]...)
		n += take
		if end >= 0 || len(o.line) == abi.MaxLog {
			o.flush()
		}
	}
	return len(p), nil
}

// flush writes the line that has no end yet.
func (o *output) flush() {
	line := bytes.TrimSuffix(o.line, []byte("\n"))
	o.line = o.line[:0]
	if len(line) == 0 {
		return
	}
	if o.log(line) != nil {
		o.lost++
		return
	}
	if o.lost > 0 && o.log(fmt.Appendf(nil, "%d lines before this one were refused", o.lost)) == nil {
		o.lost = 0
	}
}

package main

import (
	"bytes"

	"aios/kernel/abi"
)

// output turns what a module prints into lines of the log. It holds at most one line,
// and of a line that could not be written the module is told, and nothing is kept.
type output struct {
	log  func(line []byte) error
	line []byte
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
			if err := o.flush(); err != nil {
				return n, err
			}
		}
	}
	return len(p), nil
}

// flush writes the line that has no end yet.
func (o *output) flush() error {
	line := bytes.TrimSuffix(o.line, []byte("\n"))
	o.line = o.line[:0]
	if len(line) == 0 {
		return nil
	}
	return o.log(line)
}

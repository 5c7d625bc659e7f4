package story

import (
	"strconv"
	"strings"
)

// Report is a line that boot, kernel or a service printed on the console:
//
//	aios boot: manifest ok version=7 key=90ab floor=0
//
// is Report{From: "boot", Stage: "manifest ok", Values: {...}}. Values with
// blanks are written as Go strings in double quotes.
type Report struct {
	From   string
	Stage  string
	Values map[string]string
}

// ParseReport reads a console line; ok is false for anything that is not a
// report. What firmware leaves on the line before it is skipped.
func ParseReport(line string) (r Report, ok bool) {
	i := strings.Index(line, "aios ")
	if i < 0 {
		return r, false
	}
	from, rest, found := strings.Cut(line[i+len("aios "):], ": ")
	if !found || from == "" || strings.ContainsAny(from, " =\"") {
		return r, false
	}
	r = Report{From: from, Values: map[string]string{}}
	var stage []string
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimLeft(rest, " ") {
		end := strings.IndexByte(rest, ' ')
		if end < 0 {
			end = len(rest)
		}
		eq := strings.IndexByte(rest[:end], '=')
		if eq <= 0 {
			stage = append(stage, rest[:end])
			rest = rest[end:]
			continue
		}
		key, value := rest[:eq], rest[eq+1:end]
		rest = rest[eq+1:]
		if quoted, err := strconv.QuotedPrefix(rest); err == nil && quoted[0] == '"' {
			value, _ = strconv.Unquote(quoted)
			rest = rest[len(quoted):]
		} else {
			rest = rest[len(value):]
		}
		r.Values[key] = value
	}
	r.Stage = strings.Join(stage, " ")
	return r, true
}

// Int returns a value as a number, 0 where it is none.
func (r Report) Int(key string) int {
	n, _ := strconv.Atoi(r.Values[key])
	return n
}

// Uint64 returns a value as a number, 0 where it is none.
func (r Report) Uint64(key string) uint64 {
	n, _ := strconv.ParseUint(r.Values[key], 10, 64)
	return n
}

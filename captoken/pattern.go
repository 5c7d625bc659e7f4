package captoken

import (
	"slices"
	"strconv"
	"strings"

	"aios/captoken/cbor"
)

// Bounds on names and lists.
const (
	MaxName = 64 // bytes of a name or pattern
	MaxList = 32 // entries of one list
)

// validName keeps names to what a console line, a URL and a log take as they stand.
func validName(s string) bool {
	if len(s) < 1 || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		if !nameByte(s[i]) {
			return false
		}
	}
	return true
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._:/@", c) >= 0
}

const nameRule = "1 to 64 of A-Z a-z 0-9 - . _ : / @"

// Patterns is a set of names. Each entry is a name, or the beginning of one followed
// by "*". An empty set holds nothing.
type Patterns []string

func validPattern(s string) bool {
	head, wild := strings.CutSuffix(s, "*")
	if wild && head == "" {
		return true
	}
	return len(s) <= MaxName && validName(head)
}

// covers tells whether every name of pattern q is one of pattern p.
func covers(p, q string) bool {
	if head, wild := strings.CutSuffix(p, "*"); wild {
		return strings.HasPrefix(q, head)
	}
	return p == q
}

// Allow tells whether the set holds name.
func (p Patterns) Allow(name string) bool {
	if !validName(name) { // a pattern is not a name
		return false
	}
	for _, pattern := range p {
		if covers(pattern, name) {
			return true
		}
	}
	return false
}

// intersect returns the names that are in both sets. Of two patterns that have a name
// in common one covers the other, so the result is made of entries of both.
func (p Patterns) intersect(q Patterns) Patterns {
	var out Patterns
	for _, a := range p {
		for _, b := range q {
			switch {
			case covers(a, b):
				out = append(out, b)
			case covers(b, a):
				out = append(out, a)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (p Patterns) validate(what string) error {
	if len(p) > MaxList {
		return claimError(what, "expected at most "+strconv.Itoa(MaxList)+" entries, found "+strconv.Itoa(len(p)))
	}
	for i, s := range p {
		if !validPattern(s) {
			return claimError(what, quote(s)+": expected a name of "+nameRule+", the beginning of one followed by *, or *")
		}
		if i > 0 && p[i-1] >= s {
			return claimError(what, "expected ascending order, each once; found "+quote(s)+" after "+quote(p[i-1]))
		}
	}
	return nil
}

func (p Patterns) append(b []byte) []byte {
	b = cbor.AppendArray(b, len(p))
	for _, s := range p {
		b = cbor.AppendText(b, s)
	}
	return b
}

// readPatterns reads a set that is not empty: an empty one is left out.
func readPatterns(r *cbor.Reader) Patterns {
	n := r.Array(1, MaxList)
	var out Patterns
	for range n {
		out = append(out, string(r.Text(1, MaxName)))
		if r.Err() != nil {
			return nil
		}
	}
	return out
}

package main

import (
	"fmt"
	"strings"
)

// tokenFormats are what tokens are compared in, and what keeps others from making them.
// A row is named for the format and how often its token was passed on.
var tokenFormats = []struct {
	name, row, security string
	ours                bool // this side of the row, not the peer
	narrowed            bool // can be passed on narrowed
}{
	{"ours, ML-DSA-65", "token_biscuit", "signature, post-quantum", true, true},
	{"JWT, ES256", "token_jwt", "signature, classical", false, false},
	{"Biscuit, Ed25519", "token_biscuit", "signatures, classical", false, true},
	{"macaroon, HMAC-SHA256", "token_macaroon", "MAC, symmetric: who verifies can make it", false, true},
}

var tokenHeads = []string{"token", "what it is worth", "bytes", "passed on once", "4 times", "verified in", "passed on once", "4 times"}

// tokenTable has the sizes and times of tokens beside each other, one format a line.
func (r *report) tokenTable() (lines [][]string) {
	rows := map[string]row{}
	for _, row := range r.Rows {
		rows[row.Name] = row
	}
	for _, f := range tokenFormats {
		if rows[f.row].Peer == nil {
			return nil // tokens were not measured
		}
		sizes, times := []string{f.name, f.security}, []string(nil)
		for _, suffix := range [...]string{"", "_1", "_4"} {
			row, measured := rows[f.row+suffix]
			switch {
			case suffix != "" && !f.narrowed:
				sizes, times = append(sizes, "not possible"), append(times, "not possible")
			case !measured || row.Peer == nil:
				return nil
			case f.ours:
				sizes, times = append(sizes, fmt.Sprint(row.OursBytes)), append(times, row.Ours.duration())
			default:
				sizes, times = append(sizes, fmt.Sprint(row.PeerBytes)), append(times, row.Peer.duration())
			}
		}
		lines = append(lines, append(sizes, times...))
	}
	return lines
}

// tokenText is the table of tokens for a terminal.
func (r *report) tokenText() string {
	lines := r.tokenTable()
	if lines == nil {
		return ""
	}
	return "\ntokens, narrowed offline and not:\n" + alignedTable(append([][]string{tokenHeads}, lines...))
}

// tokenMarkdown is the table of tokens as a part of a document.
func (r *report) tokenMarkdown() string {
	lines := r.tokenTable()
	if lines == nil {
		return ""
	}
	var s strings.Builder
	s.WriteString("\n## Tokens\n\n| " + strings.Join(tokenHeads, " | ") + " |\n|" + strings.Repeat(" --- |", len(tokenHeads)) + "\n")
	for _, l := range lines {
		s.WriteString("| " + strings.Join(l, " | ") + " |\n")
	}
	return s.String()
}

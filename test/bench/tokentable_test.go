package main

import (
	"strings"
	"testing"
)

// The sizes and times of tokens stand in one table, each under its own head; without all
// of them there is none.
func TestTokenTable(t *testing.T) {
	r := &report{}
	for i, name := range []string{"token_jwt", "token_biscuit", "token_macaroon", "token_biscuit_1", "token_macaroon_1", "token_biscuit_4", "token_macaroon_4"} {
		row, err := compare(name, name, []float64{1000 + float64(i)*10}, []float64{2000 + float64(i)*10})
		if err != nil {
			t.Fatal(err)
		}
		row.OursBytes, row.PeerBytes = 3000+i, 400+i
		if name == "token_macaroon_4" {
			if r.tokenTable() != nil || r.tokenText() != "" || r.tokenMarkdown() != "" {
				t.Error("a table with holes")
			}
		}
		r.Rows = append(r.Rows, row)
	}
	md := r.tokenMarkdown()
	for _, want := range []string{
		"| ours, ML-DSA-65 | signature, post-quantum | 3001 | 3003 | 3005 | 1.01 us (1.01-1.01) | 1.03 us (1.03-1.03) | 1.05 us (1.05-1.05) |\n",
		"| JWT, ES256 | signature, classical | 400 | not possible | not possible | 2.00 us (2.00-2.00) | not possible | not possible |\n",
		"| macaroon, HMAC-SHA256 | MAC, symmetric: who verifies can make it | 402 | 404 | 406 | 2.02 us (2.02-2.02) |",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("%q is missing in\n%s", want, md)
		}
	}
	if text := r.text(); !strings.Contains(text, "tokens, narrowed offline") || !strings.Contains(text, "not possible") {
		t.Errorf("no table of tokens in\n%s", text)
	}
}

// Each row that the table asks for is measured.
func TestTokenRowsAreMeasured(t *testing.T) {
	known := map[string]bool{}
	for _, h := range hot {
		known[h.name] = true
	}
	for _, f := range tokenFormats {
		for _, suffix := range []string{"", "_1", "_4"} {
			if (suffix == "" || f.narrowed) && !known[f.row+suffix] {
				t.Errorf("there is no row %s", f.row+suffix)
			}
		}
	}
}

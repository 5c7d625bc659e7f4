package main

import (
	"strings"
	"testing"
)

func TestWebTime(t *testing.T) {
	for _, c := range []struct {
		answer, want string
		ns           float64
	}{
		{"ok bytes=16777216 us=2500\n", "", 2.5e6},
		{"ok bytes=16777215 us=2500\n", "16777215 bytes came", 0},
		{"ok bytes=16777216 us=0\n", "the client says", 0},
		{"error connect to 10.0.2.2:1: refused\n", "refused", 0},
		{"", "the client says", 0},
	} {
		ns, err := webTime(c.answer)
		if ns != c.ns || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want %v and %q", c.answer, ns, err, c.ns, c.want)
		}
	}
}

func TestWebRow(t *testing.T) {
	b := boots{web: []batches{{"http_get": {4e9, 8e9, 5e9}}}, peerWeb: []batches{{"http_get": {1e9}}}}
	r, err := b.webRow()
	if err != nil {
		t.Fatal(err)
	}
	if !r.Lost || r.Ratio.Median != 5 || !strings.Contains(r.Text, "(3.36 and 16.8 MB/s)") {
		t.Errorf("%+v", r)
	}
	b.peerWeb[0] = batches{}
	if _, err := b.webRow(); err == nil || !strings.Contains(err.Error(), "Debian's kernel") {
		t.Errorf("a peer that measured nothing: %v", err)
	}
}

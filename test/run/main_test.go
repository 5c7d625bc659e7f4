package main

import (
	"bytes"
	"strings"
	"testing"
)

// A wrong count here would hide failures of everything else.
func TestCount(t *testing.T) {
	for _, c := range []struct {
		name           string
		events         string
		passed, failed int
		shows          string
	}{
		{"one of each", `
{"Action":"output","Package":"p","Test":"B","Output":"why it failed\n"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"fail","Package":"p","Test":"B"}
{"Action":"fail","Package":"p"}`, 1, 1, "why it failed"},
		{"parents are not counted", `
{"Action":"pass","Package":"p","Test":"T/a"}
{"Action":"fail","Package":"p","Test":"T/b"}
{"Action":"fail","Package":"p","Test":"T"}
{"Action":"pass","Package":"p","Test":"T-x"}
{"Action":"pass","Package":"p","Test":"Tx"}
{"Action":"fail","Package":"p"}`, 3, 1, "p T/b"},
		{"a skipped test proves nothing", `{"Action":"skip","Package":"p","Test":"T"}{"Action":"pass","Package":"p"}`, 0, 1, "SKIP p T"},
		{"a package that does not build", `
{"ImportPath":"p [p.test]","Action":"build-output","Output":"undefined: x\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`, 0, 1, "undefined: x"},
		{"a panic outside a test", `
{"Action":"pass","Package":"p","Test":"T"}
{"Action":"output","Package":"p","Output":"panic: boom\n"}
{"Action":"fail","Package":"p"}`, 1, 1, "panic: boom"},
		{"two packages share a test name", `
{"Action":"pass","Package":"p","Test":"T"}
{"Action":"pass","Package":"q","Test":"T"}`, 2, 0, ""},
		{"a package without tests", `{"Action":"skip","Package":"p"}`, 0, 0, ""},
		{"not JSON", `panic: x`, 0, 1, "not what"},
	} {
		var out bytes.Buffer
		tl := newTally(&out)
		tl.count(strings.NewReader(c.events))
		if tl.passed != c.passed || tl.failed != c.failed || !strings.Contains(out.String(), c.shows) {
			t.Errorf("%s: %d passed, %d failed, want %d and %d, showing %q:\n%s", c.name, tl.passed, tl.failed, c.passed, c.failed, c.shows, out.String())
		}
	}
}

func TestSuiteThatCannotStartFails(t *testing.T) {
	var out bytes.Buffer
	tl := newTally(&out)
	tl.runSuite("x", []string{"/nonexistent/program"})
	if tl.failed != 1 {
		t.Fatalf("%d failed, want 1", tl.failed)
	}
}

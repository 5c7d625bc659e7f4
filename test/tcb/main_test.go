package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCodeLines(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"empty", "", 0},
		{"blank and comments", "\n// a\n\t// b\n/* c */\n/* d\ne */\n", 0},
		{"code", "package p // why\n\nvar x = 1\n", 2},
		{"code after a comment", "/* a */ x()\n/* b\nc */ y()\n", 2},
		{"assembly", "TEXT ·f(SB),NOSPLIT,$0\n\tRET // done\n", 2},
	} {
		if got := codeLines([]byte(c.text)); got != c.want {
			t.Errorf("%s: %d lines, want %d", c.name, got, c.want)
		}
	}
}

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"runtime.mallocgc":                          "runtime",
		"aios/boot/manifest.Parse":                  "aios/boot/manifest",
		"aios/kernel/metal.(*Space).Map":            "aios/kernel/metal",
		"gopkg.in/yaml%2ev3.Marshal":                "gopkg.in/yaml.v3",
		"slices.SortFunc[go.shape.[]aios/a.T,go.x]": "slices",
		"type:.eq.aios/boot/manifest.Image":         "",
		"go:buildid":                                "",
		"github.com/a/b.(*T[aios/x.Y]).M":           "github.com/a/b",
	} {
		if got := packageOf(symbol); got != want {
			t.Errorf("%s: got %q, want %q", symbol, got, want)
		}
	}
}

// The count is of what is linked: a package that is imported for one constant
// must not appear, one that is called must.
func TestReportOfARealImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.elf")
	if out, err := exec.Command("go", "build", "-ldflags", "-s -w", "-o", file, "aios/test/bench/peer").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	linked, err := functions(file)
	if err != nil {
		t.Fatal(err)
	}
	if linked["main"] == 0 || linked["runtime"] == 0 || linked["net/http"] != 0 {
		t.Fatalf("linked: %v", linked)
	}
	var b bytes.Buffer
	var total count
	for range 2 { // the second time adds nothing to the total
		b.Reset()
		if err := report(&b, &total, "aios/test/bench/peer", file, "", ""); err != nil || !strings.Contains(b.String(), "third-party 0 lines in 0 packages") ||
			!strings.Contains(b.String(), "ours         aios/test/bench/peer ") || !strings.Contains(b.String(), "aios/test/bench/peer: "+total.String()+"\n") {
			t.Fatalf("%v: %s; total %v", err, b.String(), total)
		}
	}
	if err := os.WriteFile(file, []byte("no ELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := functions(file); err == nil {
		t.Fatal("a file that is no image was counted")
	}
}

package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// build makes the real command line.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "aios")
	c := exec.Command("go", "build", "-o", bin, "./cmd/aios")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/aios: %v\n%s", err, out)
	}
	return bin
}

// generated matches the parts that are made from the code, whose words are not
// commands.
var generated = regexp.MustCompile(`(?s)<!-- generate .*?<!-- /generate -->`)

// commands are the aios commands of a page: the lines of its fenced blocks that
// begin with one, and what stands between backticks in the text.
func commands(text string) (out [][]string) {
	rest, blocks := prose(generated.ReplaceAllString(text, ""))
	var lines []string
	for _, b := range blocks {
		lines = append(lines, strings.Split(strings.ReplaceAll(b, "\\\n", " "), "\n")...)
	}
	for _, m := range codePattern.FindAllStringSubmatch(strings.ReplaceAll(rest, "\n", " "), -1) {
		lines = append(lines, m[1])
	}
	for _, l := range lines {
		words := strings.Fields(strings.TrimPrefix(l, "$ "))
		for len(words) > 0 && (words[0] == "sudo" || strings.HasPrefix(words[0], "AIOS_STATE=")) {
			words = words[1:]
		}
		if len(words) < 2 || words[0] != "aios" && words[0] != "bin/aios" || strings.HasSuffix(words[1], ":") {
			continue // not a command, or a line of the console: "aios boot: ..."
		}
		if i := slices.IndexFunc(words, func(w string) bool { return strings.ContainsAny(w[:1], "|>&;#") }); i > 0 {
			words = words[:i]
		}
		out = append(out, words[1:])
	}
	return out
}

// Every command that a page shows is one: its words and flags parse, up to the
// point where it would run.
func TestCommands(t *testing.T) {
	bin := build(t)
	seen := map[string]bool{}
	for _, name := range allPages(t) {
		for _, args := range commands(page(t, name)) {
			line := strings.Join(args, " ")
			if seen[line] || args[0] == "<version>" {
				continue
			}
			seen[line] = true
			if out, err := exec.Command(bin, append(args, "--help")...).CombinedOutput(); err != nil {
				t.Errorf("%s: aios %s: %v\n%s", name, line, err, out)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d commands were found", len(seen))
	}
	// The check can fail.
	for _, bad := range [][]string{{"up", "--twice", "--help"}, {"verifier", "trust", "--help"}, {"host", "floor", "lower", "--help"}} {
		if out, err := exec.Command(bin, bad...).CombinedOutput(); err == nil {
			t.Errorf("aios %s was accepted:\n%s", strings.Join(bad, " "), out)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What docs/token-format.md tells a newcomer to type is typed, and ends as it says.
func TestTokenPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/token-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "<!-- run -->\n```\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatal("docs/token-format.md has no block that is run")
	}
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer
	lines := strings.Split(block, "\n")
	for _, line := range lines {
		args, ok := strings.CutPrefix(line, "aios ")
		if !ok {
			t.Fatalf("%q is no command of aios", line)
		}
		stdout.Reset()
		if code := run(append([]string{"--state", t.TempDir()}, strings.Fields(strings.ReplaceAll(args, "'", ""))...), &stdout, &stderr); code != exitOK {
			t.Fatalf("%s: exit %d\n%s%s", line, code, &stdout, &stderr)
		}
	}
	if len(lines) < 10 || !strings.Contains(stdout.String(), `it would be refused: token: everything of agent "planner" was revoked`) {
		t.Errorf("%d lines, the last of which says\n%s", len(lines), &stdout)
	}
}

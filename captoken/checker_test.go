package captoken

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The checker in sdk/python was written from docs/token-format.md alone, so that where
// it agrees the document says what this package does.
const checkerDir = "../sdk/python"

// runChecker runs Python on the checker and returns what it says.
func runChecker(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("%v: make prepare installs it", err)
	}
	c := exec.Command(python, arguments...)
	c.Dir = checkerDir
	c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=")
	out, err := c.CombinedOutput()
	return string(out), err
}

// dependOnChecker makes the result of a test stale when the checker changes: Go knows of
// the files that a test opens, not of those that a process opens for it.
func dependOnChecker(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(checkerDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".py") {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var agreed = regexp.MustCompile(`(?m)^(\d+) agreed, 0 disagreed$`)

// checkWithPython has the checker judge every vector of a folder.
func checkWithPython(t *testing.T, dir string, vectors int) {
	t.Helper()
	dependOnChecker(t)
	absolute, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := runChecker(t, "-m", "aios_token", "vectors", absolute)
	if err != nil {
		t.Fatalf("the checker in sdk/python judges otherwise: %v\n%s", err, out)
	}
	if m := agreed.FindStringSubmatch(out); m == nil || m[1] != count(uint64(vectors)) {
		t.Fatalf("expected that %d vectors are judged, found\n%s", vectors, out)
	}
}

// An implementation that shares no code and no author's habits with this one says the
// same of every vector, and what a token grants.
func TestCheckerAgrees(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range names {
		readVector(t, path)
	}
	checkWithPython(t, vectorDir, len(names))
}

func TestCheckersOwnTests(t *testing.T) {
	dependOnChecker(t)
	out, err := runChecker(t, "-m", "unittest", "discover", "-s", "tests", "-t", ".")
	if err != nil || !strings.Contains(out, "\nOK") || strings.Contains(out, "skipped") {
		t.Errorf("%v\n%s", err, out)
	}
}

// kindOf is the word of the expect header for an error.
func kindOf(t *testing.T, err error) string {
	t.Helper()
	for word, kind := range expectations {
		if errors.Is(err, kind) {
			return word
		}
	}
	t.Fatalf("%v is of no kind", err)
	return ""
}

// Of a vector with one lie in it the checker says so.
func TestCheckerDisagrees(t *testing.T) {
	dir := t.TempDir()
	linkKeys(t, dir)
	text, err := os.ReadFile(filepath.Join(vectorDir, "token-full.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lie := strings.Replace(string(text), "result-depth: 4", "result-depth: 5", 1)
	if err := os.WriteFile(filepath.Join(dir, "token-full.txt"), []byte(lie), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := runChecker(t, "-m", "aios_token", "vectors", dir)
	if want := "token-full.txt: depth: expected 5, found 4\n0 agreed, 1 disagreed\n"; err == nil || out != want {
		t.Errorf("%v, got\n%swant\n%s", err, out, want)
	}
}

func linkKeys(t *testing.T, dir string) {
	t.Helper()
	keys, err := filepath.Abs(filepath.Join(vectorDir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(keys, filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
}

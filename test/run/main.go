// Command run runs test suites one after the other, shows what fails, and ends
// with one line, "N passed, N failed". Its exit status is 0 only when nothing
// failed and something passed.
//
//	go run ./test/run unit target e2e
//
// A package that does not build, a test that panics or runs out of time, and a
// skipped test count as failures: none of them proves anything.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// suites are commands whose output is what `go test -json` writes.
var suites = map[string][]string{
	// swtpm adds the tests that talk to a software TPM but boot nothing.
	"unit": {"go", "test", "-json", "-p", "2", "-timeout", "10m", "-tags", "swtpm", "./..."},
	// The kernel's own tests, on a booted machine.
	"target": {"go", "test", "-json", "-count", "1", "-timeout", "10m", "-tags", "e2e", "./test/target"},
	// What a user does, with the real binary and a real boot.
	"e2e": {"go", "test", "-json", "-count", "1", "-timeout", "20m", "-tags", "e2e", "./test/e2e"},
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: run suite ...   (unit, target, e2e)")
		os.Exit(2)
	}
	total := newTally(os.Stdout)
	for _, name := range os.Args[1:] {
		argv, ok := suites[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "run: no suite %q\n", name)
			os.Exit(2)
		}
		begun := time.Now()
		fmt.Printf("== %s: %s\n", name, strings.Join(argv, " "))
		total.runSuite(name, argv)
		fmt.Printf("== %s took %s: %d passed, %d failed so far\n", name, time.Since(begun).Round(time.Second), total.passed, total.failed)
	}
	fmt.Printf("%d passed, %d failed\n", total.passed, total.failed)
	if total.failed > 0 || total.passed == 0 {
		os.Exit(1)
	}
}

// event is what `go test -json` writes, one a line (`go doc test2json`).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// tally counts the tests that have no subtests: a parent only repeats what its
// subtests said.
type tally struct {
	out            io.Writer
	passed, failed int
}

func newTally(out io.Writer) *tally { return &tally{out: out} }

func (t *tally) runSuite(name string, argv []string) {
	c := exec.Command(argv[0], argv[1:]...)
	pr, pw := io.Pipe()
	c.Stdout = pw
	c.Stderr = os.Stderr
	before := t.failed
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.count(pr)
		io.Copy(io.Discard, pr)
	}()
	err := c.Run()
	pw.Close()
	<-done
	if err != nil && t.failed == before {
		t.failed++
		fmt.Fprintf(t.out, "FAIL suite %s: %v\n", name, err)
	}
}

// count reads events until r ends.
func (t *tally) count(r io.Reader) {
	dec := json.NewDecoder(r)
	outcome := map[string]string{}       // "package test" -> action
	output := map[string]*bytes.Buffer{} // the same, and "package " for what no test said
	var failedPackages []string
	for {
		var e event
		if err := dec.Decode(&e); err != nil {
			if err != io.EOF {
				t.failed++
				fmt.Fprintf(t.out, "FAIL: test output is not what `go test -json` writes: %v\n", err)
			}
			break
		}
		if e.Package == "" {
			e.Package = e.ImportPath
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if output[key] == nil {
				output[key] = &bytes.Buffer{}
			}
			output[key].WriteString(e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				outcome[key] = e.Action
				break
			}
			if e.Action == "fail" {
				failedPackages = append(failedPackages, e.Package)
				if e.FailedBuild != "" {
					output[key] = concat(output[e.FailedBuild+" "], output[key])
				}
			}
			fmt.Fprintf(t.out, "%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
		}
	}
	t.sum(outcome, output, failedPackages)
}

// sum adds the outcomes of tests without subtests, and a failure for each
// package that failed though no test of it did.
func (t *tally) sum(outcome map[string]string, output map[string]*bytes.Buffer, failedPackages []string) {
	keys := make([]string, 0, len(outcome))
	for k := range outcome {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	blamed := map[string]bool{}
	for i, k := range keys {
		// Sorted, the subtests of k follow it, but not necessarily at once:
		// "T-x" sorts between "T" and "T/a".
		parent := false
		for _, later := range keys[i+1:] {
			if !strings.HasPrefix(later, k) {
				break
			}
			parent = parent || strings.HasPrefix(later, k+"/")
		}
		if outcome[k] != "pass" {
			pkg, _, _ := strings.Cut(k, " ")
			blamed[pkg] = true
		}
		if parent {
			continue
		}
		if outcome[k] == "pass" {
			t.passed++
			continue
		}
		t.failed++
		fmt.Fprintf(t.out, "\n%s %s\n%s", strings.ToUpper(outcome[k]), k, indent(output[k]))
	}
	for _, pkg := range failedPackages {
		if !blamed[pkg] {
			t.failed++
			fmt.Fprintf(t.out, "\nFAIL %s\n%s", pkg, indent(output[pkg+" "]))
		}
	}
}

func concat(a, b *bytes.Buffer) *bytes.Buffer {
	var c bytes.Buffer
	for _, x := range []*bytes.Buffer{a, b} {
		if x != nil {
			c.Write(x.Bytes())
		}
	}
	return &c
}

// shownLines bounds what one failure prints; the start and the end matter most.
const shownLines = 120

func indent(b *bytes.Buffer) string {
	if b == nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if over := len(lines) - shownLines; over > 0 {
		lines = slices.Concat(lines[:shownLines/2], []string{fmt.Sprintf("... %d lines left out ...", over)}, lines[len(lines)-shownLines/2:])
	}
	return "    " + strings.Join(lines, "\n    ") + "\n"
}

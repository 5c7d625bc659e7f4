package main

import (
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"aios/policy"
)

// The table of the personality names exactly the calls that kernel/process
// serves, by the numbers that it serves them under.
func TestPersonality(t *testing.T) {
	s, err := parse(root, "kernel/process/linux.go")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]string{} // number -> name without underscores
	for _, spec := range valueSpecs(s.file) {
		for i, id := range spec.Names {
			if name, ok := strings.CutPrefix(id.Name, "sys"); ok && i < len(spec.Values) {
				if l, ok := spec.Values[i].(*ast.BasicLit); ok {
					served[l.Value] = strings.ToLower(name)
				}
			}
		}
	}
	_, text, _ := strings.Cut(page(t, "docs/syscall-abi.md"), "<!-- personality -->")
	text, _, _ = strings.Cut(text, "\n\nAn address")
	described := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| (\w+) \|`).FindAllStringSubmatch(text, -1) {
		described[m[1]] = strings.ReplaceAll(m[2], "_", "")
	}
	if len(served) < 30 || !maps.Equal(served, described) {
		t.Errorf("served %v\ndescribed %v", served, described)
	}
}

var (
	literalCode = regexp.MustCompile(`"code": "([a-z_.]+)"`)
	builtCode   = regexp.MustCompile(`"code": concat\("\.", \[([^\]]*)\]\)`)
	goCode      = regexp.MustCompile(`refuse\("(policy\.[a-z]+)"`)
)

// Every reason code that a verdict can carry is explained.
func TestReasonCodes(t *testing.T) {
	codes := map[string]bool{}
	for _, text := range policy.Default() {
		for _, m := range literalCode.FindAllStringSubmatch(text, -1) {
			codes[m[1]] = true
		}
		for _, m := range builtCode.FindAllStringSubmatch(text, -1) {
			var parts []string
			for _, p := range strings.Split(m[1], ", ") {
				switch p = strings.TrimSpace(p); {
				case strings.HasPrefix(p, `"`):
					parts = append(parts, strings.Trim(p, `"`))
				case p == "index":
					parts = append(parts, "N")
				default:
					parts = append(parts, "NAME")
				}
			}
			codes[strings.Join(parts, ".")] = true
		}
	}
	for _, m := range goCode.FindAllStringSubmatch(page(t, "policy/policy.go"), -1) {
		codes[m[1]] = true
	}
	if strings.Contains(page(t, "verifier/appraisal/log.go"), `"pcr.%d.event"`) {
		codes["pcr.N.event"] = true
	}
	delete(codes, "check.NAME") // each is named instead
	for _, name := range checkNames(t) {
		codes["check."+name] = true
	}
	if len(codes) < 25 {
		t.Errorf("only %d codes were found: %v", len(codes), slices.Sorted(maps.Keys(codes)))
	}
	text := page(t, "docs/judge-a-host.md")
	for code := range codes {
		if !strings.Contains(text, "`"+code+"`") {
			t.Errorf("docs/judge-a-host.md does not explain %s", code)
		}
	}
	protocol := page(t, "docs/evidence-protocol.md")
	for _, name := range checkNames(t) {
		if !strings.Contains(protocol, "| `"+name+"` |") {
			t.Errorf("docs/evidence-protocol.md does not describe the check %s", name)
		}
	}
}

// checkNames are the checks that the appraisal makes.
func checkNames(t *testing.T) (names []string) {
	t.Helper()
	s, err := parse(root, "policy/input.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range valueSpecs(s.file) {
		if len(spec.Names) == 1 && strings.HasPrefix(spec.Names[0].Name, "Check") {
			v, err := s.value(spec.Values[0])
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, v)
		}
	}
	return names
}

var (
	nameCell = regexp.MustCompile("`([^`]+)`")
)

// Every test and case that the threat model relies on exists.
func TestThreatTable(t *testing.T) {
	_, text, _ := strings.Cut(page(t, "docs/threat-model.md"), "| threat | defence | test |")
	text, _, _ = strings.Cut(text, "\n\n")
	found := 0
	for _, row := range strings.Split(text, "\n")[2:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 3 {
			t.Errorf("row of %d cells: %s", len(cells), row)
			continue
		}
		for _, part := range strings.Split(cells[2], "; ") {
			where, names, _ := strings.Cut(part, " ")
			for _, m := range nameCell.FindAllStringSubmatch(names, -1) {
				found++
				pattern, files := "func "+m[1]+"(", where+"/*_test.go"
				if where == "cases" {
					pattern, files = m[1], "kernel/target/*/*.go"
				}
				if !anyContains(t, files, pattern) {
					t.Errorf("%q: there is no %q in %s", cells[0], pattern, files)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d tests were found", found)
	}
}

// anyContains looks for a text in files. The names of cases may begin with a
// prefix that the suite puts before them.
func anyContains(t *testing.T, files, text string) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, files))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no files, %v", files, err)
	}
	_, bare, prefixed := strings.Cut(text, ": ")
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) || prefixed && strings.Contains(string(b), `"`+bare+`"`) {
			return true
		}
	}
	return false
}

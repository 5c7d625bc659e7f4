package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"
)

// regoFiles parses every file of the folder, tests included.
func regoFiles(t *testing.T) (modules map[string]*ast.Module, texts map[string]string) {
	t.Helper()
	paths, err := filepath.Glob("rego/*.rego")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no policy files: %v", err)
	}
	modules, texts = map[string]*ast.Module{}, map[string]string{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(p)
		texts[name] = string(text)
		modules[name], err = ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
	}
	return modules, texts
}

// The policy's own tests, and the lines that they reach.
func TestRego(t *testing.T) {
	modules, _ := regoFiles(t)
	coverage := cover.New()
	results, err := tester.NewRunner().SetModules(modules).SetCoverageQueryTracer(coverage).Run(context.Background(), modules)
	if err != nil {
		t.Fatal(err)
	}
	tests := 0
	for r := range results {
		if r.Error != nil {
			t.Errorf("%s: %v", r, r.Error)
		} else if !r.Pass() {
			t.Errorf("%s", r)
		}
		tests += max(1, len(r.SubResults))
	}
	if tests < 40 {
		t.Errorf("only %d cases ran", tests)
	}
	report := coverage.Report(modules)
	for name, file := range report.Files {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		for _, lines := range file.NotCovered {
			t.Errorf("%s: no test reaches lines %d to %d", name, lines.Start.Row, lines.End.Row)
		}
	}
	t.Logf("%d cases, coverage %.1f%%", tests, report.Coverage)
}

func TestRegoFormat(t *testing.T) {
	_, texts := regoFiles(t)
	for name, text := range texts {
		formatted, err := format.SourceWithOpts(name, []byte(text), format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Error(err)
		} else if string(formatted) != text {
			t.Errorf("%s is not in OPA's format; run `opa fmt -w policy/rego`", name)
		}
	}
}

// The embedded list is every file of the folder but the tests.
func TestDefaultIsComplete(t *testing.T) {
	_, texts := regoFiles(t)
	modules := Default()
	for name, text := range texts {
		if strings.HasSuffix(name, "_test.rego") {
			if _, ok := modules[name]; ok {
				t.Errorf("test module %s is embedded", name)
			}
		} else if modules[name] != text {
			t.Errorf("%s is not embedded as it is in the folder", name)
		}
	}
}

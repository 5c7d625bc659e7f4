package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func mutants(t *testing.T) []*mutant {
	t.Helper()
	list, err := readMutants(".")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Every mutant changes the model as it is now, and names a check that can catch it.
func TestMutants(t *testing.T) {
	list := mutants(t)
	if len(list) < 10 {
		t.Errorf("%d mutants, want 10 at least", len(list))
	}
	caught := map[string]bool{}
	for _, m := range list {
		c, err := m.of()
		if err != nil {
			t.Error(err)
			continue
		}
		caught[c.model] = true
		text, err := os.ReadFile(c.model)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.apply(text); err != nil {
			t.Error(err)
		}
	}
	for _, c := range checks {
		if !caught[c.model] {
			t.Errorf("no mutant of %s", c.model)
		}
	}
}

// Every model has a check, and every property of it is one that a check looks at.
func TestChecks(t *testing.T) {
	files, _ := filepath.Glob("*.pml")
	if len(files) == 0 {
		t.Fatal("no models")
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var holds []string
		for _, c := range checks {
			if c.model != f {
				continue
			}
			holds = append(holds, c.holds...)
			for _, p := range c.holds {
				if !strings.Contains(string(text), "MUST("+p+",") {
					t.Errorf("check %s: %s does not say MUST(%s, ...)", c.name, f, p)
				}
			}
			if c.ends && !strings.Contains(string(text), "ltl "+terminates) {
				t.Errorf("check %s: %s has no ltl %s", c.name, f, terminates)
			}
		}
		if len(holds) == 0 {
			t.Errorf("nothing checks %s", f)
		}
		for _, part := range strings.Split(string(text), "MUST(")[1:] {
			if p, _, _ := strings.Cut(part, ","); p != "name" && !slices.Contains(holds, p) {
				t.Errorf("%s: no check looks at %s", f, p)
			}
		}
	}
}

// The page lists each check and each mutant, with what catches it.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/capability-model.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants(t) {
		if row := "| " + m.name + " | " + m.says + " | " + m.check + " | " + m.property + " |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/capability-model.md lacks the row\n%s", row)
		}
	}
	for _, c := range checks {
		if row := "| " + c.name + " | " + c.model + " | "; !strings.Contains(string(page), row) {
			t.Errorf("docs/capability-model.md lacks a row that begins with\n%s", row)
		}
	}
}

func TestParse(t *testing.T) {
	const found = "State-vector 92 byte, depth reached 156, errors: "
	const seen = "  7906966 states, stored\n 1.5e+07 transitions (= stored+matched)\n"
	for _, c := range []struct {
		name, out       string
		violated        string
		states, unreach int
		bad             bool
	}{
		{"all good", found + "0\n" + seen + "\ttree.pml:278, state 557, \"-end-\"\n", "", 7906966, 0, false},
		{"an assertion", "pan:1: assertion violated (revoked||(state[z]!=1)) (at depth 9)\n" + found + "1\n" + seen, "revoked", 7906966, 0, false},
		{"a cycle", "pan:1: acceptance cycle (at depth 9)\n" + found + "1\n" + seen, terminates, 7906966, 0, false},
		{"a deadlock", "pan:1: invalid end state (at depth 9)\n" + found + "1\n" + seen, stuck, 7906966, 0, false},
		{"a mistake in the model", "pan:1: assertion violated - invalid array index (at depth 9)\n" + found + "1\n" + seen, "", 0, 0, true},
		{"too deep", "error: max search depth too small\n" + found + "0\n" + seen, "", 0, 0, true},
		{"out of memory", "pan: reached -DMEMLIM bound\n" + found + "0\n" + seen, "", 0, 0, true},
		{"no end", "Depth= 9\n", "", 0, 0, true},
		{"something never happens", found + "0\n" + seen + "\ttree.pml:12, state 5, \"x = 1\"\n", "", 7906966, 1, false},
	} {
		r, err := parse(c.out)
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", c.name, err)
		} else if !c.bad && (r.violated != c.violated || r.states != c.states || len(r.unreached) != c.unreach) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestParseMutantRefuses(t *testing.T) {
	head := "check: pin\nproperty: finished\nsays: x\n"
	for name, text := range map[string]string{
		"nothing":         "",
		"no edit":         head,
		"half an edit":    head + wasLine + "a\n",
		"changes nothing": head + wasLine + "a\n" + isLine + "a\n",
		"no property":     "check: pin\nsays: x\n" + wasLine + "a\n" + isLine + "b\n",
		"unknown line":    head + "who: me\n" + wasLine + "a\n" + isLine + "b\n",
	} {
		if m, err := parseMutant("m", text); err == nil {
			t.Errorf("%s: got %+v", name, m)
		}
	}
	m, err := parseMutant("m", head+wasLine+"a\n"+isLine+"b\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"x\n", "a\na\n"} {
		if _, err := m.apply([]byte(text)); err == nil {
			t.Errorf("it fits %q", text)
		}
	}
	m.property = "stale"
	if _, err := m.of(); err == nil {
		t.Error("a check that cannot catch it")
	}
}

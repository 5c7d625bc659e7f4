package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is a model with a mistake in it: a file in mutants that says which check has
// to catch it, by which property, what the mistake is, and which text of the model
// stands where another should.
type mutant struct {
	name                  string
	check, property, says string
	edits                 []edit
}

type edit struct{ was, is string }

const (
	wasLine = "--- was\n"
	isLine  = "--- is\n"
)

// readMutants reads those of dir/mutants, by name.
func readMutants(dir string) ([]*mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "mutants", "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no mutants in %s", filepath.Join(dir, "mutants"))
	}
	slices.Sort(files)
	var list []*mutant
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(f), ".txt"), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		list = append(list, m)
	}
	return list, nil
}

func parseMutant(name, text string) (*mutant, error) {
	m := &mutant{name: name}
	parts := strings.Split(text, wasLine)
	for line := range strings.Lines(parts[0]) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "check":
			m.check = value
		case "property":
			m.property = value
		case "says":
			m.says = value
		default:
			return nil, fmt.Errorf("unknown line %q", line)
		}
	}
	for _, p := range parts[1:] {
		was, is, ok := strings.Cut(p, isLine)
		if !ok || was == "" || was == is {
			return nil, fmt.Errorf("an edit without %q, or that changes nothing", strings.TrimSpace(isLine))
		}
		m.edits = append(m.edits, edit{was, is})
	}
	if m.check == "" || m.property == "" || m.says == "" || len(m.edits) == 0 {
		return nil, fmt.Errorf("it needs check, property, says and an edit")
	}
	return m, nil
}

// of is the check that is to catch it.
func (m *mutant) of() (check, error) {
	for _, c := range checks {
		if c.name != m.check {
			continue
		}
		if c.ends && m.property != terminates || !c.ends && m.property != stuck && !slices.Contains(c.holds, m.property) {
			return check{}, fmt.Errorf("mutant %s: check %s does not look at %s", m.name, m.check, m.property)
		}
		return c, nil
	}
	return check{}, fmt.Errorf("mutant %s: there is no check %q", m.name, m.check)
}

// apply makes the mistake. The text that it replaces must be there, once.
func (m *mutant) apply(text []byte) ([]byte, error) {
	for _, e := range m.edits {
		if n := bytes.Count(text, []byte(e.was)); n != 1 {
			return nil, fmt.Errorf("mutant %s: the model has this %d times, expected once; bring the mutant up to date:\n%s", m.name, n, e.was)
		}
		text = bytes.Replace(text, []byte(e.was), []byte(e.is), 1)
	}
	return text, nil
}

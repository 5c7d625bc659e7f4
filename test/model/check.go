package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// check is a model with bounds, and what has to hold in all its states: the assertions
// MUST(property, ...) in it and that nobody is stuck, or, if ends is set, that what has
// begun ends.
type check struct {
	name, model string
	defines     []string
	small       []string // bounds for mutants, if not the same
	ends        bool
	holds       []string // the properties that it can find violated
}

// checks are all. Their bounds are the largest for which all states fit into maxMiB and
// the whole takes a few minutes.
var checks = []check{
	{"rights", "tree.pml", []string{"NODES=4", "WORKERS=1", "REVOKERS=1", "RIGHTS"}, nil, false, []string{"monotone", "revoked", "finished", "linked"}},
	{"nested", "tree.pml", []string{"NODES=4", "WORKERS=1", "REVOKERS=2"}, []string{"NODES=3", "WORKERS=1", "REVOKERS=2"}, false, []string{"revoked", "finished", "linked"}},
	{"threads", "tree.pml", []string{"NODES=4", "WORKERS=2", "REVOKERS=1"}, []string{"NODES=3", "WORKERS=2", "REVOKERS=1"}, false, []string{"revoked", "finished", "linked"}},
	{"ends", "tree.pml", []string{"NODES=3", "WORKERS=2", "REVOKERS=1"}, nil, true, nil},
	{"nested-ends", "tree.pml", []string{"NODES=3", "WORKERS=1", "REVOKERS=2"}, nil, true, nil},
	{"flight", "flight.pml", nil, nil, false, []string{"revoked", "finished", "slots", "objects"}},
	{"flight-ends", "flight.pml", nil, nil, true, nil},
	{"pin", "pin.pml", []string{"CALLERS=3"}, nil, false, []string{"revoked", "finished", "channels"}},
	{"pin-ends", "pin.pml", []string{"CALLERS=3"}, nil, true, nil},
	{"slot", "slot.pml", nil, nil, false, []string{"stale", "gates", "dangling"}},
	{"lease", "lease.pml", nil, nil, false, []string{"lease", "token", "shuts", "recall"}},
}

// Names of what is not an assertion.
const (
	terminates = "terminates" // what has begun ends, if every thread that can go on does
	stuck      = "deadlock"
)

// properties are the check's, for people.
func (c check) properties() string {
	if c.ends {
		return terminates
	}
	return strings.Join(append([]string{stuck}, c.holds...), " ")
}

// maxMiB is the memory for one check.
const maxMiB = 2000

// result is what Spin found.
type result struct {
	states, transitions, depth int
	violated                   string // the property; empty: none
	says                       string // of the violation
	unreached                  []string
	trail                      string // the last steps that lead to the violation
}

// spin has the check's model, or a mutant of it, made into a program, and runs that.
func (c check) spin(dir string, m *mutant) (result, error) {
	text, err := os.ReadFile(filepath.Join(dir, c.model))
	if err != nil {
		return result{}, err
	}
	if m != nil {
		if text, err = m.apply(text); err != nil {
			return result{}, err
		}
	}
	work, err := os.MkdirTemp("", "aios-model-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, c.model), text, 0o644); err != nil {
		return result{}, err
	}
	tool := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = work
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", name, err, tail(string(out), 12))
		}
		return string(out), err
	}
	bounds := c.defines
	if m != nil && c.small != nil {
		bounds = c.small
	}
	defines := make([]string, len(bounds))
	for i, d := range bounds {
		defines[i] = "-D" + d
	}
	if _, err := tool("spin", append(append([]string{"-a"}, defines...), c.model)...); err != nil {
		return result{}, err
	}
	cc := []string{"-O1", "-w", "-DNFAIR=3", "-DMEMLIM=" + strconv.Itoa(maxMiB), "-o", "pan", "pan.c"}
	pan := []string{"-m1000000", "-w22"}
	if c.ends {
		pan = append(pan, "-a", "-f", "-N", terminates) // -f: weak fairness
	} else {
		cc = append(cc, "-DSAFETY", "-DNOCLAIM")
	}
	if _, err := tool("gcc", cc...); err != nil {
		return result{}, err
	}
	out, err := tool("./pan", pan...)
	if err != nil && !strings.Contains(out, "errors:") {
		return result{}, err
	}
	r, err := parse(out)
	if err != nil {
		return r, err
	}
	if c.ends {
		r.unreached = nil // the same model's other check sees to that
	}
	if r.violated != "" && m == nil {
		steps, _ := tool("spin", append(append([]string{"-t", "-p"}, defines...), c.model)...)
		r.trail = tail(steps, 40)
	}
	return r, nil
}

var (
	errorsLine  = regexp.MustCompile(`depth reached (\d+), errors: (\d+)`)
	statesLine  = regexp.MustCompile(`(?m)^\s*(\S+) states, stored`)
	transLine   = regexp.MustCompile(`(?m)^\s*(\S+) transitions`)
	assertLine  = regexp.MustCompile(`assertion violated \(?(\w+)\|\|`)
	unreachLine = regexp.MustCompile(`(?m)^\s+(\w+\.pml:\d+), state \d+, (".*")$`)
)

// parse reads what pan printed. A search that did not see all states is an error.
func parse(out string) (r result, err error) {
	e := errorsLine.FindStringSubmatch(out)
	if e == nil {
		return r, fmt.Errorf("pan did not end its search:\n%s", tail(out, 12))
	}
	r.depth, _ = strconv.Atoi(e[1])
	r.states = number(statesLine, out)
	r.transitions = number(transLine, out)
	for _, u := range unreachLine.FindAllStringSubmatch(out, -1) {
		if u[2] != `"-end-"` && !strings.HasPrefix(u[1], "_") {
			r.unreached = append(r.unreached, u[1]+" "+u[2])
		}
	}
	if e[2] == "0" {
		for _, bad := range []string{"max search depth too small", "reached -DMEMLIM bound", "Search not completed", "out of memory"} {
			if strings.Contains(out, bad) {
				return r, errors.New("not all states were seen: " + bad)
			}
		}
		return r, nil
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "pan:1:") {
			continue
		}
		r.says = strings.TrimSpace(strings.TrimPrefix(line, "pan:1:"))
		switch a := assertLine.FindStringSubmatch(line); {
		case a != nil:
			r.violated = a[1]
		case strings.Contains(line, "acceptance cycle"):
			r.violated = terminates
		case strings.Contains(line, "invalid end state"):
			r.violated = stuck
		default:
			return r, fmt.Errorf("the model itself is wrong: %s", r.says)
		}
		return r, nil
	}
	return r, fmt.Errorf("pan counts errors and names none:\n%s", tail(out, 12))
}

// number is the first that the pattern finds; pan writes large ones as 1.5e+07.
func number(p *regexp.Regexp, out string) int {
	m := p.FindStringSubmatch(out)
	if m == nil {
		return 0
	}
	f, _ := strconv.ParseFloat(m[1], 64)
	return int(f)
}

// tail is the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

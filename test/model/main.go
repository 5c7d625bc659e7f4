// Command model checks the models of kernel/cap with Spin, all states of each, and then
// checks the checks: each mutant, a model with one mistake in it, has to be caught by
// the property that is named for it.
//
//	go run ./test/model            everything
//	go run ./test/model flight pin these checks, and their mutants
//
// It needs spin and gcc. docs/capability-model.md says what the models are about.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"
)

func main() {
	if err := run("test/model", os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

// run checks the models in dir, those of the named checks or all.
func run(dir string, names []string) error {
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: run .ci/prepare model", tool)
		}
	}
	for _, n := range names {
		if !slices.ContainsFunc(checks, func(c check) bool { return c.name == n }) {
			return fmt.Errorf("there is no check %q", n)
		}
	}
	mutants, err := readMutants(dir)
	if err != nil {
		return err
	}
	var jobs []job
	for _, c := range checks {
		jobs = append(jobs, job{check: c})
	}
	for _, m := range mutants {
		c, err := m.of()
		if err != nil {
			return err
		}
		jobs = append(jobs, job{check: c, mutant: m})
	}
	if len(names) > 0 {
		jobs = slices.DeleteFunc(jobs, func(j job) bool { return !slices.Contains(names, j.check.name) })
	}
	begun := time.Now()
	good, bad := all(dir, jobs)
	fmt.Printf("model: %d as expected, %d not, in %s\n", good, bad, time.Since(begun).Round(time.Second))
	if bad > 0 || good == 0 {
		return fmt.Errorf("%d of %d failed: see FAIL above", bad, good+bad)
	}
	return nil
}

// job is a check, of the model as it is or of a mutant.
type job struct {
	check  check
	mutant *mutant
}

// all runs the jobs, as many side by side as there are processors, and prints a line for
// each when it and those before it are done.
func all(dir string, jobs []job) (good, bad int) {
	lines := make([]chan string, len(jobs))
	ok := make([]bool, len(jobs))
	next := make(chan int, len(jobs))
	for i := range jobs {
		lines[i] = make(chan string, 1)
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(runtime.NumCPU(), maxJobs) {
		wg.Go(func() {
			for i := range next {
				var line string
				line, ok[i] = jobs[i].run(dir)
				lines[i] <- line
			}
		})
	}
	heading := ""
	for i, j := range jobs {
		h := fmt.Sprintf("%-12s %-11s %12s %12s %8s %7s  %s", "check", "model", "states", "transitions", "depth", "time", "every state is as it must be")
		if j.mutant != nil {
			h = fmt.Sprintf("%-26s %-12s %-11s %7s  %s", "mutant", "check", "caught by", "time", "what is wrong in it")
		}
		if h != heading {
			fmt.Println(h)
			heading = h
		}
		fmt.Println(<-lines[i])
		if ok[i] {
			good++
		} else {
			bad++
		}
	}
	wg.Wait()
	return good, bad
}

// maxJobs bounds how many run side by side, since each may take maxMiB.
const maxJobs = 2

// run does the job and tells what came of it, in a line, and whether that is as it should be.
func (j job) run(dir string) (string, bool) {
	begun := time.Now()
	r, err := j.check.spin(dir, j.mutant)
	took := fmt.Sprintf("%.1fs", time.Since(begun).Seconds())
	if m := j.mutant; m != nil {
		line := fmt.Sprintf("%-26s %-12s %-11s %7s  %s", m.name, m.check, r.violated, took, m.says)
		switch {
		case err != nil:
			return fmt.Sprintf("%s\n  FAIL: %v", line, err), false
		case r.violated == "":
			return fmt.Sprintf("%s\n  FAIL: nothing caught it; expected %s", line, m.property), false
		case r.violated != m.property:
			return fmt.Sprintf("%s\n  FAIL: caught by %s, expected %s: %s", line, r.violated, m.property, r.says), false
		}
		return line, true
	}
	line := fmt.Sprintf("%-12s %-11s %12d %12d %8d %7s  %s", j.check.name, j.check.model, r.states, r.transitions, r.depth, took, j.check.properties())
	switch {
	case err != nil:
		return fmt.Sprintf("%s\n  FAIL: %v", line, err), false
	case r.violated != "":
		return fmt.Sprintf("%s\n  FAIL: %s does not hold: %s\n%s", line, r.violated, r.says, r.trail), false
	case len(r.unreached) > 0:
		return fmt.Sprintf("%s\n  FAIL: never happens, so that nothing is checked of it: %v", line, r.unreached), false
	}
	return line, true
}

// Command bench measures AIOS beside what it is held against, in one run on one
// machine, and prints a table of medians and ratios. `make bench` runs it.
//
//   - System calls from ring 3, beside the same work on Debian's own kernel in
//     a virtual machine that differs in nothing but its disk.
//   - Reset to the verifier's verdict, beside reset to the first instruction of
//     init on that Debian kernel: a signed unified kernel image, through the same
//     firmware, Secure Boot and TPM.
//   - Hot paths of the verifier and the kernel as Go benchmarks, beside another
//     implementation where there is one.
//
// Machines share the host with whatever else it does, so single figures are
// worth little. What is compared is therefore measured in turns, several times;
// the table shows medians, the ratio of the medians, and how far the ratio of
// single turns strayed from it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aios/host/vm"
)

// commit is set by the linker.
var commit = "unknown"

// options say what is measured, and where things are.
type options struct {
	aios   string // the aios program
	keys   string // folder of the keys that target trusts
	target string // folder of what a host boots
	work   string // scratch folder; what comes from Debian stays in it
	json   string
	doc    string // "" for none
	rounds int
}

func main() {
	o := options{aios: os.Getenv("AIOS_TEST_BIN"), target: os.Getenv("AIOS_TEST_TARGET"), work: ".build/bench", json: ".build/bench.json"}
	if s := os.Getenv("AIOS_TEST_STATE"); s != "" {
		o.keys = filepath.Join(s, "keys")
	}
	flag.StringVar(&o.doc, "doc", "", "write the table as Markdown to this `file` too")
	flag.IntVar(&o.rounds, "rounds", 4, "how often each machine is booted")
	flag.Parse()
	// The second Ctrl-C ends us at once; machines end with us in any case.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.aios == "" || o.keys == "" || o.target == "" {
		return errors.New("AIOS_TEST_BIN, AIOS_TEST_STATE and AIOS_TEST_TARGET are not all set: run it by `make bench`")
	}
	if o.rounds < 1 {
		return fmt.Errorf("-rounds %d: expected at least 1", o.rounds)
	}
	began := time.Now()
	programs, err := vm.FindPrograms()
	if err != nil {
		return err
	}
	r := &report{Commit: sourceCommit(), Rounds: o.rounds}
	var m *machines
	var peer *debian
	binary, evidence := filepath.Join(o.work, "hot.test"), filepath.Join(o.work, "exhibit.json")
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"looking at this machine", func() (err error) { r.Machine, err = look(ctx, programs); return }},
		{"fetching Debian's kernel and EFI stub, unless they are there", func() (err error) {
			peer, err = fetchDebian(ctx, filepath.Join(o.work, "debian"))
			return
		}},
		{"building the test kernel, the peer's init and the Go benchmarks", func() error {
			if err := buildPrograms(ctx, o); err != nil {
				return err
			}
			return goTool(ctx, "test", "-c", "-o", binary, "./test/bench")
		}},
		{"making the machines' disks and TPMs", func() (err error) {
			m, err = makeMachines(ctx, o, programs, r.Machine.accelerator, peer)
			return
		}},
	} {
		if err := step(s.what, s.do); err != nil {
			return err
		}
	}
	if r.Peers, err = peerVersions(ctx, peer); err != nil {
		return err
	}
	boots, err := m.measure(ctx, o.rounds, evidence)
	if err != nil {
		return err
	}
	if r.Rows, err = boots.rows(); err != nil {
		return err
	}
	rows, err := hotPaths(ctx, binary, evidence)
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, rows...)
	r.Took = time.Since(began).Round(time.Second).String()
	return r.write(os.Stdout, o.json, o.doc)
}

// step does one thing, saying what and how long it took.
func step(what string, do func() error) error {
	fmt.Printf("bench: %s\n", what)
	began := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if d := time.Since(began); d > 2*time.Second {
		fmt.Printf("bench:   %.1f s\n", d.Seconds())
	}
	return nil
}

// goTool runs the Go command in the module's folder.
func goTool(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "go", args...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

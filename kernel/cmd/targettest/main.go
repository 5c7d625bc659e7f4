//go:build aios

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"aios/boot/manifest"
	"aios/kernel/machine"
	"aios/kernel/metal"
	"aios/kernel/target/devices"
	"aios/kernel/target/ring0"
	"aios/kernel/target/ring3"
)

func main() {
	info := metal.Boot()
	total, _ := metal.Frames()
	say("aios kernel: start version=test cpus=%d memory_mib=%d slot=%c", metal.CPUs(), total>>8, info.Slot)
	options := words(string(metal.Bytes(uintptr(info.CmdlinePhys), int(info.CmdlineSize))))
	if _, ok := options["bench"]; ok {
		bench()
		metal.Poweroff(0)
	}
	failed := 0
	only := strings.ReplaceAll(options["only"], "_", " ")
	run := func(name string, f func() error) {
		if !strings.HasPrefix(name, only) {
			return
		}
		began := time.Now()
		if err := f(); err != nil {
			failed++
			say("TEST %s FAIL %s", name, strings.ReplaceAll(err.Error(), "\n", " | "))
			return
		}
		say("TEST %s ok ms=%d", name, time.Since(began).Milliseconds())
	}
	rounds, _ := strconv.Atoi(options["rounds"])
	for range max(rounds, 1) {
		cases(options["tpm"], run)
	}
	say("TESTS failed=%d", failed)
	if how, ok := options["end"]; ok {
		say("END not reached: %v", ring0.End(how))
	}
	metal.Poweroff(0)
}

// cases runs them all. "only=agent:_when_its" on the command line leaves those whose names
// begin so, and "rounds=20" has them run that often: for a case that fails now and then.
func cases(tpm string, run func(name string, f func() error)) {
	for _, c := range ring0.Cases() {
		run(c.Name, c.Run)
	}
	for _, c := range devices.Cases(tpm, func() { say("CHANNEL ready") }) {
		run(c.Name, c.Run)
	}
	program, err := firstService()
	if err != nil {
		run("the program of the ring-3 cases", func() error { return err })
		return
	}
	s := suite(program)
	for _, c := range append(s.Cases(), s.AgentCases()...) {
		run(c.Name, c.Run)
	}
}

// words takes a command line apart: "bench", "tpm=crb", "end=panic".
func words(cmdline string) map[string]string {
	m := map[string]string{}
	for _, w := range strings.Fields(cmdline) {
		k, v, _ := strings.Cut(w, "=")
		m[k] = v
	}
	return m
}

func suite(program []byte) *ring3.Suite {
	return &ring3.Suite{Machine: machine.New(), Program: program, Frames: func() int {
		_, used := metal.Frames()
		return int(used)
	}}
}

// killsPerBoot gives test/bench enough for a 99th percentile in its four turns.
const killsPerBoot = 60

// bench measures instead of testing, when the kernel's command line says "bench".
func bench() {
	program, err := firstService()
	if err == nil {
		s, line := suite(program), func(line string) { say("%s", line) }
		if err = s.Bench(line); err == nil {
			err = s.BenchKill(killsPerBoot, line)
		}
	}
	say("BENCH done err=%v", err)
}

func say(format string, a ...any) { os.Stdout.WriteString(fmt.Sprintf(format, a...) + "\n") }

// firstService is the image of the manifest's first service.
func firstService() ([]byte, error) {
	info := metal.Boot()
	m, err := manifest.Parse(metal.Bytes(uintptr(info.ManifestPhys), int(info.ManifestSize)))
	if err != nil {
		return nil, err
	}
	if len(m.Services) == 0 {
		return nil, fmt.Errorf("the manifest names no service")
	}
	b, ok := info.Blob(m.Services[0].Name)
	if !ok {
		return nil, fmt.Errorf("boot handed over no image of %s", m.Services[0].Name)
	}
	return metal.Bytes(uintptr(b.Phys), int(b.Size)), nil
}

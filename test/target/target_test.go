//go:build e2e

package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"aios/boot/secureboot"
	"aios/host/install"
	"aios/host/state"
	"aios/host/vm"
)

const (
	bootLimit = 4 * time.Minute  // until the first test reports
	caseLimit = 90 * time.Second // between two reports
	endLimit  = time.Minute      // from the last report until the machine is gone
)

// root is the module's folder, from that of this package.
const root = "../.."

// only and rounds, where they are set, are for the kernel's command line: the cases whose
// names begin so, and how often.
var only, rounds = strings.ReplaceAll(os.Getenv("AIOS_TEST_ONLY"), " ", "_"), os.Getenv("AIOS_TEST_ROUNDS")

// echoSize is kernel/target/devices.EchoSize.
const echoSize = 256 << 10

func setting(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run these tests by `make test-target`", name)
	}
	return v
}

// build makes the folder that an image is built from: the boot stage of the
// test build, the test kernel, and its program in place of the service.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	boot, err := os.ReadFile(filepath.Join(setting(t, "AIOS_TEST_TARGET"), "bootx64.efi"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bootx64.efi"), boot, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range [][]string{
		{"-kind", "kernel", "-pkg", "./kernel/cmd/targettest", "-o", filepath.Join(dir, "kernel.elf")},
		{"-kind", "service", "-pkg", "./kernel/target/ring3/program", "-o", filepath.Join(dir, "attestd.elf")},
	} {
		c := exec.Command("go", append([]string{"run", "./boot/cmd/mkmetal"}, a...)...)
		c.Dir = root
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("mkmetal %s: %v\n%s", strings.Join(a, " "), err, out)
		}
	}
	return dir
}

// host makes a machine's disk, firmware variables and TPM in a folder of its own.
func host(t *testing.T, target, cmdline string) vm.Config {
	t.Helper()
	return hostOf(t, install.Source{Target: target, Policy: []byte("no policy"), Cmdline: cmdline, Version: 1, Programs: install.OneService()})
}

// hostOf is host with an image of that source.
func hostOf(t *testing.T, src install.Source) vm.Config {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	base := filepath.Join(t.TempDir(), "state")
	check(os.CopyFS(filepath.Join(base, "keys"), os.DirFS(filepath.Join(setting(t, "AIOS_TEST_STATE"), "keys"))))
	check(filepath.Walk(base, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if fi.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return os.Chmod(p, 0o600)
	}))
	d, err := state.Open(base)
	check(err)
	keys, err := install.EnsureKeys(d)
	check(err)
	sb, _, err := secureboot.EnsureKeys(d.Keys(), time.Now())
	check(err)
	_, err = install.EnsureImage(d, keys, sb, src, true)
	check(err)
	p, err := vm.FindPrograms()
	check(err)
	_, err = vm.ManufactureTPM(t.Context(), p, d.TPM())
	check(err)
	_, err = install.EnsureFirmware(d, sb, p.FirmwareVars, true)
	check(err)
	return vm.Config{Programs: p, Disk: d.Disk(), FirmwareVar: d.FirmwareVars(), TPMDir: d.TPM()}
}

// end is how a machine ends after its cases.
type end struct {
	name string   // for the kernel's command line; "": switched off
	code int      // that the kernel leaves with
	says []string // regular expressions
}

// Whatever happens, it says what, names the code, and no CPU goes on: the
// machine is gone although each CPU had a program that never ends.
var (
	switchedOff = end{code: -1}
	panics      = end{"panic", 2, []string{
		`panic: runtime error: invalid memory address or nil pointer dereference`,
		`\[signal SIGSEGV: segmentation violation code=0x1 addr=0x8`,
		`\[running\]:`,
		`aios/kernel/target/ring0\.fall\(`,
		`aios/kernel/target/ring0/end\.go:[0-9]+`,
		`aios kernel: FAILED reason="panic of its own program`,
	}}
	trapFails = end{"trap", 101, []string{
		`aios kernel: FAILED reason="trap inside the trap handler"`,
		`aios kernel: registers vec 000000000000000e`,
		`aios kernel: at exit\+0x[0-9a-f]+`, // in trap_amd64.s
		// The callers are those of the broken context, as its frame pointer says.
		`aios kernel: called from aios/kernel/target/ring0\.memoryCases\+0x[0-9a-f]+`,
	}}
)

func TestTarget(t *testing.T) {
	target := build(t)
	for _, c := range []struct {
		name   string
		cpus   int
		memory int // MiB
		tpm    string
		end    end
	}{
		{"2 CPUs", 2, 1500, "crb", panics},
		{"1 CPU", 1, 1024, "crb", switchedOff},
		{"4 CPUs and 6 GiB", 4, 6144, "tis", trapFails},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmdline := "tpm=" + c.tpm + " only=" + only + " rounds=" + rounds
			if c.end.name != "" {
				cmdline += " end=" + c.end.name
			}
			cfg := host(t, target, cmdline)
			cfg.CPUs, cfg.Memory, cfg.Interface = c.cpus, fmt.Sprintf("%dM", c.memory), c.tpm
			cfg.Accelerator, _ = vm.ChooseAccelerator(t.Context(), cfg.Programs)
			m, err := vm.Start(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			lines := m.Console.Follow()
			follow(t, m, lines, func(start string) { given(t, start, c.cpus, c.memory) })
			t.Run("the machine's end", func(t *testing.T) { c.end.check(t, m, lines) })
		})
	}
}

// given checks that the kernel found the CPUs and the memory of its machine;
// firmware keeps some of the memory for itself.
func given(t *testing.T, start string, cpus, memory int) {
	t.Run("the kernel has every CPU and the memory", func(t *testing.T) {
		var n, mib int
		for _, f := range strings.Fields(start) {
			fmt.Sscanf(f, "cpus=%d", &n)
			fmt.Sscanf(f, "memory_mib=%d", &mib)
		}
		if n != cpus || mib > memory || mib < memory-192 {
			t.Errorf("%q; the machine has %d CPUs and %d MiB", start, cpus, memory)
		}
	})
}

// check reads the console to its end.
func (e end) check(t *testing.T, m *vm.Machine, lines *vm.Follower) {
	ctx, cancel := context.WithTimeout(t.Context(), endLimit)
	defer cancel()
	var said strings.Builder
	for {
		l, err := lines.Next(ctx)
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the machine goes on; its last lines:\n%s", tail(m))
		}
		said.WriteString(l.Text + "\n")
	}
	<-m.Done()
	if got := m.Exit().Code; got != e.code {
		t.Errorf("the machine ended with code %d, want %d", got, e.code)
	}
	for _, want := range e.says {
		if !regexp.MustCompile(want).MatchString(said.String()) {
			t.Errorf("the console does not say %q, but:\n%s", want, said.String())
			return
		}
	}
}

// echo sends to the machine's channel and wants the same back.
func echo(ctx context.Context, m *vm.Machine) error {
	c, err := m.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	sent := make([]byte, echoSize)
	rand.NewChaCha8([32]byte{}).Read(sent)
	go c.Write(sent)
	got := make([]byte, echoSize)
	if n, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if !bytes.Equal(sent, got) {
		return errors.New("other bytes came back than were sent")
	}
	return nil
}

// follow makes each reported case a test, until the machine says it is done.
func follow(t *testing.T, m *vm.Machine, lines *vm.Follower, started func(line string)) {
	limit := bootLimit
	var echoed chan error
	for n := 0; ; {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		l, err := lines.Next(ctx)
		cancel()
		if err != nil {
			why := "the machine said nothing for " + limit.String()
			if err == io.EOF {
				why = "the machine ended before its tests did"
			}
			t.Fatalf("%s; its last lines:\n%s", why, tail(m))
		}
		if rest, ok := strings.CutPrefix(l.Text, "TESTS failed="); ok {
			if n == 0 {
				t.Fatal("no case was reported")
			}
			t.Logf("%d cases, %s failed", n, rest)
			if echoed != nil {
				if err := <-echoed; err != nil {
					t.Errorf("echo over the channel: %v", err)
				}
			} else if only == "" {
				t.Error("the machine asked for no echo over the channel")
			}
			return
		}
		switch {
		case strings.HasPrefix(l.Text, "aios kernel: start "):
			started(l.Text)
		case l.Text == "CHANNEL ready":
			echoed = make(chan error, 1)
			go func() { echoed <- echo(t.Context(), m) }()
		}
		rest, ok := strings.CutPrefix(l.Text, "TEST ")
		if !ok {
			continue
		}
		limit = caseLimit
		n++
		name, why, bad := strings.Cut(rest, " FAIL ")
		var took string
		if !bad {
			name, took, ok = strings.Cut(rest, " ok ms=")
		}
		t.Run(name, func(t *testing.T) {
			if bad {
				t.Error(why)
			} else if !ok {
				t.Errorf("not a report: %q", l.Text)
			} else {
				t.Logf("%s ms on the machine", took)
			}
		})
	}
}

func tail(m *vm.Machine) string {
	var s strings.Builder
	for _, l := range m.Console.Tail(30) {
		s.WriteString(l.Text + "\n")
	}
	return s.String()
}

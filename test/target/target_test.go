//go:build e2e

package target

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aios/boot/secureboot"
	"aios/host/install"
	"aios/host/state"
	"aios/host/vm"
)

const (
	bootLimit = 4 * time.Minute // until the first test reports
	caseLimit = 2 * time.Minute // between two reports
)

// root is the module's folder, from that of this package.
const root = "../.."

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
func host(t *testing.T, target string) vm.Config {
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
	_, err = install.EnsureImage(d, keys, sb, install.Source{Target: target, Policy: []byte("no policy"), Version: 1}, true)
	check(err)
	p, err := vm.FindPrograms()
	check(err)
	_, err = vm.ManufactureTPM(t.Context(), p, d.TPM())
	check(err)
	_, err = install.EnsureFirmware(d, sb, p.FirmwareVars, true)
	check(err)
	return vm.Config{Programs: p, Disk: d.Disk(), FirmwareVar: d.FirmwareVars(), TPMDir: d.TPM()}
}

func TestTarget(t *testing.T) {
	target := build(t)
	for _, c := range []struct {
		name   string
		cpus   int
		memory string
	}{
		{"2 CPUs", 2, "1500M"},
		{"1 CPU", 1, "1G"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := host(t, target)
			cfg.CPUs, cfg.Memory = c.cpus, c.memory
			cfg.Accelerator, _ = vm.ChooseAccelerator(t.Context(), cfg.Programs)
			m, err := vm.Start(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			follow(t, m)
		})
	}
}

// follow makes each reported case a test, until the machine says it is done.
func follow(t *testing.T, m *vm.Machine) {
	lines := m.Console.Follow()
	limit := bootLimit
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
			return
		}
		rest, ok := strings.CutPrefix(l.Text, "TEST ")
		if !ok {
			continue
		}
		limit = caseLimit
		n++
		name, why, bad := strings.Cut(rest, " FAIL ")
		if !bad {
			name, _, ok = strings.Cut(rest, " ok ms=")
		}
		t.Run(name, func(t *testing.T) {
			if bad {
				t.Error(why)
			} else if !ok {
				t.Errorf("not a report: %q", l.Text)
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

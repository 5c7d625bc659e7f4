package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var somePrograms = Programs{QEMU: "qemu", FirmwareCode: "/fw/code", FirmwareVars: "/fw/vars"}

func mustArgs(t *testing.T, cfg Config) string {
	t.Helper()
	cfg.Programs = somePrograms
	a, err := cfg.args(socketsIn("/s"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(a, " ")
}

// Each of these options is what some claim of ours rests on.
func TestArgsHoldWhatSecurityNeeds(t *testing.T) {
	got := mustArgs(t, Config{Disk: "/d", FirmwareVar: "/v"})
	for _, c := range []struct{ why, want string }{
		{"only SMM writes Secure Boot variables", "q35,smm=on"},
		{"the flash refuses writes from outside SMM", "driver=cfi.pflash01,property=secure,value=on"},
		{"the firmware image cannot change", "unit=0,readonly=on,file=/fw/code"},
		{"boot cannot change the image", "format=raw,readonly=on,file=/d"},
		{"no other network", "-net none"},
		{"a card whose option ROM the firmware neither runs nor measures", "virtio-net-pci,disable-legacy=on,romfile=,netdev=net0"},
		{"straight to the disk", "bootindex=0"},
		{"CPUs by default", "-smp 2 -m 1500M"},
		{"TPM by default", "tpm-crb,tpmdev=tpm0"},
		{"TCG by default", "-accel tcg,thread=multi"},
		{"the channel", "virtconsole,chardev=ch0"},
	} {
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q is missing in %s", c.why, c.want, got)
		}
	}
}

func TestArgsFollowConfig(t *testing.T) {
	for _, c := range []struct {
		name      string
		cfg       Config
		want, not string
	}{
		{"CPUs", Config{CPUs: 4}, "-smp 4", "-smp 2"},
		{"memory", Config{Memory: "3G"}, "-m 3G", "1500M"},
		{"TIS", Config{Interface: "tis"}, "tpm-tis,tpmdev=tpm0", "tpm-crb"},
		{"no TPM", Config{Interface: "none"}, "q35", "tpm"},
		{"no network", Config{NoNetwork: true}, "q35", "netdev"},
		{"KVM", Config{Accelerator: KVM}, "-accel kvm", "tcg"},
		{"comma in a path", Config{Disk: "/a,readonly=off"}, "file=/a,,readonly=off", "/a,r"},
	} {
		got := mustArgs(t, c.cfg)
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%s: want %q and not %q in %s", c.name, c.want, c.not, got)
		}
	}
	if _, err := (Config{Interface: "spi"}).args(sockets{}); err == nil || !strings.Contains(err.Error(), `"spi"`) {
		t.Errorf("unknown TPM interface: %v", err)
	}
}

// sun_path has 108 bytes; a long TMPDIR must not break the start.
func TestSocketPathsFit(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), strings.Repeat("long", 30)))
	dir, err := socketDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if p := filepath.Join(dir, "ch0"); len(p) >= 108 {
		t.Fatalf("%s has %d bytes", p, len(p))
	}
}

func TestStopEndsTheChild(t *testing.T) {
	for _, c := range []struct{ name, script, status string }{
		{"obedient", "exec sleep 1000", "signal: terminated"},
		{"its own end", "echo gone >&2; exit 7", "exit status 7: gone"},
	} {
		p, err := startProcess("child", exec.Command("sh", "-c", c.script))
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "its own end" {
			<-p.done
		}
		p.stop()
		if err := syscall.Kill(p.pid, 0); err != syscall.ESRCH {
			t.Errorf("%s: pid %d is still there: %v", c.name, p.pid, err)
		}
		if !strings.Contains(p.ended(), c.status) {
			t.Errorf("%s: ended as %q, want %q", c.name, p.ended(), c.status)
		}
	}
}

func TestStartFailureLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := Start(t.Context(), Config{Programs: Programs{QEMU: "/nonexistent/qemu"}, Interface: "none"})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/qemu") {
		t.Fatalf("got %v", err)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestMissingProgramsNamePackages(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := FindPrograms()
	var m *MissingError
	if !asMissing(err, &m) || !slices.Contains(m.Packages, "swtpm-tools") || !slices.Contains(m.Packages, "qemu-system-x86") {
		t.Fatalf("got %v", err)
	}
	if n := strings.Count(strings.Join(m.Packages, " "), "swtpm-tools"); n != 1 {
		t.Errorf("swtpm-tools is named %d times", n)
	}
}

func asMissing(err error, to **MissingError) bool {
	m, ok := err.(*MissingError)
	*to = m
	return ok
}

func TestTrialROM(t *testing.T) {
	rom := trialROM()
	if len(rom) != 64<<10 || rom[0xfff0] != 0xb0 || rom[0xfff1] != trialExit {
		t.Fatal("the reset vector (16 bytes below the end) must hold the program")
	}
}

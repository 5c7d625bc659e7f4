package bringup

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aios/host/story"
	"aios/host/vm"
)

// script plays console lines, one each second; then it ends or stays silent.
type script struct {
	lines  []string
	silent bool
	at     time.Duration
}

func (s *script) Next(ctx context.Context) (vm.Line, error) {
	if len(s.lines) == 0 {
		if !s.silent {
			return vm.Line{}, io.EOF
		}
		<-ctx.Done()
		return vm.Line{}, context.Cause(ctx)
	}
	s.at += time.Second
	l := vm.Line{At: s.at, Text: s.lines[0]}
	s.lines = s.lines[1:]
	return l, nil
}

const goodBoot = `BdsDxe: loading Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x1,0x0)
BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x1,0x0)
aios boot: start version=1 slot=a secure_boot=on tpm=2.0
aios boot: manifest ok version=7 key=90abcdef floor=3
aios boot: measured pcr=8 text="aios.slot a"
aios boot: measured pcr=9 text="aios.kernel kernel.elf sha256:00 size=1"
aios boot: exit boot services
aios kernel: start cpus=2 memory_mib=1490 version=1
aios kernel: tpm ok interface=crb
aios kernel: service start name=attestd pid=1
aios attestd: ready`

func play(t *testing.T, text string, silent bool) (*Host, []story.Event, error) {
	t.Helper()
	var told []story.Event
	h, err := Await(t.Context(), &script{lines: strings.Split(text, "\n"), silent: silent}, func(e story.Event) { told = append(told, e) })
	return h, told, err
}

func names(events []story.Event) string {
	var n []string
	for _, e := range events {
		n = append(n, e.Name())
	}
	return strings.Join(n, " ")
}

func TestGoodBoot(t *testing.T) {
	h, told, err := play(t, goodBoot, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(told); got != "firmware boot kernel service" {
		t.Errorf("told %s", got)
	}
	if !h.Firmware.SecureBoot || h.Boot.Version != 7 || h.Boot.Floor != 3 || len(h.Boot.Measured) != 2 ||
		h.Kernel.CPUs != 2 || h.Kernel.TPM != "crb" || h.Service.Service != "attestd" || h.Service.PID != 1 {
		t.Errorf("got %+v", h)
	}
	for stage, want := range map[string]time.Duration{Firmware: 3, Boot: 4, Kernel: 3, Service: 1} {
		if h.Took[stage] != want*time.Second {
			t.Errorf("%s took %s, want %d s", stage, h.Took[stage], want)
		}
	}
}

func TestFailures(t *testing.T) {
	upTo := func(last string) string { return goodBoot[:strings.Index(goodBoot, last)] }
	for _, c := range []struct {
		name, text, want, remedy string
	}{
		{"boot refuses", upTo("aios boot: measured") + `aios boot: REFUSED stage=kernel reason="kernel.elf: sha256 expected 00 found 01" remedy="rebuild it"`,
			"boot refused to go on at kernel: kernel.elf: sha256 expected 00 found 01", "rebuild it"},
		{"boot refuses without advice", `aios boot: REFUSED stage=manifest reason="no signature"`, "no signature", "aios image build"},
		{"the kernel fails", upTo("aios kernel: tpm") + `aios kernel: FAILED reason="no TPM" remedy="give it one"`, "kernel refused to go on: no TPM", "give it one"},
		{"unsigned boot stage", `BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Access Denied`,
			"the firmware refused bootx64.efi", "sign"},
		{"no boot stage", `BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0): Not Found`, "could not start", "aios image build"},
		{"the machine ends", upTo("aios kernel: tpm"), `ended during stage "kernel"; last lines`, "console.log"},
		{"the machine ends silently", "", "ended", "console.log"},
	} {
		_, _, err := play(t, c.text, false)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
			continue
		}
		var r interface{ Remedy() string }
		if !errors.As(err, &r) || !strings.Contains(r.Remedy(), c.remedy) {
			t.Errorf("%s: the remedy is %v, want %q", c.name, r, c.remedy)
		}
	}
}

func TestTimeoutNamesTheStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, told, err := play(t, goodBoot[:strings.Index(goodBoot, "aios kernel: service")], true)
		var e *TimeoutError
		if !errors.As(err, &e) || e.Stage != Kernel || !strings.Contains(err.Error(), "aios kernel: tpm ok") {
			t.Fatalf("got %v", err)
		}
		if names(told) != "firmware boot" {
			t.Errorf("told %s", names(told))
		}
	})
}

func TestCancelIsNotATimeout(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if _, err := Await(ctx, &script{silent: true}, nil); err != io.ErrClosedPipe {
		t.Fatalf("got %v", err)
	}
}

// Lost lines (a busy serial port) must not stop the story.
func TestLostLineIsForgiven(t *testing.T) {
	_, told, err := play(t, strings.Replace(goodBoot, "aios boot: exit boot services\n", "", 1), true)
	if err != nil || names(told) != "firmware boot kernel service" {
		t.Fatalf("told %s, %v", names(told), err)
	}
}

// "ready" counts only from a service that the kernel said it started.
func TestReadyOfAnUnknownService(t *testing.T) {
	if _, _, err := play(t, strings.Replace(goodBoot, "aios attestd: ready", "aios other: ready", 1), false); err == nil {
		t.Fatal("an unknown service was taken for ready")
	}
}

func TestWatchTellsTrouble(t *testing.T) {
	var told []string
	Watch(t.Context(), &script{lines: []string{
		"aios attestd: served", `aios kernel: service exit name=attestd reason="page fault" frames_freed=12`, "panic: boom", "goroutine 1 [running]:",
	}}, func(e story.Event) { told = append(told, e.Lines()[0]) })
	got := strings.Join(told, "|")
	if got != `kernel: service exit name=attestd reason="page fault" frames_freed=12|host: panic: boom|host: goroutine 1 [running]:` {
		t.Fatal(got)
	}
}

package vm

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Accelerator says how QEMU executes the guest.
type Accelerator string

const (
	KVM Accelerator = "kvm"
	TCG Accelerator = "tcg"
)

// trialExit is what the guest of the trial writes to isa-debug-exit; QEMU then
// ends with (value<<1)|1.
const trialExit = 0x2a

// trialROM is a BIOS of 64 KiB whose reset vector, 16 bytes before its end,
// leaves QEMU at once: mov al, 0x2a; out 0xf4, al; hlt.
func trialROM() []byte {
	rom := bytes.Repeat([]byte{0xf4}, 64<<10)
	copy(rom[len(rom)-16:], []byte{0xb0, trialExit, 0xe6, 0xf4, 0xf4})
	return rom
}

// ChooseAccelerator returns KVM only if a guest has just executed
// instructions under it, with the machine type that we use; else TCG and the
// reason. That /dev/kvm exists says nothing: it may lack permission, or be a
// nested one that fails at the first entry.
func ChooseAccelerator(ctx context.Context, p Programs) (Accelerator, string) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return TCG, err.Error()
	}
	f.Close()
	if err := tryAccelerator(ctx, p, KVM); err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n") // QEMU says the rest to its developers
		return TCG, "in a trial " + line
	}
	return KVM, "a guest ran under it"
}

func tryAccelerator(ctx context.Context, p Programs, a Accelerator) error {
	dir, err := os.MkdirTemp("", "aios-trial")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rom := filepath.Join(dir, "rom")
	if err := os.WriteFile(rom, trialROM(), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	proc, err := startProcess("qemu", exec.Command(p.QEMU, "-machine", "q35,smm=on", "-accel", string(a), "-cpu", "max",
		"-m", "64M", "-nodefaults", "-display", "none", "-bios", rom, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"))
	if err != nil {
		return err
	}
	select {
	case <-proc.done:
	case <-ctx.Done():
		proc.stop()
		return context.Cause(ctx)
	}
	if want := trialExit<<1 | 1; proc.state.ExitCode() != want {
		return &trialError{proc.ended(), want}
	}
	return nil
}

type trialError struct {
	ended string
	want  int
}

func (e *trialError) Error() string { return "the guest did not run: " + e.ended }

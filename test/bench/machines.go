package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"aios/boot/image"
	"aios/boot/secureboot"
	"aios/host/install"
	"aios/host/state"
	"aios/host/vm"
)

// machines are the three virtual hosts that are booted in turns. They have the
// same processors, memory, firmware with Secure Boot on, and kind of TPM.
type machines struct {
	calls vm.Config // AIOS's kernel measuring itself
	peer  vm.Config // Debian's kernel, measuring itself after it came up
	up    upHost    // AIOS as it is used
}

// buildPrograms builds what the machines boot.
func buildPrograms(ctx context.Context, o options) error {
	dir := filepath.Join(o.work, "target")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, a := range [][]string{
		{"-kind", "kernel", "-pkg", "./kernel/cmd/targettest", "-o", filepath.Join(dir, "kernel.elf")},
		{"-kind", "service", "-pkg", "./kernel/target/ring3/program", "-o", filepath.Join(dir, "attestd.elf")},
		{"-kind", "service", "-pkg", "./test/bench/peer", "-o", filepath.Join(dir, "peer.elf")},
	} {
		if err := goTool(ctx, append([]string{"run", "./boot/cmd/mkmetal"}, a...)...); err != nil {
			return err
		}
	}
	boot, err := os.ReadFile(filepath.Join(o.target, "bootx64.efi"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "bootx64.efi"), boot, 0o644)
}

// makeMachines makes disks, firmware variables and TPMs anew: what an earlier
// run left in them would be measured too.
func makeMachines(ctx context.Context, o options, p vm.Programs, a vm.Accelerator, d *debian) (*machines, error) {
	base, err := filepath.Abs(filepath.Join(o.work, "hosts"))
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(base); err != nil {
		return nil, err
	}
	var m machines
	if m.up, err = newUpHost(o, filepath.Join(base, "up")); err != nil {
		return nil, err
	}
	built := filepath.Join(o.work, "target")
	if m.calls, err = makeMachine(ctx, filepath.Join(base, "calls"), o.keys, p, a, func(s *state.Dir, sb *secureboot.Keys) error {
		keys, err := install.EnsureKeys(s)
		if err != nil {
			return err
		}
		_, err = install.EnsureImage(s, keys, sb, install.Source{Target: built, Policy: []byte("none"), Cmdline: "bench", Version: 1, Programs: install.OneService()}, true)
		return err
	}); err != nil {
		return nil, err
	}
	m.peer, err = makeMachine(ctx, filepath.Join(base, "peer"), o.keys, p, a, func(s *state.Dir, sb *secureboot.Keys) error {
		init, err := os.ReadFile(filepath.Join(built, "peer.elf"))
		if err != nil {
			return err
		}
		uki, err := unify(d.stub, []section{
			{".osrel", []byte("ID=peer\nNAME=peer\nVERSION_ID=0\n")},
			{".cmdline", []byte("console=ttyS0 quiet panic=-1")},
			{".linux", d.kernel},
			{".initrd", initrd(init)},
		})
		if err != nil {
			return err
		}
		if uki, err = secureboot.Sign(uki, sb.Db); err != nil {
			return err
		}
		disk, err := image.Build([]image.File{{Path: image.BootPath, Data: uki}})
		if err != nil {
			return err
		}
		return os.WriteFile(s.Disk(), disk, 0o600)
	})
	return &m, err
}

// makeMachine makes a host in dir; disk writes its disk.
func makeMachine(ctx context.Context, dir, keys string, p vm.Programs, a vm.Accelerator, disk func(*state.Dir, *secureboot.Keys) error) (vm.Config, error) {
	var cfg vm.Config
	if err := copyKeys(keys, filepath.Join(dir, "keys")); err != nil {
		return cfg, err
	}
	s, err := state.Open(dir)
	if err != nil {
		return cfg, err
	}
	sb, _, err := secureboot.EnsureKeys(s.Keys(), time.Now())
	if err != nil {
		return cfg, err
	}
	if err := disk(s, sb); err != nil {
		return cfg, err
	}
	if _, err := vm.ManufactureTPM(ctx, p, s.TPM()); err != nil {
		return cfg, err
	}
	if _, err := install.EnsureFirmware(s, sb, p.FirmwareVars, true); err != nil {
		return cfg, err
	}
	return vm.Config{Programs: p, Accelerator: a, CPUs: machineCPUs, Memory: machineMemory,
		Disk: s.Disk(), FirmwareVar: s.FirmwareVars(), TPMDir: s.TPM()}, nil
}

// What every machine has; `aios up` is told so too.
const (
	machineCPUs   = 2
	machineMemory = "1500M"
)

// copyKeys copies the installation's keys, which must stay private.
func copyKeys(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeType != 0 {
			return fmt.Errorf("%s in %s is no file: what is it doing among the keys?", e.Name(), from)
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

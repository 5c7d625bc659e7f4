package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aios/boot/image"
	"aios/boot/secureboot"
	"aios/host/install"
	"aios/host/state"
	"aios/host/vm"
)

// machines are the virtual hosts that are booted in turns. They have the same
// processors, memory, network card, firmware with Secure Boot on, and kind of TPM.
type machines struct {
	calls   vm.Config // AIOS's kernel measuring itself
	peer    vm.Config // Debian's kernel, measuring itself after it came up
	up      upHost    // AIOS as it is used
	web     vm.Config // AIOS's kernel, netd, and a client of it
	peerWeb vm.Config // Debian's kernel with the same client
	server  *webServer
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
		{"-kind", "service", "-pkg", "./test/bench/peer/web", "-o", filepath.Join(dir, "peerweb.elf")},
		{"-kind", "service", "-pkg", "./services/netd/probe", "-o", filepath.Join(dir, "web", "probe.elf")},
	} {
		if err := goTool(ctx, append([]string{"run", "./boot/cmd/mkmetal"}, a...)...); err != nil {
			return err
		}
	}
	for to, names := range map[string][]string{dir: {"bootx64.efi"}, filepath.Join(dir, "web"): {"bootx64.efi", "kernel.elf", "netd.elf"}} {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(o.target, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
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
	if m.server, err = serveWeb(); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		name    string
		machine *vm.Config
		disk    func(*state.Dir, *secureboot.Keys) error
	}{
		{"calls", &m.calls, ourDisk(install.Source{Target: built, Policy: []byte("none"), Cmdline: "bench", Version: 1, Programs: install.OneService()})},
		{"peer", &m.peer, peerDisk(d, filepath.Join(built, "peer.elf"), "")},
		{"web", &m.web, ourDisk(install.Source{Target: filepath.Join(built, "web"), Policy: []byte("none"), Version: 1, Programs: webPrograms()})},
		{"peerweb", &m.peerWeb, peerDisk(d, filepath.Join(built, "peerweb.elf"), m.server.cmdline(), d.modules...)},
	} {
		if *c.machine, err = makeMachine(ctx, filepath.Join(base, c.name), o.keys, p, a, c.disk); err != nil {
			return nil, fmt.Errorf("machine %s: %w", c.name, err)
		}
	}
	return &m, nil
}

// ourDisk writes a disk that boots AIOS.
func ourDisk(src install.Source) func(*state.Dir, *secureboot.Keys) error {
	return func(s *state.Dir, sb *secureboot.Keys) error {
		keys, err := install.EnsureKeys(s)
		if err != nil {
			return err
		}
		_, err = install.EnsureImage(s, keys, sb, src, true)
		return err
	}
}

// peerDisk writes a disk that boots Debian's kernel, which runs one program.
func peerDisk(d *debian, init, cmdline string, modules ...[]byte) func(*state.Dir, *secureboot.Keys) error {
	return func(s *state.Dir, sb *secureboot.Keys) error {
		program, err := os.ReadFile(init)
		if err != nil {
			return err
		}
		uki, err := unify(d.stub, []section{
			{".osrel", []byte("ID=peer\nNAME=peer\nVERSION_ID=0\n")},
			{".cmdline", []byte(strings.TrimSpace("console=ttyS0 quiet panic=-1 " + cmdline))},
			{".linux", d.kernel},
			{".initrd", initrd(program, modules...)},
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
	}
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

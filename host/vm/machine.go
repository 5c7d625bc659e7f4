package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config describes one boot of one virtual host.
type Config struct {
	Programs    Programs
	Accelerator Accelerator
	CPUs        int    // 0 means 2
	Memory      string // as QEMU takes it; "" means 1500M
	Interface   string // of the TPM: "crb" (also ""), "tis", or "none"
	Disk        string // raw image; attached read-only
	FirmwareVar string // the host's own variable store, changed by the firmware
	TPMDir      string // made by ManufactureTPM
	NoNetwork   bool   // leave the network card out
	Log         io.Writer
	Extra       []string // further QEMU arguments, for tests and measurements
}

// Machine is a running virtual host.
type Machine struct {
	Console *Console
	Started time.Time

	dir       string // of the sockets; short, see socketDir
	sockets   sockets
	qemu, tpm *process
	ended     chan struct{} // closed when nothing of it is left
}

// Start starts the TPM and the machine. Both end when ctx does, when Stop is
// called, or when the guest ends the machine; Wait returns once all is gone.
func Start(ctx context.Context, cfg Config) (*Machine, error) {
	dir, err := socketDir()
	if err != nil {
		return nil, err
	}
	m := &Machine{Console: newConsole(), dir: dir, sockets: socketsIn(dir), ended: make(chan struct{})}
	if err := m.start(cfg); err != nil {
		if m.tpm != nil {
			m.tpm.stop()
		}
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		select {
		case <-ctx.Done():
		case <-m.qemu.done:
		}
		m.qemu.stop()
		if m.tpm != nil {
			m.tpm.stop()
		}
		os.RemoveAll(dir)
		close(m.ended)
	}()
	return m, nil
}

func (m *Machine) start(cfg Config) (err error) {
	if cfg.Interface != "none" {
		if m.tpm, err = startTPM(cfg.Programs, cfg.TPMDir, m.sockets.tpm); err != nil {
			return err
		}
	}
	args, err := cfg.args(m.sockets)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c := exec.Command(cfg.Programs.QEMU, args...)
	c.Stdout = w
	m.Started = time.Now()
	m.qemu, err = startProcess("qemu", c)
	w.Close() // the child has its own copy; the reader then sees the end
	if err != nil {
		r.Close()
		return err
	}
	log := cfg.Log
	if log == nil {
		log = io.Discard
	}
	go func() {
		m.Console.read(r, log, m.Started)
		r.Close()
	}()
	return nil
}

// sockets are the machine's Unix sockets: its TPM, its channel, and QEMU's monitor.
type sockets struct{ tpm, channel, control string }

func socketsIn(dir string) sockets {
	return sockets{filepath.Join(dir, "tpm"), filepath.Join(dir, "ch0"), filepath.Join(dir, "qmp")}
}

// socketDir makes a folder whose paths fit the 108 bytes of sun_path, whatever
// TMPDIR says.
func socketDir() (string, error) {
	base := os.TempDir()
	if len(base) > 60 {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "aios-vm")
	if err != nil {
		return "", fmt.Errorf("folder for sockets: %w", err)
	}
	return dir, nil
}

// args is the machine as QEMU's command line.
func (cfg Config) args(sockets sockets) ([]string, error) {
	cpus, memory, accel := max(cfg.CPUs, 0), cfg.Memory, string(cfg.Accelerator)
	if cpus == 0 {
		cpus = 2
	}
	if memory == "" {
		memory = "1500M"
	}
	if cfg.Accelerator != KVM {
		accel = "tcg,thread=multi"
	}
	a := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35,smm=on", "-accel", accel, "-cpu", "max",
		"-smp", strconv.Itoa(cpus), "-m", memory,
		"-net", "none", "-boot", "menu=off,splash-time=0",
		// Only code in SMM may write the variable store: Secure Boot is not
		// worth the name without it.
		"-global", "driver=cfi.pflash01,property=secure,value=on",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + escape(cfg.Programs.FirmwareCode),
		"-drive", "if=pflash,format=raw,unit=1,file=" + escape(cfg.FirmwareVar),
		"-drive", "if=none,id=disk0,format=raw,readonly=on,file=" + escape(cfg.Disk),
		"-device", "virtio-blk-pci,disable-legacy=on,drive=disk0,bootindex=0",
		"-chardev", "socket,id=ch0,server=on,wait=off,path=" + escape(sockets.channel),
		"-device", "virtio-serial-pci,max_ports=1,disable-legacy=on", "-device", "virtconsole,chardev=ch0",
		"-chardev", "socket,id=qmp,server=on,wait=off,path=" + escape(sockets.control), "-mon", "chardev=qmp,mode=control",
		"-chardev", "stdio,id=con,signal=off", "-serial", "chardev:con",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
	}
	if !cfg.NoNetwork {
		// No option ROM and no bootindex: the firmware measures no code of the
		// card's, and never tries to boot from it.
		a = append(a, "-netdev", "user,id="+networkID, "-device", "virtio-net-pci,disable-legacy=on,romfile=,netdev="+networkID)
	}
	switch cfg.Interface {
	case "", "crb", "tis":
		device := map[string]string{"tis": "tpm-tis"}[cfg.Interface]
		if device == "" {
			device = "tpm-crb"
		}
		a = append(a, "-chardev", "socket,id=tpm,path="+escape(sockets.tpm),
			"-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", device+",tpmdev=tpm0")
	case "none":
	default:
		return nil, fmt.Errorf("TPM interface %q: expected crb, tis or none", cfg.Interface)
	}
	return append(a, cfg.Extra...), nil
}

// escape writes a path for use inside a QEMU option, where a comma separates.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }

// Dial connects to the machine's channel: the stream whose other end is the
// guest's virtio console. QEMU serves one connection at a time.
func (m *Machine) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", m.sockets.channel)
	if err != nil {
		select {
		case <-m.qemu.done:
			return nil, fmt.Errorf("channel to the machine: it has ended: %s", m.qemu.ended())
		default:
			return nil, fmt.Errorf("channel to the machine: %w", err)
		}
	}
	return c, nil
}

// Channel is the Unix socket that Dial connects to.
func (m *Machine) Channel() string { return m.sockets.channel }

// Done is closed when the machine has ended and nothing of it is left.
func (m *Machine) Done() <-chan struct{} { return m.ended }

// Stop ends the machine and waits until nothing of it is left.
func (m *Machine) Stop() {
	m.qemu.stop()
	<-m.ended
}

// Exit says how the machine ended. Preconditions: Done is closed.
func (m *Machine) Exit() Exit {
	e := Exit{Text: m.qemu.ended(), Code: -1}
	// isa-debug-exit ends QEMU with (code<<1)|1; 1 alone is QEMU's own error.
	if c := m.qemu.state.ExitCode(); c > 1 && c&1 == 1 {
		e.Code = c >> 1
	}
	return e
}

// Exit is the end of a machine.
type Exit struct {
	Code int    // what the guest wrote to isa-debug-exit, -1 if it did not
	Text string // QEMU's status and last words
}

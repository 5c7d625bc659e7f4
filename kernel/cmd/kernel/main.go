//go:build aios

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/usbarmory/tamago/dma"

	"aios/boot/handoff"
	"aios/boot/manifest"
	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/kernel/abi"
	"aios/kernel/agent"
	"aios/kernel/hal/console"
	"aios/kernel/hal/nic"
	"aios/kernel/hal/tpmio"
	"aios/kernel/machine"
	"aios/kernel/metal"
	"aios/kernel/process"
	"aios/kernel/tpm"
)

// version is set by the build.
var version = "dev"

// line puts one whole line on the console.
func line(format string, a ...any) {
	os.Stdout.WriteString(fmt.Sprintf("aios kernel: "+format, a...) + "\n")
}

func main() {
	info := metal.Boot()
	total, _ := metal.Frames()
	line("start version=%s cpus=%d memory_mib=%d slot=%c boot_ms=%d kernel_ms=%d", version, metal.CPUs(), total>>8, info.Slot,
		metal.Nanos(info.HandoffTSC-info.BootEntryTSC).Milliseconds(), metal.SinceReset().Milliseconds())
	if metal.NeedsIsolation() {
		line("WARNING reason=%q remedy=%q", "this CPU lets a program read the kernel's memory by speculation (Meltdown), and there is no page-table isolation",
			"run no program on it that must not know the host's secrets; use a CPU with RDCL_NO")
	}
	if err := run(info); err != nil {
		line("FAILED reason=%q remedy=%q", err, "the host proves nothing and runs nothing; fix the cause and boot again")
	}
	// A host without services stays up, with nothing to reach. It sleeps, since
	// the runtime takes a program in which everybody waits for ever for dead.
	for {
		time.Sleep(time.Hour)
	}
}

// host is what services can be granted.
type host struct {
	info     *handoff.Info
	manifest *manifest.Manifest
	attestor *tpm.Root
	channel  *console.Console
	frames   process.Frames
	ports    ports
	agents   process.Authority
}

func run(info *handoff.Info) error {
	if err := info.Check(); err != nil {
		return err
	}
	payload := metal.Bytes(uintptr(info.ManifestPhys), int(info.ManifestSize))
	m, err := manifest.Parse(payload)
	if err != nil {
		return fmt.Errorf("manifest handed over by boot: %w", err)
	}
	start, size := metal.DMA()
	dma.Init(uint(start), size)
	h := &host{info: info, manifest: m, ports: newPorts(m)}
	if h.attestor, err = openTPM(); err != nil {
		return err
	}
	if h.channel, err = console.Open(); err != nil {
		return err
	}
	line("channel ok interface=virtio-console")
	h.frames = openCard()

	hardware := machine.New()
	supervisor := process.NewSupervisor(hardware, func(s string) { os.Stdout.WriteString(s + "\n") })
	if h.agents, err = h.authority(hardware, supervisor); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, s := range m.Services {
		cfg, err := h.config(s)
		if err != nil {
			return err
		}
		wg.Go(func() { supervisor.Run(context.Background(), cfg, s.Restart == manifest.RestartAlways) })
	}
	wg.Wait()
	line("no service is left")
	return nil
}

// openCard is the network card. A host without one boots; its network service
// tells who asks.
func openCard() process.Frames {
	card, err := nic.Open()
	if err != nil {
		line("network none reason=%q remedy=%q", err, "the host reaches no verifier; give the machine a card")
		return nic.Missing{}
	}
	address, mtu := card.Info()
	line("network ok interface=virtio-net address=%x mtu=%d", address, mtu)
	return card
}

func openTPM() (*tpm.Root, error) {
	base, err := metal.MapDevice(tpmio.Base, tpmio.Size)
	if err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	began := time.Now()
	t, err := tpmio.Open(tpmio.At(base), tpmio.Monotonic{})
	if err != nil {
		return nil, err
	}
	root, err := tpm.Open(t)
	if err != nil {
		return nil, fmt.Errorf("TPM (%s): %w", t.Interface(), err)
	}
	line("tpm ok interface=%s ak=ecc-p256 ms=%d", t.Interface(), time.Since(began).Milliseconds())
	return root, nil
}

// image is what boot handed over under a program's name, checked.
func (h *host) image(p manifest.Program) ([]byte, error) {
	b, ok := h.info.Blob(p.Name)
	if !ok {
		return nil, fmt.Errorf("%s %s: boot handed over no image of that name", p.Kind, p.Name)
	}
	image := metal.Bytes(uintptr(b.Phys), int(b.Size))
	if err := p.Check(image); err != nil {
		return nil, fmt.Errorf("%s %s: %w", p.Kind, p.Name, err)
	}
	return image, nil
}

// authority is what starts and ends the manifest's agents, for the verifier that the
// manifest names.
func (h *host) authority(hardware machine.Machine, s *process.Supervisor) (process.Authority, error) {
	v := h.manifest.Verifier
	if v == nil {
		return unled{}, nil
	}
	issuer, err := mldsa.NewPublicKey(v.Issuer)
	if err != nil {
		return nil, fmt.Errorf("manifest handed over by boot: key of the issuer: %w", err)
	}
	list, err := specs(h.manifest, h.ports, h.image, h.grant)
	if err != nil {
		return nil, err
	}
	c := agent.Config{
		Agents: list, Issuer: captoken.NewPublicKey(issuer), Grace: v.Grace,
		Host: h.attestor.HostID, Resets: h.attestor.ResetCount,
		Prove: func(nonce [captoken.NonceSize]byte, receipt []byte) (attest, signature, values []byte, err error) {
			q, err := h.attestor.QuoteReceipt(nonce, receipt)
			return q.Attest, q.Signature, q.Values(), err
		},
		Now: hardware.Now, Random: metal.Random, NewPID: s.NewPID, Peers: h.ports.names(),
		Start: func(c process.Config) (agent.Process, error) {
			p, err := process.Start(hardware, c)
			if err != nil {
				return nil, err
			}
			return p, nil
		},
		Log: func(s string) {
			if strings.HasPrefix(s, "aios kernel: agent gone ") { // what a leak would show in
				_, used := metal.Frames()
				s += fmt.Sprintf(" frames_used=%d", used)
			}
			os.Stdout.WriteString(s + "\n")
		},
	}
	metal.Random(c.Boot[:])
	line("agents ok count=%d grace_ms=%d boot=%v", len(list), v.Grace.Milliseconds(), c.Boot)
	return agent.New(c), nil
}

// config checks the service's image against the manifest and collects what it is granted.
func (h *host) config(s manifest.Service) (process.Config, error) {
	image, err := h.image(manifest.Program{Kind: "service", Name: s.Name, Image: s.Image})
	if err != nil {
		return process.Config{}, err
	}
	cfg := process.Config{
		Name: s.Name, Image: image, Memory: s.Memory,
		Grants: []process.Grant{{Name: abi.CapSelf, Type: abi.TypeProcess, Rights: abi.RightControl}},
	}
	cfg.Port = h.ports[s.Name]
	for _, name := range s.Caps {
		if name == capMailbox { // with the port
			cfg.Grants = append(cfg.Grants, h.ports.reply(s.Name))
			continue
		}
		g, err := h.grant(name)
		if err != nil {
			return process.Config{}, fmt.Errorf("service %s: %w", s.Name, err)
		}
		cfg.Grants = append(cfg.Grants, g)
	}
	return cfg, nil
}

// grant is the object behind a capability's name in the manifest.
func (h *host) grant(name string) (process.Grant, error) {
	blob := func(phys, size uint64) process.Blob {
		return bytes.NewReader(metal.Bytes(uintptr(phys), int(size)))
	}
	if g, ok, err := h.ports.grant(name); ok {
		return g, err
	}
	switch name {
	case "attest":
		return process.Grant{Name: abi.CapAttest, Type: abi.TypeAttestor, Rights: abi.RightInvoke, Object: h.attestor}, nil
	case "authority":
		return process.Grant{Name: abi.CapAuthor, Type: abi.TypeAuthority, Rights: abi.RightInvoke, Object: h.agents}, nil
	case "channel":
		return process.Grant{Name: abi.CapChannel, Type: abi.TypeStream, Rights: abi.RightRead | abi.RightWrite, Object: h.channel}, nil
	case "clock":
		return process.Grant{Name: abi.CapClock, Type: abi.TypeClock, Rights: abi.RightRead}, nil
	case "frames":
		return process.Grant{Name: abi.CapFrames, Type: abi.TypeFrames, Rights: abi.RightRead | abi.RightWrite, Object: h.frames}, nil
	case "log":
		return process.Grant{Name: abi.CapLog, Type: abi.TypeLog, Rights: abi.RightWrite, Object: consoleLog{}}, nil
	case "eventlog":
		return process.Grant{Name: abi.CapEventLog, Type: abi.TypeBlob, Rights: abi.RightRead, Object: blob(h.info.EventLogPhys, h.info.EventLogSize)}, nil
	case "manifest":
		return process.Grant{Name: abi.CapManifest, Type: abi.TypeBlob, Rights: abi.RightRead, Object: blob(h.info.ManifestPhys, h.info.ManifestSize)}, nil
	case "policy":
		b, ok := h.info.Blob("policy")
		if !ok {
			return process.Grant{}, fmt.Errorf("capability policy: boot handed over no policy bundle")
		}
		return process.Grant{Name: abi.CapPolicy, Type: abi.TypeBlob, Rights: abi.RightRead, Object: blob(b.Phys, b.Size)}, nil
	}
	return process.Grant{}, fmt.Errorf("capability %q: the kernel has none of that name", name)
}

// consoleLog puts a service's lines on the console.
type consoleLog struct{}

func (consoleLog) Line(text string) { os.Stdout.WriteString(text + "\n") }

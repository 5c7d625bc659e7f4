package stage

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"aios/boot/efi"
	"aios/boot/handoff"
	"aios/boot/manifest"
	"aios/boot/measure"
	"aios/boot/rollback"
	"aios/captoken/mldsa"
)

// Firmware is what the stage needs of UEFI; *efi.Firmware is one.
type Firmware interface {
	transport.TPM

	ReadFile(path string, limit uint64, avoid [2]uint64) (efi.Block, error)
	Allocate(size, align uint64, avoid [2]uint64) (efi.Block, error)
	Free(efi.Block) error
	SecureBoot() bool
	OpenTPM() (efi.TPMCapability, error)
	HashLogExtend(pcr, eventType uint32, data []byte) error
	Random(b []byte) error
	Time() (time.Time, error)
	RSDP() (uint64, error)
	EventLog() ([]byte, error)
	ExitBootServices(memoryMap efi.Block) (efi.MemoryMap, error)
	FinalEvents(log []byte) ([]byte, error)
	Print(text string) error
	DisableWatchdog() error
}

// Machine is what the stage needs of the processor and the serial line.
type Machine interface {
	// Line writes one line to the serial console. It works without firmware.
	Line(text string)
	// EntryTSC is the time stamp counter when firmware started the image, TSC is the counter now.
	EntryTSC() uint64
	TSC() uint64
	// Duration converts a difference of counters.
	Duration(ticks uint64) time.Duration
	// Random adds the processor's own random numbers.
	Random(b []byte)
	// Enter leaves for the kernel and does not return.
	Enter(tables, entry, info uint64)
}

// Stage is one run of the boot stage.
type Stage struct {
	Firmware Firmware
	Machine  Machine
	Trusted  []*mldsa.PublicKey // keys that may sign the system manifest; one signature is enough
	Version  string             // of this program, for the console

	// ReadFloor and LockFloor are rollback.Read and rollback.Lock where they are nil.
	ReadFloor func(transport.TPM) (floor uint64, defined bool, err error)
	LockFloor func(transport.TPM) error

	tpm    bool // the TPM can be extended
	exited bool // firmware is gone
	times  []mark
	last   uint64

	info handoff.Info
	conf manifest.Conf
}

// window is where no block may lie that the kernel gets: the kernel's image hides it.
var window = [2]uint64{handoff.WindowStart, handoff.WindowEnd}

// maxImage bounds one file of a slot. The manifest's own size is checked as well.
const maxImage = 512 << 20

// policyBlob is the name under which the kernel finds the policy bundle. No program can have it (boot/manifest).
const policyBlob = "policy"

const remedyTooMany = "remove services or agents from the manifest"

// Run boots. It returns only when it refuses, with an error that Refuse reports (or when Machine.Enter returns, as it
// does in tests). A panic below it, which is a bug or firmware that hands out wild pointers, is a refusal too.
func (s *Stage) Run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = refuse("internal", fmt.Errorf("boot stage: %v", p), "report this line; reset the machine to try again")
		}
	}()
	s.last = s.Machine.EntryTSC()
	s.info.BootEntryTSC = s.last
	s.mark("entry") // from firmware to here: the Go runtime's start
	bootConf, err := s.start()
	if err != nil {
		return err
	}
	s.mark("config")
	signed, err := s.manifest()
	if err != nil {
		return err
	}
	s.mark("manifest")
	kernel, err := s.images(bootConf, signed)
	if err != nil {
		return err
	}
	s.mark("load")
	return s.leave(signed, kernel)
}

// start looks at TPM, configuration and Secure Boot, and says hello. It returns the text of boot.conf.
func (s *Stage) start() ([]byte, error) {
	if _, err := s.Firmware.OpenTPM(); err != nil {
		return nil, refuse("tpm", err, "enable the TPM 2.0 with a SHA-256 bank in the firmware setup; without measurements nothing can be proven")
	}
	s.tpm = true
	file, err := s.Firmware.ReadFile("/aios/boot.conf", manifest.MaxConf, window)
	if err != nil {
		return nil, refuse("config", err, "install the image again; the boot partition must hold /aios/boot.conf")
	}
	if s.conf, err = manifest.ParseConf(file.Data); err != nil {
		return nil, refuse("config", err, "")
	}
	secure := "on"
	if !s.Firmware.SecureBoot() {
		secure = "off"
	}
	s.line("start version=%s slot=%s secure_boot=%s tpm=2.0", s.Version, s.conf.Slot, secure)
	if secure == "off" {
		s.line("WARNING stage=secureboot reason=%q remedy=%q", "Secure Boot is off: firmware did not check this program",
			"enrol the Secure Boot keys and switch it on; until then the verifier calls this host contraindicated")
	}
	return file.Data, nil
}

// manifest reads the slot's manifest and checks signature and rollback floor.
func (s *Stage) manifest() (*manifest.Signed, error) {
	file, err := s.Firmware.ReadFile(s.path("manifest"), manifest.MaxSize, window)
	if err != nil {
		return nil, refuse("manifest", err, "install the image again, or name the other slot in /aios/boot.conf")
	}
	signed, err := manifest.OpenSigned(file.Data, s.Trusted, 1)
	if err != nil {
		return nil, refuse("manifest", err, "")
	}
	read, lock := rollback.Read, rollback.Lock
	if s.ReadFloor != nil {
		read, lock = s.ReadFloor, s.LockFloor
	}
	floor, defined, err := read(s.Firmware)
	if err != nil {
		return nil, refuse("rollback", err, "the rollback floor in the TPM cannot be trusted; provision the host again")
	}
	if err := manifest.CheckFloor(signed.Manifest, floor); err != nil {
		return nil, refuse("rollback", err, "")
	}
	// While a newer version still has to prove itself the kernel must be able to raise the floor; otherwise nobody.
	if defined && signed.Manifest.Version == floor {
		if err := lock(s.Firmware); err != nil {
			return nil, refuse("rollback", err, "the rollback floor in the TPM cannot be protected; provision the host again")
		}
	}
	s.info.Floor = floor
	s.info.ManifestKeyID = signed.Keys[0]
	s.line("manifest ok version=%d key=%x floor=%d", signed.Manifest.Version, signed.Keys[0], floor)
	return signed, nil
}

// images reads, checks and measures what the manifest lists, in the order of measure.Events, and loads the kernel.
func (s *Stage) images(bootConf []byte, signed *manifest.Signed) (*kernelImage, error) {
	m := signed.Manifest
	events := measure.Events(s.conf.Slot, bootConf, s.conf.Cmdline, signed.Payload, signed.Keys[0], m)
	const first = 4 // slot, configuration, command line and manifest come before the images
	programs := m.Programs()
	if len(events) != first+1+len(programs)+1 {
		return nil, refuse("internal", fmt.Errorf("%d measurements for %d programs", len(events), len(programs)), "report this line")
	}
	for _, e := range events[:first] {
		if err := s.measure(e); err != nil {
			return nil, err
		}
	}
	kernel, err := s.image("kernel", m.Kernel, events[first])
	if err != nil {
		return nil, err
	}
	s.mark("kernel")
	for i, p := range programs {
		what := p.Kind + " " + p.Name
		file, err := s.image(what, p.Image, events[first+1+i])
		if err != nil {
			return nil, err
		}
		if !s.info.AddBlob(p.Name, file.Phys, uint64(len(file.Data))) {
			return nil, refuse(what, errors.New("there are too many images"), remedyTooMany)
		}
	}
	file, err := s.image("policy", m.Policy, events[len(events)-1])
	if err != nil {
		return nil, err
	}
	if !s.info.AddBlob(policyBlob, file.Phys, uint64(len(file.Data))) {
		return nil, refuse("policy", errors.New("there are too many images"), remedyTooMany)
	}
	s.mark("services")
	loaded, err := s.loadKernel(kernel.Data)
	if err != nil {
		return nil, refuse("kernel", fmt.Errorf("%s: %w", m.Kernel.File, err), "build the kernel with boot/cmd/mkmetal and sign a manifest for it")
	}
	if err := s.Firmware.Free(kernel); err != nil {
		return nil, refuse("firmware", err, remedyFirmware)
	}
	return loaded, nil
}

// image reads one file of the slot, compares it with the manifest and measures it.
func (s *Stage) image(stage string, want manifest.Image, e measure.Event) (efi.Block, error) {
	file, err := s.Firmware.ReadFile(s.path(want.File), maxImage, window)
	if err != nil {
		return efi.Block{}, refuse(stage, err, "install the image again, or name the other slot in /aios/boot.conf")
	}
	if err := want.Check(file.Data); err != nil {
		return efi.Block{}, refuse(stage, err, "")
	}
	return file, s.measure(e)
}

// measure extends one event.
func (s *Stage) measure(e measure.Event) error {
	if err := s.Firmware.HashLogExtend(uint32(e.PCR), e.Type, e.Data); err != nil {
		return refuse("tpm", err, "the TPM did not take a measurement; reset the machine, then look at its TPM")
	}
	s.line("measured pcr=%d text=%q", e.PCR, e.Text())
	return nil
}

func (s *Stage) path(file string) string { return "/aios/" + s.conf.Slot + "/" + file }

// line writes "aios boot: ...", which `aios up` reads.
func (s *Stage) line(format string, args ...any) {
	s.Machine.Line("aios boot: " + fmt.Sprintf(format, args...))
}

// mark is the end of a part of the boot.
type mark struct {
	name  string
	ticks uint64
}

// mark notes how long the part that ends here took.
func (s *Stage) mark(name string) {
	now := s.Machine.TSC()
	s.times = append(s.times, mark{name, now - s.last})
	s.last = now
}

// timing is the line of stage times, in microseconds.
func (s *Stage) timing() string {
	text := "timing"
	for _, t := range s.times {
		text += " " + t.name + "_us=" + strconv.FormatInt(s.Machine.Duration(t.ticks).Microseconds(), 10)
	}
	return text + " total_us=" + strconv.FormatInt(s.Machine.Duration(s.last-s.info.BootEntryTSC).Microseconds(), 10)
}

package efi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// MaxAddress bounds the memory that the boot stage sees: its tables map the first 4 GiB one to one.
const MaxAddress = 1 << 32

// ErrFirmware is wrapped by errors about answers that no correct firmware gives.
var ErrFirmware = errors.New("firmware does not keep to the UEFI specification")

// Machine reaches the firmware.
type Machine interface {
	// Call runs the firmware function at fn with up to eight arguments. Pointers in args are physical addresses.
	Call(fn uint64, args [8]uint64) Status
	// Bytes is the memory [addr, addr+n), which lies below MaxAddress. It stays valid after ExitBootServices.
	Bytes(addr uint64, n int) []byte
}

// Firmware is the system table of the running firmware (4.3).
type Firmware struct {
	m       Machine
	image   uint64
	table   uint64
	boot    uint64 // EFI_BOOT_SERVICES
	runtime uint64 // EFI_RUNTIME_SERVICES
	scratch scratch

	volume     uint64 // root directory of the partition that the boot stage came from
	tcg        uint64 // EFI_TCG2_PROTOCOL
	capability TPMCapability
	algs       algorithms
	finals     uint64 // Final Events Table
	finalsSeen uint64 // events in it that were in the log too
}

// Offsets in the tables.
const (
	systemConIn           = 0x30
	systemConOut          = 0x40
	systemRuntime         = 0x58
	systemBoot            = 0x60
	systemTables          = 0x68 // count, then pointer
	bootAllocatePages     = 0x28 // 4.4
	bootFreePages         = 0x30
	bootGetMemoryMap      = 0x38
	bootWaitForEvent      = 0x60
	bootHandleProtocol    = 0x98
	bootExitBootServices  = 0xe8
	bootStall             = 0xf8
	bootSetWatchdogTimer  = 0x100
	bootLocateProtocol    = 0x140
	runtimeGetTime        = 0x18 // 4.5
	runtimeGetVariable    = 0x48
	runtimeResetSystem    = 0x68
	textOutputString      = 0x08 // 12.4
	textReadKeyStroke     = 0x08 // 12.3
	textWaitForKey        = 0x10
	signatureSystem       = "IBI SYST"
	signatureBoot         = "BOOTSERV"
	signatureRuntime      = "RUNTSERV"
	maxConfigurationTable = 1024
)

// New checks the tables that firmware passed to the image's entry point. The scratch region is memory of the image that
// the firmware sees at the same address; nothing else may use it.
func New(m Machine, image, systemTable, scratchStart uint64, scratchSize int) (*Firmware, error) {
	f := &Firmware{m: m, image: image, table: systemTable}
	if err := checkTable(m, systemTable, signatureSystem); err != nil {
		return nil, err
	}
	f.boot, f.runtime = f.word(systemTable+systemBoot), f.word(systemTable+systemRuntime)
	if err := checkTable(m, f.boot, signatureBoot); err != nil {
		return nil, err
	}
	if err := checkTable(m, f.runtime, signatureRuntime); err != nil {
		return nil, err
	}
	f.scratch = scratch{start: scratchStart, memory: m.Bytes(scratchStart, scratchSize)}
	return f, nil
}

// checkTable looks at the signature of a table header (4.2).
func checkTable(m Machine, at uint64, signature string) error {
	if at == 0 || at >= MaxAddress-4096 || at%8 != 0 {
		return fmt.Errorf("%w: table %s at %#x, expected an aligned address below 4 GiB", ErrFirmware, signature, at)
	}
	if got := m.Bytes(at, 8); string(got) != signature {
		return fmt.Errorf("%w: table at %#x starts with %q, expected %q", ErrFirmware, at, got, signature)
	}
	return nil
}

// word reads a 64-bit field of a firmware structure. An address out of reach reads as 0, which every caller treats as
// an absent table or function.
func (f *Firmware) word(at uint64) uint64 {
	if at < 4096 || at > MaxAddress-8 {
		return 0
	}
	return binary.LittleEndian.Uint64(f.m.Bytes(at, 8))
}

// call runs the function whose pointer is at table+offset.
func (f *Firmware) call(name string, table, offset uint64, args ...uint64) error {
	if s := f.status(table, offset, args...); s != Success {
		return &Error{Call: name, Status: s}
	}
	return nil
}

func (f *Firmware) status(table, offset uint64, args ...uint64) Status {
	var fn uint64
	if table != 0 {
		fn = f.word(table + offset)
	}
	if fn == 0 {
		return Unsupported
	}
	var a [8]uint64
	copy(a[:], args)
	return f.m.Call(fn, a)
}

// Print writes a line for people to the console that the firmware drives: screen, serial line or both (12.4).
func (f *Firmware) Print(text string) error {
	defer f.scratch.release(f.scratch.mark())
	line, err := f.scratch.text(text + "\r\n")
	if err != nil {
		return err
	}
	out := f.word(f.table + systemConOut)
	return f.call("OutputString", out, textOutputString, out, line)
}

// Stall waits (7.5).
func (f *Firmware) Stall(microseconds uint64) {
	f.status(f.boot, bootStall, microseconds)
}

// DisableWatchdog stops the timer that would reset the machine five minutes after the boot manager started the
// image (3.1.2, 7.5), so that a refusal stays on the screen.
func (f *Firmware) DisableWatchdog() error {
	return f.call("SetWatchdogTimer", f.boot, bootSetWatchdogTimer, 0, 0, 0, 0)
}

// WaitForKey sleeps until somebody presses a key, and takes the key.
func (f *Firmware) WaitForKey() error {
	in := f.word(f.table + systemConIn)
	if in == 0 {
		return &Error{Call: "WaitForKey", Status: Unsupported}
	}
	defer f.scratch.release(f.scratch.mark())
	events, b, err := f.scratch.alloc(24)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(b, f.word(in+textWaitForKey))
	if err := f.call("WaitForEvent", f.boot, bootWaitForEvent, 1, events, events+8); err != nil {
		return err
	}
	if s := f.status(in, textReadKeyStroke, in, events+16); s != Success && s != NotReady {
		return &Error{Call: "ReadKeyStroke", Status: s}
	}
	return nil
}

// Reset restarts the machine (8.5.1, EfiResetCold).
func (f *Firmware) Reset() {
	f.status(f.runtime, runtimeResetSystem, 0, 0, 0, 0)
}

// protocol finds the only instance of a protocol, or the first of several (7.3.16).
func (f *Firmware) protocol(name string, g GUID) (uint64, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(24)
	if err != nil {
		return 0, err
	}
	copy(b[8:], g[:])
	if s := f.status(f.boot, bootLocateProtocol, p+8, 0, p); s != Success {
		return 0, &Error{Call: "LocateProtocol", Object: name, Status: s}
	}
	return f.pointer(name, binary.LittleEndian.Uint64(b))
}

// handleProtocol finds a protocol on a handle (7.3.7).
func (f *Firmware) handleProtocol(name string, handle uint64, g GUID) (uint64, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(24)
	if err != nil {
		return 0, err
	}
	copy(b[8:], g[:])
	if s := f.status(f.boot, bootHandleProtocol, handle, p+8, p); s != Success {
		return 0, &Error{Call: "HandleProtocol", Object: name, Status: s}
	}
	return f.pointer(name, binary.LittleEndian.Uint64(b))
}

// pointer checks that a structure which firmware gave is within reach.
func (f *Firmware) pointer(name string, p uint64) (uint64, error) {
	if p < 4096 || p > MaxAddress-4096 {
		return 0, fmt.Errorf("%w: %s at %#x, expected below 4 GiB", ErrFirmware, name, p)
	}
	return p, nil
}

// configuration finds a table that firmware published in the system table (4.6), 0 if there is none.
func (f *Firmware) configuration(g GUID) uint64 {
	n, at := f.word(f.table+systemTables), f.word(f.table+systemTables+8)
	for i := range min(n, maxConfigurationTable) {
		entry := at + i*24
		if entry < 4096 || entry > MaxAddress-24 {
			return 0
		}
		b := f.m.Bytes(entry, 24)
		if GUID(b[:16]) == g {
			return binary.LittleEndian.Uint64(b[16:])
		}
	}
	return 0
}

// RSDP is the address of the ACPI root pointer, the one of ACPI 2.0 and later where there are both (4.6).
func (f *Firmware) RSDP() (uint64, error) {
	for _, g := range []GUID{guidACPI20, guidACPI10} {
		if p := f.configuration(g); p != 0 {
			return p, nil
		}
	}
	return 0, &Error{Call: "configuration table", Object: "ACPI root pointer", Status: NotFound}
}

// scratch hands out identity-mapped memory for arguments, in stack order.
type scratch struct {
	start  uint64
	memory []byte
	used   int
}

func (s *scratch) mark() int     { return s.used }
func (s *scratch) release(m int) { s.used = m }

// alloc gives n zeroed bytes aligned to 8.
func (s *scratch) alloc(n int) (uint64, []byte, error) {
	size := (n + 7) &^ 7
	if n < 0 || size > len(s.memory)-s.used {
		return 0, nil, fmt.Errorf("boot stage: scratch memory: %d bytes wanted, %d of %d free", n, len(s.memory)-s.used, len(s.memory))
	}
	at := s.used
	s.used += size
	b := s.memory[at : at+n : at+n]
	clear(b)
	return s.start + uint64(at), b, nil
}

// text gives s as CHAR16 with a terminating zero.
func (s *scratch) text(t string) (uint64, error) {
	u := append(utf16.Encode([]rune(t)), 0)
	p, b, err := s.alloc(2 * len(u))
	for i := range b[:len(b)/2] {
		binary.LittleEndian.PutUint16(b[2*i:], u[i])
	}
	return p, err
}

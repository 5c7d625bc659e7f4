package efitest

import (
	"bytes"
	"encoding/binary"
	"strings"

	"aios/boot/efi"
)

// Firmware is a fake whose fields a test sets before and reads after.
type Firmware struct {
	*Machine
	Image, Table uint64

	Files     map[string][]byte // by path, "/aios/boot.conf"
	Sizes     map[string]uint64 // what the directory entry says, where it is not the truth
	Variables map[string][]byte
	Clock     [16]byte // EFI_TIME
	RNG       bool     // EFI_RNG_PROTOCOL is there
	ACPI      map[efi.GUID]uint64
	MapSizes  []uint64 // sizes of the memory map in descriptors, one a call; the last one stays
	StaleKeys int      // ExitBootServices refuses so often
	Keys      int      // key presses that wait
	Watchdog  bool
	Screen    strings.Builder
	TPM       *TPM

	files    map[uint64]*openFile
	protocol map[efi.GUID]uint64
	device   uint64
	fs       uint64
	root     uint64
	loaded   uint64
	mapKey   uint64
	mapCalls int
	configs  uint64
}

type openFile struct {
	path string
	at   int
}

// GUIDs of the protocols and tables, written as the specifications do.
var (
	loadedImage = mustGUID("5b1b31a1-9562-11d2-8e3f-00a0c969723b")
	fileSystem  = mustGUID("964e5b22-6459-11d2-8e39-00a0c969723b")
	fileInfo    = mustGUID("09576e92-6d3f-11d2-8e39-00a0c969723b")
	rng         = mustGUID("3152bca5-eade-433d-862e-c01cdc291f44")
	global      = mustGUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
	tcg2        = mustGUID("607f766c-7455-42be-930b-e4d76db2720f")
	finals      = mustGUID("1e2ed096-30e2-4254-bd89-863bbef82325")
	ACPI20      = mustGUID("8868e871-e4f1-11d3-bc22-0080c73c8881")
	ACPI10      = mustGUID("eb9d2d30-2d88-11d3-9a16-0090273fc14d")
)

// New gives a firmware with a TPM, Secure Boot on, a clock and no files.
func New() *Firmware {
	f := &Firmware{
		Machine:   newMachine(),
		Image:     0xabc0,
		Files:     map[string][]byte{},
		Sizes:     map[string]uint64{},
		Variables: map[string][]byte{"SecureBoot": {1}, "SetupMode": {0}},
		ACPI:      map[efi.GUID]uint64{ACPI20: 0x5f77_e014, ACPI10: 0x5f77_e000},
		RNG:       true,
		MapSizes:  []uint64{100},
		Watchdog:  true,
		files:     map[uint64]*openFile{},
		protocol:  map[efi.GUID]uint64{},
		device:    0xdef0,
	}
	copy(f.Clock[:], []byte{0xea, 0x07, 11, 23, 8, 30, 15, 0}) // 2026-11-23 08:30:15
	binary.LittleEndian.PutUint16(f.Clock[12:], 0x7ff)
	f.TPM = newTPM(f)
	f.build()
	return f
}

// Open gives the firmware as the code under test sees it.
func (f *Firmware) Open() (*efi.Firmware, error) {
	return efi.New(f, f.Image, f.Table, ScratchStart, ScratchSize)
}

// build lays out the tables.
func (f *Firmware) build() {
	f.Table = f.table(0x78)
	boot, runtime := f.table(0x178), f.table(0x88)
	copy(f.Bytes(f.Table, 8), "IBI SYST")
	copy(f.Bytes(boot, 8), "BOOTSERV")
	copy(f.Bytes(runtime, 8), "RUNTSERV")
	out, in := f.table(0x50), f.table(0x18)
	f.configs = f.table(24 * 8)
	f.put64(f.Table+0x30, in)
	f.put64(f.Table+0x40, out)
	f.put64(f.Table+0x58, runtime)
	f.put64(f.Table+0x60, boot)
	f.put64(f.Table+0x70, f.configs)
	f.put64(out+0x08, f.function("OutputString", func(a [8]uint64) efi.Status {
		f.Screen.WriteString(f.text(a[1]))
		return efi.Success
	}))
	f.put64(in+0x08, f.function("ReadKeyStroke", f.readKey))
	f.put64(in+0x10, 0x7777)

	for offset, s := range map[uint64]struct {
		name string
		body Service
	}{
		0x28:  {"AllocatePages", f.allocatePages},
		0x30:  {"FreePages", f.freePages},
		0x38:  {"GetMemoryMap", f.getMemoryMap},
		0x60:  {"WaitForEvent", f.waitForEvent},
		0x98:  {"HandleProtocol", f.handleProtocol},
		0xe8:  {"ExitBootServices", f.exitBootServices},
		0xf8:  {"Stall", func([8]uint64) efi.Status { return efi.Success }},
		0x100: {"SetWatchdogTimer", func(a [8]uint64) efi.Status { f.Watchdog = a[0] != 0; return efi.Success }},
		0x140: {"LocateProtocol", f.locateProtocol},
	} {
		f.put64(boot+offset, f.function(s.name, s.body))
	}
	f.put64(runtime+0x18, f.function("GetTime", func(a [8]uint64) efi.Status {
		copy(f.Bytes(a[0], 16), f.Clock[:])
		return efi.Success
	}))
	f.put64(runtime+0x48, f.function("GetVariable", f.getVariable))
	f.put64(runtime+0x68, f.function("ResetSystem", func([8]uint64) efi.Status { return efi.Success }))

	f.loaded, f.fs, f.root = f.table(0x60), f.table(0x10), f.fileTable()
	f.put64(f.loaded+0x18, f.device)
	f.put64(f.fs+0x08, f.function("OpenVolume", func(a [8]uint64) efi.Status {
		if a[0] != f.fs {
			return efi.InvalidParameter
		}
		f.put64(a[1], f.root)
		return efi.Success
	}))
	random := f.table(0x10)
	f.put64(random+0x08, f.function("GetRNG", func(a [8]uint64) efi.Status {
		for i := range f.Bytes(a[3], int(a[2])) {
			f.Bytes(a[3], int(a[2]))[i] = byte(i) ^ 0x5a
		}
		return efi.Success
	}))
	f.protocol[rng] = random
	f.protocol[tcg2] = f.TPM.build()
	f.Configure()
}

// Configure writes the configuration tables (again).
func (f *Firmware) Configure() {
	n := uint64(0)
	add := func(g efi.GUID, p uint64) {
		copy(f.Bytes(f.configs+24*n, 16), g[:])
		f.put64(f.configs+24*n+16, p)
		n++
	}
	add(efi.GUID{1, 2, 3}, 0x1234)
	for _, g := range []efi.GUID{ACPI10, ACPI20} {
		if p, ok := f.ACPI[g]; ok {
			add(g, p)
		}
	}
	if !f.TPM.NoFinals {
		add(finals, finalsStart)
	}
	f.put64(f.Table+0x68, n)
}

func (f *Firmware) handleProtocol(a [8]uint64) efi.Status {
	g := efi.GUID(f.Bytes(a[1], 16))
	switch {
	case g == loadedImage && a[0] == f.Image:
		f.put64(a[2], f.loaded)
	case g == fileSystem && a[0] == f.device:
		f.put64(a[2], f.fs)
	default:
		return efi.Unsupported
	}
	return efi.Success
}

func (f *Firmware) locateProtocol(a [8]uint64) efi.Status {
	g := efi.GUID(f.Bytes(a[0], 16))
	p, ok := f.protocol[g]
	if !ok || a[1] != 0 || g == rng && !f.RNG || g == tcg2 && f.TPM.Absent {
		return efi.NotFound
	}
	f.put64(a[2], p)
	return efi.Success
}

func (f *Firmware) getVariable(a [8]uint64) efi.Status {
	v, ok := f.Variables[f.text(a[0])]
	if !ok || efi.GUID(f.Bytes(a[1], 16)) != global {
		return efi.NotFound
	}
	room := f.get64(a[3])
	f.put64(a[3], uint64(len(v)))
	if room < uint64(len(v)) {
		return efi.BufferTooSmall
	}
	copy(f.Bytes(a[4], len(v)), v)
	return efi.Success
}

func (f *Firmware) readKey(a [8]uint64) efi.Status {
	if f.Keys == 0 {
		return efi.NotReady
	}
	f.Keys--
	f.put64(a[1]&^7, 0)
	return efi.Success
}

func (f *Firmware) waitForEvent(a [8]uint64) efi.Status {
	if a[0] != 1 || f.get64(a[1]) != 0x7777 {
		return efi.InvalidParameter
	}
	if f.Keys == 0 {
		return efi.DeviceError // a real one sleeps
	}
	f.put64(a[2], 0)
	return efi.Success
}

func (f *Firmware) getMemoryMap(a [8]uint64) efi.Status {
	const step = 48
	n := f.MapSizes[min(f.mapCalls, len(f.MapSizes)-1)]
	f.mapCalls++
	room := f.get64(a[0])
	f.put64(a[0], n*step)
	f.put64(a[3], step)
	if room < n*step {
		return efi.BufferTooSmall
	}
	for i := range n {
		d := f.Bytes(a[1]+i*step, step)
		clear(d)
		binary.LittleEndian.PutUint32(d, 7)
		binary.LittleEndian.PutUint64(d[8:], i<<20)
		binary.LittleEndian.PutUint64(d[24:], 256)
	}
	f.mapKey++
	f.put64(a[2], f.mapKey)
	binary.LittleEndian.PutUint32(f.Bytes(a[4], 4), 1)
	return efi.Success
}

func (f *Firmware) exitBootServices(a [8]uint64) efi.Status {
	f.TPM.measure(5, 0x80000007, []byte("Exit Boot Services Invocation"))
	if a[0] != f.Image || a[1] != f.mapKey || f.StaleKeys > 0 {
		f.StaleKeys--
		f.TPM.measure(5, 0x80000007, []byte("Exit Boot Services Returned with Failure"))
		return efi.InvalidParameter
	}
	f.TPM.measure(5, 0x80000007, []byte("Exit Boot Services Returned with Success"))
	f.exited = true
	return efi.Success
}

// Exited tells whether ExitBootServices succeeded.
func (f *Firmware) Exited() bool { return f.exited }

// fileTable makes an EFI_FILE_PROTOCOL.
func (f *Firmware) fileTable() uint64 {
	t := f.table(0x58)
	f.put64(t+0x08, f.function("Open", f.open))
	f.put64(t+0x10, f.function("Close", func(a [8]uint64) efi.Status { delete(f.files, a[0]); return efi.Success }))
	f.put64(t+0x20, f.function("Read", f.read))
	f.put64(t+0x40, f.function("GetInfo", f.getInfo))
	return t
}

// OpenFiles is how many files were not closed.
func (f *Firmware) OpenFiles() int { return len(f.files) }

func (f *Firmware) open(a [8]uint64) efi.Status {
	path := strings.ReplaceAll(f.text(a[2]), `\`, "/")
	if a[0] != f.root || a[3] != 1 || a[4] != 0 {
		return efi.InvalidParameter
	}
	if _, ok := f.Files[path]; !ok {
		return efi.NotFound
	}
	t := f.fileTable()
	f.files[t] = &openFile{path: path}
	f.put64(a[1], t)
	return efi.Success
}

// read gives at most 5,000 bytes at once, so that callers have to loop.
func (f *Firmware) read(a [8]uint64) efi.Status {
	o := f.files[a[0]]
	if o == nil {
		return efi.InvalidParameter
	}
	rest := f.Files[o.path][o.at:]
	n := min(int(f.get64(a[1])), len(rest), 5000)
	copy(f.Bytes(a[2], n), rest[:n])
	o.at += n
	f.put64(a[1], uint64(n))
	return efi.Success
}

func (f *Firmware) getInfo(a [8]uint64) efi.Status {
	o := f.files[a[0]]
	if o == nil || efi.GUID(f.Bytes(a[1], 16)) != fileInfo {
		return efi.InvalidParameter
	}
	const size = 80 + 2*64
	if f.get64(a[2]) < size {
		return efi.BufferTooSmall
	}
	f.put64(a[2], size)
	length, ok := f.Sizes[o.path]
	if !ok {
		length = uint64(len(f.Files[o.path]))
	}
	f.put64(a[3], size)
	f.put64(a[3]+8, length)
	f.put64(a[3]+72, 0x20)
	if bytes.Equal(f.Files[o.path], []byte("directory")) {
		f.put64(a[3]+72, 0x10)
	}
	return efi.Success
}

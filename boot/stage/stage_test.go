package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"aios/boot/efi"
	"aios/boot/efi/efitest"
	"aios/boot/handoff"
	"aios/boot/manifest"
	"aios/boot/measure"
	"aios/captoken/mldsa"
)

// machine is the processor of the tests. Enter looks at what the kernel would see.
type machine struct {
	t       *testing.T
	lines   []string
	ticks   uint64
	entered bool
	tables  uint64
	entry   uint64
	info    uint64
}

func (m *machine) Line(text string)                { m.lines = append(m.lines, text) }
func (m *machine) EntryTSC() uint64                { return 1000 }
func (m *machine) TSC() uint64                     { m.ticks += 1000; return 1000 + m.ticks }
func (m *machine) Duration(d uint64) time.Duration { return time.Duration(d) }
func (m *machine) Random(b []byte)                 { clear(b) }
func (m *machine) Enter(tables, entry, info uint64) {
	m.entered, m.tables, m.entry, m.info = true, tables, entry, info
}
func (m *machine) has(prefix string) bool {
	return slices.ContainsFunc(m.lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
}

// host is a machine with an installed image.
type host struct {
	*efitest.Firmware
	machine *machine
	stage   *Stage
	key     *mldsa.PrivateKey
	man     *manifest.Manifest
	floor   uint64
	locked  int
}

func testKey(t *testing.T, n byte) *mldsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte{n})
	k, err := mldsa.NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{Firmware: efitest.New(), machine: &machine{t: t}, key: testKey(t, 1), floor: 7}
	fw, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	h.stage = &Stage{
		Firmware: fw, Machine: h.machine, Trusted: []*mldsa.PublicKey{testKey(t, 9).Public(), h.key.Public()}, Version: "test",
		ReadFloor: func(transport.TPM) (uint64, bool, error) { return h.floor, true, nil },
		LockFloor: func(transport.TPM) error { h.locked++; return nil },
	}
	h.install(t, "a")
	return h
}

// install puts an image into a slot and makes boot.conf name it.
func (h *host) install(t *testing.T, slot string) {
	dir := "/aios/" + slot + "/"
	file := func(name string, data []byte) manifest.Image {
		h.Files[dir+name] = data
		return manifest.Image{File: name, SHA256: sha256.Sum256(data), Size: int64(len(data))}
	}
	h.man = &manifest.Manifest{
		Version: 7,
		Kernel:  file("kernel.elf", testELF(nil)),
		Policy:  file("policy.tar.gz", []byte("policy")),
		Services: []manifest.Service{
			{Name: "attestd", Image: file("attestd.elf", bytes.Repeat([]byte("service"), 2000)), Restart: "always", Memory: 1 << 20, Caps: []string{"attest"}},
			{Name: "netd", Image: file("netd.elf", []byte("net")), Restart: "never", Memory: 1 << 20},
		},
		Runtimes: []manifest.Runtime{{Name: "wasmhost", Image: file("wasmhost.elf", []byte("the runtime"))}},
		Agents: []manifest.Agent{
			{Name: "hello", Image: file("hello.wasm", []byte("an agent")), Runtime: "wasmhost", Memory: 1 << 20, Caps: []string{"log"}},
		},
	}
	h.sign(t, slot, h.key)
	h.Files["/aios/boot.conf"] = manifest.Conf{Slot: slot, Cmdline: "quiet"}.Encode()
}

func (h *host) sign(t *testing.T, slot string, key *mldsa.PrivateKey) {
	t.Helper()
	envelope, err := manifest.Sign(h.man.Encode(), key)
	if err != nil {
		t.Fatal(err)
	}
	h.Files["/aios/"+slot+"/manifest"] = envelope
}

// boot runs the stage as bootx64 does.
func (h *host) boot() error {
	err := h.stage.Run()
	if err != nil {
		h.stage.Refuse(err)
	}
	return err
}

// expected replays what a good boot measures.
func expected(h *host, slot string) map[int][32]byte {
	pcrs := map[int][32]byte{}
	for _, e := range measure.Events(slot, h.Files["/aios/boot.conf"], "quiet", h.man.Encode(), h.key.Public().ID(), h.man) {
		old, d := pcrs[e.PCR], sha256.Sum256(e.Data)
		pcrs[e.PCR] = sha256.Sum256(append(old[:], d[:]...))
	}
	return pcrs
}

func TestBoot(t *testing.T) {
	for _, slot := range []string{"a", "b"} {
		t.Run(slot, func(t *testing.T) {
			h := newHost(t)
			h.install(t, slot)
			if err := h.boot(); err != nil || !h.machine.entered {
				t.Fatalf("did not boot: %v\n%s", err, strings.Join(h.machine.lines, "\n"))
			}
			for pcr, want := range expected(h, slot) {
				if got := h.TPM.PCR[pcr]; got != want {
					t.Errorf("PCR %d is %x, want %x", pcr, got, want)
				}
			}
			checkHandoff(t, h, slot)
			for _, prefix := range []string{
				"aios boot: start version=test slot=" + slot + " secure_boot=on tpm=2.0",
				fmt.Sprintf("aios boot: manifest ok version=7 key=%x floor=7", h.key.Public().ID()),
				`aios boot: measured pcr=9 text="aios.kernel kernel.elf sha256:`,
				"aios boot: timing entry_us=1 config_us=1 manifest_us=1 kernel_us=1 services_us=1 load_us=1 handoff_us=2 total_us=8",
				"aios boot: exit boot services",
			} {
				if !h.machine.has(prefix) {
					t.Errorf("no line %q in\n%s", prefix, strings.Join(h.machine.lines, "\n"))
				}
			}
			if h.OpenFiles() != 0 {
				t.Errorf("%d files left open", h.OpenFiles())
			}
		})
	}
}

// checkHandoff reads the structure as the kernel does.
func checkHandoff(t *testing.T, h *host, slot string) {
	t.Helper()
	info, err := handoff.Decode(h.Bytes(h.machine.info, handoff.EncodedSize))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Bytes(info.EventLogPhys, int(info.EventLogSize)); !bytes.Equal(got, h.TPM.Log()) {
		t.Errorf("event log of %d bytes, firmware measured %d", len(got), len(h.TPM.Log()))
	}
	if got := h.Bytes(info.ManifestPhys, int(info.ManifestSize)); !bytes.Equal(got, h.man.Encode()) {
		t.Errorf("manifest payload is %q", got)
	}
	if got := h.Bytes(info.CmdlinePhys, int(info.CmdlineSize)); string(got) != "quiet" {
		t.Errorf("command line is %q", got)
	}
	for name, file := range map[string]string{"attestd": "attestd.elf", "netd": "netd.elf", "wasmhost": "wasmhost.elf",
		"hello": "hello.wasm", "policy": "policy.tar.gz"} {
		b, ok := info.Blob(name)
		if !ok || !bytes.Equal(h.Bytes(b.Phys, int(b.Size)), h.Files["/aios/"+slot+"/"+file]) {
			t.Errorf("image %s: %+v", name, b)
		}
	}
	if info.Slot != uint64(slot[0]) || info.Floor != h.floor || info.ManifestKeyID != h.key.Public().ID() || info.MemDescSize != 48 ||
		info.MemMapSize != 4800 || info.RSDP != 0x5f77_e014 || info.Seed == [64]byte{} || info.HandoffTSC <= info.BootEntryTSC {
		t.Errorf("info is %+v", info)
	}
	if want := time.Date(2026, 11, 23, 8, 30, 15, 0, time.UTC).UnixNano(); info.UnixNanos != uint64(want) {
		t.Errorf("clock is %d, want %d", info.UnixNanos, want)
	}
	if info.TablesPhys != h.machine.tables || h.machine.entry != testEntry {
		t.Errorf("entered at %#x on tables %#x", h.machine.entry, h.machine.tables)
	}
	// The kernel as its page tables show it.
	if got := h.walk(t, testEntry); !bytes.Equal(h.Bytes(got, 4), []byte("code")) {
		t.Errorf("entry point maps to %#x, which holds %q", got, h.Bytes(got, 4))
	}
	image := h.Bytes(info.KernelPhys, int(info.KernelSize))
	if !bytes.Equal(image[0x2000:0x2004], []byte("data")) {
		t.Errorf("data segment starts with %q", image[0x2000:0x2004])
	}
	for _, gap := range [][]byte{image[0x1100:0x2000], image[0x2004:]} {
		if len(bytes.Trim(gap, "\x00")) != 0 {
			t.Error("memory between or behind the segments is not zero")
		}
	}
	if va := uint64(handoff.WindowStart + handoff.LargePage); h.walk(t, va) != info.KernelPhys+handoff.LargePage {
		t.Errorf("the image's second large page maps to %#x, want %#x", h.walk(t, va), info.KernelPhys+handoff.LargePage)
	}
	for _, va := range []uint64{0x1000, 0x3fff_f000, handoff.WindowStart + info.KernelSize, 0xffff_f000} {
		if got := h.walk(t, va); got != va {
			t.Errorf("%#x maps to %#x, want the same", va, got)
		}
	}
}

// walk translates an address by the tables that boot made.
func (h *host) walk(t *testing.T, va uint64) uint64 {
	t.Helper()
	table := h.machine.tables
	for shift := 39; shift >= 21; shift -= 9 {
		e := binary.LittleEndian.Uint64(h.Bytes(table+(va>>shift&511)*8, 8))
		if e&3 != 3 || (e&large != 0) != (shift == 21) {
			t.Fatalf("%#x: entry %#x at level %d", va, e, shift)
		}
		table = e &^ 0xfff
	}
	return table + va&(1<<21-1)
}

func TestRefusals(t *testing.T) {
	flip := func(file string, at int) func(*testing.T, *host) {
		return func(t *testing.T, h *host) {
			b := bytes.Clone(h.Files[file])
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			h.Files[file] = b
		}
	}
	fail := func(service string, statuses ...efi.Status) func(*testing.T, *host) {
		return func(_ *testing.T, h *host) { h.Fail[service] = statuses }
	}
	for _, c := range []struct {
		name   string
		spoil  func(*testing.T, *host)
		stage  string
		reason string
	}{
		{"no TPM", func(_ *testing.T, h *host) { h.TPM.Absent = true }, "tpm", "EFI_NOT_FOUND"},
		{"no SHA-256 bank", func(_ *testing.T, h *host) { h.TPM.Banks = 1 }, "tpm", "SHA-256"},
		{"no boot.conf", func(_ *testing.T, h *host) { delete(h.Files, "/aios/boot.conf") }, "config", "EFI_NOT_FOUND"},
		{"boot.conf names slot c", func(_ *testing.T, h *host) { h.Files["/aios/boot.conf"] = []byte("slot c\ncmdline \n") }, "config", "slot c"},
		{"boot.conf with a third line", func(_ *testing.T, h *host) { h.Files["/aios/boot.conf"] = []byte("slot a\ncmdline x\nroot\n") }, "config", "third line"},
		{"slot is empty", func(_ *testing.T, h *host) { h.Files["/aios/boot.conf"] = []byte("slot b\ncmdline \n") }, "manifest", "/aios/b/manifest"},
		{"manifest missing", func(_ *testing.T, h *host) { delete(h.Files, "/aios/a/manifest") }, "manifest", "EFI_NOT_FOUND"},
		{"manifest altered", flip("/aios/a/manifest", 30), "manifest", "does not fit the text"},
		{"signature altered", flip("/aios/a/manifest", -100), "manifest", ""},
		{"manifest signed by a stranger", func(t *testing.T, h *host) { h.sign(t, "a", testKey(t, 2)) }, "manifest", "unknown keys"},
		{"manifest unsigned", func(_ *testing.T, h *host) { h.Files["/aios/a/manifest"] = h.man.Encode() }, "manifest", "no signature"},
		{"manifest older than the floor", func(_ *testing.T, h *host) { h.floor = 8 }, "rollback", "expected at least 8 found 7"},
		{"floor unreadable", func(_ *testing.T, h *host) {
			h.stage.ReadFloor = func(transport.TPM) (uint64, bool, error) { return 0, false, errors.New("foreign index") }
		}, "rollback", "foreign index"},
		{"floor cannot be locked", func(_ *testing.T, h *host) {
			h.stage.LockFloor = func(transport.TPM) error { return errors.New("no lock") }
		}, "rollback", "no lock"},
		{"kernel missing", func(_ *testing.T, h *host) { delete(h.Files, "/aios/a/kernel.elf") }, "kernel", "EFI_NOT_FOUND"},
		{"kernel altered", flip("/aios/a/kernel.elf", -1), "kernel", "kernel.elf: sha256 expected"},
		{"kernel cut", func(_ *testing.T, h *host) {
			h.Files["/aios/a/kernel.elf"] = h.Files["/aios/a/kernel.elf"][:100]
		}, "kernel", "kernel.elf: size expected"},
		{"service altered", flip("/aios/a/attestd.elf", 9000), "service attestd", "attestd.elf: sha256 expected"},
		{"second service missing", func(_ *testing.T, h *host) { delete(h.Files, "/aios/a/netd.elf") }, "service netd", "EFI_NOT_FOUND"},
		{"runtime altered", flip("/aios/a/wasmhost.elf", 3), "runtime wasmhost", "wasmhost.elf: sha256 expected"},
		{"agent altered", flip("/aios/a/hello.wasm", 3), "agent hello", "hello.wasm: sha256 expected"},
		{"agent missing", func(_ *testing.T, h *host) { delete(h.Files, "/aios/a/hello.wasm") }, "agent hello", "EFI_NOT_FOUND"},
		{"policy altered", flip("/aios/a/policy.tar.gz", 0), "policy", "policy.tar.gz: sha256 expected"},
		{"kernel is no ELF", func(t *testing.T, h *host) {
			b := []byte("not an ELF")
			h.Files["/aios/a/kernel.elf"] = b
			h.man.Kernel = manifest.Image{File: "kernel.elf", SHA256: sha256.Sum256(b), Size: int64(len(b))}
			h.sign(t, "a", h.key)
		}, "kernel", "no ELF header"},
		{"first measurement fails", fail("HashLogExtendEvent", efi.DeviceError), "tpm", "EFI_DEVICE_ERROR"},
		{"fifth measurement fails", fail("HashLogExtendEvent", 0, 0, 0, 0, efi.DeviceError), "tpm", "EFI_DEVICE_ERROR"},
		{"no memory", fail("AllocatePages", 0, 0, 0, efi.OutOfResources), "service attestd", "EFI_OUT_OF_RESOURCES"},
		{"no ACPI", func(_ *testing.T, h *host) { clear(h.ACPI); h.Configure() }, "handoff", "ACPI"},
		{"no clock", fail("GetTime", efi.DeviceError), "handoff", "GetTime"},
		{"no randomness", func(_ *testing.T, h *host) { h.RNG = false }, "handoff", "no source of randomness"},
		{"event log cut off", func(_ *testing.T, h *host) { h.TPM.Cut = true }, "handoff", "cut it off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			c.spoil(t, h)
			err := h.boot()
			var r *Refusal
			if !errors.As(err, &r) || h.machine.entered {
				t.Fatalf("got %v, entered %v", err, h.machine.entered)
			}
			if r.Stage != c.stage || !strings.Contains(r.Reason, c.reason) || r.Remedy == "" {
				t.Errorf("refusal %+v, want stage %q, reason with %q and a remedy", r, c.stage, c.reason)
			}
			if !h.machine.has(fmt.Sprintf("aios boot: REFUSED stage=%q reason=", c.stage)) {
				t.Errorf("lines\n%s", strings.Join(h.machine.lines, "\n"))
			}
			if h.Exited() || h.Watchdog || !strings.Contains(h.Screen.String(), r.Stage) {
				t.Errorf("exited %v, watchdog %v, screen %q", h.Exited(), h.Watchdog, h.Screen.String())
			}
			if c.stage != "tpm" {
				checkSpoiled(t, h)
			}
		})
	}
}

// checkSpoiled makes sure that no later program can reach the values of a good boot: each PCR of the boot stage ends
// with the refusal.
func checkSpoiled(t *testing.T, h *host) {
	t.Helper()
	log := h.TPM.Texts
	if len(log) < 3 {
		t.Fatalf("measured only %q", log)
	}
	for _, e := range log[len(log)-3:] {
		if text, ok := measure.ParseTagged([]byte(e)); !ok || !strings.HasPrefix(text, "aios.refused ") {
			t.Errorf("last events are %q", log[len(log)-3:])
		}
	}
	for pcr, good := range expected(h, "a") {
		if h.TPM.PCR[pcr] == good || h.TPM.PCR[pcr] == [32]byte{} {
			t.Errorf("PCR %d holds %x after a refusal", pcr, h.TPM.PCR[pcr])
		}
	}
}

// A TPM that fails once must not save the other PCRs from being spoiled, and a failure must be told.
func TestSpoilGoesOn(t *testing.T) {
	h := newHost(t)
	delete(h.Files, "/aios/boot.conf")
	h.Fail["HashLogExtendEvent"] = []efi.Status{efi.DeviceError}
	h.boot()
	if len(h.TPM.Texts) != 2 {
		t.Errorf("%d PCRs were spoiled, want 2", len(h.TPM.Texts))
	}
	if !h.machine.has("aios boot: WARNING stage=tpm") {
		t.Error("nobody was told")
	}
}

// Behind ExitBootServices there is no firmware: efitest panics when it is called.
func TestRefusalAfterExit(t *testing.T) {
	h := newHost(t)
	h.StaleKeys = 100
	if err := h.boot(); err == nil || h.machine.entered {
		t.Fatalf("got %v, entered %v", err, h.machine.entered)
	}
	if !h.stage.Exited() || !h.machine.has(`aios boot: REFUSED stage="exit"`) {
		t.Errorf("lines\n%s", strings.Join(h.machine.lines, "\n"))
	}
	if h.Screen.Len() != 0 {
		t.Errorf("the screen was used: %q", h.Screen.String())
	}
}

// Each attempt to leave adds events to the Final Events Table.
func TestManyFinalEvents(t *testing.T) {
	h := newHost(t)
	h.StaleKeys = 7
	if err := h.boot(); err != nil {
		t.Fatal(err)
	}
	checkHandoff(t, h, "a")
}

// talkative measures more while it exits than there is room for.
type talkative struct{ Firmware }

func (f talkative) FinalEvents(log []byte) ([]byte, error) {
	return append(log, make([]byte, finalEventRoom+efi.PageSize)...), nil
}

func TestNoRoomForFinalEvents(t *testing.T) {
	h := newHost(t)
	h.stage.Firmware = talkative{h.stage.Firmware}
	if err := h.boot(); err == nil || h.machine.entered || !h.machine.has(`aios boot: REFUSED stage="eventlog"`) {
		t.Errorf("got %v, entered %v", err, h.machine.entered)
	}
}

// Secure Boot off is told and goes on: PCR 7 tells the verifier.
func TestSecureBootOff(t *testing.T) {
	h := newHost(t)
	h.Variables["SecureBoot"] = []byte{0}
	if err := h.boot(); err != nil || !h.machine.entered {
		t.Fatal(err)
	}
	if !h.machine.has("aios boot: WARNING stage=secureboot") || !h.machine.has("aios boot: start version=test slot=a secure_boot=off") {
		t.Errorf("lines\n%s", strings.Join(h.machine.lines, "\n"))
	}
}

// The floor stays open only while a newer version still has to prove itself.
func TestFloorIsLocked(t *testing.T) {
	for _, c := range []struct {
		floor uint64
		want  int
	}{{7, 1}, {6, 0}} {
		h := newHost(t)
		h.floor = c.floor
		if err := h.boot(); err != nil || h.locked != c.want {
			t.Errorf("floor %d: locked %d times, want %d: %v", c.floor, h.locked, c.want, err)
		}
	}
}

// With the real rollback package: a TPM without the index has the floor 0.
func TestRealRollback(t *testing.T) {
	h := newHost(t)
	h.stage.ReadFloor = nil
	h.TPM.Respond = func(command []byte) []byte {
		const nvReadPublic, getRandom = 0x169, 0x17b
		switch binary.BigEndian.Uint32(command[6:]) {
		case nvReadPublic:
			return []byte{0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x8b} // TPM_RC_HANDLE, handle 1
		case getRandom:
			return append([]byte{0x80, 1, 0, 0, 0, 44, 0, 0, 0, 0, 0, 32}, make([]byte, 32)...)
		}
		return efitest.Unsupported()
	}
	h.RNG = false // the TPM alone is a source
	if err := h.boot(); err != nil || !h.machine.has("aios boot: manifest ok version=7") {
		t.Errorf("%v\n%s", err, strings.Join(h.machine.lines, "\n"))
	}
}

// A bug must end as a refusal, not as a Go trace that halts with the PCRs open.
func TestPanicRefuses(t *testing.T) {
	h := newHost(t)
	h.stage.ReadFloor = func(transport.TPM) (uint64, bool, error) { panic("bug") }
	err := h.boot()
	var r *Refusal
	if !errors.As(err, &r) || r.Stage != "internal" || !strings.Contains(r.Reason, "bug") {
		t.Fatalf("got %v", err)
	}
	checkSpoiled(t, h)
}

// A refusal before the first look at the TPM, as for keys that cannot be read, is measured as well.
func TestRefusalBeforeRun(t *testing.T) {
	h := newHost(t)
	h.stage.Refuse(errors.New("keys built into the boot stage"))
	checkSpoiled(t, h)
}

// What an attacker writes to the disk must not forge console lines.
func TestRefusalIsOneLine(t *testing.T) {
	h := newHost(t)
	h.stage.Refuse(errors.New("x\naios kernel: start\x1b[2J\u2028"))
	for _, l := range h.machine.lines {
		if strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("line %q", l)
		}
	}
}

package efi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aios/boot/efi"
	"aios/boot/efi/efitest"
)

// avoid is a range in the middle of the fake's RAM.
var avoid = [2]uint64{0x4000_0000, 0x4800_0000}

func open(t testing.TB) (*efitest.Firmware, *efi.Firmware) {
	t.Helper()
	fake := efitest.New()
	fw, err := fake.Open()
	if err != nil {
		t.Fatal(err)
	}
	return fake, fw
}

// wantError fails unless err tells text.
func wantError(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want one with %q", err, text)
	}
}

func TestNewRefusesWhatIsNoSystemTable(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*efitest.Firmware)
	}{
		{"signature", func(f *efitest.Firmware) { f.Bytes(f.Table, 8)[0] = 'X' }},
		{"boot services elsewhere", func(f *efitest.Firmware) { binary.LittleEndian.PutUint64(f.Bytes(f.Table+0x60, 8), 1<<40) }},
		{"no boot services", func(f *efitest.Firmware) { binary.LittleEndian.PutUint64(f.Bytes(f.Table+0x60, 8), 0) }},
		{"runtime services are boot services", func(f *efitest.Firmware) {
			copy(f.Bytes(f.Table+0x58, 8), f.Bytes(f.Table+0x60, 8))
		}},
		{"null", func(f *efitest.Firmware) { f.Table = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := efitest.New()
			c.spoil(fake)
			if _, err := fake.Open(); !errors.Is(err, efi.ErrFirmware) {
				t.Errorf("got %v, want ErrFirmware", err)
			}
		})
	}
}

func TestPrint(t *testing.T) {
	fake, fw := open(t)
	if err := fw.Print("one line"); err != nil {
		t.Fatal(err)
	}
	if got := fake.Screen.String(); got != "one line\r\n" {
		t.Errorf("screen shows %q", got)
	}
	// A machine may have no console at all.
	binary.LittleEndian.PutUint64(fake.Bytes(fake.Table+0x40, 8), 0)
	if err := fw.Print("x"); !errors.Is(err, efi.Unsupported) {
		t.Errorf("without console: %v", err)
	}
}

func TestWaitForKey(t *testing.T) {
	fake, fw := open(t)
	fake.Keys = 1
	if err := fw.WaitForKey(); err != nil {
		t.Error(err)
	}
	if fake.Keys != 0 {
		t.Error("the key was not taken, so the next wait would return at once")
	}
	if err := fw.WaitForKey(); err == nil {
		t.Error("an error of WaitForEvent was swallowed")
	}
	binary.LittleEndian.PutUint64(fake.Bytes(fake.Table+0x30, 8), 0)
	if err := fw.WaitForKey(); !errors.Is(err, efi.Unsupported) {
		t.Errorf("without keyboard: %v", err)
	}
}

func TestAllocate(t *testing.T) {
	for _, c := range []struct {
		name        string
		top         uint64
		size, align uint64
	}{
		{"a page", 0x6000_0000, 1, 1},
		{"aligned", 0x5ffe_3000, 3 << 20, 2 << 20},
		{"would end inside the forbidden range", 0x4700_0000, 4096, 4096},
		{"would start inside it", 0x4800_1000, 8192, 4096},
		{"would straddle it", 0x4800_0000 + 4096, 4 << 20, 2 << 20},
		{"just above it", 0x4800_2000, 8192, 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, fw := open(t)
			fake.Top = c.top
			b, err := fw.Allocate(c.size, c.align, avoid)
			if err != nil {
				t.Fatal(err)
			}
			end := b.Phys + uint64(len(b.Data))
			if b.Phys%max(c.align, efi.PageSize) != 0 || uint64(len(b.Data)) != c.size || b.Phys < avoid[1] && end > avoid[0] {
				t.Errorf("got %#x+%#x", b.Phys, len(b.Data))
			}
			if want := int((c.size + 4095) / 4096); fake.AllocatedPages() != want {
				t.Errorf("%d pages taken, want %d", fake.AllocatedPages(), want)
			}
			clear(b.Data)
			if err := fw.Free(b); err != nil || fake.AllocatedPages() != 0 {
				t.Errorf("after Free: %v, %d pages", err, fake.AllocatedPages())
			}
		})
	}
}

func TestAllocateRefuses(t *testing.T) {
	fake, fw := open(t)
	for _, c := range [][2]uint64{{0, 4096}, {1 << 40, 4096}, {4096, 3000}, {4096, 1 << 31}} {
		if _, err := fw.Allocate(c[0], c[1], avoid); err == nil {
			t.Errorf("size %#x align %#x was allocated", c[0], c[1])
		}
	}
	fake.Fail["AllocatePages"] = []efi.Status{efi.OutOfResources}
	if _, err := fw.Allocate(4096, 4096, avoid); !errors.Is(err, efi.OutOfResources) {
		t.Errorf("got %v", err)
	}
}

// Blocks never overlap, whatever was asked for before.
func TestAllocateDisjoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fake := efitest.New()
		fw, err := fake.Open()
		if err != nil {
			t.Fatal(err)
		}
		fake.Top = 0x4800_0000 + uint64(rapid.IntRange(-64, 64).Draw(t, "top"))*4096
		var blocks []efi.Block
		for range rapid.IntRange(1, 12).Draw(t, "n") {
			align := uint64(4096) << rapid.IntRange(0, 9).Draw(t, "align")
			b, err := fw.Allocate(uint64(rapid.IntRange(1, 300000).Draw(t, "size")), align, avoid)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range blocks {
				if b.Phys < o.Phys+uint64(len(o.Data)) && o.Phys < b.Phys+uint64(len(b.Data)) {
					t.Fatalf("%#x+%#x overlaps %#x+%#x", b.Phys, len(b.Data), o.Phys, len(o.Data))
				}
			}
			if b.Phys < avoid[1] && b.Phys+uint64(len(b.Data)) > avoid[0] {
				t.Fatalf("%#x is in the forbidden range", b.Phys)
			}
			blocks = append(blocks, b)
		}
	})
}

func TestReadFile(t *testing.T) {
	fake, fw := open(t)
	big := bytes.Repeat([]byte("0123456789abcde\n"), 4000)
	fake.Files["/aios/boot.conf"] = []byte("slot a\n")
	fake.Files["/aios/a/kernel.elf"] = big
	for path, want := range fake.Files {
		b, err := fw.ReadFile(path, 1<<20, avoid)
		if err != nil || !bytes.Equal(b.Data, want) {
			t.Errorf("%s: %v, %d bytes", path, err, len(b.Data))
		}
	}
	if fake.Calls["OpenVolume"] != 1 {
		t.Errorf("the volume was opened %d times", fake.Calls["OpenVolume"])
	}
	if n := fake.OpenFiles(); n != 0 {
		t.Errorf("%d files left open", n)
	}
}

func TestReadFileRefuses(t *testing.T) {
	const path = "/aios/a/manifest"
	for _, c := range []struct {
		name  string
		spoil func(*efitest.Firmware)
		text  string
	}{
		{"missing", func(f *efitest.Firmware) { delete(f.Files, path) }, "EFI_NOT_FOUND"},
		{"empty", func(f *efitest.Firmware) { f.Files[path] = nil }, "0 bytes, expected 1 to 100"},
		{"over the limit", func(f *efitest.Firmware) { f.Files[path] = make([]byte, 101) }, "101 bytes, expected 1 to 100"},
		{"directory", func(f *efitest.Firmware) { f.Files[path] = []byte("directory") }, "is a directory"},
		{"shorter than its entry says", func(f *efitest.Firmware) { f.Sizes[path] = 60 }, "ends after 50 of 60 bytes"},
		{"longer than its entry says", func(f *efitest.Firmware) { f.Sizes[path] = 40 }, "more than the 40 bytes"},
		{"read error", func(f *efitest.Firmware) { f.Fail["Read"] = []efi.Status{efi.DeviceError} }, "EFI_DEVICE_ERROR"},
		{"info error", func(f *efitest.Firmware) { f.Fail["GetInfo"] = []efi.Status{efi.DeviceError} }, "EFI_DEVICE_ERROR"},
		{"no volume", func(f *efitest.Firmware) { f.Fail["OpenVolume"] = []efi.Status{efi.Unsupported} }, "OpenVolume"},
		{"no memory", func(f *efitest.Firmware) { f.Fail["AllocatePages"] = []efi.Status{efi.OutOfResources} }, "AllocatePages"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, fw := open(t)
			fake.Files[path] = make([]byte, 50)
			c.spoil(fake)
			_, err := fw.ReadFile(path, 100, avoid)
			wantError(t, err, c.text)
			if fake.OpenFiles() != 0 || fake.AllocatedPages() != 0 {
				t.Errorf("%d files and %d pages were kept", fake.OpenFiles(), fake.AllocatedPages())
			}
		})
	}
}

func TestSecureBoot(t *testing.T) {
	for _, c := range []struct {
		name          string
		secure, setup []byte
		want          bool
	}{
		{"on", []byte{1}, []byte{0}, true},
		{"off", []byte{0}, []byte{0}, false},
		{"setup mode", []byte{1}, []byte{1}, false},
		{"no variable", nil, []byte{0}, false},
		{"no setup variable", []byte{1}, nil, false},
		{"two bytes", []byte{1, 1}, []byte{0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, fw := open(t)
			clear(fake.Variables)
			if c.secure != nil {
				fake.Variables["SecureBoot"] = c.secure
			}
			if c.setup != nil {
				fake.Variables["SetupMode"] = c.setup
			}
			if got := fw.SecureBoot(); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTime(t *testing.T) {
	fake, fw := open(t)
	got, err := fw.Time()
	if want := time.Date(2026, 11, 23, 8, 30, 15, 0, time.UTC); err != nil || !got.Equal(want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	binary.LittleEndian.PutUint16(fake.Clock[12:], 0xffc4) // -60 minutes: an hour east of Greenwich
	got, err = fw.Time()
	if want := time.Date(2026, 11, 23, 7, 30, 15, 0, time.UTC); err != nil || !got.Equal(want) {
		t.Errorf("with a zone: got %v %v, want %v", got, err, want)
	}
	fake.Clock[2] = 13
	if _, err := fw.Time(); !errors.Is(err, efi.ErrFirmware) {
		t.Errorf("month 13: %v", err)
	}
}

func TestRandom(t *testing.T) {
	fake, fw := open(t)
	var a [64]byte
	if err := fw.Random(a[:]); err != nil || a == [64]byte{} {
		t.Errorf("%v %x", err, a)
	}
	fake.RNG = false
	if err := fw.Random(a[:]); !errors.Is(err, efi.NotFound) {
		t.Errorf("without the protocol: %v", err)
	}
}

func TestRSDP(t *testing.T) {
	fake, fw := open(t)
	if p, err := fw.RSDP(); err != nil || p != 0x5f77_e014 {
		t.Errorf("got %#x %v, want the ACPI 2.0 one", p, err)
	}
	delete(fake.ACPI, efitest.ACPI20)
	fake.Configure()
	if p, err := fw.RSDP(); err != nil || p != 0x5f77_e000 {
		t.Errorf("got %#x %v, want the ACPI 1.0 one", p, err)
	}
	delete(fake.ACPI, efitest.ACPI10)
	fake.Configure()
	if _, err := fw.RSDP(); !errors.Is(err, efi.NotFound) {
		t.Errorf("without ACPI: %v", err)
	}
}

func TestExitBootServices(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*efitest.Firmware)
		text  string // "": works
	}{
		{"at once", func(*efitest.Firmware) {}, ""},
		{"map changes between the calls", func(f *efitest.Firmware) { f.StaleKeys = 2 }, ""},
		{"map never settles", func(f *efitest.Firmware) { f.StaleKeys = 100 }, "memory map changed 8 times"},
		{"map too large", func(f *efitest.Firmware) { f.MapSizes = []uint64{1000} }, "EFI_BUFFER_TOO_SMALL"},
		{"map empty", func(f *efitest.Firmware) { f.MapSizes = []uint64{0} }, "memory map of 0 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, fw := open(t)
			buf, err := fw.Allocate(16384, 4096, avoid)
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(fake)
			m, err := fw.ExitBootServices(buf)
			if c.text != "" {
				wantError(t, err, c.text)
				return
			}
			if err != nil || m.Size != 4800 || m.DescriptorSize != 48 || !fake.Exited() {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

func TestOpenTPM(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*efitest.TPM)
		text  string
	}{
		{"good", func(*efitest.TPM) {}, ""},
		{"no protocol", func(p *efitest.TPM) { p.Absent = true }, "EFI_TCG2_PROTOCOL: LocateProtocol: EFI_NOT_FOUND"},
		{"no TPM behind it", func(p *efitest.TPM) { p.Missing = true }, "TPM 2.0"},
		{"only SHA-1", func(p *efitest.TPM) { p.Banks = 1 }, "expected SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, fw := open(t)
			c.spoil(fake.TPM)
			capability, err := fw.OpenTPM()
			if c.text != "" {
				wantError(t, err, c.text)
				if err := fw.HashLogExtend(8, 6, []byte("x")); err == nil {
					t.Error("measured without a TPM")
				}
				return
			}
			if err != nil || !capability.Present || capability.ActiveBanks != 6 || capability.MaxResponse != 0xf80 {
				t.Errorf("got %+v, %v", capability, err)
			}
		})
	}
}

func TestHashLogExtend(t *testing.T) {
	fake, fw := open(t)
	if _, err := fw.OpenTPM(); err != nil {
		t.Fatal(err)
	}
	if err := fw.HashLogExtend(9, 6, []byte("kernel")); err != nil {
		t.Fatal(err)
	}
	d := sha256.Sum256([]byte("kernel"))
	if want := sha256.Sum256(append(make([]byte, 32), d[:]...)); fake.TPM.PCR[9] != want {
		t.Errorf("PCR 9 is %x, want %x", fake.TPM.PCR[9], want)
	}
	if err := fw.HashLogExtend(9, 6, make([]byte, 9000)); err == nil {
		t.Error("an event over the limit was taken")
	}
	fake.Fail["HashLogExtendEvent"] = []efi.Status{efi.DeviceError}
	if err := fw.HashLogExtend(9, 6, []byte("kernel")); !errors.Is(err, efi.DeviceError) {
		t.Errorf("got %v", err)
	}
}

func TestSend(t *testing.T) {
	fake, fw := open(t)
	if _, err := fw.Send([]byte("x")); err == nil {
		t.Error("a command went out before OpenTPM")
	}
	if _, err := fw.OpenTPM(); err != nil {
		t.Fatal(err)
	}
	response := []byte{0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8}
	var sent []byte
	fake.TPM.Respond = func(c []byte) []byte { sent = c; return response }
	got, err := fw.Send([]byte("command"))
	if err != nil || string(sent) != "command" || !bytes.Equal(got, response) {
		t.Errorf("sent %q, got %x %v", sent, got, err)
	}
	response[5] = 9
	if _, err := fw.Send([]byte("command")); err == nil {
		t.Error("a response of 9 bytes was taken")
	}
	response[3] = 1
	if _, err := fw.Send([]byte("command")); err == nil {
		t.Error("a response of 65 kB was taken")
	}
	if _, err := fw.Send(make([]byte, 5000)); err == nil {
		t.Error("a command over the limit was sent")
	}
}

// The log that the kernel gets must hold every measurement once, also those that firmware made after GetEventLog and
// also when an earlier boot program had asked for the log.
func TestEventLogWithFinalEvents(t *testing.T) {
	for _, earlier := range []bool{false, true} {
		fake, fw := open(t)
		if earlier {
			fake.TPM.EarlierGetEventLog()
		}
		if _, err := fw.OpenTPM(); err != nil {
			t.Fatal(err)
		}
		if err := fw.HashLogExtend(11, 6, []byte("policy")); err != nil {
			t.Fatal(err)
		}
		log, err := fw.EventLog()
		if err != nil || !bytes.Equal(log, fake.TPM.Log()) {
			t.Fatalf("log of %d bytes, want %d: %v", len(log), len(fake.TPM.Log()), err)
		}
		buf, err := fw.Allocate(16384, 4096, avoid)
		if err != nil {
			t.Fatal(err)
		}
		fake.StaleKeys = 1
		if _, err := fw.ExitBootServices(buf); err != nil {
			t.Fatal(err)
		}
		merged, err := fw.FinalEvents(log)
		if err != nil || !bytes.Equal(merged, fake.TPM.Log()) {
			t.Errorf("earlier GetEventLog %v: merged log of %d bytes, want %d: %v", earlier, len(merged), len(fake.TPM.Log()), err)
		}
		if bytes.Count(merged, []byte("Exit Boot Services Invocation")) != 2 {
			t.Errorf("earlier GetEventLog %v: ExitBootServices is not in the log", earlier)
		}
	}
}

func TestEventLogRefuses(t *testing.T) {
	fake, fw := open(t)
	if _, err := fw.OpenTPM(); err != nil {
		t.Fatal(err)
	}
	fake.TPM.Cut = true
	_, err := fw.EventLog()
	wantError(t, err, "cut it off")
	fake.TPM.Cut = false
	fake.TPM.NoFinals = true
	fake.Configure()
	_, err = fw.EventLog()
	wantError(t, err, "Final Events Table")
}

// The bump allocator must come back to where it was, or a long boot runs out of argument memory.
func TestScratchDoesNotLeak(t *testing.T) {
	fake, fw := open(t)
	fake.Files["/f"] = make([]byte, 10)
	if _, err := fw.OpenTPM(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		fw.Print(strings.Repeat("x", 100))
		fw.SecureBoot()
		fw.Send([]byte("x"))
		fw.Time()
		fw.Random(make([]byte, 64))
		fw.ReadFile("/missing", 1, avoid)
		if err := fw.HashLogExtend(9, 6, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		b, err := fw.ReadFile("/f", 100, avoid)
		if err != nil {
			t.Fatal(err)
		}
		if err := fw.Free(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := fw.Print(strings.Repeat("x", efitest.ScratchSize)); err == nil {
		t.Error("a text larger than the scratch memory was printed")
	}
}

func TestStatus(t *testing.T) {
	for s, want := range map[efi.Status]string{
		efi.Success: "EFI_SUCCESS", efi.NotFound: "EFI_NOT_FOUND", efi.InvalidParameter: "EFI_INVALID_PARAMETER",
		5: "EFI_STATUS(0x5)", 1<<63 | 999: "EFI_STATUS(0x80000000000003e7)",
	} {
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if g := efitest.ACPI20.String(); g != "8868e871-e4f1-11d3-bc22-0080c73c8881" {
		t.Errorf("GUID prints as %s", g)
	}
}

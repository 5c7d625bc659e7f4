package link

import (
	"bytes"
	"debug/elf"
	"debug/pe"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestConstants holds the addresses here against kernel/metal and boot/handoff,
// which repeat them where they cannot import this package.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		file, name string
		want       uint64
	}{
		{"../../kernel/metal/start_unsafe.go", "bootSegment", BootSegment},
		{"../../kernel/metal/start_unsafe.go", "efiScratch", EFIScratch},
		{"../../kernel/metal/start_unsafe.go", "kernelBase", KernelStart},
		{"../../kernel/metal/start_unsafe.go", "kernelLimit", KernelEnd},
		{"../handoff/handoff.go", "WindowStart", KernelStart},
		{"../handoff/handoff.go", "WindowEnd", KernelEnd},
	} {
		b, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 3 || f[0] != c.name || f[1] != "=" {
				continue
			}
			found = true
			if v, err := strconv.ParseUint(f[2], 0, 64); err != nil || v != c.want {
				t.Errorf("%s: %s is %s, boot/link has %#x", c.file, c.name, f[2], c.want)
			}
		}
		if !found {
			t.Errorf("%s: no constant %s", c.file, c.name)
		}
	}
	b, err := os.ReadFile("../../kernel/metal/efi_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf("$%#x, AX", BootSegment), fmt.Sprintf("LGDT	%#x(AX)", segGDTR)} {
		if !strings.Contains(string(b), want) {
			t.Errorf("efi_amd64.s does not contain %q", want)
		}
	}
}

// file builds a small executable.
func file(p program) []byte { return p.encode() }

func text(addr uint64) segment {
	return segment{addr, 0x1000, []byte{0xeb, 0xfe}, elf.PF_R | elf.PF_X}
}

func data(addr, size uint64) segment {
	return segment{addr, size, []byte("data"), elf.PF_R | elf.PF_W}
}

func TestKernel(t *testing.T) {
	const base = KernelStart
	good := program{entry: base + 0x1000, segments: []segment{text(base + 0x1000), data(base+0x2000, 0x5000)}}
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"good", file(good), ""},
		{"not an ELF", []byte("MZ"), "not an ELF file"},
		{"empty", nil, "not an ELF file"},
		{"below the window", file(program{entry: 0x1000, segments: []segment{text(0x1000)}}), "outside"},
		{"beyond the window", file(program{entry: base + 0x1000, segments: []segment{text(base + 0x1000), data(KernelEnd-0x1000, 0x2000)}}), "outside"},
		{"overlap", file(program{entry: base + 0x1000, segments: []segment{text(base + 0x1000), data(base+0x1000, 8)}}), "overlap"},
		{"writable text", file(program{entry: base, segments: []segment{{base, 16, []byte{0}, elf.PF_W | elf.PF_X}}}), "writable and executable"},
		{"entry in data", file(program{entry: base + 0x2000, segments: []segment{text(base + 0x1000), data(base+0x2000, 16)}}), "entry"},
		{"unaligned", file(program{entry: base + 0x10, segments: []segment{text(base + 0x10)}}), "page aligned"},
		{"cut short", file(good)[:0x1001], "cut short"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := Kernel(c.file)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if again, err := Kernel(out); err != nil || !bytes.Equal(again, out) {
					t.Errorf("the result does not pass again unchanged: %v", err)
				}
				return
			}
			if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestEFI(t *testing.T) {
	in := file(program{entry: EFIText, segments: []segment{text(EFIText), data(EFIText+0x1000, 0x3000)}})
	out, err := EFI(in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	o := f.OptionalHeader.(*pe.OptionalHeader64)
	if o.Subsystem != pe.IMAGE_SUBSYSTEM_EFI_APPLICATION || f.FileHeader.TimeDateStamp != 0 || len(f.Sections) != 1 {
		t.Errorf("subsystem %d, time stamp %d, %d sections", o.Subsystem, f.FileHeader.TimeDateStamp, len(f.Sections))
	}
	if c := f.Sections[0].Characteristics; c&pe.IMAGE_SCN_MEM_WRITE != 0 {
		t.Error("the section is writable and executable")
	}
	code, err := f.Sections[0].Data()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(code, []byte("data")) || !bytes.Contains(code, []byte{0xeb, 0xfe}) {
		t.Error("the image's bytes are not in the section")
	}
	if again, err := EFI(in); err != nil || !bytes.Equal(out, again) {
		t.Error("two runs differ")
	}
}

func FuzzKernel(f *testing.F) {
	f.Add(file(program{entry: KernelStart, segments: []segment{text(KernelStart)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := Kernel(b)
		if err != nil {
			return
		}
		if again, err := Kernel(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("accepted, but its own output is not: %v", err)
		}
	})
}

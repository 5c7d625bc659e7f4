// Package link turns the ELF files that Go's linker writes for kernel/metal
// programs into what a machine boots: a PE32+ EFI application for the boot
// stage (UEFI 2.10 section 2.1.1, Microsoft PE/COFF specification), and a
// checked, stripped ELF for the kernel.
//
// Output depends on input alone: no time, no name, no path goes into it.
package link

import (
	"debug/elf"
	"errors"
	"fmt"
)

// Addresses of the boot stage, all identity mapped. kernel/metal repeats them;
// TestConstants holds the two together.
const (
	EFIText     = 0x10001000 // -T of the boot stage
	BootSegment = 0x0fff0000 // its first page tables and GDT
	EFIScratch  = 0x0f400000 // buffers that firmware calls can see, up to BootSegment
	FramePool   = 96 << 20   // bytes of memory for its heap, anywhere below 4 GiB
)

// The kernel's window in virtual memory.
const (
	KernelText  = 0x40001000 // -T of the kernel
	KernelStart = 0x40000000
	KernelEnd   = 0x48000000
)

// EFIMagic in EDI tells the entry point that firmware called.
const EFIMagic = 0x31494645

// ErrImage is wrapped by every refusal of an input file.
var ErrImage = errors.New("link")

func bad(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrImage}, a...)...)
}

// segment is one loadable part, its bytes taken from the file.
type segment struct {
	addr, size uint64 // in memory
	data       []byte
	flags      elf.ProgFlag
}

// program is a static executable, checked.
type program struct {
	entry    uint64
	segments []segment // ascending, not overlapping
	end      uint64    // of the last one in memory
}

// overlap tells whether s shares a byte with what ends at end.
func (s segment) below(end uint64) bool { return s.addr < end }

//go:build aios

package ring0

import (
	"fmt"
	"slices"

	"aios/kernel/metal"
)

// Exceptions (Intel SDM 3A, table 6-1).
const (
	vecDE = 0
	vecDB = 1
	vecUD = 6
	vecGP = 13
	vecPF = 14
	vecMF = 16
)

// fault is a program that does what ring 3 may not.
type fault struct {
	name string
	vec  uint64 // how it must end
	code []byte
}

var privileged = []fault{
	{"cli", vecGP, []byte{0xfa}},
	{"sti", vecGP, []byte{0xfb}},
	{"hlt", vecGP, []byte{0xf4}},
	{"in", vecGP, []byte{0xec}},
	{"out", vecGP, []byte{0xee}},
	{"outs", vecGP, []byte{0x6e}},
	{"mov from cr0", vecGP, []byte{0x0f, 0x20, 0xc0}},
	{"mov to cr0", vecGP, []byte{0x0f, 0x22, 0xc0}},
	{"mov to cr3", vecGP, []byte{0x0f, 0x22, 0xd8}},
	{"mov to cr4", vecGP, []byte{0x0f, 0x22, 0xe0}},
	{"mov to cr8", vecGP, []byte{0x44, 0x0f, 0x22, 0xc0}},
	{"mov to dr7", vecGP, []byte{0x0f, 0x23, 0xf8}},
	{"mov from dr7", vecGP, []byte{0x0f, 0x21, 0xf8}},
	{"clts", vecGP, []byte{0x0f, 0x06}},
	{"lmsw", vecGP, []byte{0x0f, 0x01, 0xf0}},
	{"invd", vecGP, []byte{0x0f, 0x08}},
	{"wbinvd", vecGP, []byte{0x0f, 0x09}},
	{"invlpg", vecGP, []byte{0x0f, 0x01, 0x3c, 0x24}},
	{"rdmsr", vecGP, []byte{0x0f, 0x32}},
	{"wrmsr", vecGP, []byte{0x0f, 0x30}},
	{"rdpmc", vecGP, []byte{0x31, 0xc9, 0x0f, 0x33}},
	{"xsetbv", vecGP, []byte{0x31, 0xc9, 0x0f, 0x01, 0xd1}},
	{"lgdt", vecGP, []byte{0x0f, 0x01, 0x14, 0x24}},
	{"lidt", vecGP, []byte{0x0f, 0x01, 0x1c, 0x24}},
	{"lldt", vecGP, []byte{0x0f, 0x00, 0xd0}},
	{"ltr", vecGP, []byte{0x0f, 0x00, 0xd8}},
	{"swapgs", vecGP, []byte{0x0f, 0x01, 0xf8}},
	{"sysret", vecGP, []byte{0x48, 0x0f, 0x07}},
	{"wrfsbase", vecUD, []byte{0xf3, 0x48, 0x0f, 0xae, 0xd0}},
	{"wrgsbase", vecUD, []byte{0xf3, 0x48, 0x0f, 0xae, 0xd8}},
	{"rdgsbase", vecUD, []byte{0xf3, 0x48, 0x0f, 0xae, 0xc8}},
}

// umip are the instructions that UMIP takes from ring 3 (Intel SDM 3A, 2.5).
var umip = []fault{
	{"sgdt", vecGP, []byte{0x0f, 0x01, 0x44, 0x24, 0xf0}},
	{"sidt", vecGP, []byte{0x0f, 0x01, 0x4c, 0x24, 0xf0}},
	{"sldt", vecGP, []byte{0x0f, 0x00, 0xc0}},
	{"str", vecGP, []byte{0x0f, 0x00, 0xc8}},
	{"smsw", vecGP, []byte{0x0f, 0x01, 0xe0}},
}

// gates are ways into ring 0 other than SYSCALL.
var gates = []fault{
	{"int 2, the NMI's vector", vecGP, []byte{0xcd, 0x02}},
	{"int 8, the double fault's vector", vecGP, []byte{0xcd, 0x08}},
	{"int 14, the page fault's vector", vecGP, []byte{0xcd, 0x0e}},
	{"int to the timer's vector", vecGP, []byte{0xcd, 0x20}},
	{"int 0x80", vecGP, []byte{0xcd, 0x80}},
	{"int to the shoot-down's vector", vecGP, []byte{0xcd, 0xf1}},
	{"int3", vecGP, []byte{0xcc}},
	{"ud2", vecUD, []byte{0x0f, 0x0b}},
	{"far jump to the kernel's code segment", vecGP, []byte{0x6a, 0x08, 0x68, 0, 0, 0x40, 0, 0x48, 0xff, 0x2c, 0x24}},
	{"far call to the task's segment", vecGP, []byte{0x6a, 0x30, 0x68, 0, 0, 0x40, 0, 0x48, 0xff, 0x1c, 0x24}},
	{"kernel's stack segment", vecGP, []byte{0xb8, 0x10, 0, 0, 0, 0x8e, 0xd0}},
	{"null stack segment", vecGP, []byte{0x31, 0xc0, 0x8e, 0xd0}},
	{"kernel's data segment", vecGP, []byte{0xb8, 0x10, 0, 0, 0, 0x8e, 0xd8}},
	{"segment of a local table", vecGP, []byte{0xb8, 0x07, 0, 0, 0, 0x8e, 0xd8}},
	{"I/O privilege by popf", vecGP, []byte{0x68, 0x02, 0x32, 0, 0, 0x9d, 0xfa}},
	{"single step", vecDB, []byte{0x68, 0, 0x01, 0, 0, 0x9d, 0x90, 0x90}},
}

// either are those that processors and QEMU's TCG end in different ways: AMD's
// have no SYSENTER in 64-bit mode; TCG 7.2 does not know INT1, and reads a far
// return's frame as the supervisor, which SMAP stops.
var either = []struct {
	fault
	or uint64
}{
	{fault{"sysenter", vecGP, []byte{0x0f, 0x34}}, vecUD},
	{fault{"int1", vecDB, []byte{0xf1}}, vecUD},
	{fault{"iret to the kernel's code segment", vecGP, []byte{0x6a, 0x10, 0x54, 0x6a, 0x02, 0x6a, 0x08, 0x68, 0, 0, 0x40, 0, 0x48, 0xcf}}, vecPF},
	{fault{"far return to the kernel's code segment", vecGP, []byte{0x6a, 0x08, 0x68, 0, 0, 0x40, 0, 0x48, 0xcb}}, vecPF},
}

var arithmetic = []fault{
	{"divide by zero", vecDE, []byte{0x31, 0xc9, 0xf7, 0xf1}},
	{"x87 division with its exceptions unmasked", vecMF, []byte{0x6a, 0, 0xd9, 0x2c, 0x24, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b}},
	{"misaligned cmpxchg16b", vecGP, []byte{0x48, 0x0f, 0xc7, 0x4c, 0x24, 0xe1}},
}

// load reads eight bytes at an address.
func load(a uint64) []byte {
	return append(movRAX(a), 0x48, 0x8b, 0x00)
}

func movRAX(a uint64) []byte {
	b := []byte{0x48, 0xb8}
	for ; len(b) < 10; a >>= 8 {
		b = append(b, byte(a))
	}
	return b
}

var addresses = []fault{
	{"read address zero", vecPF, load(0)},
	{"read the firmware's low memory", vecPF, load(0x1000)},
	{"read kernel text", vecPF, load(0x40001000)},
	{"execute kernel text", vecPF, append(movRAX(0x40001000), 0xff, 0xe0)},
	{"read the I/O APIC", vecPF, load(0xfec00000)},
	{"read the TPM", vecPF, load(0xfed40000)},
	{"read the local APIC", vecPF, load(0xfee00020)},
	{"read the top page", vecPF, load(0x7fffffffe000)},
	{"read the last byte below the hole", vecPF, load(0x7ffffffffff8)},
	{"read a non-canonical address", vecGP, load(1 << 47)},
	{"read the physmap", vecPF, load(0xffff800000000000)},
	{"read the kernel's heap", vecPF, load(0xffffc00000000000)},
	{"read the last word of all", vecPF, load(1<<64 - 8)},
	{"write own text", vecPF, append(movRAX(codeAt), 0x88, 0x00)},
	{"execute own stack", vecPF, []byte{0x48, 0x8d, 0x44, 0x24, 0xf0, 0xff, 0xe0}},
	{"copy beyond the last page", vecPF, append(movRAX(codeAt), 0x48, 0x89, 0xc6, 0xbf, 0, 0x08, 0x41, 0, 0xb9, 0, 0, 1, 0, 0xf3, 0xa4)},
	{"jump to a non-canonical address", vecGP, append(movRAX(1<<47), 0xff, 0xe0)},
	{"return to a non-canonical address", vecGP, append(movRAX(1<<63), 0x50, 0xc3)},
	{"call the kernel's heap", vecPF, append(movRAX(0xffffc00000000000), 0xff, 0xd0)},
}

// faultCases run each of them: it must end in the named exception, harm nobody
// and leave no frame behind.
func faultCases() []Case {
	groups := [][]fault{privileged, gates, arithmetic, addresses}
	if _, _, ecx, _ := metal.CPUID(7, 0); ecx>>2&1 != 0 {
		groups = append(groups, umip)
	}
	var out []Case
	for _, g := range groups {
		for _, f := range g {
			out = append(out, Case{"ring 3: " + f.name, f.run})
		}
	}
	for _, e := range either {
		out = append(out, Case{"ring 3: " + e.name, func() error { return e.end(e.vec, e.or) }})
	}
	return append(out, Case{"ring 3: FS base in the kernel", kernelFS})
}

func (f fault) run() error { return f.end(f.vec) }

// end runs it, and wants one of the vectors.
func (f fault) end(vectors ...uint64) error {
	_, before := metal.Frames()
	p, err := newProgram(f.code...)
	if err != nil {
		return err
	}
	x := p.run()
	vec := p.ctx.Vec
	p.close()
	if x != metal.ExitFault || !slices.Contains(vectors, vec) {
		return fmt.Errorf("ended by %v, vector %d, want a fault, vector %d", x, vec, vectors)
	}
	if _, after := metal.Frames(); after > before+16 {
		return fmt.Errorf("%d frames before, %d after", before, after)
	}
	return nil
}

// kernelFS has a context whose FS base is the kernel's: it must not be loaded.
func kernelFS() error {
	p, err := newProgram(0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0) // mov rax, fs:[0]
	if err != nil {
		return err
	}
	defer p.close()
	p.ctx.FS = 0xffff800000000000
	if x := p.run(); x != metal.ExitFault || p.ctx.Vec != vecPF || p.ctx.CR2 != 0 {
		return fmt.Errorf("ended by %v, vector %d at %#x, want a page fault at 0", x, p.ctx.Vec, p.ctx.CR2)
	}
	return nil
}

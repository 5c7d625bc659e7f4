//go:build aios

package ring0

import (
	"fmt"
	"math"
	"runtime"

	"aios/kernel/metal"
)

// entryCases try to carry something of a program over into the kernel, and
// something of the kernel over into a program, at the way in and out.
func entryCases() []Case {
	return []Case{
		{"entry: NX, write protection and what the CPU has of SMEP, SMAP, UMIP is on", controlRegisters},
		{"entry: ring 0 cannot read a program's memory (SMAP)", supervisorRead},
		{"entry: ring 0 cannot write a program's memory (SMAP)", supervisorWrite},
		{"entry: ring 0 cannot execute a program's memory (SMEP)", supervisorExecute},
		{"entry: a trap stack ends in a guard page", trapStackGuard},
		{"entry: a system call that returns to the kernel's first byte is the program's", windowEdge},
		{"entry: a hot call that returns to the kernel's first byte is the program's", windowEdgeHot},
		{"entry: MXCSR of a system call does not reach the kernel", func() error { return rounding(0xb8, 0x42, 0, 0, 0, 0x0f, 5) }},
		{"entry: MXCSR at the end of a quantum does not reach the kernel", func() error { return rounding(0xeb, 0xfe) }},
		{"entry: MXCSR of a fault does not reach the kernel", func() error { return rounding(0x0f, 0x0b) }},
		{"entry: addresses of the kernel's page faults do not reach a program", staleFaultAddress},
	}
}

// controlRegisters holds what is on against what CPUID offers (Intel SDM 3A, 2.5).
func controlRegisters() error {
	const (
		cr0WP   = 1 << 16
		cr4UMIP = 1 << 11
		cr4FSGS = 1 << 16
		cr4SMEP = 1 << 20
		cr4SMAP = 1 << 21
		eferNX  = 1 << 11
	)
	_, ebx, ecx, _ := metal.CPUID(7, 0)
	// Each CPU sets its own: look at all of them.
	seen := map[uint32]bool{}
	for try := 0; len(seen) < metal.CPUs(); try++ {
		if try == 100_000 {
			return fmt.Errorf("only %d of %d CPUs came by", len(seen), metal.CPUs())
		}
		c := metal.ReadControl()
		if seen[c.APIC] {
			runtime.Gosched()
			continue
		}
		seen[c.APIC] = true
		for _, f := range []struct {
			name string
			has  bool
			on   bool
		}{
			{"CR0.WP", true, c.CR0&cr0WP != 0},
			{"EFER.NXE", true, c.EFER&eferNX != 0},
			{"CR4.SMEP", ebx>>7&1 != 0, c.CR4&cr4SMEP != 0},
			{"CR4.SMAP", ebx>>20&1 != 0, c.CR4&cr4SMAP != 0},
			{"CR4.UMIP", ecx>>2&1 != 0, c.CR4&cr4UMIP != 0},
			{"CR4.FSGSBASE", false, c.CR4&cr4FSGS != 0},
		} {
			if f.has != f.on {
				return fmt.Errorf("CPU %d: %s is %v, want %v", c.APIC, f.name, f.on, f.has)
			}
		}
	}
	return nil
}

// inTrap runs f where hot calls are answered: in ring 0, on a program's page
// tables. A fault of f ends the program's run.
func inTrap(f func(), check func(p *program, x metal.Exit) error) error {
	p, err := newProgram(0xb8, 0, 0x10, 0, 0, 0x0f, 5) // mov eax, SysNull; syscall
	if err != nil {
		return err
	}
	defer p.close()
	p.ctx.Fast = 1
	metal.SetFast(func(_, number, _, _ uint64) (uint64, uint64) { f(); return number, 0 })
	defer metal.SetFast(func(_, number, _, _ uint64) (uint64, uint64) { return number, 0 })
	return check(p, p.run())
}

// refused wants f to end in a page fault with the given error code at a program's address.
func refused(hasFeature bool, f func(), code, addr uint64) error {
	return inTrap(f, func(p *program, x metal.Exit) error {
		if !hasFeature {
			return expect("exit on a CPU without the feature", x, metal.ExitSyscall)
		}
		if x != metal.ExitFault || p.ctx.Vec != vecPF || p.ctx.Err != code || p.ctx.CR2 != addr {
			return fmt.Errorf("ended by %v, vector %d, error code %#x, at %#x; want a page fault, error code %#x, at %#x", x, p.ctx.Vec, p.ctx.Err, p.ctx.CR2, code, addr)
		}
		return nil
	})
}

// Error codes of page faults (Intel SDM 3A, 4.7), in ring 0 on a present page.
const (
	pfRead  = 0x01
	pfWrite = 0x03
	pfFetch = 0x11
)

func supervisorRead() error {
	_, ebx, _, _ := metal.CPUID(7, 0)
	return refused(ebx>>20&1 != 0, func() { peek(stackAt) }, pfRead, stackAt)
}

func supervisorWrite() error {
	_, ebx, _, _ := metal.CPUID(7, 0)
	return refused(ebx>>20&1 != 0, func() { poke(stackAt) }, pfWrite, stackAt)
}

func supervisorExecute() error {
	_, ebx, _, _ := metal.CPUID(7, 0)
	return refused(ebx>>7&1 != 0, func() { jump(codeAt) }, pfFetch, codeAt)
}

// trapStackGuard runs a trap stack over: the page below it must be missing.
func trapStackGuard() error {
	return inTrap(func() { deep(1 << 20) }, func(p *program, x metal.Exit) error {
		const kernelStart, kernelEnd = 0x40000000, 0x48000000
		if x != metal.ExitFault || p.ctx.Vec != vecPF || p.ctx.Err&^2 != 0 || p.ctx.CR2 < kernelStart || p.ctx.CR2 >= kernelEnd {
			return fmt.Errorf("ended by %v, vector %d, error code %#x, at %#x; want a fault on a missing page of the kernel", x, p.ctx.Vec, p.ctx.Err, p.ctx.CR2)
		}
		return nil
	})
}

//go:noinline
func deep(n int) int {
	var pad [64]int
	pad[n%64] = n
	if n == 0 {
		return 0
	}
	return deep(n-1) + pad[n%7]
}

// atEdge makes a program whose last instruction, a system call, ends where the
// kernel's image begins: the entry tells ring 0 from ring 3 by that address.
func atEdge(number byte) (*program, error) {
	const page, edge = 0x3ffff000, 0x40000000
	p, err := newProgram()
	if err != nil {
		return nil, err
	}
	text, err := p.space.Map(page, 5)
	if err != nil {
		p.close()
		return nil, err
	}
	code := []byte{0xb8, number, 0x10, 0, 0, 0x0f, 5} // mov eax, number; syscall
	copy(text[len(text)-len(code):], code)
	p.ctx.RIP = edge - uint64(len(code))
	return p, nil
}

func windowEdge() error {
	p, err := atEdge(0x42)
	if err != nil {
		return err
	}
	defer p.close()
	if x := p.run(); x != metal.ExitSyscall || p.ctx.AX != 0x1042 {
		return fmt.Errorf("ended by %v, number %#x, want a system call, 0x1042", x, p.ctx.AX)
	}
	if x := p.run(); x != metal.ExitFault || p.ctx.Vec != vecPF || p.ctx.CR2 != 0x40000000 {
		return fmt.Errorf("after the call: %v, vector %d at %#x; want a page fault at the kernel's first byte", x, p.ctx.Vec, p.ctx.CR2)
	}
	return nil
}

func windowEdgeHot() error {
	p, err := atEdge(0) // SysNull
	if err != nil {
		return err
	}
	defer p.close()
	p.ctx.Fast = 1
	metal.SetFast(func(_, _, _, _ uint64) (uint64, uint64) { return 77, 1 })
	defer metal.SetFast(func(_, number, _, _ uint64) (uint64, uint64) { return number, 0 })
	if x := p.run(); x != metal.ExitFault || p.ctx.Vec != vecPF || p.ctx.CR2 != 0x40000000 || p.ctx.AX != 77 {
		return fmt.Errorf("%v, vector %d at %#x, result %d; want a page fault at the kernel's first byte, 77", x, p.ctx.Vec, p.ctx.CR2, p.ctx.AX)
	}
	return nil
}

var one, ten = 1.0, 10.0

// rounding lets a program round towards zero and leave by the given way; the
// kernel's own arithmetic, on the same thread, must not change.
func rounding(leave ...byte) error {
	// push 0x1f80|RC=toward zero|FTZ; ldmxcsr [rsp]
	p, err := newProgram(append([]byte{0x68, 0x80, 0xff, 0, 0, 0x0f, 0xae, 0x14, 0x24}, leave...)...)
	if err != nil {
		return err
	}
	defer p.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	x := metal.RunUser(p.ctx)
	got := one / ten
	if p.ctx.RIP < codeAt+9 {
		return fmt.Errorf("the program came to %#x only: %v", p.ctx.RIP, x)
	}
	if math.Float64bits(got) != math.Float64bits(0.1) {
		return fmt.Errorf("after %v: 1/10 is %#x, want %#x", x, math.Float64bits(got), math.Float64bits(0.1))
	}
	return nil
}

// staleFaultAddress has the kernel fault pages in before a program runs: CR2
// then holds an address of the kernel's heap.
func staleFaultAddress() error {
	p, err := newProgram(0xb8, 0x42, 0, 0, 0, 0x0f, 5, 0xeb, 0xf7) // l: mov eax, 0x42; syscall; jmp l
	if err != nil {
		return err
	}
	defer p.close()
	for range 50 {
		sink = make([]byte, 1<<20)
		for i := 0; i < len(sink); i += 4096 {
			sink[i] = 1
		}
		if x := p.run(); x != metal.ExitSyscall {
			return fmt.Errorf("ended by %v", x)
		}
		if p.ctx.CR2 != 0 {
			return fmt.Errorf("the program's context holds the fault address %#x, which is not its own", p.ctx.CR2)
		}
	}
	return nil
}

var sink []byte

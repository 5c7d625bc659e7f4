package ring3

import (
	"encoding/binary"
	"slices"

	"aios/kernel/abi"
)

// Raw programs: a page of machine code at textAt, which is also the entry, and
// writable pages at dataAt.
const (
	textAt = 0x401000
	dataAt = 0x402000
	exitAt = textAt + 0xf00 // exit_group(0)

	linuxSigaction = 13
	linuxSigreturn = 15
	linuxGetpid    = 39
	linuxClone     = 56
	linuxAltstack  = 131
	linuxFutex     = 202
	linuxExitGroup = 231
	linuxTgkill    = 234
)

// mov loads a register with a constant.
func mov(reg string, v uint64) []byte {
	op := map[string][]byte{"rax": {0x48, 0xb8}, "rdi": {0x48, 0xbf}, "rsi": {0x48, 0xbe}, "rdx": {0x48, 0xba},
		"r10": {0x49, 0xba}, "r8": {0x49, 0xb8}, "rsp": {0x48, 0xbc}}[reg]
	return binary.LittleEndian.AppendUint64(slices.Clone(op), v)
}

// sys makes a system call.
func sys(n uint64, args ...uint64) []byte {
	var b []byte
	for i, a := range args {
		b = append(b, mov([]string{"rdi", "rsi", "rdx", "r10", "r8"}[i], a)...)
	}
	return append(append(b, mov("rax", n)...), 0x0f, 0x05)
}

var exit0 = sys(linuxExitGroup, 0)

// rawELF makes an executable of code and initial data.
func rawELF(data []byte, code ...[]byte) []byte {
	text := make([]byte, 0x1000)
	copy(text, slices.Concat(code...))
	copy(text[exitAt-textAt:], exit0)
	le := binary.LittleEndian
	b := make([]byte, 64+2*56)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], textAt)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 2)
	for i, s := range []struct {
		flags    uint32
		va, size uint64
		content  []byte
	}{{5, textAt, 0x1000, text}, {6, dataAt, 0x4000, data}} {
		h := b[64+56*i:]
		le.PutUint32(h, 1)
		le.PutUint32(h[4:], s.flags)
		le.PutUint64(h[8:], uint64(len(b)))
		le.PutUint64(h[16:], s.va)
		le.PutUint64(h[32:], uint64(len(s.content)))
		le.PutUint64(h[40:], s.size)
		b = append(b, s.content...)
	}
	return b
}

// words is data, eight bytes each.
func words(v ...uint64) []byte {
	var b []byte
	for _, w := range v {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// ucontext is what rt_sigreturn finds at the stack pointer, with the given
// program counter, flags and vector state.
func ucontext(ip, flags, vector uint64) []byte {
	w := make([]uint64, 38)
	w[5+15], w[5+16], w[5+17], w[5+23] = dataAt+0x2000, ip, flags, vector
	w[5+18] = 0x0008_0008_0008_0008 // kernel segments, which must not be taken
	w[37] = ^uint64(0)
	return words(w...)
}

// catchAll is a sigaction in data: handler, flags, restorer, mask.
func catchAll(handler, flags uint64) []byte {
	return words(handler, flags|0x04000000, exitAt, 0)
}

func (s *Suite) rawCases() []Case {
	var out []Case
	add := func(name, want string, image []byte) {
		out = append(out, Case{"raw: " + name, func() error { return s.check(run{image: image, want: want, threads: 16}) }})
	}
	load := func(addr uint64) []byte { return append(mov("rax", addr), 0x48, 0x8b, 0x00) } // mov rax,[rax]
	sigreturn := slices.Concat(mov("rsp", dataAt), sys(linuxSigreturn))

	add("cli", "general protection fault at 0x401000", rawELF(nil, []byte{0xfa}))
	add("wrmsr", "general protection fault at 0x401000", rawELF(nil, []byte{0x0f, 0x30}))
	add("ud2", "invalid instruction at 0x401000", rawELF(nil, []byte{0x0f, 0x0b}))
	add("int3", "general protection fault at 0x401000", rawELF(nil, []byte{0xcc})) // its gate is the kernel's
	add("int 0x80", "general protection fault at 0x401000", rawELF(nil, []byte{0xcd, 0x80}))
	add("wild jump", "page fault: execution of 0x7e5000000000", rawELF(nil, mov("rax", 0x7e5000000000), []byte{0xff, 0xe0}))
	add("jump to a non-canonical address", "general protection fault", rawELF(nil, mov("rax", 1<<47), []byte{0xff, 0xe0}))
	add("read of the kernel", "page fault: read of 0x40001000", rawELF(nil, load(0x40001000)))
	add("read of the physmap", "page fault: read of 0xffff800000000000", rawELF(nil, load(0xffff800000000000)))
	add("write to own text", "page fault: write to 0x401000", rawELF(nil, mov("rax", textAt), []byte{0x88, 0x00}))
	add("execution of the stack", "page fault: execution of 0x7ffff", rawELF(nil, []byte{0xff, 0xe4}))
	add("push below the stack", "page fault: write to 0x7fffffdffff8", rawELF(nil, mov("rsp", 0x7fffffe00000), []byte{0x50}))
	add("system call as the last instruction of the text", "page fault: execution of 0x402000",
		rawELF(nil, mov("rax", linuxGetpid), mov("rdx", textAt+0xffe), []byte{0xff, 0xe2}, make([]byte, 0xffe-22), []byte{0x0f, 0x05}))
	add("system call with the kernel's address as stack", "exit status 0", rawELF(nil, mov("rsp", 0xffff800000000000), sys(linuxGetpid), exit0))
	add("system call with a non-canonical stack", "exit status 0", rawELF(nil, mov("rsp", 1<<62), sys(linuxGetpid), exit0))
	add("an exception with a non-canonical stack", "general protection fault", rawELF(nil, mov("rsp", 1<<62), []byte{0xcc}))

	add("rt_sigreturn to the kernel", "rt_sigreturn at 0x401016: it returns to 0xffff800000000000", rawELF(ucontext(0xffff800000000000, 2, 0), sigreturn))
	add("rt_sigreturn to a non-canonical address", "rt_sigreturn at 0x401016: it returns to 0x800000000000", rawELF(ucontext(1<<47, 2, 0), sigreturn))
	add("rt_sigreturn with every flag set", "exit status 0", rawELF(ucontext(exitAt, ^uint64(0)&^0x100, 0), sigreturn))
	hostile := slices.Concat(ucontext(exitAt, 2, dataAt+0x800), make([]byte, 0x800-38*8), slices.Repeat([]byte{255}, abi.VectorSize))
	add("rt_sigreturn with hostile vector state", "exit status 0", rawELF(hostile, sigreturn))
	add("rt_sigreturn with the stack in the kernel", "rt_sigreturn", rawELF(nil, mov("rsp", 0xffff800000000000), sys(linuxSigreturn)))

	fault := load(0)
	add("handler returns to its restorer", "exit status 0", rawELF(catchAll(textAt+0x800, 0), sys(linuxSigaction, 11, dataAt, 0, 8), fault, pad(0x800), []byte{0xc3}))
	add("handler without a stack", "signal 11 at 0x401048: no room", rawELF(catchAll(exitAt, 0), sys(linuxSigaction, 11, dataAt, 0, 8), mov("rsp", 0), fault))
	add("handler with the kernel's address as stack", "signal 11 at 0x401048: no room", rawELF(catchAll(exitAt, 0), sys(linuxSigaction, 11, dataAt, 0, 8), mov("rsp", 0xffff800000001000), fault))
	add("handler at a non-canonical address", "page fault: read of 0x0", rawELF(catchAll(1<<47, 0), sys(linuxSigaction, 11, dataAt, 0, 8), fault))
	add("a fault in the handler", "page fault: read of 0x0", rawELF(catchAll(textAt+0x800, 0), sys(linuxSigaction, 11, dataAt, 0, 8), fault, pad(0x800), fault))
	add("a fault leaves the red zone as it was", "exit status 0", rawELF(words(textAt+0x800, 0x04000000, textAt+0x900, 0), redZone()))
	add("SIGKILL to itself", "signal 9", rawELF(nil, sys(linuxTgkill, 100, 100, 9), []byte{0xeb, 0xfe}))

	// clone; both push; the child has no stack
	add("a thread without a stack ends the process", "page fault: write to 0xfffffffffffffff8", rawELF(nil, sys(linuxClone, 0x50f00, 0), cloneChild))
	// clone until it fails; the children spin
	bomb := slices.Concat(sys(linuxClone, 0x50f00, dataAt+0x4000), []byte{
		0x48, 0x85, 0xc0, // test rax,rax
		0x74, 0x04, // jz child
		0x78, 0x04, // js out
		0xeb, 0, // jmp start (patched)
		0xeb, 0xfe, // child: jmp child
	})
	bomb[len(bomb)-3] = byte(-(len(bomb) - 2))
	add("clone until the limit", "exit status 0", rawELF(nil, bomb, exit0))
	return out
}

// cloneChild: the parent sleeps on a futex, the child sets its stack pointer to
// zero and pushes.
var cloneChild = slices.Concat([]byte{
	0x48, 0x85, 0xc0, // test rax,rax
	0x75, 0x04, // jnz parent
	0x31, 0xe4, // xor esp,esp
	0x50, // push rax
	0x90, // nop
}, sys(linuxFutex, dataAt, 0, 0, 0))

// redZone puts a word below the stack pointer, faults, has the handler step
// over the faulting instruction, and looks for the word.
func redZone() []byte {
	const word = 0x1234567812345678
	code := slices.Concat(
		mov("rsp", dataAt+0x3000), mov("rax", word), []byte{0x48, 0x89, 0x44, 0x24, 0xf8}, // mov [rsp-8], rax
		sys(linuxSigaction, 11, dataAt, 0, 8),
		mov("rax", 0), []byte{0x48, 0x8b, 0x00}, // mov rax, [rax]
		mov("rdx", word), []byte{0x48, 0x39, 0x54, 0x24, 0xf8, 0x75, byte(len(exit0))}, // cmp [rsp-8], rdx; jne
		exit0, sys(linuxExitGroup, 1))
	code = append(code, make([]byte, 0x800-len(code))...)
	code = append(code, 0x48, 0x83, 0x82, 0xa8, 0, 0, 0, 3, 0xc3) // handler: add qword [rdx+168], 3, the RIP in its ucontext; ret
	code = append(code, make([]byte, 0x900-len(code))...)
	return append(code, sys(linuxSigreturn)...)
}

// pad fills up to an offset in the text after one sigaction and one load.
func pad(to int) []byte {
	done := len(sys(linuxSigaction, 11, dataAt, 0, 8)) + 13
	return make([]byte, to-done)
}

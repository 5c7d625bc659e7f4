//go:build aios

// Entry to and exit from trap context. See doc.go for the rules.

#include "textflag.h"
#include "layout_amd64.h"

#define SWAPGS_	BYTE $0x0f; BYTE $0x01; BYTE $0xf8
#define SYSRETQ_	BYTE $0x48; BYTE $0x0f; BYTE $0x07
#define XSAVE64_RBX	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x23
#define XRSTOR64_RBX	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x2b

#define PUSH_REGS \
	PUSHQ	AX; PUSHQ BX; PUSHQ CX; PUSHQ DX; PUSHQ SI; PUSHQ DI; PUSHQ BP; \
	PUSHQ	R8; PUSHQ R9; PUSHQ R10; PUSHQ R11; PUSHQ R12; PUSHQ R13; PUSHQ R14; PUSHQ R15

// LSTAR. Interrupts are off (SFMASK). The same entry serves the runtime in
// ring 0 and programs in ring 3; the return address tells which: ring 3 can
// never execute in the kernel's window, whose pages are supervisor pages. The
// window's first byte can follow a program's last instruction, and no
// instruction of the kernel: it is ring 3's.
TEXT ·syscallEntry(SB),NOSPLIT|NOFRAME,$0
	CMPQ	CX, ·windowStart(SB)
	JLS	user
	CMPQ	CX, ·windowEnd(SB)
	JAE	user
	MOVQ	SP, C_SCRATCH(GS)
	MOVQ	C_CUR(GS), SP
	LEAQ	T_FRAME(SP), SP
	PUSHQ	$KERNEL_SS
	PUSHQ	C_SCRATCH(GS)
	PUSHQ	R11
	PUSHQ	$KERNEL_CS
	PUSHQ	CX
	PUSHQ	$0
	PUSHQ	$256
	PUSH_REGS
	JMP	enter<>(SB)	// the runtime expects only R14 and X15 kept, no vector state
user:
	SWAPGS_
	MOVQ	SP, C_SCRATCH(GS)
	CMPQ	AX, $0x1000	// abi.SysNull
	JEQ	fast
	CMPQ	AX, $0x1003	// abi.SysClockRead
	JEQ	fast
slow:
	MOVQ	C_CUR(GS), SP
	LEAQ	T_FRAME(SP), SP
	PUSHQ	$USER_SS
	PUSHQ	C_SCRATCH(GS)
	PUSHQ	R11
	PUSHQ	$USER_CS
	PUSHQ	CX
	PUSHQ	$0
	PUSHQ	$256
	PUSH_REGS
	JMP	savefx<>(SB)
fast:
	// fast(table, number, handle, counter) (result, done), in Go on the trap stack. The
	// counter is read here: Go's wrapper around an assembly function would take g from
	// the program's FS.
	MOVQ	C_CUR(GS), SP
	MOVQ	T_FAST(SP), SP
	TESTQ	SP, SP
	JEQ	slow
	MOVQ	SP, C_FASTSP(GS)
	MOVQ	C_KSTACK(GS), SP
	PUSHQ	CX
	PUSHQ	R11
	PUSHQ	BX
	PUSHQ	DX
	PUSHQ	SI
	PUSHQ	DI
	PUSHQ	R8
	PUSHQ	R9
	PUSHQ	R10
	PUSHQ	R12
	PUSHQ	R13
	PUSHQ	R14
	PUSHQ	R15
	PUSHQ	BP
	MOVUPS	X15, C_FASTX15(GS)
	XORPS	X15, X15
	LEAQ	·fakeG(SB), R14
	MOVQ	AX, BX
	MOVQ	DI, CX
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, DI
	MOVQ	C_FASTSP(GS), AX
	CLD
	MOVQ	·fastFn(SB), DX
	MOVQ	(DX), R8
	CALL	R8
	MOVQ	BX, C_FASTSP(GS)
	MOVUPS	C_FASTX15(GS), X15
	POPQ	BP
	POPQ	R15
	POPQ	R14
	POPQ	R13
	POPQ	R12
	POPQ	R10
	POPQ	R9
	POPQ	R8
	POPQ	DI
	POPQ	SI
	POPQ	DX
	POPQ	BX
	POPQ	R11
	POPQ	CX
	CMPQ	C_FASTSP(GS), $0
	JEQ	notdone
	MOVQ	C_SCRATCH(GS), SP
	SWAPGS_
	SYSRETQ_	// CX is the hardware's own return address, canonical: the top user page is never mapped
notdone:
	JMP	slow	// AX is the number again: fast returns it

// Every IDT stub lands here, the vector and error code pushed on the thread's frame.
TEXT ·trapEntry(SB),NOSPLIT|NOFRAME,$0
	PUSH_REGS
	TESTL	$3, T_CS(SP)
	JEQ	ring0
	SWAPGS_
ring0:
	CMPQ	C_INKERNEL(GS), $0
	JNE	nest
	JMP	savefx<>(SB)
nest:
	JMP	nested<>(SB)

// A trap in trap context is a bug of ours; say what can be said, on a stack of its own.
// GS may be the program's here, and FS too, from which ABI0 wrappers would reload g.
TEXT nested<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	SP, BX
	LEAQ	·nestedStack(SB), SP
	ADDQ	$(16384-64), SP
	ANDQ	$~63, SP
	PUSHQ	$2	// AC, DF and NT off
	POPFQ
	LEAQ	·cpus+C_TLS(SB), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX	// IA32_FS_BASE
	WRMSR
	MOVQ	BX, AX
	LEAQ	·fakeG(SB), R14
	XORPS	X15, X15
	MOVQ	·nestedFn(SB), DX
	MOVQ	(DX), CX
	CALL	CX
	HLT
	JMP	-1(PC)

// NMI, double fault and machine check arrive on IST2: nothing is known of GS or the stack.
// A CPU that stops the machine sends the others an NMI: they end here.
TEXT ·fatalEntry(SB),NOSPLIT|NOFRAME,$0
	CMPQ	·stopping(SB), $0
	JNE	stop
	PUSH_REGS
	JMP	nested<>(SB)
stop:
	HLT
	JMP	-1(PC)

// MXCSR of the kernel (Intel SDM 1, 10.2.3): all exceptions masked, round to nearest.
DATA kernelMXCSR<>(SB)/4, $0x1f80
GLOBL kernelMXCSR<>(SB), RODATA|NOPTR, $4

TEXT savefx<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	T_FXP(SP), BX
	TESTQ	BX, BX
	JNE	have
	LEAQ	T_FX(SP), BX
have:
	MOVQ	$1, T_FXV(SP)
	MOVL	·xcr0(SB), AX
	TESTL	AX, AX
	JEQ	fx
	XORL	DX, DX
	XSAVE64_RBX
	LDMXCSR	kernelMXCSR<>(SB)	// the kernel computes by its own rules, not by a program's
	JMP	enter<>(SB)
fx:
	FXSAVE64 (BX)
	LDMXCSR	kernelMXCSR<>(SB)
	JMP	enter<>(SB)

// SP is the thread's frame. Runs trap(thread) on the CPU's trap stack.
TEXT enter<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	$1, C_INKERNEL(GS)
	MOVQ	SP, BX
	MOVQ	C_KSTACK(GS), SP
	PUSHQ	$2	// exceptions and interrupts leave AC, which lifts SMAP, and DF as the program had them
	POPFQ
	LEAQ	·fakeG(SB), R14
	MOVQ	C_SELF(GS), AX
	LEAQ	C_TLS(AX), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX	// IA32_FS_BASE: ABI0 wrappers reload g from it
	WRMSR
	MOVQ	BX, AX
	XORPS	X15, X15
	MOVQ	·trapFn(SB), DX
	MOVQ	(DX), CX
	CALL	CX
	JMP	exit<>(SB)

// Leaves trap context for the thread that percpu.cur names.
TEXT exit<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	C_CUR(GS), DI
	LEAQ	T_FRAME(DI), AX
	MOVQ	C_IST1(GS), BX
	MOVQ	AX, (BX)
	MOVQ	T_FS(DI), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX
	WRMSR
	MOVQ	T_CR3(DI), AX
	CMPQ	AX, C_CR3(GS)
	JEQ	cr3ok
	MOVQ	AX, C_CR3(GS)
	MOVQ	AX, CR3
cr3ok:
	CMPQ	T_FXV(DI), $0
	JEQ	nofx
	MOVQ	(8*8)(DI), BP	// of the thread to come: if loading its state fails, the trace names its callers
	MOVQ	$0, T_FXV(DI)
	MOVQ	T_FXP(DI), BX
	TESTQ	BX, BX
	JNE	have
	LEAQ	T_FX(DI), BX
have:
	MOVL	·xcr0(SB), AX
	TESTL	AX, AX
	JEQ	fx
	XORL	DX, DX
	XRSTOR64_RBX
	JMP	out
fx:
	FXRSTOR64 (BX)
	JMP	out
nofx:
	XORPS	X15, X15
out:
	MOVQ	$0, C_INKERNEL(GS)
	TESTL	$3, T_CS(DI)
	JEQ	ring0
	SWAPGS_
ring0:
	MOVQ	DI, SP
	POPQ	R15
	POPQ	R14
	POPQ	R13
	POPQ	R12
	POPQ	R11
	POPQ	R10
	POPQ	R9
	POPQ	R8
	POPQ	BP
	POPQ	DI
	POPQ	SI
	POPQ	DX
	POPQ	CX
	POPQ	BX
	POPQ	AX
	LEAQ	16(SP), SP
	IRETQ

// run starts fn(arg) on the CPU's trap stack and leaves for percpu.cur.
// AX = arg, DX = func value; GS is set.
TEXT run<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	C_KSTACK(GS), SP
	LEAQ	·fakeG(SB), R14
	MOVQ	AX, BX
	MOVQ	DX, BP
	MOVQ	C_SELF(GS), AX
	LEAQ	C_TLS(AX), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX
	WRMSR
	MOVQ	BX, AX
	MOVQ	BP, DX
	XORL	BP, BP
	XORPS	X15, X15
	CLD
	MOVQ	(DX), CX
	CALL	CX
	JMP	exit<>(SB)

// gsbase(AX = percpu): points GS at it.
TEXT gsbase<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000101, CX	// IA32_GS_BASE
	WRMSR
	XORL	AX, AX
	XORL	DX, DX
	MOVL	$0xc0000102, CX	// IA32_KERNEL_GS_BASE: what ring 3 sees
	WRMSR
	RET

// features sets CR4.OSFXSR, OSXMMEXCPT, OSXSAVE, SMEP, SMAP, UMIP and XCR0, as far as the CPU has them.
TEXT features<>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$1, AX
	XORL	CX, CX
	CPUID
	BTL	$26, CX
	JCC	noxsave
	MOVQ	CR4, AX
	ORQ	$(1<<18), AX
	MOVQ	AX, CR4
	MOVL	$0xd, AX
	XORL	CX, CX
	CPUID
	ANDL	$7, AX
	MOVL	AX, ·xcr0(SB)
	XORL	DX, DX
	XORL	CX, CX
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1	// xsetbv
noxsave:
	XORL	AX, AX
	CPUID
	CMPL	AX, $7
	JB	old
	MOVL	$7, AX
	XORL	CX, CX
	CPUID
	MOVQ	CR4, AX
	BTL	$7, BX
	JCC	nosmep
	ORQ	$(1<<20), AX
nosmep:
	BTL	$20, BX
	JCC	nosmap
	ORQ	$(1<<21), AX
nosmap:
	BTL	$2, CX
	JCC	noumip
	ORQ	$(1<<11), AX
noumip:
	MOVQ	AX, CR4
old:
	RET

// entry64 is the image's entry. DI tells who calls: the PE stub of the boot
// stage (a magic number), else the boot stage itself with the physical address
// of handoff.Info.
TEXT ·entry64(SB),NOSPLIT|NOFRAME,$0
	CLI
	CMPL	DI, $0x31494645
	JNE	kernel
	JMP	·efiEntry(SB)
kernel:
	MOVQ	DI, R12
	MOVL	$0xc0000080, CX	// IA32_EFER: SCE, NXE
	RDMSR
	ORL	$0x801, AX
	WRMSR
	MOVQ	CR0, AX
	ORL	$0x10022, AX	// WP, NE, MP
	ANDL	$~0xc, AX	// EM, TS
	MOVQ	AX, CR0
	MOVQ	CR4, AX
	ANDL	$0x1000, AX	// whatever firmware had on (FSGSBASE, PCE, PGE) is off; LA57 cannot be changed here
	ORL	$0x660, AX	// PAE, MCE, OSFXSR, OSXMMEXCPT; no global pages: a CR3 write flushes all
	MOVQ	AX, CR4
	JMP	·start(SB)

// start: R12 = argument of start0. The first CPU, on any valid tables.
TEXT ·start(SB),NOSPLIT|NOFRAME,$0
	LEAQ	·trapStacks(SB), SP
	ADDQ	$(32768-64), SP
	ANDQ	$~63, SP
	LEAQ	·cpus(SB), AX
	MOVQ	AX, C_SELF(AX)
	MOVQ	SP, C_KSTACK(AX)
	LEAQ	·fakeG(SB), BX
	MOVQ	BX, C_TLSG(AX)
	MOVQ	$1, C_INKERNEL(AX)
	CALL	gsbase<>(SB)
	CALL	features<>(SB)
	MOVQ	R12, AX
	MOVQ	·startFn(SB), DX
	JMP	run<>(SB)

// apEntry: an application processor in 64-bit mode on the kernel's tables; AX = its percpu.
TEXT ·apEntry(SB),NOSPLIT|NOFRAME,$0
	MOVQ	C_KSTACK(AX), SP
	MOVQ	AX, R12
	CALL	gsbase<>(SB)
	CALL	features<>(SB)
	MOVQ	R12, AX
	MOVQ	·apStartFn(SB), DX
	JMP	run<>(SB)

TEXT ·idleHalt(SB),NOSPLIT|NOFRAME,$0
again:
	STI
	HLT
	JMP	again

// Inside the firmware there is no timer interrupt of ours: poll by sched_yield.
TEXT ·idlePoll(SB),NOSPLIT|NOFRAME,$0
again:
	MOVL	$24, AX
	SYSCALL
	JMP	again

// addresses of code that Go cannot name as data
TEXT ·entryPoints(SB),NOSPLIT,$0-72
	LEAQ	·syscallEntry(SB), AX
	MOVQ	AX, sys+0(FP)
	LEAQ	·trapEntry(SB), AX
	MOVQ	AX, trap+8(FP)
	LEAQ	·fatalEntry(SB), AX
	MOVQ	AX, fatal+16(FP)
	LEAQ	·idleHalt(SB), AX
	MOVQ	AX, halt+24(FP)
	LEAQ	·idlePoll(SB), AX
	MOVQ	AX, poll+32(FP)
	LEAQ	_rt0_amd64_linux(SB), AX
	MOVQ	AX, rt0+40(FP)
	LEAQ	·apEntry(SB), AX
	MOVQ	AX, ap+48(FP)
	LEAQ	runtime·end(SB), AX
	MOVQ	AX, end+56(FP)
	LEAQ	runtime·text(SB), AX
	MOVQ	AX, text+64(FP)
	RET

TEXT ·pclntab(SB),NOSPLIT,$0-8
	LEAQ	runtime·pclntab(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·sections(SB),NOSPLIT,$0-16
	LEAQ	runtime·etext(SB), AX
	MOVQ	AX, etext+0(FP)
	LEAQ	runtime·erodata(SB), AX
	MOVQ	AX, erodata+8(FP)
	RET

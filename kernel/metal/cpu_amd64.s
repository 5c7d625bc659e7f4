//go:build aios

// Privileged instructions, one function each.

#include "textflag.h"
#include "layout_amd64.h"

TEXT ·thisCPU(SB),NOSPLIT,$0-8
	MOVQ	C_SELF(GS), AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·out8(SB),NOSPLIT,$0-3
	MOVW	port+0(FP), DX
	MOVB	v+2(FP), AX
	OUTB
	RET

TEXT ·in8(SB),NOSPLIT,$0-9
	MOVW	port+0(FP), DX
	INB
	MOVB	AX, ret+8(FP)
	RET

TEXT ·out16(SB),NOSPLIT,$0-4
	MOVW	port+0(FP), DX
	MOVW	v+2(FP), AX
	OUTW
	RET

TEXT ·out32(SB),NOSPLIT,$0-8
	MOVW	port+0(FP), DX
	MOVL	v+4(FP), AX
	OUTL
	RET

TEXT ·rdtsc(SB),NOSPLIT,$0-8
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+0(FP)
	RET

// rdrand() (v uint64, ok bool)
TEXT ·rdrand(SB),NOSPLIT,$0-9
	MOVL	$1, AX
	XORL	CX, CX
	CPUID
	MOVB	$0, ok+8(FP)
	BTL	$30, CX
	JCC	none
	MOVL	$10, CX
again:
	BYTE $0x48; BYTE $0x0f; BYTE $0xc7; BYTE $0xf0	// rdrand rax
	JCS	good
	DECL	CX
	JNZ	again
	JMP	none
good:
	MOVQ	AX, v+0(FP)
	MOVB	$1, ok+8(FP)
none:
	RET

TEXT ·rdmsr(SB),NOSPLIT,$0-16
	MOVL	msr+0(FP), CX
	RDMSR
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+8(FP)
	RET

TEXT ·wrmsr(SB),NOSPLIT,$0-16
	MOVL	msr+0(FP), CX
	MOVQ	v+8(FP), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	WRMSR
	RET

// cpuid(leaf, sub uint32) (a, b, c, d uint32)
TEXT ·cpuid(SB),NOSPLIT,$0-24
	MOVL	leaf+0(FP), AX
	MOVL	sub+4(FP), CX
	CPUID
	MOVL	AX, a+8(FP)
	MOVL	BX, b+12(FP)
	MOVL	CX, c+16(FP)
	MOVL	DX, d+20(FP)
	RET

TEXT ·readCR0(SB),NOSPLIT,$0-8
	MOVQ	CR0, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·readCR4(SB),NOSPLIT,$0-8
	MOVQ	CR4, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·readCR2(SB),NOSPLIT,$0-8
	MOVQ	CR2, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·readCR3(SB),NOSPLIT,$0-8
	MOVQ	CR3, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·writeCR3(SB),NOSPLIT,$0-8
	MOVQ	v+0(FP), AX
	MOVQ	AX, CR3
	MOVQ	AX, C_CR3(GS)
	RET

TEXT ·invlpg(SB),NOSPLIT,$0-8
	MOVQ	v+0(FP), AX
	INVLPG	(AX)
	RET

TEXT ·pause(SB),NOSPLIT,$0
	PAUSE
	RET

TEXT ·halt(SB),NOSPLIT,$0
	CLI
	HLT
	JMP	-1(PC)

TEXT ·interrupts(SB),NOSPLIT,$0-1
	MOVB	on+0(FP), AX
	TESTB	AX, AX
	JEQ	off
	STI
	RET
off:
	CLI
	RET

// loadTables(gdtr, idtr uintptr): also the task register (selector 0x30), and no LDT.
TEXT ·loadTables(SB),NOSPLIT,$0-16
	MOVQ	gdtr+0(FP), AX
	LGDT	(AX)
	MOVQ	idtr+8(FP), AX
	LIDT	(AX)
	MOVW	$0x30, AX
	BYTE $0x0f; BYTE $0x00; BYTE $0xd8	// ltr ax
	XORL	AX, AX
	BYTE $0x0f; BYTE $0x00; BYTE $0xd0	// lldt ax
	MOVL	$KERNEL_SS, AX
	BYTE $0x8e; BYTE $0xd0	// mov ss,eax
	BYTE $0x8e; BYTE $0xd8	// mov ds,eax
	BYTE $0x8e; BYTE $0xc0	// mov es,eax
	RET

// cas64(p uintptr, old, new uint64) bool
TEXT ·cas64(SB),NOSPLIT,$0-25
	MOVQ	p+0(FP), BX
	MOVQ	old+8(FP), AX
	MOVQ	new+16(FP), CX
	LOCK
	CMPXCHGQ	CX, (BX)
	SETEQ	ret+24(FP)
	RET

// cas32(p uintptr, old, new uint32) bool
TEXT ·cas32(SB),NOSPLIT,$0-17
	MOVQ	p+0(FP), BX
	MOVL	old+8(FP), AX
	MOVL	new+12(FP), CX
	LOCK
	CMPXCHGL	CX, (BX)
	SETEQ	ret+16(FP)
	RET

// EnterKernel(cr3, entry, info): from the boot stage, after ExitBootServices.
// The code of this image stays mapped on the kernel's first tables.
TEXT ·EnterKernel(SB),NOSPLIT,$0-24
	MOVQ	cr3+0(FP), AX
	MOVQ	entry+8(FP), BX
	MOVQ	info+16(FP), DI
	CLI
	MOVQ	AX, CR3
	JMP	BX

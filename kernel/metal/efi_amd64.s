//go:build aios

// The firmware side of the boot stage: entry from the PE stub and the thunk
// that runs a UEFI service on the firmware's own tables and stack.

#include "textflag.h"
#include "layout_amd64.h"

#define MOV_SS_AX	BYTE $0x8e; BYTE $0xd0
#define MOV_DS_AX	BYTE $0x8e; BYTE $0xd8
#define MOV_ES_AX	BYTE $0x8e; BYTE $0xc0
#define GO_FAR	BYTE $0x48; BYTE $0xcb	// as bytes where vet would take it for the function's own

// CX = image handle, DX = system table, R8 = frame pool, R9 = its pages.
// The boot segment (boot/link) holds first tables at 0xfff0000 and a GDT pointer at +0x7880.
TEXT ·efiEntry(SB),NOSPLIT|NOFRAME,$0
	MOVQ	CX, ·EFIHandle(SB)
	MOVQ	DX, ·EFISystemTable(SB)
	MOVQ	R8, ·efiPool(SB)
	MOVQ	R9, ·efiPoolPages(SB)
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ·entryTSC(SB)
	MOVQ	CR3, AX
	MOVQ	AX, ·fwCR3(SB)
	SGDT	·fwGDTR(SB)
	SIDT	·fwIDTR(SB)
	BYTE $0x8c; BYTE $0xc8	// mov eax,cs
	MOVQ	AX, ·fwCS(SB)
	BYTE $0x8c; BYTE $0xd0	// mov eax,ss
	MOVQ	AX, ·fwSS(SB)
	MOVL	$0xc0000080, CX
	RDMSR
	ORL	$0x801, AX
	WRMSR
	MOVQ	CR0, AX
	ORL	$0x10022, AX
	ANDL	$~0xc, AX
	MOVQ	AX, CR0
	MOVQ	CR4, AX
	ORL	$0x620, AX
	MOVQ	AX, CR4
	LEAQ	·trapStacks(SB), SP
	ADDQ	$(32768-64), SP
	MOVL	$0xfff0000, AX
	MOVQ	AX, CR3
	LGDT	0x7880(AX)
	PUSHQ	$KERNEL_CS
	LEAQ	reseg<>(SB), AX
	PUSHQ	AX
	RETFQ

TEXT reseg<>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$KERNEL_SS, AX
	MOV_SS_AX
	MOV_DS_AX
	MOV_ES_AX
	XORL	R12, R12
	JMP	·start(SB)

// efiCall(fn uintptr, args *[8]uint64) uint64, in trap context.
TEXT ·efiCall(SB),NOSPLIT|NOFRAME,$0-24
	MOVQ	fn+0(FP), AX
	MOVQ	args+8(FP), BX
	MOVQ	SP, ·efiSP(SB)
	MOVQ	BP, ·efiBP(SB)
	MOVQ	AX, ·efiFn(SB)
	MOVQ	·fwCR3(SB), CX
	MOVQ	CX, CR3
	LGDT	·fwGDTR(SB)
	LIDT	·fwIDTR(SB)
	LEAQ	·efiStack(SB), SP
	ADDQ	$(131072-64), SP
	ANDQ	$~63, SP
	PUSHQ	·fwCS(SB)
	LEAQ	firmware<>(SB), R10
	PUSHQ	R10
	GO_FAR

// Microsoft x64 calling convention: four arguments in registers, the rest above the shadow space.
TEXT firmware<>(SB),NOSPLIT|NOFRAME,$0
	MOVQ	·fwSS(SB), AX
	MOV_SS_AX
	MOV_DS_AX
	MOV_ES_AX
	LEAQ	-64(SP), SP
	MOVQ	32(BX), AX
	MOVQ	AX, 32(SP)
	MOVQ	40(BX), AX
	MOVQ	AX, 40(SP)
	MOVQ	48(BX), AX
	MOVQ	AX, 48(SP)
	MOVQ	56(BX), AX
	MOVQ	AX, 56(SP)
	MOVQ	0(BX), CX
	MOVQ	8(BX), DX
	MOVQ	16(BX), R8
	MOVQ	24(BX), R9
	MOVQ	·efiFn(SB), AX
	STI
	CALL	AX
	CLI
	CLD
	MOVQ	AX, ·efiRet(SB)
	LGDT	·gdtr0(SB)
	LIDT	·idtr(SB)
	PUSHQ	$KERNEL_CS
	LEAQ	back<>(SB), R10
	PUSHQ	R10
	RETFQ

TEXT back<>(SB),NOSPLIT|NOFRAME,$0
	MOVL	$KERNEL_SS, AX
	MOV_SS_AX
	MOV_DS_AX
	MOV_ES_AX
	MOVQ	·rootTable(SB), AX
	MOVQ	AX, CR3
	MOVQ	·efiSP(SB), SP
	MOVQ	·efiBP(SB), BP
	// The firmware may have used FS and GS.
	LEAQ	·cpus(SB), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000101, CX
	WRMSR
	LEAQ	·cpus+C_TLS(SB), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX
	WRMSR
	MOVQ	·efiRet(SB), AX
	MOVQ	AX, 24(SP)
	RET

#include "textflag.h"

// func callLoop(number, argument, n uint64)
TEXT ·callLoop(SB),NOSPLIT,$0-24
	MOVQ	number+0(FP), R12
	MOVQ	argument+8(FP), R13
	MOVQ	n+16(FP), BX
call:
	MOVQ	R12, AX
	MOVQ	R13, DI
	SYSCALL
	DECQ	BX
	JNZ	call
	RET

// func clockLoop(n uint64)
TEXT ·clockLoop(SB),NOSPLIT,$16-8
	MOVQ	n+0(FP), BX
clock:
	MOVL	$228, AX // clock_gettime
	MOVL	$1, DI   // CLOCK_MONOTONIC
	LEAQ	ts-16(SP), SI
	SYSCALL
	DECQ	BX
	JNZ	clock
	RET

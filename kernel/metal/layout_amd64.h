// Offsets into thread and percpu (layout.go); layout_test.go checks them.

#define T_R15	0
#define T_R14	8
#define T_R13	16
#define T_R12	24
#define T_RIP	136
#define T_CS	144
#define T_FLAGS	152
#define T_SP	160
#define T_FRAME	176
#define T_FS	176
#define T_CR3	184
#define T_FXV	192
#define T_FXP	200
#define T_FAST	336
#define T_FX	1024

#define C_SELF	0
#define C_CUR	8
#define C_KSTACK	16
#define C_SCRATCH	24
#define C_INKERNEL	32
#define C_CR3	40
#define C_IST1	48
#define C_TLSG	56
#define C_TLS	64
#define C_FASTSP	72
#define C_FASTX15	112

#define KERNEL_CS	0x08
#define KERNEL_SS	0x10
#define USER_CS	0x2b
#define USER_SS	0x23

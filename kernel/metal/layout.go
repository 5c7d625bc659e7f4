package metal

// thread is one runtime thread (an M) or a CPU's idle loop. It fills a page of
// its own; the entry code pushes into its head and saves vector state at fx.
type thread struct {
	// The register frame, in the order in which the entry code pushes it.
	r15, r14, r13, r12, r11, r10, r9, r8, bp, di, si, dx, cx, bx, ax uint64
	vec, err, rip, cs, flags, sp, ss                                 uint64

	fs  uint64  // FS base (TLS of the runtime)
	cr3 uint64  // address space to load on return
	fxv uint64  // non-zero: vector state must be restored
	fxp uintptr // where it is saved instead of fx, while in ring 3

	state    uint64  // st* below
	wake     int64   // nanoseconds since reset, 0: never
	futex    uintptr // address waited on
	tid      uint64
	mask     uint64 // blocked signals
	pending  uint64 // sent, not yet delivered
	altSP    uint64 // sigaltstack
	altSize  uint64
	sigFX    uint64 // fx2 holds vector state that sigreturn puts back
	inSignal uint64 // depth of handlers
	epBuf    uintptr
	next     uintptr // run queue link
	cpu      uint64  // 1 + index of the CPU that runs it, 0: none

	user     uintptr // *abi.UserContext while in ring 3, else 0
	deadline int64   // end of the ring-3 quantum
	kicked   uint64  // RunUser must return
	fast     uintptr // capability table for calls answered in the entry
	id       uint64  // of the program
	parked   uintptr // what it waits for in trap context
	began    int64   // when it began to
	ksave    [22]uint64
	ksfs     uint64
}

// Vector state lies behind the struct in the thread's page: XCR0 is limited to
// x87, SSE and AVX, whose XSAVE area is 832 bytes (Intel SDM 1, 13.4).
const (
	threadSize = 4096
	offFX      = 1024
	offFX2     = 2048
	fxSize     = 1024
)

// percpu is found through GS while in ring 0.
type percpu struct {
	self     uintptr
	cur      uintptr // *thread
	kstack   uintptr // top of the trap stack
	scratch  uint64
	inKernel uint64 // trap context: a further trap is fatal
	cr3      uint64 // what CR3 holds
	ist1     uintptr
	tlsG     uintptr // the fake g; FS points just behind it in trap context
	tls      uint64
	fastSP   uint64
	idle     uintptr // *thread
	index    uint64
	apic     uint64 // local APIC id
	flush    uint32 // TLB shoot-down request
	online   uint32
	fastX15  [2]uint64
	owed     uint64 // a program was made ready and no CPU told
}

const (
	stFree = iota
	stReady
	stRunning
	stFutex
	stSleep
	stEpoll
	stParked // in ring 3, in a call that is answered in trap context
)

// Selectors. SYSCALL and SYSRET fix their order (Intel SDM 2B, SYSRET).
const (
	kernelCS = 0x08
	kernelSS = 0x10
	userCS   = 0x2b
	userSS   = 0x23
)

// Vectors.
const (
	vecPageFault  = 14
	vecTimer      = 32
	vecDevice     = 0x40 // first of the device vectors
	vecDeviceEnd  = 0xe0
	vecReschedule = 0xf0
	vecFlush      = 0xf1
	vecSpurious   = 0xff
	vecSyscall    = 256
)

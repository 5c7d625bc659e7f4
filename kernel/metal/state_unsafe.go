//go:build aios

package metal

import "unsafe"

// MaxCPUs bounds the CPUs that are started; further ones stay parked by the firmware.
const MaxCPUs = 32

// MaxThreads bounds the threads of the runtime. It does not survive being
// refused one, so whoever lets programs have threads counts them.
const MaxThreads = 1024

const (
	trapStack    = 32768
	fakeGSize    = 1024
	initialStack = 262144
)

// State of the layer below the runtime. Trap context has no heap, so all of
// it is static; the big lock guards what is not written once at start.
var (
	cpus        [MaxCPUs]percpu
	trapStacks  [MaxCPUs][trapStack]byte
	nestedStack [16384]byte
	fatalStacks [MaxCPUs][4096]byte
	fakeG       [fakeGSize]byte             // its stack guard is zero: no stack check ever fails
	firstStack  [initialStack + 64]byte     // m0's g0
	tss         [MaxCPUs][128]byte          // 104 bytes used
	gdt         [MaxCPUs][8]uint64          // per CPU, since the TSS descriptor is
	gdtr        [MaxCPUs][16]byte           //
	gdtr0       [16]byte                    // CPU 0's, for the firmware thunk
	idt         [512]uint64                 //
	idtr        [16]byte                    //
	stubs       [8192]byte                  // one page of it holds the generated IDT stubs
	vdsoPages   [8192]byte                  // one page of it holds the runtime's clock
	xcr0        uint32                      // vector state that XSAVE handles, 0: FXSAVE
	windowStart uint64                      // the image's own code range:
	windowEnd   uint64                      //   a SYSCALL from here came from ring 0
	rootTable   uint64                      // the kernel's PML4
	physOffset  uintptr                     // virtual address of physical 0
	efiMode     bool                        // inside the firmware
	ncpus       int                     = 1 // online
	kernelFlags uint64                  = 0x202
	stopping    uint64                  // 1 + APIC id of the CPU that stops the machine

	startFn   func(uintptr)                                            = start0
	apStartFn func(uintptr)                                            = apStart
	trapFn    func(*thread)                                            = trap
	nestedFn  func(*thread)                                            = nestedTrap
	fastFn    func(table, number, handle, tsc uint64) (uint64, uint64) = fastNone
	hotFn     func(*Hot) bool                                          = hotNone
)

// Firmware state of the boot stage.
var (
	EFIHandle, EFISystemTable   uintptr // image handle and EFI_SYSTEM_TABLE (UEFI 2.10, 4.3)
	efiPool, efiPoolPages       uintptr
	entryTSC                    uint64
	fwCR3, fwCS, fwSS           uint64
	fwGDTR, fwIDTR              [16]byte
	efiSP, efiBP, efiFn, efiRet uint64
	efiStack                    [131072]byte
)

func syscallEntry()
func entry64()
func apEntry()
func thisCPU() *percpu
func entryPoints() (sys, trap, fatal, halt, poll, rt0, ap, end, text uintptr)
func sections() (etext, erodata uintptr)
func efiCall(fn uintptr, args uintptr) uint64
func out8(port uint16, v uint8)
func in8(port uint16) uint8
func out16(port uint16, v uint16)
func out32(port uint16, v uint32)
func rdtsc() uint64
func rdrand() (v uint64, ok bool)
func rdmsr(msr uint32) uint64
func wrmsr(msr uint32, v uint64)
func cpuid(leaf, sub uint32) (a, b, c, d uint32)
func readCR0() uint64
func readCR2() uint64
func readCR3() uint64
func writeCR3(v uint64)
func readCR4() uint64
func invlpg(v uintptr)
func pause()
func halt()
func interrupts(on bool)
func loadTables(gdtr, idtr uintptr)
func cas32(p *uint32, old, new uint32) bool
func cas64(p *uint64, old, new uint64) bool

// EnterKernel leaves this image for the kernel: loads cr3 and jumps to entry
// with info, the physical address of handoff.Info, in RDI.
func EnterKernel(cr3, entry, info uintptr)

// Safety: the callers own the address; below the runtime there is no other way to reach memory.
func p64(a uintptr) *uint64 { return (*uint64)(unsafe.Pointer(a)) }
func p32(a uintptr) *uint32 { return (*uint32)(unsafe.Pointer(a)) }
func p16(a uintptr) *uint16 { return (*uint16)(unsafe.Pointer(a)) }
func p8(a uintptr) *byte    { return (*byte)(unsafe.Pointer(a)) }

func addr[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

func asThread(a uintptr) *thread { return (*thread)(unsafe.Pointer(a)) }

// phys gives the kernel's view of a physical address.
func phys(p uintptr) uintptr { return p + physOffset }

func ptr(a uintptr) unsafe.Pointer { return unsafe.Pointer(a) }

func (c *percpu) thread() *thread { return asThread(c.cur) }

// Package metal runs an unmodified Go runtime on bare x86-64.
//
// A program is built with GOOS=linux and the stock toolchain; the runtime asks
// its operating system for memory, threads, futexes, time and signals by Linux
// system calls, and this package is what answers them: it points LSTAR at its
// own entry and serves some thirty calls in ring 0 (the "personality"). Above
// it lies ordinary Go; below it lies only the machine.
//
// Two images are linked from it:
//
//   - bootx64.efi, the UEFI stage. It runs inside the firmware: one CPU,
//     interrupts off, idle by polling, firmware calls through a thunk
//     (entry_efi_amd64.s).
//   - the kernel, entered by the boot stage after ExitBootServices: all CPUs,
//     LAPIC timers, demand paging, ring 3.
//
// # Rules below the runtime
//
// Code reached from a trap ("trap context") runs with interrupts off on a
// per-CPU stack, with a fake g whose stack guard is zero. It must not
// allocate, use maps, concatenate strings, or store pointers that need a write
// barrier; links are uintptr. One lock (lock_unsafe.go) covers all of it.
//
// A thread's registers are saved in its frame by the entry code itself: TSS.IST1
// and the SYSCALL entry both point at the frame of the thread that runs, which
// avoids small goroutine stacks and the red zone. The offsets that the assembly
// uses are in layout_amd64.h and are checked against the Go structs by a test.
//
// # What ring 3 can see
//
// A program's tables hold the kernel's upper half and its window as supervisor
// pages, so that a system call does not change CR3. On CPUs that keep ring 3
// from them in speculation too (AMD's, Intel's with RDCL_NO) no page-table
// isolation is needed; there is none for the others, and the kernel says so
// when it starts on one (NeedsIsolation).
//
// Everything that touches the machine carries the build tag aios and needs the
// link flags that boot/cmd/mkmetal passes; the plain tree does not build it.
package metal

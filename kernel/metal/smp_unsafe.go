//go:build aios

package metal

import (
	"sync/atomic"

	"aios/kernel/hal/acpi"
)

// trampoline brings an application processor from real mode to apEntry
// (Intel SDM 3A, 9.4). Assembled from:
//
//	16-bit: ds = cs; lgdt [0x88]; CR0.PE; ljmp 0x18:pm
//	pm:     data segments 0x10; ebx = base; CR4 |= PAE MCE OSFXSR OSXMMEXCPT;
//	        CR3 = [base+0x100]; EFER |= SCE LME NXE; CR0 |= PG WP NE MP, &^ CD NW EM TS;
//	        ljmp [base+0x118] to lm
//	lm:     rcx = [base+0x108]; rax = [base+0x110]; jmp rcx
//
// with the page's own address patched in at 0x16 (pm), 0x27 (ebx) and 0x8a (GDT).
var trampoline = [...]byte{
	0xfa, 0xfc, 0x8c, 0xc8, 0x8e, 0xd8, 0x66, 0x0f, 0x01, 0x16, 0x88, 0x00, 0x0f, 0x20, 0xc0, 0x0c,
	0x01, 0x0f, 0x22, 0xc0, 0x66, 0xea, 0x1c, 0x00, 0x00, 0x00, 0x18, 0x00, 0x66, 0xb8, 0x10, 0x00,
	0x8e, 0xd8, 0x8e, 0xd0, 0x8e, 0xc0, 0xbb, 0x00, 0x00, 0x00, 0x00, 0x0f, 0x20, 0xe0, 0x0d, 0x60,
	0x06, 0x00, 0x00, 0x0f, 0x22, 0xe0, 0x8b, 0x83, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x22, 0xd8, 0xb9,
	0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x0d, 0x01, 0x09, 0x00, 0x00, 0x0f, 0x30, 0x0f, 0x20, 0xc0,
	0x0d, 0x22, 0x00, 0x01, 0x80, 0x25, 0xf3, 0xff, 0xff, 0x9f, 0x0f, 0x22, 0xc0, 0x8d, 0x83, 0x6f,
	0x00, 0x00, 0x00, 0x89, 0x83, 0x18, 0x01, 0x00, 0x00, 0xff, 0xab, 0x18, 0x01, 0x00, 0x00, 0x89,
	0xd8, 0x48, 0x8b, 0x88, 0x08, 0x01, 0x00, 0x00, 0x48, 0x8b, 0x80, 0x10, 0x01, 0x00, 0x00, 0xff,
	0xe1, 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00, 0x00, 0x00,
}

// startAPs starts the processors that the MADT lists, one by one. From here on
// the lock is held, until start0 is done.
func startAPs() {
	readMADT()
	maskIOAPICs()
	if napics < 2 || lowPage == 0 {
		return
	}
	bigLock = 1
	_, _, _, haltPC, _, _, apPC, _, _ := entryPoints()
	mapSmall(rootTable, lowPage, lowPage, pteWrite)
	b := phys(lowPage)
	for i := range trampoline {
		*p8(b + uintptr(i)) = trampoline[i]
	}
	*p32(b + 0x16) = uint32(lowPage) + 0x1c
	*p32(b + 0x27) = uint32(lowPage)
	*p32(b + 0x8a) = uint32(lowPage) + 0x120
	*p64(b + 0x100) = rootTable
	*p64(b + 0x108) = uint64(apPC)
	*p16(b + 0x11c) = kernelCS
	*p64(b + 0x120) = 0
	*p64(b + 0x128) = 0x00209a0000000000
	*p64(b + 0x130) = 0x00cf92000000ffff
	*p64(b + 0x138) = 0x00cf9a000000ffff
	for i := 0; i < napics && ncpus < MaxCPUs; i++ {
		if apicIDs[i] == cpus[0].apic {
			continue
		}
		startAP(&cpus[ncpus], apicIDs[i], haltPC, b)
	}
	*p64(entry(rootTable, lowPage, false, 0)) = 0
	writeCR3(rootTable)
	flushOthers(0)
}

func startAP(c *percpu, apic uint64, idlePC, b uintptr) {
	i := ncpus
	c.index, c.apic = uint64(i), apic
	c.self = addr(c)
	c.kstack = (addr(&trapStacks[i]) + trapStack - 64) &^ 63
	c.tlsG = addr(&fakeG)
	c.inKernel = 1
	newIdle(c, idlePC)
	c.cur = c.idle
	*p64(b + 0x110) = uint64(addr(c))
	ncpus++
	*lapic(lapicICRHigh) = uint32(apic) << 24
	*lapic(lapicICRLow) = 0x4500 // INIT
	delay(10_000_000)
	for try := 0; try < 2 && atomic.LoadUint32(&c.online) == 0; try++ {
		*lapic(lapicICRHigh) = uint32(apic) << 24
		*lapic(lapicICRLow) = 0x4600 | uint32(lowPage>>12) // start-up
		for end := now() + 2_000_000_000; now() < end && atomic.LoadUint32(&c.online) == 0; {
			pause()
		}
	}
	if atomic.LoadUint32(&c.online) == 0 {
		// Another INIT parks it: it must not wake up later on what is then another CPU's stack.
		*lapic(lapicICRHigh) = uint32(apic) << 24
		*lapic(lapicICRLow) = 0x4500
		delay(10_000_000)
		ncpus--
		puts("aios kernel: cpu does not start apic=")
		putHex(apic)
		puts("\n")
	}
}

func delay(ns int64) {
	for end := now() + ns; now() < end; {
		pause()
	}
}

// apStart finishes an application processor, which then idles.
func apStart(a uintptr) {
	c := (*percpu)(ptr(a))
	c.cr3 = rootTable
	setupCPU(c)
	lapicInit()
	atomic.StoreUint32(&c.online, 1)
}

// What ACPI says about the processors.
var (
	apicIDs [MaxCPUs]uint64
	napics  int
	nx2APIC int // that would need x2APIC mode
)

// readMADT fills apicIDs and ioapics. It runs before there is a heap, since the
// runtime asks for the number of CPUs as it starts. Without tables there is one CPU.
func readMADT() {
	tables, err := acpi.Open(ramView, bootInfo.RSDP)
	if err == nil {
		err = tables.MADT(noteEntry)
	}
	if e, ok := err.(acpi.Error); ok {
		puts("aios kernel: WARNING reason=\"")
		puts(string(e))
		puts("\" remedy=\"update the firmware; CPUs that it does not list are not used\"\n")
	}
	if nx2APIC > 0 {
		puts("aios kernel: WARNING reason=\"CPUs with APIC ids above 254 are not used\" remedy=\"none: this kernel has no x2APIC mode\"\n")
	}
}

func noteEntry(e acpi.Entry) {
	switch {
	case e.Kind == acpi.IOAPIC:
		noteIOAPIC(e)
	case e.Kind == acpi.Processor && napics < MaxCPUs:
		apicIDs[napics] = uint64(e.APIC)
		napics++
	case e.Kind == acpi.X2:
		nx2APIC++
	}
}

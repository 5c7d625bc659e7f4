//go:build aios

package metal

import "aios/kernel/vdso"

// Addresses that boot/link, the boot stage and this package agree on.
const (
	bootSegment  = 0x0fff0000 // boot/link: first page tables and GDT of the boot stage
	efiScratch   = 0x0f400000 // boot/link: identity-mapped buffers for firmware calls
	efiScratchSz = bootSegment - efiScratch
	kernelBase   = 0x40000000 // virtual window of the kernel image
	kernelLimit  = 0x48000000
)

// start0 is the first Go code of an image, on the first CPU's trap stack.
// info is the physical address of handoff.Info, 0 inside the firmware.
func start0(info uintptr) {
	_, _, _, haltPC, pollPC, rt0, _, end, text := entryPoints()
	tscBoot = rdtsc()
	efiMode = info == 0
	idlePC := haltPC
	if efiMode {
		tscBoot = entryTSC
		kernelFlags = 2 // the firmware's devices would interrupt us
		idlePC = pollPC
		windowStart, windowEnd = uint64(text)&^0xfffff, uint64(end)
		rootTable = bootSegment
		regions[0] = region{efiPool, efiPool + efiPoolPages<<12}
		nregions = 1
		framesTotal = uint64(efiPoolPages)
		protectImage(uintptr(windowStart), end, 0)
		*p64(bootSegment + 0x6000) = 0 // page 0: nil pointers fault
		rngSeed(0, rdtsc())
	} else {
		windowStart, windowEnd = kernelBase, kernelLimit
		takeOver(info, end)
	}
	thisCPU().cr3 = rootTable
	writeCR3(rootTable)
	guardStacks()
	rngStir()
	setupTraps()
	setupCPU(&cpus[0])
	calibrate()
	newIdle(&cpus[0], idlePC)
	cpus[0].online = 1
	clock := uintptr(0)
	if !efiMode {
		wallBase = int64(bootInfo.UnixNanos) + int64(tscNanos(tscBoot-bootInfo.TSCAtUnix))
		clock = clockPage()
		maskPICs()
		const apicBase, x2APIC, enabled = 0x1b, 1 << 10, 1 << 11
		if b := rdmsr(apicBase); b&(x2APIC|enabled) != enabled || b>>12<<12 != lapicBase {
			die("the local APIC is not at 0xfee00000 in xAPIC mode; switch x2APIC off in the firmware setup", nil)
		}
		mapSmall(rootTable, lapicBase, lapicBase, pteWrite|pteNX|pteNoCache)
		cpus[0].apic = uint64(*lapic(lapicID) >> 24)
		lapicInit()
		startAPs()
	}
	t := newThread()
	t.rip, t.cs, t.flags, t.ss = uint64(rt0), kernelCS, kernelFlags, kernelSS
	t.sp = uint64(firstFrame(clock))
	t.state = stRunning
	t.cpu = 1
	cpus[0].cur = addr(t)
	unlock() // startAPs took it
}

// clockPage makes the object from which the runtime reads the time without a trap.
func clockPage() uintptr {
	page := (addr(&vdsoPages) + pageSize - 1) &^ (pageSize - 1)
	// Safety: the page lies in vdsoPages, which nothing else uses.
	vdso.Fill((*[pageSize]byte)(ptr(page)), Clock())
	makeCode(page)
	return page
}

// makeCode makes a page of the image's data executable and read-only. The other
// CPUs have not been started yet.
func makeCode(page uintptr) {
	e := entry(rootTable, page, false, 0)
	*p64(e) = *p64(e) &^ (pteWrite | pteNX)
	invlpg(page)
}

// firstFrame lays out argc, argv, envp and auxv for the runtime; clock is the
// address of its vDSO, or 0.
func firstFrame(clock uintptr) uintptr {
	sp := (addr(&firstStack) + initialStack - 1024) &^ 63
	random := sp + 512
	rngFill(random, 16)
	copyString(sp+600, arg0)
	copyString(sp+640, env0)
	copyString(sp+700, env1)
	words := [...]uint64{1, uint64(sp + 600), 0, uint64(sp + 640), uint64(sp + 700), 0,
		6, pageSize, // AT_PAGESZ
		25, uint64(random), // AT_RANDOM
		33, uint64(clock), // AT_SYSINFO_EHDR
		23, 0, 0, 0}
	for i := range words {
		*p64(sp + uintptr(i)*8) = words[i]
	}
	return sp
}

const (
	arg0 = "aios\x00"
	env0 = "GODEBUG=madvdontneed=1\x00"
	env1 = "GOTRACEBACK=all\x00"
)

func copyString(p uintptr, s string) {
	for i := 0; i < len(s); i++ {
		*p8(p + uintptr(i)) = s[i]
	}
}

// gate writes one interrupt gate (Intel SDM 3A, 7.14.1).
func gate(v int, handler uintptr, ist uint64) {
	a := uint64(handler)
	idt[v*2] = a&0xffff | kernelCS<<16 | ist<<32 | 0x8e<<40 | (a>>16&0xffff)<<48
	idt[v*2+1] = a >> 32
}

// guardStacks unmaps the lowest whole page of every trap stack: running over
// it ends in nestedTrap, not in a neighbour's memory.
func guardStacks() {
	for i := range trapStacks {
		p := (addr(&trapStacks[i]) + pageSize - 1) &^ (pageSize - 1)
		*p64(entry(rootTable, p, false, 0)) = 0
	}
	writeCR3(rootTable)
}

// setupTraps generates a stub for each vector that pushes what trapEntry expects.
func setupTraps() {
	_, trapPC, fatalPC, _, _, _, _, _, _ := entryPoints()
	page := (addr(&stubs) + pageSize - 1) &^ (pageSize - 1)
	for v := 0; v < 256; v++ {
		s := page + uintptr(v)*16
		target, ist := trapPC, uint64(1)
		if v == 2 || v == 8 || v == 18 {
			target, ist = fatalPC, 2
		}
		gate(v, s, ist)
		q := s
		if !(v == 8 || v >= 10 && v <= 14 || v == 17 || v == 21 || v == 29 || v == 30) {
			*p16(q) = 0x006a // push 0: no error code
			q += 2
		}
		*p8(q) = 0x68 // push vector
		*p32(q + 1) = uint32(v)
		*p8(q + 5) = 0xe9 // jmp
		*p32(q + 6) = uint32(target - (q + 10))
	}
	makeCode(page)
	*p16(addr(&idtr)) = 4095
	*p64(addr(&idtr) + 2) = uint64(addr(&idt))
}

// setupCPU gives c its descriptor tables, TSS and SYSCALL target. It runs on c.
func setupCPU(c *percpu) {
	i := c.index
	sysPC, _, _, _, _, _, _, _, _ := entryPoints()
	g := &gdt[i]
	ta := uint64(addr(&tss[i]))
	g[1] = 0x00209a0000000000 // 0x08 kernel code
	g[2] = 0x0000920000000000 // 0x10 kernel data
	g[4] = 0x0000f20000000000 // 0x20 user data
	g[5] = 0x0020fa0000000000 // 0x28 user code
	g[6] = 103 | (ta&0xffffff)<<16 | 0x89<<40 | (ta>>24&0xff)<<56
	g[7] = ta >> 32
	*p16(uintptr(ta) + 102) = 104                                     // no I/O bitmap
	*p64(uintptr(ta) + 44) = uint64(addr(&fatalStacks[i])+4096) &^ 63 // IST2
	c.ist1 = uintptr(ta) + 36                                         // set at every exit
	*p64(c.ist1) = uint64(addr(&fatalStacks[i])+4096) &^ 63
	d := addr(&gdtr[i])
	*p16(d) = 63
	*p64(d + 2) = uint64(addr(g))
	if i == 0 {
		gdtr0 = gdtr[0]
	}
	loadTables(d, addr(&idtr))
	const star, lstar, sfmask = 0xc0000081, 0xc0000082, 0xc0000084
	wrmsr(star, kernelCS<<32|0x1b<<48)
	wrmsr(lstar, uint64(sysPC))
	wrmsr(sfmask, 0x47700) // TF IF DF IOPL NT AC off on entry
	if !efiMode {
		const sysenterCS = 0x174
		wrmsr(sysenterCS, 0) // SYSENTER faults
	}
}

// protectImage rewrites the mapping of [start, end) so that text is read-only
// and executable, rodata read-only, the rest writable; offset is physical minus
// virtual. All else below 4 GiB becomes non-executable.
func protectImage(start, end, offset uintptr) {
	_, _, _, _, _, _, _, _, text := entryPoints()
	etext, erodata := sections()
	etext = (etext + pageSize - 1) &^ (pageSize - 1)
	erodata &^= pageSize - 1
	for va := start &^ (1<<21 - 1); va < end; va += 1 << 21 {
		t := mustFrame()
		for j := uintptr(0); j < 512; j++ {
			a := va + j<<12
			f := uint64(a+offset) | ptePresent
			switch {
			case a >= text && a < etext:
			case a >= etext && a < erodata:
				f |= pteNX
			default:
				f |= pteWrite | pteNX
			}
			*p64(phys(t) + j*8) = f
		}
		pd := tableFor(rootTable, va)
		*p64(pd) = uint64(t) | ptePresent | pteWrite
	}
	if efiMode {
		for g := uintptr(0); g < 4; g++ {
			for i := uintptr(0); i < 512; i++ {
				e := uintptr(bootSegment + 0x2000 + g*0x1000 + i*8)
				if *p64(e)&pteLarge != 0 {
					*p64(e) |= pteNX
				}
			}
		}
	}
}

// tableFor gives the address of the PD entry for va, making the tables above it.
func tableFor(root uint64, va uintptr) uintptr {
	t := uintptr(root)
	for s := uint(39); s > 21; s -= 9 {
		e := phys(t) + (va>>s&511)*8
		if *p64(e)&ptePresent == 0 {
			*p64(e) = uint64(mustFrame()) | ptePresent | pteWrite
		}
		t = uintptr(*p64(e) & pteAddr)
	}
	return phys(t) + (va>>21&511)*8
}

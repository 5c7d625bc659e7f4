//go:build aios

package metal

const com1 = 0x3f8

func putc(c byte) {
	// A port that is not there reads as 0xff, so this cannot hang.
	for in8(com1+5)&0x20 == 0 {
	}
	out8(com1, c)
}

func puts(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] == '\n' {
			putc('\r')
		}
		putc(s[i])
	}
}

func putHex(v uint64) {
	for i := 60; i >= 0; i -= 4 {
		putc("0123456789abcdef"[v>>uint(i)&15])
	}
	putc(' ')
}

func dump(t *thread) {
	if t == nil {
		return // not even the first thread is there
	}
	puts("aios kernel: registers vec ")
	putHex(t.vec)
	puts("err ")
	putHex(t.err)
	puts("rip ")
	putHex(t.rip)
	puts("cr2 ")
	putHex(readCR2())
	puts("sp ")
	putHex(t.sp)
	puts("bp ")
	putHex(t.bp)
	puts("tid ")
	putHex(t.tid)
	puts("\n")
	if t.cs == kernelCS {
		trace(t)
	}
}

// die reports a state from which there is no way on, and stops the machine.
func die(why string, t *thread) {
	stopOthers()
	puts("\n")
	failed(why)
	dump(t)
	poweroff(101)
}

// failed is the last word to people and to whoever reads the console, of the
// kernel or of the boot stage.
func failed(why string) {
	if efiMode {
		puts("aios boot: REFUSED stage=\"internal\" reason=\"")
	} else {
		puts("aios kernel: FAILED reason=\"")
	}
	puts(why)
	puts("\" remedy=\"every CPU is stopped; report the lines around this one, and reset the machine\"\n")
}

func nestedTrap(t *thread) { die("trap inside the trap handler", t) }

// stopOthers halts all other CPUs where they are, by NMI: with a kernel that
// failed no program runs on. Whoever calls it second halts too, or, if it is
// the first one again, has failed at failing.
func stopOthers() {
	if ncpus == 1 {
		return
	}
	me := uint64(*lapic(lapicID)>>24) + 1
	for !cas64(&stopping, 0, me) {
		if stopping == me {
			poweroff(102)
		}
		halt()
	}
	*lapic(lapicICRLow) = 0xc4400 // NMI to all but this one
}

// poweroff ends QEMU through isa-debug-exit where that device exists, tries
// the ACPI PM1 port of q35, and halts.
func poweroff(code uint8) {
	out32(0xf4, uint32(code))
	if code == 0 {
		out16(0x604, 0x2000)
	}
	for {
		halt()
	}
}

// Poweroff stops the machine; code is what isa-debug-exit reports ((code<<1)|1).
func Poweroff(code uint8) { poweroff(code) }

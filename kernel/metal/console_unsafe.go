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
	puts("vec ")
	putHex(t.vec)
	puts("err ")
	putHex(t.err)
	puts("rip ")
	putHex(t.rip)
	puts("cr2 ")
	putHex(readCR2())
	puts("sp ")
	putHex(t.sp)
	puts("tid ")
	putHex(t.tid)
	puts("\n")
}

// die reports a state from which there is no way on, and stops the machine.
func die(why string, t *thread) {
	puts("\naios kernel: DEAD reason=\"")
	puts(why)
	puts("\" ")
	dump(t)
	poweroff(101)
}

func nestedTrap(t *thread) { die("trap inside the trap handler", t) }

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

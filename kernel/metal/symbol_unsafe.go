//go:build aios

package metal

// Names of functions for a kernel that dies below the runtime: from the table
// that the runtime itself traces by (pcHeader in runtime/symtab.go), read
// without the runtime's help. Panics of Go code are traced by the runtime.

func pclntab() uintptr

// Layout of the table, as of Go 1.20: what is not of it is left unnamed.
const (
	pcMagic     = 0xfffffff1
	pcCount     = 8
	pcNames     = 32
	pcFunctions = 64
)

// putSymbol names the function that holds pc, and how far in it lies.
func putSymbol(pc uintptr) {
	_, _, _, _, _, _, _, _, text := entryPoints()
	etext, _ := sections()
	t := pclntab()
	if pc < text || pc >= etext || *p32(t) != pcMagic {
		puts("?")
		return
	}
	functions, off := t+uintptr(*p64(t + pcFunctions)), uint32(pc-text)
	lo, hi := uintptr(0), uintptr(*p64(t + pcCount))
	for hi-lo > 1 { // the last function that starts at or below off
		if m := (lo + hi) / 2; *p32(functions + m*8) <= off {
			lo = m
		} else {
			hi = m
		}
	}
	f := functions + uintptr(*p32(functions + lo*8 + 4))
	for name := t + uintptr(*p64(t + pcNames)) + uintptr(*p32(f + 4)); *p8(name) != 0; name++ {
		putc(*p8(name))
	}
	puts("+0x")
	putHex(uint64(off - *p32(functions + lo*8)))
}

// trace names where t was and, by the frame pointers that Go keeps, its callers.
func trace(t *thread) {
	puts("aios kernel: at ")
	putSymbol(uintptr(t.rip))
	puts("\n")
	bp := uintptr(t.bp)
	for range 16 {
		inWindow := bp >= uintptr(windowStart) && bp < uintptr(windowEnd)-16
		if bp%8 != 0 || !inWindow && (bp < heapBase || !touch(bp, 16)) {
			return
		}
		puts("aios kernel: called from ")
		putSymbol(uintptr(*p64(bp + 8)))
		puts("\n")
		next := uintptr(*p64(bp))
		if next <= bp {
			return
		}
		bp = next
	}
}

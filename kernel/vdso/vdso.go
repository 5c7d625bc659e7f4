// Package vdso makes the page from which a program reads the time without a
// system call: a shared object as Linux puts one into every process (vdso(7)),
// with the one function that Go's runtime looks for, clock_gettime of version
// LINUX_2.6.
//
// The page is code and read-only: what the kernel computes time from never
// changes after start, so the numbers stand in the instructions, and no data is
// shared between the kernel and the program. Whatever the function does not know
// it asks the kernel for, by the system call.
package vdso

import "encoding/binary"

// PageSize is what the object fills.
const PageSize = 4096

// Clock is what time is computed from: nanoseconds since start are
// (TSC - Start) * 1e9 / Hz, and 0 where that is negative.
type Clock struct {
	Start uint64 // time-stamp counter at start
	Hz    uint64 // its ticks in a second
	Wall  int64  // nanoseconds from 1970 to start
}

// Name and version of the function, as Go's runtime looks for them
// (runtime/vdso_linux_amd64.go). The hash is that of the version's name (System V
// ABI, hash table).
const (
	symbol      = "__vdso_clock_gettime"
	version     = "LINUX_2.6"
	versionHash = 0x3ae75f6
	soname      = "linux-vdso.so.1"
)

// code is clock_gettime(edi = clock, rsi = struct timespec). It changes only
// registers that a called function may (psABI 3.2.1). Assembled from:
//
//		cmp edi, 7; ja slow; mov ecx, 0xf3; bt ecx, edi; jnc slow  ; clocks 0, 1, 4 to 7
//		lfence; rdtsc; shl rdx, 32; or rax, rdx
//		mov rcx, Start; sub rax, rcx; jns ok; xor eax, eax         ; another CPU's counter
//	ok:	mov ecx, 1000000000; mul rcx; mov rcx, Hz; div rcx
//		mov rcx, Wall; test edi, edi; je wall; cmp edi, 5; jne mono
//	wall:	add rax, rcx
//	mono:	xor edx, edx; mov ecx, 1000000000; div rcx
//		mov [rsi], rax; mov [rsi+8], rdx; xor eax, eax; ret
//	slow:	mov eax, 228; syscall; ret
var code = [...]byte{
	0x83, 0xff, 0x07, 0x77, 0x66, 0xb9, 0xf3, 0x00, 0x00, 0x00, 0x0f, 0xa3, 0xf9, 0x73, 0x5c,
	0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0,
	0x48, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0x29, 0xc8, 0x79, 0x02, 0x31, 0xc0,
	0xb9, 0x00, 0xca, 0x9a, 0x3b, 0x48, 0xf7, 0xe1, 0x48, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0x48, 0xf7, 0xf1,
	0x48, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0x85, 0xff, 0x74, 0x05, 0x83, 0xff, 0x05, 0x75, 0x03,
	0x48, 0x01, 0xc8,
	0x31, 0xd2, 0xb9, 0x00, 0xca, 0x9a, 0x3b, 0x48, 0xf7, 0xf1,
	0x48, 0x89, 0x06, 0x48, 0x89, 0x56, 0x08, 0x31, 0xc0, 0xc3,
	0xb8, 0xe4, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xc3,
}

// Where the numbers go in code.
const (
	startAt = 0x1d
	hzAt    = 0x36
	wallAt  = 0x43
)

// Offsets in the object (System V ABI, object files; symbol versions: Linux
// Standard Base 3.2, 10.7).
const (
	progAt    = 64
	dynAt     = progAt + 2*56
	dynCount  = 10
	hashAt    = dynAt + dynCount*16
	symAt     = (hashAt + 5*4 + 7) &^ 7
	verdefAt  = symAt + 2*24
	versymAt  = verdefAt + 2*(20+8)
	stringsAt = versymAt + 2*2
	symbolAt  = 1
	versionAt = symbolAt + len(symbol) + 1
	sonameAt  = versionAt + len(version) + 1
	stringsN  = sonameAt + len(soname) + 1
	codeAt    = (stringsAt + stringsN + 63) &^ 63
)

// Fill writes the object, which runs at any address. It does not allocate: the
// kernel makes a page for its own runtime before there is a heap.
func Fill(page *[PageSize]byte, c Clock) {
	le := binary.LittleEndian
	b := page[:]
	clear(b)
	copy(b, "\x7fELF\x02\x01\x01") // 64 bits, little endian, version 1
	half := func(at int, v uint16) { le.PutUint16(b[at:], v) }
	word := func(at int, v uint32) { le.PutUint32(b[at:], v) }
	long := func(at int, v uint64) { le.PutUint64(b[at:], v) }
	half(16, 3)  // shared object
	half(18, 62) // x86-64
	word(20, 1)
	long(32, progAt)
	half(52, 64)
	half(54, 56)
	half(56, 2)

	word(progAt, 1)   // PT_LOAD: the whole page
	word(progAt+4, 5) // read, execute
	long(progAt+32, PageSize)
	long(progAt+40, PageSize)
	long(progAt+48, PageSize)
	word(progAt+56, 2) // PT_DYNAMIC
	word(progAt+60, 4) // read
	for _, at := range [...]int{8, 16, 24} {
		long(progAt+56+at, dynAt)
	}
	long(progAt+56+32, dynCount*16)
	long(progAt+56+40, dynCount*16)
	long(progAt+56+48, 8)

	for i, d := range [dynCount][2]uint64{
		{4, hashAt}, {5, stringsAt}, {6, symAt}, {10, uint64(stringsN)}, {11, 24}, {14, uint64(sonameAt)},
		{0x6ffffff0, versymAt}, {0x6ffffffc, verdefAt}, {0x6ffffffd, 2}, // and the null entry
	} {
		long(dynAt+i*16, d[0])
		long(dynAt+i*16+8, d[1])
	}
	word(hashAt, 1)   // one chain,
	word(hashAt+4, 2) // of two symbols,
	word(hashAt+8, 1) // that begins with the second; the first is the null symbol

	word(symAt+24, uint32(symbolAt))
	b[symAt+28] = 1<<4 | 2 // global function
	half(symAt+30, 1)      // defined
	long(symAt+32, uint64(codeAt))
	long(symAt+40, uint64(len(code)))
	half(versymAt+2, 2)

	for i, v := range [...]struct {
		flags uint16
		hash  uint32
		name  int
	}{{1, 0, sonameAt}, {0, versionHash, versionAt}} {
		at := verdefAt + i*28
		half(at, 1)
		half(at+2, v.flags)
		half(at+4, uint16(i+1)) // index
		half(at+6, 1)           // names
		word(at+8, v.hash)
		word(at+12, 20) // to its name
		if i == 0 {
			word(at+16, 28) // to the next definition
		}
		word(at+20, uint32(v.name))
	}
	copy(b[stringsAt+symbolAt:], symbol)
	copy(b[stringsAt+versionAt:], version)
	copy(b[stringsAt+sonameAt:], soname)

	copy(b[codeAt:], code[:])
	long(codeAt+startAt, c.Start)
	long(codeAt+hzAt, c.Hz)
	long(codeAt+wallAt, uint64(c.Wall))
}

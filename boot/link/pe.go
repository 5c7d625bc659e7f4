package link

// EFI turns the boot stage's ELF into a PE32+ EFI application. Its one section
// holds a position-independent stub and, behind it, the image from BootSegment
// on; the stub allocates the image's link addresses and a pool of frames from
// the firmware, copies the image there and enters it. If the firmware refuses
// the memory the stub returns its error.
func EFI(file []byte) ([]byte, error) {
	p, err := read(file, EFIText-0x1000, EFIScratch+1<<30)
	if err != nil {
		return nil, err
	}
	flat := bootSegment()
	for _, s := range p.segments {
		at := s.addr - BootSegment
		flat = append(flat, make([]byte, at+uint64(len(s.data))-uint64(len(flat)))...)
		copy(flat[at:], s.data)
	}
	bss := p.end - BootSegment - uint64(len(flat))
	code := stub(p.entry, (p.end+0xfffff)&^0xfffff, uint64(len(flat)), bss)
	return portableExecutable(append(code, flat...)), nil
}

// assembler collects machine code with forward jumps to one label.
type assembler struct {
	code  []byte
	fails []int // places of 32-bit displacements to the failure exit
}

func (a *assembler) emit(b ...byte) { a.code = append(a.code, b...) }
func (a *assembler) imm(v uint64)   { a.code = le.AppendUint32(a.code, uint32(v)) }

// allocate calls BootServices.AllocatePages(kind, memory, pages, &[rsp+20h] = at)
// with RDI = BootServices, and leaves for the failure exit on an error.
func (a *assembler) allocate(kind, memory byte, pages, at uint64) {
	a.emit(0xb9, kind, 0, 0, 0)   // mov ecx, kind
	a.emit(0xba, memory, 0, 0, 0) // mov edx, memory
	a.emit(0x41, 0xb8)            // mov r8d, pages
	a.imm(pages)
	a.emit(0x4c, 0x8d, 0x4c, 0x24, 0x20) // lea r9, [rsp+20h]
	a.emit(0xb8)                         // mov eax, at
	a.imm(at)
	a.emit(0x49, 0x89, 0x01) // mov [r9], rax
	a.emit(0xff, 0x57, 0x28) // call [rdi+28h]
	a.emit(0x48, 0x85, 0xc0) // test rax, rax
	a.emit(0x0f, 0x85)       // jnz fail
	a.fails = append(a.fails, len(a.code))
	a.imm(0)
}

// stub is the code at the entry of the application: RCX = image handle,
// RDX = system table. It enters the image with RCX and RDX as they were,
// R8 = frame pool, R9 = its pages and EDI = EFIMagic.
func stub(entry, end, flat, bss uint64) []byte {
	const maxAddress, atAddress = 1, 2
	const loaderCode, loaderData = 1, 2
	var a assembler
	a.emit(0x53, 0x56, 0x57, 0x55) // push rbx, rsi, rdi, rbp
	a.emit(0x41, 0x54)             // push r12
	a.emit(0x48, 0x83, 0xec, 0x30) // sub rsp, 30h
	a.emit(0x48, 0x89, 0xcb)       // mov rbx, rcx
	a.emit(0x49, 0x89, 0xd4)       // mov r12, rdx
	a.emit(0x48, 0x8b, 0x7a, 0x60) // mov rdi, [rdx+60h]: BootServices
	a.allocate(atAddress, loaderCode, (end-EFIScratch)>>12, EFIScratch)
	a.allocate(maxAddress, loaderData, FramePool>>12, 0xffffffff)
	a.emit(0x48, 0x8b, 0x6c, 0x24, 0x20) // mov rbp, [rsp+20h]
	a.emit(0xfc)                         // cld
	a.emit(0x48, 0x8d, 0x35)             // lea rsi, [rip+payload]
	payload := len(a.code)
	a.imm(0)
	a.emit(0xbf) // mov edi, BootSegment
	a.imm(BootSegment)
	a.emit(0xb9) // mov ecx, flat
	a.imm(flat)
	a.emit(0xf3, 0xa4) // rep movsb
	a.emit(0x31, 0xc0) // xor eax, eax
	a.emit(0xb9)       // mov ecx, bss
	a.imm(bss)
	a.emit(0xf3, 0xaa)       // rep stosb
	a.emit(0x48, 0x89, 0xd9) // mov rcx, rbx
	a.emit(0x4c, 0x89, 0xe2) // mov rdx, r12
	a.emit(0x49, 0x89, 0xe8) // mov r8, rbp
	a.emit(0x41, 0xb9)       // mov r9d, pages
	a.imm(FramePool >> 12)
	a.emit(0xbf) // mov edi, EFIMagic
	a.imm(EFIMagic)
	a.emit(0xb8) // mov eax, entry
	a.imm(entry)
	a.emit(0xff, 0xe0) // jmp rax
	for _, f := range a.fails {
		le.PutUint32(a.code[f:], uint32(len(a.code)-f-4))
	}
	a.emit(0x48, 0x83, 0xc4, 0x30) // fail: add rsp, 30h
	a.emit(0x41, 0x5c)             // pop r12
	a.emit(0x5d, 0x5f, 0x5e, 0x5b) // pop rbp, rdi, rsi, rbx
	a.emit(0xc3)                   // ret: the firmware's status in RAX
	for len(a.code)%16 != 0 {
		a.emit(0xcc)
	}
	le.PutUint32(a.code[payload:], uint32(len(a.code)-payload-4))
	return a.code
}

// portableExecutable wraps one section of code into a PE32+ EFI application.
// The section is readable and executable: the stub writes to the stack and to
// what it allocates only, so the image honours NX.
func portableExecutable(code []byte) []byte {
	const (
		headerSize  = 0x1000
		peOffset    = 0x80
		fileAlign   = 0x200
		pageAlign   = 0x1000
		amd64       = 0x8664
		executable  = 0x0022 // EXECUTABLE_IMAGE, LARGE_ADDRESS_AWARE
		pe32plus    = 0x020b
		efiApp      = 10
		nxCompat    = 0x0100
		codeSection = 0x60000020 // CODE, EXECUTE, READ
	)
	raw := (len(code) + fileAlign - 1) &^ (fileAlign - 1)
	pe := make([]byte, headerSize+raw)
	copy(pe, "MZ")
	le.PutUint32(pe[0x3c:], peOffset)
	h := pe[peOffset:]
	copy(h, "PE\x00\x00")
	le.PutUint16(h[4:], amd64)
	le.PutUint16(h[6:], 1)    // sections
	le.PutUint16(h[20:], 240) // optional header
	le.PutUint16(h[22:], executable)
	o := h[24:]
	le.PutUint16(o, pe32plus)
	le.PutUint32(o[4:], uint32(raw)) // SizeOfCode
	le.PutUint32(o[16:], headerSize) // AddressOfEntryPoint
	le.PutUint32(o[20:], headerSize) // BaseOfCode
	le.PutUint32(o[32:], pageAlign)  // SectionAlignment
	le.PutUint32(o[36:], fileAlign)  // FileAlignment
	le.PutUint32(o[56:], uint32((headerSize+raw+pageAlign-1)&^(pageAlign-1)))
	le.PutUint32(o[60:], headerSize) // SizeOfHeaders
	le.PutUint16(o[68:], efiApp)
	le.PutUint16(o[70:], nxCompat)
	le.PutUint32(o[108:], 16) // data directories
	s := o[240:]
	copy(s, ".text")
	le.PutUint32(s[8:], uint32(len(code))) // VirtualSize
	le.PutUint32(s[12:], headerSize)       // VirtualAddress
	le.PutUint32(s[16:], uint32(raw))
	le.PutUint32(s[20:], headerSize)
	le.PutUint32(s[36:], codeSection)
	copy(pe[headerSize:], code)
	return pe
}

// Package abi is the contract between the AIOS kernel and programs in ring 3:
// system call numbers, errors, handles, message fields and the register frame.
//
// # Calling convention
//
// The SYSCALL instruction, as on Linux x86-64: RAX holds the number, RDI the
// handle, RSI RDX R10 R8 R9 the further arguments; the result comes back in
// RAX, where -4095..-1 is a negated [Errno]. RCX and R11 are lost. Numbers
// below 512 belong to the Linux personality, which serves the program's
// runtime (memory, threads, futexes, time); AIOS calls start at [FirstCall].
// Every AIOS call names a handle first, and the kernel checks that handle,
// its type and its rights before it looks at any other argument.
//
// Package table says what there is; generated.go is made from it, and so is what
// other languages, the documentation and the dispatcher know. [Calls] describes
// each call.
package abi

// Handle names an object in the calling process's capability space: the slot
// in the low 32 bits, the slot's generation in the high 32. Zero is never valid.
type Handle uint64

// MakeHandle puts a handle together; only the kernel has a use for it.
func MakeHandle(index, generation uint32) Handle {
	return Handle(generation)<<32 | Handle(index)
}

// Index is the slot in the process's handle table.
func (h Handle) Index() uint32 { return uint32(h) }

// Generation is the slot's generation when the handle was made.
func (h Handle) Generation() uint32 { return uint32(h >> 32) }

// Type is the kind of object that a handle names.
type Type uint8

func (t Type) String() string {
	if t < typeEnd {
		return typeNames[t]
	}
	return "unknown"
}

// Rights say what a handle may be used for.
type Rights uint32

func (r Rights) String() string {
	if r == 0 {
		return "none"
	}
	s := ""
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			if s != "" {
				s += "|"
			}
			s += name
		}
	}
	return s
}

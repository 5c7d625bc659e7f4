package abi

import "strconv"

// Errno is an error of a system call. Numbers are Linux's (asm-generic/errno.h)
// wherever the meaning agrees, so that a runtime's own texts make sense.
type Errno uint16

// MaxErrno bounds the numbers: a result of -MaxErrno..-1 is an error.
const MaxErrno = 4095

func (e Errno) Error() string {
	if s := e.text(); s != "" {
		return s
	}
	return "errno " + strconv.Itoa(int(e))
}

// Result is the register value that reports e.
func (e Errno) Result() uint64 { return -uint64(e) }

// Decode splits a result register into value and error.
func Decode(rax uint64) (uint64, error) {
	if e := -rax; e-1 < MaxErrno {
		return 0, Errno(e)
	}
	return rax, nil
}

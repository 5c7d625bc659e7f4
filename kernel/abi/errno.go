package abi

import "strconv"

// Errno is an error of a system call. Numbers are Linux's (asm-generic/errno.h)
// wherever the meaning agrees, so that a runtime's own texts make sense.
type Errno uint16

const (
	Permission   Errno = 1   // EPERM
	NoEntry      Errno = 2   // ENOENT
	NoProcess    Errno = 3   // ESRCH
	Interrupted  Errno = 4   // EINTR
	IO           Errno = 5   // EIO
	BadHandle    Errno = 9   // EBADF
	Again        Errno = 11  // EAGAIN
	NoMemory     Errno = 12  // ENOMEM
	Denied       Errno = 13  // EACCES
	Fault        Errno = 14  // EFAULT
	Exists       Errno = 17  // EEXIST
	NoDevice     Errno = 19  // ENODEV
	Invalid      Errno = 22  // EINVAL
	TooManyFiles Errno = 24  // EMFILE
	Pipe         Errno = 32  // EPIPE
	NoCall       Errno = 38  // ENOSYS
	TooDeep      Errno = 40  // ELOOP
	MessageSize  Errno = 90  // EMSGSIZE
	WrongType    Errno = 95  // EOPNOTSUPP
	TimedOut     Errno = 110 // ETIMEDOUT
	Quota        Errno = 122 // EDQUOT
	Canceled     Errno = 125 // ECANCELED
	Lapsed       Errno = 127 // EKEYEXPIRED
)

// MaxErrno bounds the numbers: a result of -MaxErrno..-1 is an error.
const MaxErrno = 4095

var errnoText = map[Errno]string{
	Permission:   "operation not permitted",
	NoEntry:      "no such file",
	NoProcess:    "no such thread in this process",
	Interrupted:  "interrupted by a signal",
	IO:           "input or output failed",
	BadHandle:    "bad handle: closed, never granted, or of another process",
	Again:        "try again",
	NoMemory:     "memory quota exhausted",
	Denied:       "the handle lacks the right for this",
	Fault:        "bad address: not mapped in this process, or not for this kind of access",
	Exists:       "address range already in use",
	NoDevice:     "only private anonymous memory can be mapped",
	Invalid:      "invalid argument",
	TooManyFiles: "too many open descriptors, or no room for more handles",
	Pipe:         "the other end is closed",
	NoCall:       "no such system call",
	TooDeep:      "derived, or passed on, too many times",
	MessageSize:  "message too long, or too little room for the answer",
	WrongType:    "the handle names another type of object",
	TimedOut:     "timed out",
	Quota:        "the quota of messages or of their bytes is used up for now",
	Canceled:     "canceled: the process is ending",
	Lapsed:       "lapsed: the token has ended, was revoked, or its lease is over",
}

func (e Errno) Error() string {
	if s, ok := errnoText[e]; ok {
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

package process

import (
	"context"
	"io"

	"aios/kernel/abi"
)

// The objects behind handles. A method that can wait returns when ctx is done,
// which is how a process that is being ended gets its threads back. Buffers
// belong to the caller again once the method has returned. An error that is an
// abi.Errno reaches the program as it is; others become abi.IO.

// Stream is what TypeStream names.
type Stream interface {
	// Read waits for the first byte; io.EOF at the end.
	Read(ctx context.Context, p []byte) (int, error)
	Write(ctx context.Context, p []byte) (int, error)
}

// Attestor is what TypeAttestor names. Request and response are sequences of
// fields (abi.Fields); op is one of abi.Attest*.
type Attestor interface {
	Attest(ctx context.Context, op uint32, request []byte) (response []byte, err error)
}

// Authority is what TypeAuthority names: it takes leases, tokens and orders, and
// starts and ends agents. Request and response are sequences of fields; op is one
// of abi.Authority*. A refusal is an answer (its first field says why); an error
// is that of a request which is none.
type Authority interface {
	Authority(ctx context.Context, op uint32, request []byte) (response []byte, err error)
}

// Frames is what TypeFrames names: a network device. Nothing here looks into a
// frame.
type Frames interface {
	// Info is the device's address and the largest payload of a frame.
	Info() (address [6]byte, mtu uint16)
	// ReadFrames fills p with the frames that are there and fit, each behind its
	// length (u16 little endian). It does not wait.
	ReadFrames(p []byte) (int, error)
	// Arrived is closed when frames have come since it was called.
	Arrived() <-chan struct{}
	// WriteFrames sends the frames in p, which are well-formed, and waits for room.
	WriteFrames(ctx context.Context, p []byte) (int, error)
}

// Blob is what TypeBlob names.
type Blob interface{ io.ReaderAt }

// Log is what TypeLog names: the sink of complete, printable lines.
type Log interface{ Line(text string) }

// Grant is a capability that a process starts with.
type Grant struct {
	Name   string // AIOS_CAP_<Name>
	Type   abi.Type
	Rights abi.Rights
	Object any // nil for TypeProcess and TypeClock: the process's own; an *ipc.Port for TypeEndpoint
}

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

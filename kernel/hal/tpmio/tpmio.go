// Package tpmio talks to a TPM 2.0 through its memory-mapped interface: the
// command response buffer (CRB) or the FIFO of TIS, as the TCG PC Client
// Platform TPM Profile (PTP) 1.05, section 6, defines them. Both are go-tpm
// transports.
//
// The registers are behind Registers, so that the package runs under go test.
package tpmio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Base is where a PC client platform has the TPM (PTP 6.3.1), Size what its
// locality 0 takes.
const (
	Base = 0xfed40000
	Size = 0x1000
)

// Registers are the TPM's, by offset from Base.
type Registers interface {
	Read8(off uint32) uint8
	Write8(off uint32, v uint8)
	Read32(off uint32) uint32
	Write32(off uint32, v uint32)
}

// Clock is waited on between polls.
type Clock interface {
	Now() time.Duration
	Sleep(time.Duration)
}

// ErrTimeout is wrapped when the TPM does not get where it must in the time
// that the PTP gives it.
var ErrTimeout = errors.New("TPM does not answer in time")

// ErrNoTPM reports that no TPM 2.0 interface is there.
var ErrNoTPM = errors.New("no TPM 2.0 interface at 0xfed40000: give the machine a TPM (QEMU: -device tpm-crb or tpm-tis) and enable it in the firmware")

// TPM_INTERFACE_ID (PTP 6.3.2, table 18).
const (
	regInterfaceID = 0x30
	interfaceMask  = 0xf
	interfaceFIFO  = 0
	interfaceCRB   = 1
	interfaceTIS13 = 0xf
)

// Transport is one open interface; it implements go-tpm's transport.TPM.
type Transport interface {
	Send(command []byte) ([]byte, error)
	// Interface names it, "crb" or "tis".
	Interface() string
	// Close relinquishes the locality; nothing may be sent any more.
	Close() error
}

// Open finds out which interface there is and takes locality 0.
func Open(r Registers, c Clock) (Transport, error) {
	id := r.Read32(regInterfaceID)
	if id == 0xffffffff && r.Read32(regDIDVID) == 0xffffffff {
		return nil, ErrNoTPM
	}
	switch id & interfaceMask {
	case interfaceCRB:
		return openCRB(r, c)
	case interfaceFIFO, interfaceTIS13:
		return openTIS(r, c)
	}
	return nil, fmt.Errorf("TPM interface type %#x is neither CRB nor FIFO", id&interfaceMask)
}

// Time-outs of the PTP, section 6.4.2.5 (A to D) and 6.5.1.4, and a bound for
// the longest command: an RSA key in a discrete part.
const (
	timeoutA = 750 * time.Millisecond
	timeoutB = 2 * time.Second
	timeoutC = 750 * time.Millisecond
	longest  = 90 * time.Second
)

const (
	headerSize  = 10
	maxResponse = 4096
	pollFirst   = 20 * time.Microsecond
	pollMost    = time.Millisecond
)

// await polls until done, ever more slowly.
func await(c Clock, limit time.Duration, what string, done func() bool) error {
	end := c.Now() + limit
	for step := pollFirst; !done(); step = min(2*step, pollMost) {
		if c.Now() > end {
			return fmt.Errorf("%s: %w (%v)", what, ErrTimeout, limit)
		}
		c.Sleep(step)
	}
	return nil
}

// responseSize reads the length in a response header and bounds it.
func responseSize(header []byte, most int) (int, error) {
	n := binary.BigEndian.Uint32(header[2:])
	if n < headerSize || n > uint32(most) {
		return 0, fmt.Errorf("TPM response claims %d bytes, want %d to %d", n, headerSize, most)
	}
	return int(n), nil
}

func checkCommand(command []byte, most int) error {
	if len(command) < headerSize || len(command) > most {
		return fmt.Errorf("TPM command of %d bytes, the interface takes %d to %d", len(command), headerSize, most)
	}
	return nil
}

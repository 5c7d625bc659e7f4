package aios

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"aios/kernel/abi"
)

// Forever is a timeout of a call that waits as long as it takes; 0 does not wait.
const Forever = time.Duration(math.MaxInt64)

// Endpoint sends messages to one service.
type Endpoint struct{ Handle abi.Handle }

// OpenEndpoint uses the capability to send to a service of the manifest.
func OpenEndpoint(service string) (Endpoint, error) {
	h, err := Cap(abi.CapSend + strings.ToUpper(strings.ReplaceAll(service, "-", "_")))
	return Endpoint{h}, err
}

// Send sends bytes and moves handles, and returns the message's number. It waits
// for room as long as timeout says. docs/ipc.md says what each error means; after
// one, nothing was sent.
func (e Endpoint) Send(p []byte, timeout time.Duration, handles ...abi.Handle) (number uint64, err error) {
	var moved []byte
	for _, h := range handles {
		moved = binary.LittleEndian.AppendUint64(moved, uint64(h))
	}
	err = again(timeout, func(timeout uint64) (err error) {
		number, err = sendCall(e.Handle, p, moved, len(handles), timeout)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("send %d bytes and %d handles through endpoint %#x: %w", len(p), len(handles), uint64(e.Handle), err)
	}
	return number, nil
}

// Message is one that was received.
type Message struct {
	From    uint64 // id of the sender
	Number  uint64 // in the mailbox
	Data    []byte
	Handles []abi.Handle
}

// GoneError reports that a sender's endpoint was closed, because it did so or
// because it ended. It is abi.Pipe too.
type GoneError struct{ From uint64 } // 0: several

func (e *GoneError) Error() string {
	return fmt.Sprintf("process %d is gone, or gave its endpoint up", e.From)
}

func (e *GoneError) Unwrap() error { return abi.Pipe }

// Mailbox receives the messages for this process.
type Mailbox struct{ Handle abi.Handle }

// OpenMailbox uses the capability MAILBOX.
func OpenMailbox() (Mailbox, error) {
	h, err := Cap(abi.CapMailbox)
	return Mailbox{h}, err
}

// Receive takes the next message into buf, which Data then aliases. It waits as
// long as timeout says. The end of a sender is a *GoneError. A message that is
// longer than buf is abi.MessageSize and stays; Number tells which it is.
func (m Mailbox) Receive(buf []byte, timeout time.Duration) (Message, error) {
	var (
		info [abi.IPCInfo]byte
		n    uint64
	)
	err := again(timeout, func(timeout uint64) (err error) {
		n, err = recvCall(m.Handle, buf, info[:], timeout)
		return err
	})
	le := binary.LittleEndian
	from, number := le.Uint64(info[0:]), le.Uint64(info[8:])
	switch {
	case errors.Is(err, abi.Pipe):
		err = &GoneError{from}
	case errors.Is(err, abi.MessageSize) && number != 0:
		return Message{From: from, Number: number}, fmt.Errorf("receive message %d of %d bytes with room for %d: %w", number, le.Uint32(info[16:]), len(buf), err)
	}
	if err != nil {
		return Message{}, fmt.Errorf("receive from mailbox %#x: %w", uint64(m.Handle), err)
	}
	msg := Message{From: from, Number: number, Data: buf[:n]}
	for i := range min(le.Uint32(info[20:]), abi.MaxHandles) {
		msg.Handles = append(msg.Handles, abi.Handle(le.Uint64(info[24+8*i:])))
	}
	return msg, nil
}

// Wait waits until there is something to receive.
func (m Mailbox) Wait(timeout time.Duration) error {
	err := again(timeout, func(timeout uint64) error {
		_, err := bytesCall(abi.CallIPCWait, m.Handle, nil, timeout)
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for mailbox %#x: %w", uint64(m.Handle), err)
	}
	return nil
}

// Reply makes an endpoint to the mailbox, to be passed on to whoever is to answer.
func (m Mailbox) Reply() (Endpoint, error) {
	h, err := quick(abi.CallIPCReply, m.Handle)
	if err != nil {
		return Endpoint{}, fmt.Errorf("make an endpoint to mailbox %#x: %w", uint64(m.Handle), err)
	}
	return Endpoint{abi.Handle(h)}, nil
}

// Close gives a handle up.
func Close(h abi.Handle) error {
	if _, err := quick(abi.CallClose, h); err != nil {
		return fmt.Errorf("close handle %#x: %w", uint64(h), err)
	}
	return nil
}

// again makes a call that may wait until no signal interrupts it: the runtime
// sends itself some.
func again(timeout time.Duration, call func(timeout uint64) error) error {
	began := time.Now()
	for left := timeout; ; left = max(0, timeout-time.Since(began)) {
		ns := uint64(max(0, left))
		if timeout == Forever {
			ns = abi.Forever
		}
		if err := call(ns); !errors.Is(err, abi.Interrupted) {
			return err
		}
	}
}

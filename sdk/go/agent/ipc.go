//go:build wasip1

package agent

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

func nanoseconds(timeout time.Duration) uint64 {
	if timeout == Forever {
		return abi.Forever
	}
	return uint64(max(0, timeout))
}

// Endpoint sends messages to one service or agent.
type Endpoint struct{ Handle abi.Handle }

// Peer finds the endpoint to a service by its name in the system manifest.
func Peer(name string) (Endpoint, error) {
	b := []byte(abi.CapSend + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	var h uint64
	if err := failed(hostCapability(pointer(b), uint32(len(b)), &h)); err != nil {
		return Endpoint{}, fmt.Errorf("find an endpoint to %s: %w; the agent's line in the system manifest must have send-%s", name, err, name)
	}
	return Endpoint{abi.Handle(h)}, nil
}

// Reply makes an endpoint to this agent's own mailbox, to be passed to whoever is to
// answer.
func Reply() (Endpoint, error) {
	var h uint64
	if err := failed(hostReply(&h)); err != nil {
		return Endpoint{}, fmt.Errorf("make an endpoint to the own mailbox: %w", err)
	}
	return Endpoint{abi.Handle(h)}, nil
}

// Send sends bytes and moves handles, and returns the message's number. It waits for
// room as long as timeout says. docs/ipc.md says what each error means; after one,
// nothing was sent.
func (e Endpoint) Send(p []byte, timeout time.Duration, handles ...abi.Handle) (number uint64, err error) {
	var moved []byte
	for _, h := range handles {
		moved = binary.LittleEndian.AppendUint64(moved, uint64(h))
	}
	if err := failed(hostSend(uint64(e.Handle), pointer(p), uint32(len(p)), pointer(moved), uint32(len(handles)), nanoseconds(timeout), &number)); err != nil {
		return 0, fmt.Errorf("send %d bytes and %d handles: %w", len(p), len(handles), err)
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

// GoneError reports that a sender's endpoint to this agent was closed, by itself or
// because it ended. It is abi.Pipe too.
type GoneError struct{ From uint64 } // 0: several

func (e *GoneError) Error() string {
	return fmt.Sprintf("process %d is gone, or gave its endpoint up", e.From)
}

func (e *GoneError) Unwrap() error { return abi.Pipe }

// Receive takes the next message into buf, which Data then aliases. It waits as long as
// timeout says. The end of a sender is a *GoneError. A message that is longer than buf
// is abi.MessageSize and stays.
func Receive(buf []byte, timeout time.Duration) (Message, error) {
	var info [abi.IPCInfo]byte
	err := failed(hostReceive(pointer(buf), uint32(len(buf)), nanoseconds(timeout), &info))
	le := binary.LittleEndian
	m := Message{From: le.Uint64(info[0:]), Number: le.Uint64(info[8:])}
	if errors.Is(err, abi.Pipe) {
		return Message{}, &GoneError{m.From}
	}
	if err != nil {
		return m, fmt.Errorf("receive a message: %w", err)
	}
	m.Data = buf[:le.Uint32(info[16:])]
	for i := range min(le.Uint32(info[20:]), abi.MaxHandles) {
		m.Handles = append(m.Handles, abi.Handle(le.Uint64(info[24+8*i:])))
	}
	return m, nil
}

// answered counts, for each peer that answered through an endpoint which Ask made, the
// endpoints that it has yet to close.
var answered = map[uint64]int{}

// Ask sends a request together with an endpoint for the answer, and returns the first
// message that comes, in buf. If the peer ends, or gives the endpoint up without an
// answer, the error is a *GoneError.
func Ask(peer Endpoint, request, buf []byte, timeout time.Duration) ([]byte, error) {
	began := time.Now()
	reply, err := Reply()
	if err != nil {
		return nil, err
	}
	if _, err := peer.Send(request, timeout, reply.Handle); err != nil {
		return nil, errors.Join(err, Close(reply.Handle)) // it is still ours
	}
	for {
		left := timeout
		if timeout != Forever {
			left = max(0, timeout-time.Since(began))
		}
		m, err := Receive(buf, left)
		var gone *GoneError
		switch {
		case errors.As(err, &gone) && gone.From == 0: // several, which may be ones that answered
			clear(answered)
		case errors.As(err, &gone) && answered[gone.From] > 0:
			if answered[gone.From]--; answered[gone.From] == 0 {
				delete(answered, gone.From)
			}
		case err != nil:
			return nil, fmt.Errorf("wait for an answer: %w", err)
		default:
			answered[m.From]++
			for _, h := range m.Handles {
				if err := Close(h); err != nil {
					return nil, err
				}
			}
			return m.Data, nil
		}
	}
}

// Close gives a handle up.
func Close(h abi.Handle) error {
	if err := failed(hostClose(uint64(h))); err != nil {
		return fmt.Errorf("close handle %#x: %w", uint64(h), err)
	}
	return nil
}

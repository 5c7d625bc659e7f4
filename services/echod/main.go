// Command echod answers: what it is sent it sends back, to the endpoint that came with
// the message. It is the smallest service there is, for agents to talk to and for others
// to begin a service with. It waits for nobody: an answer that finds no room is dropped.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// kernel is what the service does with messages.
type kernel interface {
	Receive(buf []byte, timeout time.Duration) (aios.Message, error)
	Send(to abi.Handle, p []byte, timeout time.Duration, handles ...abi.Handle) (uint64, error)
	Close(h abi.Handle) error
}

func main() {
	log, err := aios.OpenLog()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
	box, err := aios.OpenMailbox()
	if err == nil {
		fmt.Fprintf(log, "ready")
		err = (&echo{kernel: system{box}, log: func(s string) { fmt.Fprint(log, s) }}).serve()
	}
	fmt.Fprintf(log, "FAILED reason=%q", err)
	os.Exit(1)
}

// system is the kernel below.
type system struct{ aios.Mailbox }

func (system) Send(to abi.Handle, p []byte, timeout time.Duration, handles ...abi.Handle) (uint64, error) {
	return aios.Endpoint{Handle: to}.Send(p, timeout, handles...)
}

func (system) Close(h abi.Handle) error { return aios.Close(h) }

// echo serves.
type echo struct {
	kernel
	log     func(line string)
	dropped uint64 // messages that got no answer
}

// serve answers until the mailbox is closed.
func (e *echo) serve() error {
	buf := make([]byte, abi.MaxIPC)
	for {
		m, err := e.Receive(buf, aios.Forever)
		var gone *aios.GoneError
		switch {
		case errors.As(err, &gone): // nothing is kept of a sender
		case err != nil:
			return err
		default:
			if err := e.answer(m); err != nil {
				return err
			}
		}
	}
}

// answer sends the message back and gives up all handles that came with it. What a
// sender does wrong is no error of the service; to revoke what it sent is its right, and
// then there is nothing to give up.
func (e *echo) answer(m aios.Message) error {
	err := errors.New("no endpoint came with it")
	if len(m.Handles) > 0 {
		_, err = e.Send(m.Handles[0], m.Data, 0)
	}
	if err != nil {
		e.drop(m.From, err)
	}
	for _, h := range m.Handles {
		if err := e.Close(h); err != nil && !errors.Is(err, abi.BadHandle) {
			return err
		}
	}
	return nil
}

// drop tells of the first message without an answer, of the second, fourth, and so on:
// a sender must not be able to fill the log through this service.
func (e *echo) drop(from uint64, reason error) {
	e.dropped++
	if e.dropped&(e.dropped-1) == 0 {
		e.log(fmt.Sprintf("dropped from=%d total=%d reason=%q", from, e.dropped, reason))
	}
}

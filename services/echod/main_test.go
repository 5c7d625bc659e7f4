package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// fake is a mailbox that has these messages, and then is closed.
type fake struct {
	inbox  []any // aios.Message or error
	dead   bool  // whoever sends revokes what it sent
	full   bool  // whoever is answered has no room
	sent   []string
	closed []abi.Handle
}

func (f *fake) Receive(buf []byte, _ time.Duration) (aios.Message, error) {
	if len(f.inbox) == 0 {
		return aios.Message{}, io.EOF
	}
	next := f.inbox[0]
	f.inbox = f.inbox[1:]
	if err, ok := next.(error); ok {
		return aios.Message{}, err
	}
	m := next.(aios.Message)
	m.Data = buf[:copy(buf, m.Data)]
	return m, nil
}

func (f *fake) Send(to abi.Handle, p []byte, timeout time.Duration, _ ...abi.Handle) (uint64, error) {
	if timeout != 0 {
		return 0, errors.New("it waits for an agent")
	}
	if f.dead {
		return 0, abi.BadHandle
	}
	if f.full {
		return 0, abi.Again
	}
	f.sent = append(f.sent, string(p))
	return 1, nil
}

func (f *fake) Close(h abi.Handle) error {
	f.closed = append(f.closed, h)
	if f.dead {
		return abi.BadHandle
	}
	return nil
}

func TestEcho(t *testing.T) {
	f := &fake{inbox: []any{
		aios.Message{From: 3, Data: []byte("one"), Handles: []abi.Handle{11}},
		&aios.GoneError{From: 3},
		aios.Message{From: 4, Data: []byte("nowhere to answer")},
		aios.Message{From: 5, Handles: []abi.Handle{12, 13}},
		aios.Message{From: 5, Data: bytes.Repeat([]byte("x"), abi.MaxIPC), Handles: []abi.Handle{14}},
	}}
	var lines []string
	e := &echo{kernel: f, log: func(s string) { lines = append(lines, s) }}
	if err := e.serve(); err != io.EOF {
		t.Fatal(err)
	}
	if len(f.sent) != 3 || f.sent[0] != "one" || f.sent[1] != "" || len(f.sent[2]) != abi.MaxIPC {
		t.Errorf("answers of %d messages", len(f.sent))
	}
	if !slices.Equal(f.closed, []abi.Handle{11, 12, 13, 14}) {
		t.Errorf("closed %v: handles that are kept pile up", f.closed)
	}
	if !slices.Equal(lines, []string{`dropped from=4 total=1 reason="no endpoint came with it"`}) {
		t.Errorf("log %q", lines)
	}
}

// A sender that takes no answers neither holds the service up nor fills its log.
func TestFlood(t *testing.T) {
	f := &fake{full: true}
	for range 1000 {
		f.inbox = append(f.inbox, aios.Message{From: 3, Data: []byte("x"), Handles: []abi.Handle{11}})
	}
	lines := 0
	e := &echo{kernel: f, log: func(string) { lines++ }}
	if err := e.serve(); err != io.EOF {
		t.Fatal(err)
	}
	if lines != 10 || e.dropped != 1000 || len(f.closed) != 1000 {
		t.Errorf("%d lines, %d dropped, %d closed", lines, e.dropped, len(f.closed))
	}
}

// A sender that revokes what it sent, before it is used, ends nothing but that.
func TestRevoked(t *testing.T) {
	f := &fake{dead: true, inbox: []any{
		aios.Message{From: 3, Data: []byte("one"), Handles: []abi.Handle{11, 12}},
		aios.Message{From: 3, Data: []byte("two"), Handles: []abi.Handle{13}},
	}}
	e := &echo{kernel: f, log: func(string) {}}
	if err := e.serve(); err != io.EOF {
		t.Fatal(err)
	}
	if e.dropped != 2 || len(f.closed) != 3 {
		t.Errorf("%d dropped, %d closed", e.dropped, len(f.closed))
	}
}

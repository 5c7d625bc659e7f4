package main

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// kernel is what a module reaches through the host module "aios". Errors are an
// abi.Errno, wrapped.
type kernel interface {
	Log(text []byte) error
	Clock() (time.Duration, error)
	// Capability is the handle that the process started with under that name.
	Capability(name string) (abi.Handle, error)
	Send(to abi.Handle, p []byte, timeout time.Duration, handles ...abi.Handle) (number uint64, err error)
	Receive(p []byte, timeout time.Duration) (aios.Message, error)
	Reply() (abi.Handle, error)
	Close(h abi.Handle) error
	Derive(h abi.Handle, rights abi.Rights) (abi.Handle, error)
	Copy(h abi.Handle) (abi.Handle, error)
	Revoke(h abi.Handle) (int, error)
	Quote(nonce []byte) (*aios.Quote, error)
}

// errno is what a module is told of an error.
func errno(err error) abi.Errno {
	var e abi.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e
	case errors.Is(err, aios.ErrNotGranted):
		return abi.BadHandle
	}
	return abi.IO
}

// duration reads a timeout of the system call ABI.
func duration(ns uint64) time.Duration {
	return time.Duration(min(ns, math.MaxInt64)) // which is aios.Forever
}

// system is the kernel below.
type system struct {
	log     aios.Log
	clock   abi.Handle
	mailbox aios.Mailbox
	attest  aios.Attestor
}

// newSystem finds the handles that have names of their own. One that was not granted is
// the null handle, and the kernel refuses what is asked of it.
func newSystem() *system {
	find := func(name string) abi.Handle {
		h, err := aios.Cap(name)
		if err != nil {
			return 0
		}
		return h
	}
	return &system{aios.Log{Handle: find(abi.CapLog)}, find(abi.CapClock), aios.Mailbox{Handle: find(abi.CapMailbox)}, aios.Attestor{Handle: find(abi.CapAttest)}}
}

func (s *system) Log(text []byte) error {
	_, err := s.log.Write(text)
	return err
}

func (s *system) Clock() (time.Duration, error) { return aios.Uptime(s.clock) }

func (s *system) Capability(name string) (abi.Handle, error) { return aios.Cap(name) }

func (s *system) Send(to abi.Handle, p []byte, timeout time.Duration, handles ...abi.Handle) (uint64, error) {
	return aios.Endpoint{Handle: to}.Send(p, timeout, handles...)
}

func (s *system) Receive(p []byte, timeout time.Duration) (aios.Message, error) {
	return s.mailbox.Receive(p, timeout)
}

func (s *system) Reply() (abi.Handle, error) {
	e, err := s.mailbox.Reply()
	return e.Handle, err
}

func (s *system) Close(h abi.Handle) error { return aios.Close(h) }

func (s *system) Derive(h abi.Handle, r abi.Rights) (abi.Handle, error) { return aios.Derive(h, r) }

func (s *system) Copy(h abi.Handle) (abi.Handle, error) { return aios.Copy(h) }

func (s *system) Revoke(h abi.Handle) (int, error) { return aios.Revoke(h) }

func (s *system) Quote(nonce []byte) (*aios.Quote, error) { return s.attest.Quote(nonce) }

// putInfo writes what IPCRecv tells of a message (docs/ipc.md).
func putInfo(b []byte, m aios.Message, err error) {
	clear(b[:abi.IPCInfo])
	var gone *aios.GoneError
	if errors.As(err, &gone) {
		m.From = gone.From
	}
	le := binary.LittleEndian
	le.PutUint64(b[0:], m.From)
	le.PutUint64(b[8:], m.Number)
	le.PutUint32(b[16:], uint32(len(m.Data)))
	le.PutUint32(b[20:], uint32(len(m.Handles)))
	for i, h := range m.Handles {
		le.PutUint64(b[24+8*i:], uint64(h))
	}
}

// quoteMessage is a quote as the kernel's answer has it.
func quoteMessage(q *aios.Quote) []byte {
	var pcrs []byte
	for _, v := range q.PCRs {
		pcrs = append(pcrs, v...)
	}
	return abi.Message(q.Attest, q.Signature, pcrs)
}

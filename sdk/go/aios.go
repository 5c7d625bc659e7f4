// Package aios is what a program in ring 3 of AIOS calls: the system calls of
// kernel/abi with types. A program is an ordinary static Go executable for
// linux/amd64; its runtime is served by the kernel's personality, and what
// lies outside the process is reached through the capabilities that its
// manifest grants.
//
//	log, err := aios.OpenLog()          // AIOS_CAP_LOG
//	channel, err := aios.OpenStream(abi.CapChannel)
//	n, err := channel.Read(buf)
//
// Errors are abi.Errno, wrapped with what was asked of which capability.
package aios

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"aios/kernel/abi"
)

// ErrNotGranted reports a capability that the process does not have.
var ErrNotGranted = errors.New("capability not granted")

// Cap finds a capability by its name (abi.Cap*) in the environment.
func Cap(name string) (abi.Handle, error) {
	s, ok := os.LookupEnv(abi.EnvPrefix + name)
	if !ok {
		return 0, fmt.Errorf("%w: %s; grant it in the system manifest: caps=%s", ErrNotGranted, name, strings.ToLower(name))
	}
	digits, ok := strings.CutPrefix(s, "0x")
	v, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("capability %s: %q is not a handle", name, s)
	}
	return abi.Handle(v), nil
}

// Null does nothing but have the kernel check the handle.
func Null(h abi.Handle) error {
	_, err := quick(abi.CallNull, h)
	return err
}

// Yield lets other threads run. self is the process's own handle (abi.CapSelf).
func Yield(self abi.Handle) error {
	_, err := quick(abi.CallYield, self)
	return err
}

// Exit ends the process with all its threads.
func Exit(self abi.Handle, code int) error {
	_, err := bytesCall(abi.CallExit, self, nil, uint64(code))
	return err
}

// Uptime reads the time since boot.
func Uptime(clock abi.Handle) (time.Duration, error) {
	ns, err := quick(abi.CallClockRead, clock)
	return time.Duration(ns), err
}

// Log writes lines to the log. Each Write ends a line.
type Log struct{ Handle abi.Handle }

// OpenLog uses the capability LOG.
func OpenLog() (Log, error) {
	h, err := Cap(abi.CapLog)
	return Log{h}, err
}

func (l Log) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k, err := bytesCall(abi.CallLog, l.Handle, p[n:min(len(p), n+abi.MaxLog)])
		if err != nil {
			return n, fmt.Errorf("write to the log: %w", err)
		}
		n += int(k)
	}
	return n, nil
}

// Stream is a byte stream.
type Stream struct{ Handle abi.Handle }

// OpenStream uses the capability of that name.
func OpenStream(name string) (Stream, error) {
	h, err := Cap(name)
	return Stream{h}, err
}

// Read waits for the first byte.
func (s Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := bytesCall(abi.CallStreamRead, s.Handle, p)
	if err != nil {
		return 0, fmt.Errorf("read from stream %#x: %w", uint64(s.Handle), err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return int(n), nil
}

// Write writes all of p.
func (s Stream) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k, err := bytesCall(abi.CallStreamWrite, s.Handle, p[n:])
		if err == nil && k == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, fmt.Errorf("write to stream %#x: %w", uint64(s.Handle), err)
		}
		n += int(k)
	}
	return n, nil
}

// Blob is read-only bytes.
type Blob struct{ Handle abi.Handle }

// OpenBlob uses the capability of that name.
func OpenBlob(name string) (Blob, error) {
	h, err := Cap(name)
	return Blob{h}, err
}

func (b Blob) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		k, err := blobCall(b.Handle, off+int64(n), p[n:])
		if err != nil {
			return n, fmt.Errorf("read blob %#x at %d: %w", uint64(b.Handle), off+int64(n), err)
		}
		if k == 0 {
			return n, io.EOF
		}
		n += int(k)
	}
	return n, nil
}

// ReadAll reads the blob from its start, refusing one of more than limit bytes.
func (b Blob) ReadAll(limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(b, 0, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read blob %#x: more than %d bytes", uint64(b.Handle), limit)
	}
	return data, err
}

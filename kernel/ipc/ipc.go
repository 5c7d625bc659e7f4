// Package ipc is how processes talk: byte messages of at most 64 KiB, and with
// them capabilities, from whoever holds an endpoint to the mailbox of one
// process.
//
// A [Port] is an address. The process behind it opens a [Mailbox] there, which
// lives as long as the process; an [Endpoint] is the capability to send to the
// port, and survives the process: once the service has been started again, its
// next mailbox is reached through the same endpoint. The kernel stamps each
// message with its sender and a number and never looks inside.
//
// The package is plain Go that knows no clock and starts no goroutine. Who has
// to wait does so through the [Waiter] that it brought along, user memory is
// reached through [Memory], handles through [Table]. There are two kinds of
// locks, Mailbox.mu and Pool.mu, each held for a few steps and never while user
// memory is copied. A Table's own lock is taken inside Mailbox.mu, never the other
// way round.
//
// Memory is bounded: a mailbox's slots are made with it, and pages for what
// does not fit a slot come from a [Pool]. That is the only allocation here after a
// mailbox was opened; a message of at most [Short] bytes needs none, with or
// without waiting.
package ipc

import (
	"aios/kernel/abi"
	"aios/kernel/cap"
)

// Bounds on a message.
const (
	MaxMessage = abi.MaxIPC     // bytes of a message
	MaxHandles = abi.MaxHandles // handles that travel with a message
	Short      = 64             // bytes of a message that lies in its slot: it costs nothing beyond it
)

// ID names a process for as long as the machine runs. Zero is nobody.
type ID uint64

// MessageID numbers the messages of one mailbox from 1, in the order in which
// they are delivered.
type MessageID uint64

// Memory is the caller's memory. Either method does all or reports the error.
type Memory interface {
	CopyIn(at uint64, b []byte) abi.Errno
	CopyOut(at uint64, b []byte) abi.Errno
}

// Waiter parks the thread that makes a call.
type Waiter interface {
	// Wait returns 0 when Wake has been called since it last returned, and
	// otherwise why it ended: TimedOut, Interrupted or Canceled. It may return
	// 0 for nothing.
	Wait() abi.Errno
	// Wake does not wait: it is called with a mailbox locked.
	Wake()
}

// Table is the caller's handles, a [cap.Table]. Its methods do not wait and call
// nothing of this package.
type Table interface {
	// Take moves the capabilities out of the table, all or none. It refuses
	// with BadHandle what is no handle or is named twice, and with Denied what
	// may not be passed on.
	Take(handles []abi.Handle, into []cap.Capability) abi.Errno
	// Reserve finds handles that Fill will make valid, or Release give back;
	// false: there are not enough.
	Reserve(handles []abi.Handle) bool
	Fill(h abi.Handle, c cap.Capability)
	Release(handles []abi.Handle)
}

// Caller is one thread that makes calls. The kernel makes one for each thread
// and uses it for one call at a time.
type Caller struct {
	ID     ID
	Memory Memory
	Table  Table
	Waiter Waiter

	handles [MaxHandles]abi.Handle // scratch of the call that is under way
	block   [InfoSize]byte

	queue      *waitQueue // that it waits in; under the mailbox's lock, as are:
	prev, next *Caller
	need       int // room that it waits for, in bytes
}

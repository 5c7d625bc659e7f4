package nic

import (
	"context"

	"aios/kernel/abi"
)

// Missing stands for the card of a machine that has none: its address is zero,
// which says so, and nothing can be read or sent. The service that owns the
// network starts and tells its clients why there is none.
type Missing struct{}

// Info is zero: no card has that address (IEEE 802).
func (Missing) Info() (address [6]byte, payload uint16) { return }

// ReadFrames fails.
func (Missing) ReadFrames([]byte) (int, error) { return 0, abi.IO }

// Arrived is never closed.
func (Missing) Arrived() <-chan struct{} { return nil }

// WriteFrames fails.
func (Missing) WriteFrames(context.Context, []byte) (int, error) { return 0, abi.IO }

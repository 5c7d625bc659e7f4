//go:build wasip1

package agent

import (
	"fmt"

	"aios/kernel/abi"
)

// Derive makes a handle with some of h's rights, which hangs from h: [Revoke] of h ends
// it, wherever it was passed on to. A right that h lacks is abi.Denied.
func Derive(h abi.Handle, rights abi.Rights) (abi.Handle, error) {
	var out uint64
	if err := failed(hostDerive(uint64(h), uint32(rights), &out)); err != nil {
		return 0, fmt.Errorf("derive a handle with the rights %v from %#x: %w", rights, uint64(h), err)
	}
	return abi.Handle(out), nil
}

// Copy makes a handle with h's rights, which hangs from what h hangs from: it stays when
// h is closed, and [Revoke] of h does not end it.
func Copy(h abi.Handle) (abi.Handle, error) {
	var out uint64
	if err := failed(hostCopy(uint64(h), &out)); err != nil {
		return 0, fmt.Errorf("copy handle %#x: %w", uint64(h), err)
	}
	return abi.Handle(out), nil
}

// Revoke ends all handles that were derived from h, and from those in turn, in whatever
// process they are, and in messages that nobody has received yet. It returns how many
// there were. When it has returned none of them works. h itself stays.
func Revoke(h abi.Handle) (int, error) {
	var n uint64
	if err := failed(hostRevoke(uint64(h), &n)); err != nil {
		return 0, fmt.Errorf("revoke what was derived from handle %#x: %w", uint64(h), err)
	}
	return int(n), nil
}

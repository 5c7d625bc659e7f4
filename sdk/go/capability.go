package aios

import (
	"fmt"

	"aios/kernel/abi"
)

// Derive makes a handle with some of h's rights, which hangs from h: [Revoke] of h ends
// it, wherever it was passed on to. A right that h lacks is abi.Denied.
func Derive(h abi.Handle, rights abi.Rights) (abi.Handle, error) {
	v, err := bytesCall(abi.CallDerive, h, nil, uint64(rights))
	if err != nil {
		return 0, fmt.Errorf("derive a handle with the rights %v from %#x: %w", rights, uint64(h), err)
	}
	return abi.Handle(v), nil
}

// Copy makes a handle with h's rights, which hangs from what h hangs from: it stays when
// h is closed, and [Revoke] of h does not end it.
func Copy(h abi.Handle) (abi.Handle, error) {
	v, err := bytesCall(abi.CallCopy, h, nil)
	if err != nil {
		return 0, fmt.Errorf("copy handle %#x: %w", uint64(h), err)
	}
	return abi.Handle(v), nil
}

// Revoke ends all handles that were derived from h, and from those in turn, in whatever
// process they are, and in messages that nobody has received yet. It returns how many
// there were. When it has returned none of them works, and nothing that was done with
// one goes on. h itself stays.
func Revoke(h abi.Handle) (int, error) {
	n, err := bytesCall(abi.CallRevoke, h, nil)
	if err != nil {
		return 0, fmt.Errorf("revoke what was derived from handle %#x: %w", uint64(h), err)
	}
	return int(n), nil
}

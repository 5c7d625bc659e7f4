package tpm

import (
	"errors"
	"strings"
	"testing"
)

// broken is a TPM that answers with the given bytes.
type broken struct{ answer []byte }

func (b broken) Send([]byte) ([]byte, error) { return b.answer, nil }

// TestArguments: a request that is wrong in itself never reaches the TPM.
func TestArguments(t *testing.T) {
	r := &Root{t: broken{}}
	for name, call := range map[string]func() error{
		"nonce too long":     func() error { _, err := r.Quote(make([]byte, MaxNonce+1)); return err },
		"no random bytes":    func() error { _, err := r.Random(0); return err },
		"too many bytes":     func() error { _, err := r.Random(MaxRandom + 1); return err },
		"no such PCR":        func() error { return r.Extend(24, nil) },
		"negative PCR":       func() error { return r.Extend(-1, nil) },
		"empty credential":   func() error { _, err := r.Activate(nil, nil); return err },
		"credential too big": func() error { _, err := r.Activate([]byte{0xff, 0xff, 1}, nil); return err },
		"empty secret":       func() error { _, err := r.Activate([]byte{0, 2, 0, 0}, nil); return err },
	} {
		if err := call(); !errors.Is(err, ErrArgument) {
			t.Errorf("%s: %v, want ErrArgument", name, err)
		}
	}
}

// TestBroken: what a TPM must not say ends in an error that names the operation.
func TestBroken(t *testing.T) {
	for _, answer := range [][]byte{nil, {0x80}, make([]byte, 10), {0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1}, make([]byte, 4096)} {
		if _, err := Open(broken{answer}); err == nil || !strings.Contains(err.Error(), "make the attestation key") {
			t.Errorf("answer of %d bytes: %v", len(answer), err)
		}
		r := &Root{t: broken{answer}}
		if _, err := r.Quote(nil); err == nil || !strings.Contains(err.Error(), "quote") {
			t.Errorf("answer of %d bytes: %v", len(answer), err)
		}
		if _, err := r.Identity(); err == nil {
			t.Errorf("answer of %d bytes made an identity", len(answer))
		}
	}
}

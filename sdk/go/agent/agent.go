//go:build wasip1

package agent

import (
	"fmt"
	"time"

	"aios/kernel/abi"
)

// Log writes a line to the log.
func Log(text string) error {
	b := []byte(text)
	if err := failed(hostLog(pointer(b), uint32(len(b)))); err != nil {
		return fmt.Errorf("write to the log: %w", err)
	}
	return nil
}

// Uptime reads the time since boot.
func Uptime() (time.Duration, error) {
	var ns uint64
	if err := failed(hostClock(&ns)); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return time.Duration(ns), nil
}

// Quote is what the host's TPM signed about the host.
type Quote struct {
	Attest    []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE
	PCRs      []byte // values of PCR 0 to 23, sha256 bank
}

// AskQuote has the kernel quote the host's PCRs over a nonce.
func AskQuote(nonce []byte) (*Quote, error) {
	var n uint32
	response := make([]byte, abi.MaxMessage)
	if err := failed(hostQuote(pointer(nonce), uint32(len(nonce)), pointer(response), uint32(len(response)), &n)); err != nil {
		return nil, fmt.Errorf("ask for a quote: %w", err)
	}
	f, err := abi.Fields(response[:n], 3)
	if err != nil {
		return nil, fmt.Errorf("ask for a quote: the kernel's answer: %w", err)
	}
	return &Quote{f[0], f[1], f[2]}, nil
}

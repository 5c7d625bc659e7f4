package agent

import (
	"bytes"
	"fmt"

	"aios/captoken"
)

// maxReceipts is how many receipts are kept.
const maxReceipts = 64

// receipts are the last ones, so that they can be quoted, and given again.
type receipts struct {
	ring [maxReceipts]struct {
		agent   string
		command captoken.ID
		encoded []byte
	}
	next int
}

// receipt encodes and keeps one. It is well-formed by its making: names are those of the
// manifest.
func (a *Authority) receipt(r captoken.Receipt) []byte {
	encoded, err := r.Encode()
	if err != nil {
		a.say("WARNING reason=%s", quoted("a receipt cannot be written: "+err.Error()))
		return nil
	}
	k := &a.receipts.ring[a.receipts.next]
	a.receipts.next = (a.receipts.next + 1) % maxReceipts
	k.agent, k.command, k.encoded = r.Agent, r.Command, encoded
	return encoded
}

// of is the receipt of a command for an agent, nil if there is none.
func (r *receipts) of(command captoken.ID, agent string) []byte {
	for i := range r.ring {
		if k := &r.ring[i]; k.encoded != nil && k.command == command && k.agent == agent {
			return k.encoded
		}
	}
	return nil
}

func (r *receipts) has(encoded []byte) bool {
	for i := range r.ring {
		if k := r.ring[i].encoded; k != nil && bytes.Equal(k, encoded) {
			return true
		}
	}
	return false
}

// Quote proves a receipt: only one that this kernel has written, so that a quote in the
// domain of receipts is the kernel's word.
func (a *Authority) Quote(nonce [captoken.NonceSize]byte, receipt []byte) ([][]byte, error) {
	a.mu.Lock()
	ours := a.receipts.has(receipt)
	a.mu.Unlock()
	if !ours {
		return nil, a.refuse("quote refused", fmt.Errorf("receipt: of %d bytes, none of the last %d of this kernel; kill again, with the same command", len(receipt), maxReceipts))
	}
	attest, signature, values, err := a.c.Prove(nonce, receipt)
	if err != nil {
		return nil, a.refuse("quote refused", err)
	}
	return [][]byte{attest, signature, values}, nil
}

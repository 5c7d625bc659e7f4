package authority

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"aios/captoken"
	"aios/verifier/quote"
)

// Proof is a receipt that was verified.
type Proof struct {
	Receipt *captoken.Receipt
	// Took is the time from when the command was accepted to when its receipt was
	// verified, on the verifier's clock. The host's own part of it is in the receipt.
	Took    time.Duration
	Awaited int // receipts of the command that are still due, from all hosts
}

// Receipt verifies that a host did what a command asks: encoded is the receipt, q a
// quote of the host's TPM by its attestation key over captoken.ReceiptQuote of the
// command's nonce and the receipt's hash. Each agent is proven once.
func (a *Authority) Receipt(host string, ak *quote.Key, encoded []byte, q *quote.Quote) (*Proof, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	refuse := func(format string, args ...any) (*Proof, error) {
		return nil, fmt.Errorf("%s: %w: %w", host, ErrReceipt, fmt.Errorf(format, args...))
	}
	v, err := captoken.ParseReceipt(encoded)
	if err != nil {
		return refuse("%w", err)
	}
	h, known := a.state.hosts[host]
	switch {
	case !known:
		return refuse("no lease was ever granted to the host")
	case v.Host != host:
		return refuse("host expected %q, found %q", host, v.Host)
	case v.Boot != captoken.Boot{ID: h.Boot, ResetCount: h.Resets}:
		return refuse("boot expected %v, found %v", captoken.Boot{ID: h.Boot, ResetCount: h.Resets}, v.Boot)
	case v.Cause != captoken.CauseCommand:
		return refuse("cause expected %v, found %v", captoken.CauseCommand, v.Cause)
	}
	o, due := a.state.orders[orderKey{v.Command, host}]
	i := slices.Index(o.Agents, v.Agent)
	if !due || i < 0 {
		return refuse("no receipt is due for agent %q and command %v: it was proven before, or nobody asked for it", v.Agent, v.Command)
	}
	if ak == nil || q == nil {
		return refuse("a quote and the host's attestation key are needed")
	}
	want := captoken.ReceiptQuote(o.Nonce, captoken.ReceiptHash(encoded))
	info, err := quote.Verify(ak, q, quote.Policy{Nonce: want[:], Banks: []crypto.Hash{crypto.SHA256}, All: true})
	if err != nil {
		return refuse("%w", err)
	}
	if info.ResetCount != h.Resets {
		return refuse("TPM reset count of the quote expected %d, found %d: the host was reset since", h.Resets, info.ResetCount)
	}
	measured, err := measure(func(pcr int) []byte { return q.PCRs[pcr] })
	if err != nil {
		return refuse("%w", err)
	}
	if measured != h.Measured {
		return refuse("the PCRs %v of the quote are not those that the last verdict was about, so another system states it: expected their hash %x, found %x", MeasuredPCRs, h.Measured, measured)
	}
	r := a.record("receipt")
	r.Reason = v.Agent
	o.Agents = slices.Delete(slices.Clone(o.Agents), i, i+1)
	if len(o.Agents) == 0 {
		r.Done = []orderKey{o.key()}
	} else {
		r.Orders = []order{o}
	}
	if _, stopped := a.state.stopped(v.Agent, host); stopped { // or it may have got a token and run again since
		h.Tokens = slices.DeleteFunc(slices.Clone(h.Tokens), func(t tokenEntry) bool { return t.Agent == v.Agent })
		r.Hosts = []hostEntry{h}
	}
	if err := a.commit(r); err != nil {
		return nil, err
	}
	p := &Proof{Receipt: v, Took: time.Duration(r.At-o.At) * time.Millisecond}
	for k, left := range a.state.orders {
		if k.Command == v.Command {
			p.Awaited += len(left.Agents)
		}
	}
	return p, nil
}

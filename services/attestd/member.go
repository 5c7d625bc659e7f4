package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"aios/captoken"
	"aios/evidence"
	aios "aios/sdk/go"
)

// watchTime is how long a watch waits for an event before it says that there is none:
// so the verifier learns of a host that is gone.
const watchTime = 20 * time.Second

// member answers the verifier, on one connection.
type member struct {
	*attester
	log     io.Writer
	binding [evidence.BindingSize]byte

	// Orders are obeyed one after the other, in the order of their sequence: the kernel
	// refuses an older one. Evidence and watches do not wait for them.
	obeying sync.Mutex
}

// Handle implements evidence.Handler.
func (m *member) Handle(ctx context.Context, q *evidence.Request) (*evidence.Response, error) {
	switch {
	case q.Op == evidence.OpIdentity:
		r, err := m.answer(q)
		if err == nil {
			r.Identity.Token = m.enrolmentToken()
		}
		return r, err
	case q.Op == evidence.OpChallenge:
		return m.evidence(q.Nonce)
	case q.Op == evidence.OpGrant && q.Grant != nil:
		return m.grant(q.Grant)
	case q.Op == evidence.OpOrders && q.Orders != nil:
		return &evidence.Response{Obeyed: m.obey(q.Orders)}, nil
	case q.Op == evidence.OpRefuse:
		fmt.Fprintf(m.log, "verifier refused reason=%q", q.Text)
		return &evidence.Response{Taken: true}, nil
	case q.Op == evidence.OpWatch:
		return m.watch(ctx, q.After)
	}
	return m.answer(q)
}

// evidence also asks for a lease: the time that it is good for begins here.
func (m *member) evidence(nonce []byte) (*evidence.Response, error) {
	r, err := m.authority.Request()
	if err != nil {
		return nil, err
	}
	return m.challenge(nonce, m.binding, &evidence.LeaseRequest{
		Nonce: r.Nonce, Boot: r.Boot, Resets: r.Resets, Held: r.Held, Seen: r.Seen, Tokens: r.Tokens, List: r.List,
		Holder: m.holder.Public().Thumbprint()})
}

// grant hands the kernel what the verdict brought: what is revoked first, so that
// nothing starts that may not.
func (m *member) grant(g *evidence.Grant) (*evidence.Response, error) {
	m.obeying.Lock()
	defer m.obeying.Unlock()
	granted := &evidence.Granted{}
	try := func(err error) bool {
		if err != nil {
			fmt.Fprintf(m.log, "grant REFUSED reason=%q", err)
			granted.Refused = append(granted.Refused, err.Error())
		}
		return err == nil
	}
	if try(m.revocations(&g.Orders)) && try(m.authority.Orders(ordersOf(&g.Orders))) && try(m.authority.Lease(g.Lease)) {
		for _, t := range g.Tokens {
			try(m.token(t))
		}
		for _, agent := range g.Start {
			_, err := m.authority.Start(agent)
			try(err)
		}
	}
	return &evidence.Response{Granted: granted}, nil
}

// token brings the kernel a token with the proof that this host holds it.
func (m *member) token(t captoken.Token) error {
	nonce, err := m.authority.Nonce()
	if err != nil {
		return err
	}
	proof, err := captoken.Prove(m.holder, t, nonce)
	switch {
	case errors.Is(err, captoken.ErrIssuer):
		return fmt.Errorf("prove a token: %w; if its assignment names a holder, that one has to delegate it to this host's key first: leave the holder out for a token that the host itself holds", err)
	case err != nil:
		return fmt.Errorf("prove a token: %w", err)
	}
	return m.authority.Token(t, proof)
}

// revocations hands the kernel the revocation list, if one came.
func (m *member) revocations(o *evidence.Orders) error {
	if len(o.List) == 0 {
		return nil
	}
	return m.authority.Revocations(o.List)
}

func ordersOf(o *evidence.Orders) aios.Orders {
	return aios.Orders{Sequence: o.Sequence, All: o.All, Agents: o.Agents}
}

// obey carries the kills out first, each with its command's name on the receipt, then
// what was revoked and the rest, and has the kernel prove each receipt.
func (m *member) obey(o *evidence.Orders) *evidence.Obeyed {
	m.obeying.Lock()
	defer m.obeying.Unlock()
	out := &evidence.Obeyed{}
	refused := func(err error) {
		fmt.Fprintf(m.log, "orders REFUSED reason=%q", err)
		out.Refused = append(out.Refused, err.Error())
	}
	type gone struct {
		kill    *evidence.Kill
		receipt []byte
	}
	var all []gone
	for i := range o.Kills {
		k := &o.Kills[i]
		for _, agent := range k.Agents {
			receipts, err := m.authority.Kill(k.Command, agent)
			if err != nil {
				refused(err)
			}
			for _, r := range receipts {
				all = append(all, gone{k, r})
			}
		}
	}
	if err := m.revocations(o); err != nil {
		refused(err)
	}
	if err := m.authority.Orders(ordersOf(o)); err != nil {
		refused(err)
	}
	for _, g := range all { // a quote takes its time: everything is gone before the first
		q, err := m.authority.Quote(g.kill.Nonce, g.receipt)
		if err != nil {
			refused(err)
			continue
		}
		out.Receipts = append(out.Receipts, evidence.ProvenReceipt{
			Command: g.kill.Command, Receipt: g.receipt, Attest: q.Attest, Signature: q.Signature, PCRs: q.PCRs[:]})
	}
	return out
}

// watchSlice is how long one call of the kernel waits: it cannot be ended from here, and a
// connection that has ended must not be held up by it.
const watchSlice = time.Second

func (m *member) watch(ctx context.Context, after uint64) (*evidence.Response, error) {
	out := &evidence.Events{}
	for left := watchTime; left > 0 && len(out.Events) == 0; left -= watchSlice {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		events, err := m.authority.Watch(after, watchSlice)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			out.Events = append(out.Events, evidence.Event{Number: e.Number, Nanos: uint64(e.At), Instance: e.Instance,
				Kind: e.Kind, Agent: e.Agent, Text: e.Text, Receipt: e.Receipt})
		}
	}
	return &evidence.Response{Events: out}, nil
}

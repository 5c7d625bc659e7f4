package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"aios/captoken"
	"aios/evidence"
	"aios/verifier/authority"
	"aios/verifier/quote"
	"aios/verifier/session"
)

// connection is one with a host that has proved that it is that host.
type connection struct {
	s       *Service
	id      string
	address string
	since   time.Time
	cancel  context.CancelCauseFunc
	client  *evidence.Client
	session *session.Session
	ak      *quote.Key
	state   *hostState
	boot    [16]byte      // of the host; another one is another connection
	listed  atomic.Uint64 // sequence of the revocation list that the host holds, as far as is known

	pushed chan struct{} // orders are to be delivered
	again  chan struct{} // a round is to begin

	delivering sync.Mutex // one delivery of orders at a time
}

// run serves the host until the connection ends, and says why it did. first is the
// result of the round that proved it.
func (c *connection) run(outer context.Context, first *session.Result, took time.Duration) error {
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error { return c.rounds(ctx, first, took) }, c.carry, c.listen,
		func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case <-c.client.Done():
				return evidence.ErrClosed
			}
		},
	} {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err) // the first reason counts
			}
		})
	}
	wake(c.pushed) // what it has missed
	wg.Wait()
	if err := context.Cause(outer); err != nil { // which closed the connection too
		return err
	}
	return context.Cause(ctx)
}

// rounds appraises the host again and again.
func (c *connection) rounds(ctx context.Context, r *session.Result, took time.Duration) error {
	for {
		if err := c.judged(ctx, r, took); err != nil {
			return err
		}
		wait := time.NewTimer(jitter(c.s.c.Interval))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-c.again:
			wait.Stop()
		case <-wait.C:
		}
		limited, done := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
		begun := time.Now()
		var err error
		r, err = c.session.Round(limited)
		done()
		if err != nil {
			return err
		}
		took = time.Since(begun)
	}
}

// jitter spreads the rounds of many hosts that started together.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// judged does what follows from a verdict: it is told and kept, and the host gets a lease
// or none. The error is that of a connection that failed.
func (c *connection) judged(ctx context.Context, r *session.Result, took time.Duration) error {
	s := c.s
	s.metrics.verdicts.WithLabelValues(r.Status).Inc()
	s.metrics.round.Observe(took.Seconds())
	v := &Verdict{Round: r.Round, Status: r.Status, Reasons: []Finding{}, TookMS: took.Milliseconds(), At: s.c.Now().UTC()}
	for _, reason := range r.Reasons {
		v.Reasons = append(v.Reasons, Finding(reason))
	}
	c.state.judged(v)
	if err := writeFile(s.file("results", c.id+".jwt"), []byte(r.EAR+"\n")); err != nil {
		s.publish(Event{Kind: HostNotice, Host: c.id, Text: "the attestation result is not kept: " + err.Error()})
	}
	s.publish(Event{Kind: HostVerdict, Host: c.id, Verdict: v, Text: findings(r), Result: r, Session: c.session})
	return c.grant(ctx, r)
}

// grant answers a host's request for a lease, and for the tokens of its agents.
func (c *connection) grant(ctx context.Context, r *session.Result) error {
	s := c.s
	withheld := func(reason string) {
		s.metrics.leases.WithLabelValues("withheld").Inc()
		s.publish(Event{Kind: HostNoLease, Host: c.id, Text: reason})
	}
	verdict, err := authority.FromSession(c.id, r, s.c.Sessions.Results.Public(), s.c.Now())
	if err != nil {
		withheld(withRemedy(err))
		return nil
	}
	q := authority.Request{Agents: s.assignments.of(c.id, s.labels.of(c.id))}
	if r.Request != nil {
		q.Nonce, q.Boot, q.Held, q.Seen, q.List, q.Holder = r.Request.Nonce, r.Request.Boot, r.Request.Held, r.Request.Seen, r.Request.List, r.Request.Holder
		c.listed.Store(q.List)
		for _, id := range r.Request.Tokens {
			q.Tokens = append(q.Tokens, id)
		}
	} else if r.Affirming() {
		withheld("the host asked for none: its kernel has no use for one")
		return nil
	}
	// A kill that waits comes first: a stop that arrives with a grant ends the agent too,
	// but for no command, and nothing would prove it.
	if len(s.authority.Orders(c.id).Kills) > 0 {
		if err := c.deliver(ctx); err != nil {
			return err
		}
	}
	g, err := s.authority.Grant(verdict, q)
	s.commands.reconcile(s.authority) // another boot ends what was awaited of the one before
	if err != nil {
		withheld(withRemedy(err))
		return nil
	}
	out := &evidence.Grant{Lease: g.Signed, Tokens: [][]byte{}, Orders: c.ordersOf(g.Orders), Start: []string{}}
	lease := &Lease{ID: g.Lease.ID.String(), DurationMS: g.Lease.Duration.Milliseconds(), Renewed: g.Renewed, Sequence: g.Lease.Sequence,
		Tokens: []string{}, Start: []string{}, Withheld: g.Withheld}
	for _, t := range g.Tokens {
		out.Tokens = append(out.Tokens, t)
		if links, _, err := captoken.Read(t); err == nil {
			lease.Tokens = append(lease.Tokens, links[0].Subject)
		}
	}
	for _, a := range q.Agents {
		if _, not := g.Withheld[a.Agent]; !not {
			out.Start = append(out.Start, a.Agent)
			lease.Start = append(lease.Start, a.Agent)
		}
	}
	limited, done := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
	defer done()
	taken, err := c.client.Grant(limited, out)
	if refusal := (*evidence.Error)(nil); errors.As(err, &refusal) {
		withheld("it was granted, and the host did not take it: " + err.Error())
		return nil
	} else if err != nil {
		return err
	}
	outcome := "granted"
	if g.Renewed {
		outcome = "renewed"
	}
	s.metrics.leases.WithLabelValues(outcome).Inc()
	s.metrics.tokens.Add(float64(len(g.Tokens)))
	s.publish(Event{Kind: HostLease, Host: c.id, Lease: lease})
	if len(taken.Refused) == 0 {
		c.listed.Store(g.Orders.Listed)
	}
	for _, reason := range taken.Refused {
		s.publish(Event{Kind: HostNotice, Host: c.id, Text: "of the grant it did not take: " + printable(reason)})
	}
	if len(s.authority.Orders(c.id).Kills) > 0 {
		wake(c.pushed)
	}
	return nil
}

// carry delivers orders whenever there are some. It waits for no round.
func (c *connection) carry(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.pushed:
		}
		if err := c.deliver(ctx); err != nil {
			return err
		}
	}
}

// deliver tells the host its orders and takes its receipts. What is not proven is told
// again with the next round, and when the host connects again.
func (c *connection) deliver(ctx context.Context) error {
	c.delivering.Lock()
	defer c.delivering.Unlock()
	s := c.s
	o := s.authority.Orders(c.id)
	told := c.ordersOf(o)
	limited, done := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
	defer done()
	obeyed, err := c.client.Orders(limited, &told)
	if refusal := (*evidence.Error)(nil); errors.As(err, &refusal) {
		c.unproven(o, err.Error())
		s.publish(Event{Kind: HostNotice, Host: c.id, Text: "it did not take its orders: " + err.Error()})
		return nil
	} else if err != nil {
		return err
	}
	if len(obeyed.Refused) == 0 {
		c.listed.Store(o.Listed)
	}
	for _, r := range obeyed.Receipts {
		c.receipt(r)
	}
	for _, reason := range obeyed.Refused {
		c.unproven(o, printable(reason))
		s.publish(Event{Kind: HostNotice, Host: c.id, Text: "of its orders it did not do: " + printable(reason)})
	}
	return nil
}

// unproven notes why receipts are not there yet.
func (c *connection) unproven(o authority.Orders, why string) {
	for _, k := range o.Kills {
		for _, agent := range k.Agents {
			c.s.commands.failed(k.Command, c.id, agent, why)
		}
	}
}

// receipt verifies one.
func (c *connection) receipt(r evidence.ProvenReceipt) {
	s := c.s
	refuse := func(err error) {
		s.metrics.receipts.WithLabelValues("refused").Inc()
		e := Event{Kind: ReceiptRefused, Host: c.id, Command: captoken.ID(r.Command).String(), Text: err.Error()}
		if v, err := captoken.ParseReceipt(r.Receipt); err == nil {
			e.Agent, e.Instance = v.Agent, v.Instance
			s.commands.failed(r.Command, c.id, v.Agent, e.Text)
		}
		s.publish(e)
	}
	if len(r.PCRs) != quote.PCRs {
		refuse(fmt.Errorf("%s: %w: expected %d PCRs, found %d", c.id, authority.ErrReceipt, quote.PCRs, len(r.PCRs)))
		return
	}
	q := &quote.Quote{Attest: r.Attest, Signature: r.Signature, PCRs: [quote.PCRs][]byte(r.PCRs)}
	proof, p, err := s.commands.prove(s.authority, c.id, c.ak, r.Receipt, q, s.c.Now())
	if err != nil {
		refuse(err)
		return
	}
	c.state.gone(proof.Agent, proof.Instance, s.c.Now())
	s.metrics.receipts.WithLabelValues("verified").Inc()
	s.metrics.latency.Observe(p.Took.Seconds())
	s.publish(Event{Kind: ReceiptVerified, Host: c.id, Agent: proof.Agent, Instance: proof.Instance, Command: p.Receipt.Command.String(), Receipt: &proof})
}

// listen takes in what happens to the host's agents.
func (c *connection) listen(ctx context.Context) error {
	for {
		limited, done := context.WithTimeoutCause(ctx, watchLimit, errors.New("the host fell silent"))
		events, err := c.client.Watch(limited, c.state.position())
		done()
		if refusal := (*evidence.Error)(nil); errors.As(err, &refusal) {
			c.s.publish(Event{Kind: HostNotice, Host: c.id, Text: "it does not say what happens to its agents: " + err.Error()})
			return nil
		} else if err != nil {
			return err
		}
		for _, e := range events.Events {
			if out, ok := c.state.happened(c.boot, e, c.s.c.Now()); ok {
				out.Host = c.id
				c.s.publish(out)
			}
		}
	}
}

// ordersOf is what goes over the wire of the authority's orders: the revocation list only
// if the host has an older one.
func (c *connection) ordersOf(o authority.Orders) evidence.Orders {
	out := evidence.Orders{Sequence: o.Sequence, All: o.All, Agents: append([]string{}, o.Agents...), Kills: []evidence.Kill{}}
	if c.listed.Load() < o.Listed {
		out.List = o.List
	}
	for _, k := range o.Kills {
		out.Kills = append(out.Kills, evidence.Kill{Command: k.Command, Agents: append([]string{}, k.Agents...), Nonce: k.Nonce})
	}
	return out
}

// findings are a verdict's reasons in one line, empty if it has none.
func findings(r *session.Result) string {
	var out []string
	for _, f := range r.Reasons {
		out = append(out, f.Text)
	}
	return strings.Join(out, "; ")
}

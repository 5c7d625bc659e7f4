package agent

import (
	"context"
	"fmt"
	"time"

	"aios/captoken"
)

// byOrders is why an agent ended that orders name.
const byOrders = "orders say that it may not run"

// phase is how things stand with the lease: one that was revoked has lapsed, whatever
// its time. Preconditions: mu is held, as in all methods here that are not exported.
func (a *Authority) phase(now time.Duration) captoken.Phase {
	p := a.state.Phase(now)
	if (p == captoken.LeaseHeld || p == captoken.LeaseGrace) && a.state.ID(now) == a.ended {
		return captoken.LeaseLapsed
	}
	return p
}

// notice takes the time and does what it brings: lease and tokens that have ended end
// what hangs from them. It sets the timer for what comes next.
func (a *Authority) notice() (now time.Duration) {
	now = a.c.Now()
	if a.state == nil {
		return now
	}
	p := a.phase(now)
	if p != a.told {
		switch {
		case p == captoken.LeaseGrace:
			a.say("lease grace id=%v", a.state.ID(now))
			a.event(now, "lease", nil, "renewal is overdue: what runs goes on, and nothing new starts", nil)
		case p == captoken.LeaseLapsed:
			a.lapse(now, captoken.CauseLease, "the lease lapsed")
		}
		a.told = p
	}
	for _, g := range a.order {
		if g.token != nil && now >= g.token.until {
			a.drop(g, now, captoken.CauseRevoked, "its token expired")
		}
	}
	a.arm(now)
	return now
}

// lapse ends everything: the lease is over.
func (a *Authority) lapse(now time.Duration, cause captoken.Cause, why string) {
	a.lease.End()
	a.told = captoken.LeaseLapsed
	a.say("lease lapsed reason=%s", quoted(why))
	a.event(now, "lease", nil, "lapsed: "+why, nil)
	for _, g := range a.order {
		a.drop(g, now, cause, why)
	}
}

// drop takes an agent's token away and ends what runs on it.
func (a *Authority) drop(g *agent, now time.Duration, cause captoken.Cause, why string) {
	g.token = nil
	a.end(g, now, cause, captoken.ID{}, why)
}

// arm sets the timer for the next moment at which something ends by itself.
func (a *Authority) arm(now time.Duration) {
	next := time.Duration(1<<63 - 1)
	switch a.told {
	case captoken.LeaseHeld:
		if at, ok := a.state.Deadline(); ok {
			next = at - a.c.Grace
		}
	case captoken.LeaseGrace:
		if at, ok := a.state.Deadline(); ok {
			next = at
		}
	}
	for _, g := range a.order {
		if g.token != nil {
			next = min(next, g.token.until)
		}
	}
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	if next == 1<<63-1 {
		return
	}
	a.timer = time.AfterFunc(max(next-now, 0), func() {
		a.mu.Lock()
		defer a.unlock()
		a.notice()
	})
}

// TakeLease renews the lease, or begins another one: what hung from the one before then
// ends, since its tokens name that.
func (a *Authority) TakeLease(ctx context.Context, raw []byte) error {
	now, err := a.lockIdentified()
	if err != nil {
		return a.refuse("lease refused", err)
	}
	runs, err := a.takeLease(raw, now)
	a.unlock()
	if err != nil {
		return a.refuse("lease refused", err)
	}
	return gone(ctx, runs)
}

func (a *Authority) takeLease(raw []byte, now time.Duration) (ends []*instance, err error) {
	l, err := captoken.VerifyLease(raw, []*captoken.PublicKey{a.c.Issuer}, a.host, a.boot)
	if err != nil {
		return nil, err
	}
	if l.ID == a.ended || a.list.List() != nil && a.list.List().RevokedLease(l.ID) {
		return nil, fmt.Errorf("lease: %v was revoked; the verifier has to grant a new lease", l.ID)
	}
	if l.Sequence > a.listed() {
		a.state.Raise(l.Sequence) // the verifier says that there is such a list: until it is here nothing begins
		return nil, fmt.Errorf("lease: %w", a.listError())
	}
	was := a.state.ID(now)
	if l, err = a.state.Renew(raw, now); err != nil {
		return nil, err
	}
	until, _ := a.state.Deadline()
	verb := "held"
	if l.ID == was {
		verb = "renewed"
		a.lease.Renew(until)
		for _, g := range a.order { // the moments of the verifier's clock may have shifted
			if g.token != nil {
				g.token.until, _ = a.state.When(g.token.grant.Expires)
				if g.run != nil {
					g.run.move(g.token)
				}
			}
		}
	} else {
		a.lease.Begin(until)
		for _, g := range a.order {
			a.drop(g, now, captoken.CauseLease, "another lease took the place of the one that it hung from")
			if g.run != nil {
				ends = append(ends, g.run)
			}
		}
	}
	a.told = captoken.LeaseHeld
	a.say("lease %s id=%v duration_ms=%d", verb, l.ID, l.Duration.Milliseconds())
	a.event(now, "lease", nil, fmt.Sprintf("%s: %v for %v, and %v of grace", verb, l.ID, l.Duration, a.c.Grace), nil)
	a.notice()
	return ends, nil
}

// seen is the highest revocation sequence that anything said.
func (a *Authority) seen() uint64 { return max(a.state.Sequence(), a.ordered) }

// TakeOrders does what the verifier orders. What it forbids is gone when it returns.
func (a *Authority) TakeOrders(ctx context.Context, o Orders) error {
	now, err := a.lockIdentified()
	if err != nil {
		return a.refuse("orders refused", err)
	}
	runs, err := a.takeOrders(o, now)
	a.unlock()
	if err != nil {
		return a.refuse("orders refused", err)
	}
	return gone(ctx, runs)
}

func (a *Authority) takeOrders(o Orders, now time.Duration) (ends []*instance, err error) {
	if seen := a.seen(); o.Sequence < seen {
		return nil, fmt.Errorf("orders: revocation sequence expected at least %d, found %d; the verifier has forgotten revocations, or they came late", seen, o.Sequence)
	}
	a.ordered, a.stopAll = o.Sequence, o.All
	named := map[string]bool{}
	for _, n := range o.Agents {
		named[n] = true
	}
	for _, g := range a.order {
		if g.stopped = named[g.Name]; !g.stopped && !o.All && g.killed != nil && o.Sequence > g.killed.sequence {
			g.killed = nil
		}
		if g.stopped || o.All {
			a.drop(g, now, captoken.CauseRevoked, byOrders)
			if g.run != nil && g.run.why == byOrders {
				g.run.ordered = true
			}
		}
		if g.run != nil && g.run.cause != 0 {
			ends = append(ends, g.run)
		}
	}
	a.notice()
	return ends, nil
}

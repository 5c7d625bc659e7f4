package authority

import (
	"fmt"
	"slices"
	"time"

	"aios/captoken"
)

// RevokeToken revokes one token or delegation for good. The agent gets another token
// with the next grant unless it is stopped.
func (a *Authority) RevokeToken(id captoken.ID, reason string) error {
	return a.revoke(captoken.Target{Token: id}, reason)
}

// RevokeLease ends a lease: the host is to stop what hangs from it, and with the next
// good verdict gets another one.
func (a *Authority) RevokeLease(id captoken.ID, reason string) error {
	return a.revoke(captoken.Target{Lease: id}, reason)
}

// RevokeSubject revokes everything of an agent, on every host, until the epoch is
// raised: what hangs from tokens and delegations that name it is good no more, and it
// gets no new ones. No lift takes that back.
func (a *Authority) RevokeSubject(agent, reason string) error {
	return a.revoke(captoken.Target{Agent: agent}, reason)
}

// RaiseEpoch revokes every token that was issued so far, and begins an empty list. to is
// the epoch after the present one, so that who did not know of a raise makes no second.
func (a *Authority) RaiseEpoch(to uint64, reason string) error {
	return a.revoke(captoken.Target{Epoch: to}, reason)
}

func (a *Authority) revoke(t captoken.Target, reason string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.revocationOf(t, reason)
	if err != nil || r == nil {
		return err
	}
	return a.commit(r)
}

// revokeBy carries an operator's command to revoke out. Who revokes what was revoked
// before has it done, and the order number is used up all the same.
func (a *Authority) revokeBy(c *captoken.Command) (*Outcome, error) {
	r, err := a.revocationOf(c.Target, c.Reason)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = a.record("revoke")
		r.Reason = c.Reason
	}
	r.Operators = []operatorEntry{{c.Operator, c.Sequence}}
	if err := a.commit(r); err != nil {
		return nil, err
	}
	out := &Outcome{Command: c}
	for _, name := range a.onRecord() {
		out.Push = append(out.Push, a.orders(name))
	}
	return out, nil
}

// revocationOf is the record that revokes a target, nil if it is revoked.
func (a *Authority) revocationOf(t captoken.Target, reason string) (*record, error) {
	l, now := &a.state.list, a.now()
	what := "revoke " + t.String()
	switch {
	case t == captoken.Target{}:
		return nil, fmt.Errorf("revoke: %w: what to revoke is missing", ErrTarget)
	case l.RevokedToken(t.Token), l.RevokedLease(t.Lease), l.RevokedSubject(t.Agent):
		return nil, nil
	case t.Epoch > 0 && t.Epoch != a.state.epoch+1:
		return nil, fmt.Errorf("%s: %w: the epoch after the present one is expected, %d, found %d", what, ErrTarget, a.state.epoch+1, t.Epoch)
	case t.Epoch > 0:
		if err := a.mayStop("raise the epoch", a.onRecord(), now); err != nil {
			return nil, err
		}
	case t.Agent != "":
		if err := a.mayStop(what, a.hit(t, nil, now), now); err != nil {
			return nil, err
		}
	}
	r := a.revocation(what, reason)
	next := captoken.RevocationList{Epoch: l.Epoch}
	if t.Epoch > 0 {
		r.Epoch, next.Epoch = t.Epoch, t.Epoch // and nothing that was named before need be named any more
	} else {
		next.Revoke(add(l.Tokens, t.Token), add(l.Leases, t.Lease), add(l.Subjects, t.Agent))
	}
	a.revokeOnRecord(r, t)
	return r, a.sign(r, next)
}

// add is a list with one more, unless that is nothing.
func add[T comparable](list []T, v T) []T {
	var nothing T
	if v == nothing {
		return list
	}
	return append(slices.Clone(list), v)
}

// revokeOnRecord notes what hosts no longer have: tokens that the agents may not have
// heard of, and leases.
func (a *Authority) revokeOnRecord(r *record, t captoken.Target) {
	for _, name := range a.onRecord() {
		h, changed := a.state.hosts[name], false
		if !t.Lease.IsZero() && h.Lease == t.Lease {
			h.Lease, changed = captoken.ID{}, true
		}
		tokens := slices.Clone(h.Tokens)
		for i := range tokens {
			if t.Epoch > 0 || !t.Token.IsZero() && tokens[i].ID == t.Token {
				tokens[i].Lease, changed = captoken.ID{}, true
			}
		}
		if changed {
			h.Tokens = tokens
			r.Hosts = append(r.Hosts, h)
		}
	}
}

// Lift lets run again what was stopped in exactly these words: a stop of a host is not
// lifted for one agent of it. No token from before becomes good by it. It is for the
// verifier's administrator; no command says it.
func (a *Authority) Lift(stop Stop, reason string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.state.stops[stop] {
		return fmt.Errorf("lift the stop of %v: %w: nothing is stopped in these words", stop, ErrTarget)
	}
	r := a.revocation("lift", reason) // the host has to hear of it, so the sequence grows
	r.Lifted = []Stop{stop}
	return a.commit(r)
}

// Forget removes what is known of a host, such as the boot before which no request is
// answered. What was revoked and stopped stays so.
func (a *Authority) Forget(host, reason string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	h, ok := a.state.hosts[host]
	switch {
	case !ok:
		return fmt.Errorf("forget host %s: %w: there is no record of it", host, ErrTarget)
	case a.live(h, a.now()):
		return fmt.Errorf("forget host %s: %w: agents may be running on it until %s; revoke its lease and wait", host, ErrTarget, stamp(time.UnixMilli(h.Until).Add(a.c.Grace)))
	}
	r := a.record("forget")
	r.Reason = reason
	r.Forgotten = []string{host}
	for _, o := range a.state.ordersOf(host) {
		r.Done = append(r.Done, o.key())
	}
	return a.commit(r)
}

// revocation begins a record that hosts have to hear of.
func (a *Authority) revocation(what, reason string) *record {
	r := a.record(what)
	r.Sequence++
	r.Reason = reason
	return r
}

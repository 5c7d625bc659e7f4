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
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.isRevoked(revokedToken, id) {
		return nil
	}
	r := a.revocation("revoke token", reason)
	// No token lives longer, and no delegation longer than its token.
	r.Revoked = []revocation{{revokedToken, id, a.forever(MaxTokenLife)}}
	for _, name := range a.onRecord() {
		h := a.state.hosts[name]
		if i := slices.IndexFunc(h.Tokens, func(t tokenEntry) bool { return t.ID == id }); i >= 0 {
			h.Tokens = slices.Clone(h.Tokens)
			h.Tokens[i].Lease = captoken.ID{}
			r.Hosts = append(r.Hosts, h)
		}
	}
	return a.commit(r)
}

// RevokeLease ends a lease: the host is to stop what hangs from it, and with the next
// good verdict gets another one.
func (a *Authority) RevokeLease(id captoken.ID, reason string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id.IsZero() {
		return fmt.Errorf("revoke a lease: %w: its id is missing", ErrTarget)
	}
	if a.state.isRevoked(revokedLease, id) {
		return nil
	}
	r := a.revocation("revoke lease", reason)
	r.Revoked = []revocation{{revokedLease, id, a.forever(captoken.MaxLease + a.c.Grace)}}
	for _, name := range a.onRecord() {
		if h := a.state.hosts[name]; h.Lease == id {
			h.Lease = captoken.ID{}
			r.Hosts = append(r.Hosts, h)
		}
	}
	return a.commit(r)
}

// RevokeSubject stops an agent on every host until it is lifted: what hangs from tokens
// and delegations that name it is good no more, and it gets no new ones.
func (a *Authority) RevokeSubject(agent, reason string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	target := captoken.Target{Agent: agent}
	if agent == "" {
		return fmt.Errorf("revoke a subject: %w: its name is missing", ErrTarget)
	}
	if a.state.stops[Stop{Agent: agent}] {
		return nil
	}
	if err := a.mayStop("revoke "+target.String(), a.hit(target, nil, a.now()), a.now()); err != nil {
		return err
	}
	r := a.revocation("revoke subject", reason)
	r.Stops = []Stop{{Agent: agent}}
	return a.commit(r)
}

// RaiseEpoch revokes every token that was issued so far.
func (a *Authority) RaiseEpoch(reason string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if err := a.mayStop("raise the epoch", a.onRecord(), now); err != nil {
		return err
	}
	r := a.revocation("raise epoch", reason)
	r.Epoch++
	for _, name := range a.onRecord() {
		h := a.state.hosts[name]
		h.Tokens = slices.Clone(h.Tokens)
		for i := range h.Tokens {
			h.Tokens[i].Lease = captoken.ID{}
		}
		r.Hosts = append(r.Hosts, h)
	}
	return a.commit(r)
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

// forever is the second from which on an id that was good for a time at most is good for
// nothing anyway. An hour more costs little, and clocks differ.
func (a *Authority) forever(life time.Duration) int64 {
	return a.now().Add(life + time.Hour).Unix()
}

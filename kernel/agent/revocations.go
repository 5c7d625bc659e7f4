package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"aios/captoken"
)

// TakeRevocations takes the issuer's list of what it revoked in place of the one before.
// What hangs from what it names is gone when it returns. A list that is not good, or
// older than one that was taken, changes nothing.
func (a *Authority) TakeRevocations(ctx context.Context, raw []byte) error {
	now, err := a.lockIdentified()
	if err != nil {
		return a.refuse("revocations refused", err)
	}
	runs, err := a.takeRevocations(raw, now)
	a.unlock()
	if err != nil {
		return a.refuse("revocations refused", err)
	}
	return gone(ctx, runs)
}

func (a *Authority) takeRevocations(raw []byte, now time.Duration) (ends []*instance, err error) {
	before := a.list.List()
	l, err := a.list.Take(raw)
	if err != nil {
		return nil, err
	}
	if l != before {
		a.say("revocations taken sequence=%d epoch=%d tokens=%d leases=%d agents=%d", l.Sequence, l.Epoch, len(l.Tokens), len(l.Leases), len(l.Subjects))
	}
	a.state.Raise(l.Sequence)
	a.lease.Epoch(l.Epoch)
	// The list names the lease for as long as its epoch lasts, and the lease is over for good.
	if id := a.state.ID(now); !id.IsZero() && l.RevokedLease(id) && id != a.ended {
		a.ended = id
		a.lapse(now, captoken.CauseRevoked, "its lease was revoked")
	}
	for _, g := range a.order {
		if why := g.token.revokedBy(l); why != "" {
			a.drop(g, now, captoken.CauseRevoked, why)
		}
		if g.run != nil && g.run.cause != 0 {
			ends = append(ends, g.run)
		}
	}
	a.notice()
	return ends, nil
}

// revokedBy says why a token is good no more, "" if it is or if there is none.
func (t *token) revokedBy(l *captoken.RevocationList) string {
	switch {
	case t == nil:
		return ""
	case t.grant.Epoch < l.Epoch:
		return "its token's epoch was revoked"
	case slices.ContainsFunc(t.grant.Chain, l.RevokedToken):
		return "its token was revoked"
	case slices.ContainsFunc(t.subjects, l.RevokedSubject):
		return "everything of it was revoked"
	}
	return ""
}

// listed is the sequence of the list that is held, 0 without one.
func (a *Authority) listed() uint64 {
	if l := a.list.List(); l != nil {
		return l.Sequence
	}
	return 0
}

// listError says that the verifier has a list that has not come: nothing begins that it
// may forbid.
func (a *Authority) listError() error {
	return fmt.Errorf("revocation list %d expected, found %d; it has to come from the verifier first: have the host attest", a.state.Sequence(), a.listed())
}

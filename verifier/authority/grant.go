package authority

import (
	"crypto/rand"
	"fmt"
	"time"

	"aios/captoken"
)

// Request is what a host asks with.
type Request struct {
	Nonce [captoken.NonceSize]byte // its own, not the verifier's challenge
	Boot  captoken.ID              // the kernel's id of this boot
	Held  captoken.ID              // the lease that it holds, its grace included; zero if none
	// Tokens that it holds, so that they need not be issued again.
	Tokens []captoken.ID
	// Seen is the highest revocation sequence number that it has seen.
	Seen uint64
	// List is the sequence of the revocation list that it holds, 0 if it has none.
	List uint64
	// Holder is the thumbprint of the host's key, which holds its tokens.
	Holder captoken.Thumbprint
	// Agents are assigned to the host; not the host's word, but the caller's.
	Agents []Assignment
}

// Assignment is an agent and what it may do.
type Assignment struct {
	Agent  string
	Holder captoken.Thumbprint // zeros: the host's key
	Rights captoken.Rights
	Scopes captoken.Scopes
	Quotas captoken.Quotas
	Depth  uint8
}

// Granted is the answer to a request.
type Granted struct {
	Lease    captoken.Lease // what Signed says
	Signed   []byte
	Renewed  bool              // the lease keeps its id, and what hangs from it goes on
	Tokens   []captoken.Token  // for agents that do not hold a good one, in the order of the assignments
	Withheld map[string]string // agent -> why it gets no token
	Orders   Orders            // what the host has to know beside it
}

// maxTokens is how many tokens of one agent may be in force on one host. A host that
// says which ones it holds has one, or two for a moment.
const maxTokens = 8

// Grant answers a request of the host that a verdict is about. A verdict that is not
// affirming is an error, and noted: no older one is a ground for a lease any more, and
// the next lease gets a new id, so that no token from before is good again.
func (a *Authority) Grant(v Verdict, q Request) (*Granted, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.steady(); err != nil {
		return nil, err
	}
	now := a.now()
	h, known := a.state.hosts[v.Host]
	if err := a.judge(v, h, known, now); err != nil {
		return nil, err
	}
	switch {
	case q.Boot.IsZero():
		return nil, fmt.Errorf("%s: %w: boot id expected, found none", v.Host, ErrRequest)
	case q.Nonce == [captoken.NonceSize]byte{}:
		return nil, fmt.Errorf("%s: %w: nonce expected, found none", v.Host, ErrRequest)
	case v.ResetCount < h.Resets:
		return nil, fmt.Errorf("%s: %w: TPM reset count expected at least %d, found %d; if the TPM was cleared, forget the host and let it attest again", v.Host, ErrBoot, h.Resets, v.ResetCount)
	case q.Seen > a.state.sequence:
		return nil, fmt.Errorf("%s: %w: revocation sequence expected at most %d, found %d; restore the token authority's state", v.Host, ErrForgotten, a.state.sequence, q.Seen)
	case q.List > a.state.list.Sequence:
		return nil, fmt.Errorf("%s: %w: revocation list expected at most %d, found %d; restore the token authority's state", v.Host, ErrForgotten, a.state.list.Sequence, q.List)
	}
	r := a.record("grant")
	g := &Granted{Withheld: map[string]string{}}
	next, err := a.lease(g, v, q, h, now)
	if err != nil {
		return nil, err
	}
	if h.Boot != next.Boot || h.Resets != next.Resets { // what ran before the boot is gone, and proves nothing any more
		for _, o := range a.state.ordersOf(v.Host) {
			r.Done = append(r.Done, o.key())
		}
	}
	a.tokens(g, &next, q, now)
	r.Hosts = []hostEntry{next}
	if err := a.commit(r); err != nil {
		return nil, err
	}
	g.Orders = a.orders(v.Host)
	return g, nil
}

// judge says why a verdict is no ground for a lease.
func (a *Authority) judge(v Verdict, h hostEntry, known bool, now time.Time) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", v.Host, ErrVerdict, fmt.Sprintf(format, args...))
	}
	reached := v.IssuedAt.Unix()
	switch {
	case v.Host == "":
		return fmt.Errorf("%w: it names no host", ErrVerdict)
	case v.IssuedAt.After(now.Add(clockTolerance)):
		return refuse("it was reached at %s, and it is %s; compare the clocks", stamp(v.IssuedAt), stamp(now))
	case known && reached < h.Judged:
		return refuse("it was reached at %s, and there is a newer one of %s", stamp(v.IssuedAt), stamp(time.Unix(h.Judged, 0)))
	case v.Status != affirming:
		if err := a.deny(v.Host, reached, h); err != nil {
			return err
		}
		return refuse("it is %q, expected %q; see its reasons", v.Status, affirming)
	case known && h.Denied && reached <= h.Judged:
		return refuse("it was reached at %s, no later than one that was not affirming; have the host appraised again", stamp(v.IssuedAt))
	case !now.Before(v.Expires):
		return refuse("it was valid until %s, and it is %s; have the host appraised again", stamp(v.Expires), stamp(now))
	}
	return nil
}

// deny notes that a host was not found good.
func (a *Authority) deny(host string, reached int64, h hostEntry) error {
	if h.Denied && h.Judged == reached {
		return nil
	}
	h.Host, h.Judged, h.Denied, h.Lease = host, reached, true, captoken.ID{}
	r := a.record("deny")
	r.Hosts = []hostEntry{h}
	return a.commit(r)
}

// lease signs the lease and says what is then known of the host.
func (a *Authority) lease(g *Granted, v Verdict, q Request, h hostEntry, now time.Time) (hostEntry, error) {
	sameBoot := h.Boot == q.Boot && h.Resets == v.ResetCount
	g.Renewed = sameBoot && !h.Lease.IsZero() && h.Lease == q.Held && now.UnixMilli() < h.Until+a.c.Grace.Milliseconds()
	next := h
	next.Host, next.Judged, next.Denied = v.Host, v.IssuedAt.Unix(), false
	next.Boot, next.Resets, next.Measured = q.Boot, v.ResetCount, v.Measured
	switch {
	case g.Renewed:
		next.Tokens = unexpired(h.Tokens, now.Unix())
	case sameBoot: // an answer may have been lost: what hangs from the lease before can be in use until that lapses
		rand.Read(next.Lease[:]) // never fails (Go 1.24)
		next.Tokens = nil
		lapsed := (h.Until+a.c.Grace.Milliseconds())/1000 + 1
		for _, t := range unexpired(h.Tokens, now.Unix()) {
			t.Expires = min(t.Expires, lapsed)
			next.Tokens = append(next.Tokens, t)
		}
	default:
		rand.Read(next.Lease[:])
		next.Tokens, next.Until = nil, 0
	}
	// The host counts from the moment it sent the request, which was before now: so the
	// lease ends before the verdict does.
	duration := min(a.c.Lease, v.Expires.Sub(now)).Truncate(time.Millisecond)
	if duration <= 0 {
		return next, fmt.Errorf("%s: %w: it is valid for less than a millisecond; have the host appraised again", v.Host, ErrVerdict)
	}
	next.Until = max(next.Until, now.Add(duration).UnixMilli())
	g.Lease = captoken.Lease{
		ID: next.Lease, Issuer: a.c.Key.Public().Thumbprint(), Host: v.Host, Boot: captoken.Boot{ID: q.Boot, ResetCount: v.ResetCount}, Nonce: q.Nonce,
		Duration: duration, IssuedAt: now.Truncate(time.Second), Sequence: a.state.list.Sequence,
	}
	signed, err := captoken.MintLease(a.c.Key, g.Lease)
	if err != nil {
		return next, fmt.Errorf("%s: sign a lease: %w", v.Host, err)
	}
	g.Signed = signed
	return next, nil
}

// tokens signs one for each agent that may have one and does not hold a good one.
func (a *Authority) tokens(g *Granted, next *hostEntry, q Request, now time.Time) {
	held := map[captoken.ID]bool{}
	for _, id := range q.Tokens {
		held[id] = true
	}
	done := map[string]bool{}
	for _, s := range q.Agents {
		if done[s.Agent] {
			continue
		}
		done[s.Agent] = true
		if stop, ok := a.state.stopped(s.Agent, next.Host); ok {
			g.Withheld[s.Agent] = stop.String() + " is stopped"
			continue
		}
		if a.state.list.RevokedSubject(s.Agent) {
			g.Withheld[s.Agent] = "everything of agent " + s.Agent + " is revoked until the epoch is raised"
			continue
		}
		mine, good := 0, false
		for _, t := range next.Tokens {
			if t.Agent != s.Agent || t.Lease != next.Lease {
				continue
			}
			mine++
			// One with less than half of its life left is replaced.
			good = good || held[t.ID] && time.Unix(t.Expires, 0).Sub(now) >= a.c.TokenLife/2
		}
		switch {
		case good:
			continue
		case mine >= maxTokens:
			g.Withheld[s.Agent] = fmt.Sprintf("%d of its tokens are in force and the host says it holds none of them: the answers do not reach it", mine)
			continue
		}
		if s.Holder == (captoken.Thumbprint{}) {
			s.Holder = q.Holder
		}
		if s.Holder == (captoken.Thumbprint{}) {
			g.Withheld[s.Agent] = "the host names no key that could hold a token"
			continue
		}
		token, entry, err := a.mint(next, s, now)
		if err != nil {
			g.Withheld[s.Agent] = err.Error()
			continue
		}
		g.Tokens = append(g.Tokens, token)
		next.Tokens = append(next.Tokens, entry)
	}
}

func (a *Authority) mint(h *hostEntry, s Assignment, now time.Time) (captoken.Token, tokenEntry, error) {
	from := now.Truncate(time.Second) // as the lease says, so the host's time is no earlier
	c := captoken.Claims{
		Subject: s.Agent, Audience: h.Host, Rights: s.Rights, Scopes: s.Scopes, Quotas: s.Quotas, Holder: s.Holder, Depth: s.Depth,
		NotBefore: from, Expires: from.Add(a.c.TokenLife.Truncate(time.Second)), Epoch: a.state.epoch, Lease: h.Lease,
	}
	rand.Read(c.ID[:]) // never fails (Go 1.24)
	token, err := captoken.Mint(a.c.Key, c)
	return token, tokenEntry{c.ID, s.Agent, h.Lease, c.Expires.Unix()}, err
}

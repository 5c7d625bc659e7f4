package captoken

import (
	"math"
	"strconv"
	"time"
)

// Phase is how things stand with a host's lease.
type Phase uint8

// The phases.
const (
	LeaseNone   Phase = iota // none was ever taken
	LeaseHeld                // tokens may be used and installed
	LeaseGrace               // renewal is overdue: what runs goes on, nothing new starts
	LeaseLapsed              // everything that hangs from it stops
)

func (p Phase) String() string {
	if p <= LeaseLapsed {
		return [...]string{"none", "held", "grace", "lapsed"}[p]
	}
	return "unknown"
}

// maxRequests is how many requests can wait for an answer.
const maxRequests = 4

// LeaseState is the host's side of its lease: a state machine that is told what
// happens and what the time is, and does nothing by itself. Times are those of the
// host's monotonic clock, since the boot. It never lets time go back: a now below one
// that it was told before counts as that one.
//
// It is not safe for use by several goroutines at once.
type LeaseState struct {
	trusted []*PublicKey
	host    string
	boot    Boot
	grace   time.Duration

	now      time.Duration // the latest that was told
	requests [maxRequests]request
	lease    Lease
	sent     time.Duration // when the request was sent that lease answers
	phase    Phase
	sequence uint64
}

type request struct {
	open  bool
	nonce [NonceSize]byte
	sent  time.Duration
}

// NewLeaseState begins without a lease. sequence is the revocation sequence number that
// the host has kept, 0 if none.
func NewLeaseState(trusted []*PublicKey, host string, boot Boot, grace time.Duration, sequence uint64) *LeaseState {
	return &LeaseState{trusted: trusted, host: host, boot: boot, grace: max(grace, 0), sequence: sequence}
}

// advance takes notice of the time. A lease that has lapsed stays so, since what hung
// from it was stopped.
func (s *LeaseState) advance(now time.Duration) {
	s.now = max(s.now, now)
	if s.phase != LeaseHeld && s.phase != LeaseGrace {
		return
	}
	switch age := s.now - s.sent; {
	case age < s.lease.Duration:
		s.phase = LeaseHeld
	case age-s.lease.Duration < s.grace:
		s.phase = LeaseGrace
	default:
		s.phase = LeaseLapsed
	}
}

// Sent notes that a request with a nonce was sent. At most four wait for an answer; the
// oldest makes room.
func (s *LeaseState) Sent(nonce [NonceSize]byte, now time.Duration) {
	s.advance(now)
	oldest := 0
	for i := range s.requests {
		if !s.requests[i].open {
			oldest = i
			break
		}
		if s.requests[i].sent < s.requests[oldest].sent {
			oldest = i
		}
	}
	s.requests[oldest] = request{true, nonce, s.now}
}

// Renew installs a lease that answers a request. After an error nothing has changed.
func (s *LeaseState) Renew(raw []byte, now time.Duration) (*Lease, error) {
	s.advance(now)
	l, err := VerifyLease(raw, s.trusted, s.host, s.boot)
	if err != nil {
		return nil, err
	}
	refuse := func(kind error, reason, remedy string) (*Lease, error) {
		return nil, &Error{kind, "lease", reason, remedy}
	}
	q := s.find(l.Nonce)
	switch {
	case q == nil:
		return refuse(ErrNonce, "it answers no request of this host that is open", "ask again: it came late, twice, or for a request that a newer one replaced")
	case l.Sequence < s.sequence:
		return refuse(ErrSequence, "revocation sequence expected at least "+count(s.sequence)+", found "+count(l.Sequence), "the verifier has forgotten revocations; restore its state")
	case s.now-q.sent >= l.Duration:
		return refuse(ErrExpired, "it lasts "+l.Duration.String()+" from the request on, which was sent "+(s.now-q.sent).String()+" ago", "ask again")
	case s.phase == LeaseLapsed && l.ID == s.lease.ID:
		return refuse(ErrLease, l.ID.String()+" has lapsed, and what hung from it was stopped", "the verifier has to grant a new lease")
	}
	sent := q.sent
	for i := range s.requests { // an answer to an older request could only turn things back
		if s.requests[i].sent <= sent {
			s.requests[i] = request{}
		}
	}
	s.lease, s.sent, s.sequence, s.phase = *l, sent, l.Sequence, LeaseHeld
	return l, nil
}

func (s *LeaseState) find(nonce [NonceSize]byte) *request {
	for i := range s.requests {
		if s.requests[i].open && s.requests[i].nonce == nonce {
			return &s.requests[i]
		}
	}
	return nil
}

// Raise notes a revocation sequence number that was learnt in another way, such as a
// push. A lower one changes nothing.
func (s *LeaseState) Raise(sequence uint64) { s.sequence = max(s.sequence, sequence) }

// Sequence is the highest revocation sequence number that was seen.
func (s *LeaseState) Sequence() uint64 { return s.sequence }

// Phase tells how things stand.
func (s *LeaseState) Phase(now time.Duration) Phase {
	s.advance(now)
	return s.phase
}

// ID is the lease that tokens have to name, for Want.Lease: zero unless one is held or
// in its grace.
func (s *LeaseState) ID(now time.Duration) ID {
	if p := s.Phase(now); p != LeaseHeld && p != LeaseGrace {
		return ID{}
	}
	return s.lease.ID
}

// Deadline is when everything that hangs from the lease stops unless it is renewed, the
// grace included, and whether there is one.
func (s *LeaseState) Deadline() (time.Duration, bool) {
	return s.sent + s.lease.Duration + s.grace, s.phase == LeaseHeld || s.phase == LeaseGrace
}

// Time is the verifier's time, for Want.Now: what the lease says, plus what has passed
// since its request was sent. It is behind the verifier's by less than a second, since a
// lease has whole seconds, and ahead by no more than the request took. Without a lease
// there is none.
func (s *LeaseState) Time(now time.Duration) (time.Time, bool) {
	s.advance(now)
	if s.phase == LeaseNone {
		return time.Time{}, false
	}
	return s.lease.IssuedAt.Add(s.now - s.sent), true
}

// When is the moment of the monotonic clock at which the verifier's time is t, for a
// check that has no time to lose. It may shift a little with each renewal.
func (s *LeaseState) When(t time.Time) (time.Duration, bool) {
	if s.phase == LeaseNone {
		return 0, false
	}
	d := t.Sub(s.lease.IssuedAt) // stops at the bounds of a duration
	if d > math.MaxInt64-s.sent {
		return math.MaxInt64, true
	}
	return s.sent + d, true
}

// String tells it for a log.
func (s *LeaseState) String() string {
	if s.phase == LeaseNone {
		return "no lease"
	}
	return "lease " + s.lease.ID.String() + " " + s.phase.String() + ", revocation sequence " + strconv.FormatUint(s.sequence, 10)
}

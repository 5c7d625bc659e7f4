package cap

import (
	"sync/atomic"
	"time"

	"aios/kernel/abi"
)

// Lease is the host's, as its checks see it: every gate hangs from it, so that one
// store shuts all of them. The zero value is none. Changes are made by one goroutine
// at a time; checks may run beside them, in trap context too.
type Lease struct {
	number atomic.Uint64 // of the lease, counted from 1: a gate is open under its own alone
	until  atomic.Int64  // nanoseconds since boot at which lease and grace end; 0: there is none
	epoch  atomic.Uint64 // tokens of a lower one are good no more
}

// Begin is a lease that nothing hangs from yet. What hung from the one before is shut.
func (l *Lease) Begin(until time.Duration) {
	l.until.Store(0) // a check reads this first: it never sees the new end with the old number
	l.number.Add(1)
	l.until.Store(int64(until))
}

// Renew moves the end.
func (l *Lease) Renew(until time.Duration) { l.until.Store(int64(until)) }

// End shuts everything that hangs from the lease.
func (l *Lease) End() { l.until.Store(0) }

// Epoch shuts what has a lower epoch. It never goes back.
func (l *Lease) Epoch(epoch uint64) {
	if epoch > l.epoch.Load() {
		l.epoch.Store(epoch)
	}
}

// Gate is an installed token, as the checks of its holder see it: all handles of an
// agent hang from one.
type Gate struct {
	lease    *Lease
	number   uint64        // of the lease that the token names
	epoch    atomic.Uint64 // of the token
	until    atomic.Int64  // nanoseconds since boot at which the token ends; 0: shut for good
	loan     atomic.Uint64 // what left its table is good under this number alone
	messages Meter
	bytes    Meter
}

// Terms are what a token says of when and how much.
type Terms struct {
	Until    time.Duration // since boot
	Epoch    uint64
	Messages uint64 // a second; 0: none
	Bytes    uint64 // of messages, a second; 0: none
}

// Gate makes one under the lease as it is now.
func (l *Lease) Gate(t Terms) *Gate {
	g := &Gate{lease: l, number: l.number.Load()}
	g.until.Store(max(int64(t.Until), 1))
	g.set(t)
	return g
}

func (g *Gate) set(t Terms) {
	g.epoch.Store(t.Epoch)
	g.messages.set(t.Messages)
	g.bytes.set(t.Bytes)
}

// Move puts a newer token's terms in place of those before. A gate that was shut stays so.
// The end comes before the epoch, which a check reads first: it never sees the new epoch
// with the old end, which no token ever had.
func (g *Gate) Move(t Terms) {
	for {
		was := g.until.Load()
		if was == 0 {
			return
		}
		if g.until.CompareAndSwap(was, max(int64(t.Until), 1)) {
			break
		}
	}
	g.set(t)
}

// Recall ends what has left the table: it may be more than the token admits by now.
func (g *Gate) Recall() { g.loan.Add(1) }

// Shut ends the gate for good.
func (g *Gate) Shut() { g.until.Store(0) }

// check tells whether what hangs from the gate may be used at now, and, if the use
// is metered, whether there is a quota left for it. The lease's end is read before
// its number, and the token's epoch before its end: see Begin and Move.
func (g *Gate) check(metered bool, now int64) abi.Errno {
	l := g.lease
	switch {
	case now >= l.until.Load() || l.number.Load() != g.number:
		return abi.Lapsed
	case g.epoch.Load() < l.epoch.Load() || now >= g.until.Load():
		return abi.Lapsed
	case metered && (g.messages.empty(now) || g.bytes.empty(now)):
		return abi.Quota
	}
	return 0
}

// Charge takes a message of n bytes out of the quotas, or nothing and says Quota.
func (g *Gate) Charge(n uint64, now time.Duration) abi.Errno {
	if g.bytes.empty(int64(now)) || !g.messages.take(1, int64(now)) {
		return abi.Quota
	}
	g.bytes.take(n, int64(now)) // who raced for the last of it goes into debt by one message
	return 0
}

// Meter is a quota of so many a second, as a moment: the one until which all that was
// taken is paid for. A second's worth may be taken at once. Who takes more than is left
// is in debt and waits it out, so that what is larger than a second's worth can pass.
type Meter struct {
	rate atomic.Uint64 // 0: nothing may be taken
	paid atomic.Int64  // nanoseconds since boot; unpaid while the rate is 0
}

// unpaid is a moment that never comes, so that a check need not look at the rate.
const unpaid = 1<<63 - 1

// set changes the rate. What was taken before is still to be waited for.
func (m *Meter) set(rate uint64) {
	switch was := m.rate.Swap(rate); {
	case rate == 0:
		m.paid.Store(unpaid)
	case was == 0:
		m.paid.CompareAndSwap(unpaid, 0)
	}
}

// meterBurst is how far ahead one may take.
const meterBurst = int64(time.Second)

// empty tells whether nothing may be taken at now.
func (m *Meter) empty(now int64) bool {
	return m.paid.Load()-now >= meterBurst
}

// take takes n, which are at most 1<<32, if the meter is not empty.
func (m *Meter) take(n uint64, now int64) bool {
	rate := m.rate.Load()
	if rate == 0 {
		return false
	}
	cost := int64(min(n*uint64(time.Second)/rate, 1<<62))
	for {
		paid := m.paid.Load()
		if paid-now >= meterBurst {
			return false
		}
		if m.paid.CompareAndSwap(paid, max(paid, now)+cost) {
			return true
		}
	}
}

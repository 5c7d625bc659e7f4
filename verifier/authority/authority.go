package authority

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"aios/captoken"
)

// Defaults of Config.
const (
	DefaultLease         = 2 * time.Minute // four rounds of 30 s: a few may be lost
	DefaultGrace         = 3 * time.Minute
	DefaultTokenLife     = time.Hour
	DefaultQuorumPercent = 25
)

const (
	// MaxTokenLife bounds Config.TokenLife, and with it how long a revocation is kept.
	MaxTokenLife = 24 * time.Hour
	// clockTolerance is by how much the clock may go back, or a verdict lie ahead of it.
	clockTolerance = time.Minute
)

// Config is what the authority is given. It is locked while it calls the functions in
// here, so they must not call it.
type Config struct {
	Key          captoken.Signer // the verifier's token key
	Installation string          // the audience of commands
	Lease        time.Duration   // that a lease lasts at most; 0 means DefaultLease
	Grace        time.Duration   // the one that hosts are set to; 0 means DefaultGrace
	TokenLife    time.Duration   // 0 means DefaultTokenLife

	Operators []captoken.Operator
	// Permits says what a role may do. Without it nobody may do anything.
	Permits func(role string, action captoken.Action, target captoken.Target) bool
	// Labelled lists the hosts with a label. Without it no host has any.
	Labelled func(label string) []string
	// QuorumPercent is the share of the fleet that one person can stop at once, 1 to
	// 100; 0 means DefaultQuorumPercent. One host can always be stopped.
	QuorumPercent int

	Create bool             // begin an empty state if there is none
	Now    func() time.Time // nil means time.Now
	Warn   func(string)     // told what was found wrong and put right; may be nil
	// CompactAt is the size of the journal, in bytes, from which on it is written anew
	// when most of it is out of date; 0 means 4 MiB.
	CompactAt int64
}

// Reasons why something is refused, each matched by errors.Is, beside those of
// captoken for commands and of verifier/quote for receipts.
var (
	ErrVerdict   = errors.New("the verdict is no ground for a lease")
	ErrRequest   = errors.New("the request for a lease is incomplete")
	ErrBoot      = errors.New("of an earlier boot of the host")
	ErrForgotten = errors.New("the host has seen revocations that are not on record here")
	ErrClock     = errors.New("the verifier's clock went back")
	ErrQuorum    = errors.New("needs the quorum")
	ErrTarget    = errors.New("there is no such target")
	ErrReceipt   = errors.New("the receipt proves nothing")
	ErrNoState   = errors.New("there is no state of a token authority")
	ErrConfig    = errors.New("token authority cannot be set up")
	ErrFull      = errors.New("the revocation list is full")
)

// Authority is open until Close. It is safe for use by several goroutines at once.
type Authority struct {
	c    Config
	disk Disk

	mu      sync.Mutex
	state   *state
	journal journal
}

// Open reads the state. A write that a crash cut short is cut off and Warn is told: it
// was never acknowledged. Anything else that is wrong with the journal is an error.
func Open(disk Disk, c Config) (*Authority, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	a := &Authority{c: c, disk: disk, state: newState(), journal: journal{disk: disk}}
	b, err := disk.Read(journalName)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Create:
		a.state.at = c.Now().UnixMilli()
		if err := a.compact(); err != nil {
			return nil, errors.Join(err, a.journal.close())
		}
		return a, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w under %v: restore it, or begin an empty one with Create: it knows of no revocation, and hosts that do will refuse its leases", ErrNoState, disk)
	case err != nil:
		return nil, fmt.Errorf("read the token authority's state: %w", err)
	}
	if err := a.load(b); err != nil {
		return nil, errors.Join(err, a.journal.close())
	}
	return a, nil
}

func (c Config) complete() (Config, error) {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&c.Lease, DefaultLease}, {&c.Grace, DefaultGrace}, {&c.TokenLife, DefaultTokenLife}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.QuorumPercent == 0 {
		c.QuorumPercent = DefaultQuorumPercent
	}
	if c.CompactAt == 0 {
		c.CompactAt = 4 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	switch {
	case c.Key == nil:
		return c, fmt.Errorf("%w: it has no key to sign with", ErrConfig)
	case c.Lease < time.Second || c.Lease > captoken.MaxLease:
		return c, fmt.Errorf("%w: lease expected 1s to %v, found %v", ErrConfig, captoken.MaxLease, c.Lease)
	case c.Grace < 0 || c.Grace > captoken.MaxLease:
		return c, fmt.Errorf("%w: grace expected 0s to %v, found %v", ErrConfig, captoken.MaxLease, c.Grace)
	case c.TokenLife < time.Second || c.TokenLife > MaxTokenLife:
		return c, fmt.Errorf("%w: life of a token expected 1s to %v, found %v", ErrConfig, MaxTokenLife, c.TokenLife)
	case c.QuorumPercent < 1 || c.QuorumPercent > 100:
		return c, fmt.Errorf("%w: share of the fleet expected 1 to 100 percent, found %d", ErrConfig, c.QuorumPercent)
	}
	return c, nil
}

// load replays the journal and opens it for what follows.
func (a *Authority) load(b []byte) error {
	file := fmt.Sprintf("%v/%s", a.disk, journalName)
	var follow uint64
	first := true
	end, check, torn, err := replay(b, func(body []byte) error {
		r, err := decodeRecord(body)
		if err == nil {
			err = a.state.check(r)
		}
		switch {
		case err != nil:
			return err
		case first:
			first, follow = false, r.Follow
		case r.Follow != 0:
			return errors.New("a snapshot begins behind the first record")
		case follow > 0:
			follow--
		}
		a.state.apply(r)
		return nil
	})
	if err == nil && (first || follow > 0) { // it was renamed into place when it was whole
		err = damaged(end, "expected %d more records of the snapshot, found the end", max(follow, 1))
	}
	if err != nil {
		return fmt.Errorf("%s: %w; nothing is issued from a state that may have lost revocations: restore the file from a backup; if there is none, begin an empty state with a new token key, under which no token of before is good, and enrol the hosts again", file, err)
	}
	if err := a.disk.Remove(newName); err != nil {
		return storeError(a.disk, err)
	}
	f, err := a.disk.Append(journalName)
	if err != nil {
		return storeError(a.disk, err)
	}
	a.journal.file, a.journal.size, a.journal.check, a.journal.fixed = f, end, check, end
	if torn > 0 {
		if err := errors.Join(f.Truncate(end), f.Sync()); err != nil {
			return storeError(a.disk, err)
		}
		a.c.Warn(fmt.Sprintf("%s: the last write was cut short by a crash: its %d bytes from byte %d on were cut off; it had not been acknowledged", file, torn, end))
	}
	return a.resign()
}

// Close ends it; what was acknowledged is on the disk already.
func (a *Authority) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal.close()
}

// now is the verifier's time, never before what is on record: a clock that is set back
// makes nothing valid again.
func (a *Authority) now() time.Time {
	now := a.c.Now()
	if at := time.UnixMilli(a.state.at); now.Before(at) {
		now = at
	}
	return now.UTC()
}

// steady says whether the clock can be relied on to say how long something is valid.
func (a *Authority) steady() error {
	if now, at := a.c.Now(), time.UnixMilli(a.state.at); now.Add(clockTolerance).Before(at) {
		return fmt.Errorf("%w: it is %s, and what is on record was written at %s; nothing is issued until then: correct the clock", ErrClock, stamp(now), stamp(at))
	}
	return nil
}

// record begins one at the present time.
func (a *Authority) record(what string) *record {
	r := a.state.next(what)
	r.At = max(r.At, a.c.Now().UnixMilli())
	return r
}

// commit makes a record durable and takes it in. After an error nothing was done.
func (a *Authority) commit(r *record) error {
	if err := a.state.check(r); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	body, err := r.encode()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	// What could not be read again, such as a reason that is no text, must not be written.
	if _, err := decodeRecord(body); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if err := a.journal.write(body); err != nil {
		return err
	}
	a.state.apply(r)
	if a.journal.size >= a.c.CompactAt && a.journal.size >= 2*a.journal.fixed {
		// The record is on the disk in any case: a failure here takes nothing back.
		if err := a.compact(); err != nil {
			a.journal.fixed = a.journal.size // try again when it has doubled
			a.c.Warn("the journal could not be written anew, the old one remains: " + err.Error())
		}
	}
	return nil
}

// compact writes the journal anew, without what is out of date.
func (a *Authority) compact() error {
	var bodies [][]byte
	for _, r := range a.state.snapshot() {
		body, err := r.encode()
		if err != nil {
			return err
		}
		bodies = append(bodies, body)
	}
	if err := a.journal.rewrite(bodies); err != nil {
		return err
	}
	// What is remembered is what would be read again.
	now := a.state.at / 1000
	for name, h := range a.state.hosts {
		h.Tokens = unexpired(h.Tokens, now)
		a.state.hosts[name] = h
	}
	return nil
}

// Compact writes the journal anew, without what is out of date. It is done by itself
// when the journal has grown; after an error the old one remains.
func (a *Authority) Compact() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.compact()
}

// Sequence is the revocation sequence number.
func (a *Authority) Sequence() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.sequence
}

// Epoch is the epoch of the tokens that are issued now. Hosts refuse those of a lower one.
func (a *Authority) Epoch() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.epoch
}

// Stops lists what is kept from running, in the order of agents and hosts.
func (a *Authority) Stops() []Stop {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Stop
	for s := range a.state.stops {
		out = append(out, s)
	}
	slices.SortFunc(out, compareStops)
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

package service

import (
	"context"
	"sync"
	"time"

	"aios/verifier/session"
)

// Kinds of events.
const (
	HostEnrolled     = "host.enrolled"     // first contact: its TPM is known now
	HostConnected    = "host.connected"    // it has proved that it is the host, by a quote
	HostDisconnected = "host.disconnected" // why is in Text
	HostRefused      = "host.refused"      // a connection that came to nothing; why is in Text
	HostVerdict      = "host.verdict"
	HostLease        = "host.lease"    // it was granted one
	HostNoLease      = "host.no-lease" // why is in Text
	HostNotice       = "host.notice"   // what the host did not take of a grant or of orders
	HostTold         = "host.told"     // what the host says of its lease: held, renewed, lapsed
	HostForgotten    = "host.forgotten"
	AgentStarted     = "agent.started"
	AgentDenied      = "agent.denied" // a call that it has no right to
	AgentGone        = "agent.gone"
	CommandAccepted  = "command.accepted"
	CommandRefused   = "command.refused"
	ReceiptVerified  = "receipt.verified" // proven: the agent is gone
	ReceiptRefused   = "receipt.refused"  // what the host sent proves nothing
	Changed          = "changed"          // an assignment, label, stop, token or registration
	Missed           = "missed"           // events between the one that was asked for and the next are not kept any more
)

// Event is something that happened.
type Event struct {
	ID       int64     `json:"id" doc:"Grows, also over a restart of the verifier; gaps say nothing"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind" doc:"What happened" enum:"host.enrolled,host.connected,host.disconnected,host.refused,host.verdict,host.lease,host.no-lease,host.notice,host.told,host.forgotten,agent.started,agent.denied,agent.gone,command.accepted,command.refused,receipt.verified,receipt.refused,changed,missed"`
	Host     string    `json:"host,omitempty"`
	Agent    string    `json:"agent,omitempty"`
	Instance uint64    `json:"instance,omitempty" doc:"Of the agent, counted by the host's kernel"`
	Command  string    `json:"command,omitempty" doc:"Id of the command"`
	Text     string    `json:"text,omitempty" doc:"For people"`

	Verdict *Verdict `json:"verdict,omitempty"`
	Lease   *Lease   `json:"lease,omitempty"`
	Receipt *Receipt `json:"receipt,omitempty"`

	// For those in the same process.
	Session *session.Session `json:"-"` // of HostEnrolled and HostConnected
	Result  *session.Result  `json:"-"` // of HostVerdict
	Err     error            `json:"-"` // of HostRefused: why
}

// Verdict is one appraisal's outcome.
type Verdict struct {
	Round   int       `json:"round"`
	Status  string    `json:"status" doc:"affirming, warning or contraindicated; only the first is a ground for a lease"`
	Reasons []Finding `json:"reasons"`
	TookMS  int64     `json:"took_ms"`
	At      time.Time `json:"at"`
}

// Finding is a reason of a verdict.
type Finding struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Lease is what a host was granted.
type Lease struct {
	ID         string            `json:"id"`
	DurationMS int64             `json:"duration_ms"`
	Renewed    bool              `json:"renewed" doc:"It keeps its id, and what hangs from it goes on"`
	Sequence   uint64            `json:"sequence" doc:"Revocation sequence"`
	Tokens     []string          `json:"tokens" doc:"Agents that got a new token with it"`
	Start      []string          `json:"start" doc:"Agents that are to run"`
	Withheld   map[string]string `json:"withheld,omitempty" doc:"Agents that got no token, and why"`
}

// bus keeps the newest events and hands them to whoever asks.
type bus struct {
	now func() time.Time

	mu    sync.Mutex
	ring  []Event // ascending
	last  int64
	fresh chan struct{} // closed at the next event
}

// keepEvents is how many events are kept.
const keepEvents = 4096

// newBus numbers events from the present time in milliseconds on, so that the numbers
// go on growing after a restart unless there were a thousand events a second.
func newBus(now func() time.Time) *bus {
	return &bus{now: now, last: now().UnixMilli(), fresh: make(chan struct{})}
}

func (b *bus) publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	e.ID, e.At = b.last, b.now().UTC()
	if len(b.ring) == keepEvents {
		b.ring = append(b.ring[:0:0], b.ring[keepEvents/4:]...)
	}
	b.ring = append(b.ring, e)
	close(b.fresh)
	b.fresh = make(chan struct{})
}

// position is the number of the newest event.
func (b *bus) position() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// after returns the events of a higher number, and what is closed when there are more.
func (b *bus) after(id int64) (events []Event, fresh <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := len(b.ring)
	for i > 0 && b.ring[i-1].ID > id {
		i--
	}
	// Nothing is known of what was before the oldest that is kept: say so.
	if i == 0 && len(b.ring) > 0 && id < b.ring[0].ID-1 && id > 0 {
		events = append(events, Event{ID: b.ring[0].ID - 1, At: b.ring[0].At, Kind: Missed, Text: "events before this one are not kept any more"})
	}
	return append(events, b.ring[i:]...), b.fresh
}

// Follow calls f for each event after the one with that number, in order, until ctx ends
// or f fails. 0 begins with the oldest event that is kept.
func (s *Service) Follow(ctx context.Context, after int64, f func(Event) error) error {
	for {
		events, fresh := s.events.after(after)
		for _, e := range events {
			if err := f(e); err != nil {
				return err
			}
			after = e.ID
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-fresh:
		}
	}
}

// Position is the number of the newest event, to follow from there on.
func (s *Service) Position() int64 { return s.events.position() }

package service

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"aios/captoken"
	"aios/evidence"
)

// States of an agent.
const (
	AgentRunning = "running"
	AgentEnded   = "gone"
)

// Agent is an instance of an agent on a host, as the host tells it.
type Agent struct {
	Host     string    `json:"host"`
	Name     string    `json:"agent"`
	State    string    `json:"state" doc:"assigned: it has not started yet, or its host has not said so" enum:"running,gone,assigned,stopped,revoked"`
	Instance uint64    `json:"instance,omitempty" doc:"Counted by the host's kernel"`
	Since    time.Time `json:"since,omitzero" doc:"When the verifier heard of the state"`
	Denied   uint64    `json:"denied" doc:"Calls that were refused, as far as the host told"`
	Text     string    `json:"text,omitempty" doc:"What the host said last about it"`
}

// maxAgents bounds what is remembered of one host's agents; the host's word is not trusted
// with more memory.
const maxAgents = 256

// hostState is what a host says of itself; nothing of it is on the disk, since the host
// says it again.
type hostState struct {
	mu      sync.Mutex
	boot    [16]byte
	last    uint64 // number of the last event
	agents  map[string]*Agent
	seen    time.Time
	verdict *Verdict
}

func newHostState() *hostState { return &hostState{agents: map[string]*Agent{}} }

// begin is for a connection of this boot. Another boot starts with nothing.
func (h *hostState) begin(boot [16]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if boot != h.boot {
		h.boot, h.last = boot, 0
		clear(h.agents)
	}
}

// judged takes in a verdict.
func (h *hostState) judged(v *Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen, h.verdict = v.At, v
}

// position is the number of the last event.
func (h *hostState) position() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// happened takes in what a host tells in one boot, and makes an event of it.
func (h *hostState) happened(boot [16]byte, e evidence.Event, now time.Time) (out Event, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if boot != h.boot || e.Number <= h.last {
		return out, false // of a connection that ends, or told before
	}
	h.last, h.seen = e.Number, now.UTC()
	name, text := printable(e.Agent), printable(e.Text)
	out = Event{Agent: name, Instance: e.Instance, Text: text}
	if e.Kind == "lease" {
		out.Kind = HostTold
		return out, true
	}
	a := h.agents[name]
	if a == nil {
		if len(h.agents) >= maxAgents || name == "" {
			return out, false
		}
		a = &Agent{Name: name}
		h.agents[name] = a
	}
	switch e.Kind {
	case "start":
		out.Kind = AgentStarted
		*a = Agent{Name: name, State: AgentRunning, Instance: e.Instance, Since: now.UTC(), Text: text}
	case "denied":
		out.Kind = AgentDenied
		a.Denied++
		a.Text = text
	case "gone":
		out.Kind = AgentGone
		if e.Instance >= a.Instance {
			a.State, a.Instance, a.Since, a.Text = AgentEnded, e.Instance, now.UTC(), text
		}
		if v, err := captoken.ParseReceipt(e.Receipt); err == nil {
			out.Receipt = &Receipt{Host: v.Host, Agent: v.Agent, State: ReceiptAwaited, HostMS: milliseconds(v.Gone - v.Asked), Instance: v.Instance,
				Frames: v.Frames, Handles: v.Handles, Text: "the host's word, cause " + v.Cause.String()}
		}
	default:
		return out, false
	}
	return out, true
}

// gone is known from a receipt that was verified.
func (h *hostState) gone(agent string, instance uint64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.agents[agent]; a != nil && a.Instance <= instance && a.State != AgentEnded {
		a.State, a.Since = AgentEnded, now.UTC()
	}
}

// view is a copy.
func (h *hostState) view() (agents []Agent, seen time.Time, v *Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.agents {
		agents = append(agents, *a)
	}
	slices.SortFunc(agents, func(a, b Agent) int { return strings.Compare(a.Name, b.Name) })
	return agents, h.seen, h.verdict
}

// printable is what a host says, fit for a terminal, at most 1024 bytes.
func printable(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 1024)], "?")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}

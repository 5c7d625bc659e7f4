package service

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"aios/captoken"
	"aios/verifier/authority"
	"aios/verifier/quote"
)

// States of a command and of its receipts.
const (
	CommandPending = "pending" // receipts are awaited
	CommandDone    = "done"    // none is awaited any more

	ReceiptAwaited = "awaited"
	ReceiptProven  = "verified"
	ReceiptVoid    = "void" // the host was started anew: what ran before is gone, and nothing proves it
)

// Command is what became of an operator's command.
type Command struct {
	ID         string    `json:"id"`
	Operator   string    `json:"operator" doc:"Thumbprint of the operator's key"`
	Role       string    `json:"role"`
	Action     string    `json:"action"`
	Target     Target    `json:"target"`
	Reason     string    `json:"reason"`
	AcceptedAt time.Time `json:"accepted_at"`
	State      string    `json:"state" enum:"pending,done"`
	Hosts      []string  `json:"hosts" doc:"That it concerns"`
	Receipts   []Receipt `json:"receipts" doc:"One for each agent that may have been running"`
}

// Target is captoken.Target.
type Target struct {
	Agent string `json:"agent,omitempty"`
	Host  string `json:"host,omitempty"`
	Label string `json:"label,omitempty"`
	Token string `json:"token,omitempty" doc:"Of a revocation: id of a token or delegation"`
	Lease string `json:"lease,omitempty" doc:"Of a revocation: id of a lease"`
	Epoch uint64 `json:"epoch,omitempty" doc:"Of a revocation: the lowest epoch that is good from then on"`
}

func targetOf(t captoken.Target) Target {
	out := Target{Agent: t.Agent, Host: t.Host, Label: t.Label, Epoch: t.Epoch}
	if !t.Token.IsZero() {
		out.Token = t.Token.String()
	}
	if !t.Lease.IsZero() {
		out.Lease = t.Lease.String()
	}
	return out
}

// Receipt is the proof that an agent is gone, or the lack of it.
type Receipt struct {
	Host       string    `json:"host"`
	Agent      string    `json:"agent"`
	State      string    `json:"state" enum:"awaited,verified,void"`
	LatencyMS  float64   `json:"latency_ms" doc:"From when the command was accepted to when the receipt was verified"`
	HostMS     float64   `json:"host_ms" doc:"The host's part of it: from when its kernel learnt of the command to when nothing of the agent was left"`
	Instance   uint64    `json:"instance,omitempty"`
	Frames     uint64    `json:"frames" doc:"Memory frames that were scrubbed and given back"`
	Handles    uint64    `json:"handles" doc:"That are dead"`
	VerifiedAt time.Time `json:"verified_at,omitzero"`
	Encoded    string    `json:"receipt,omitempty" doc:"The kernel's receipt, base64; its hash was in a quote of the TPM"`
	Text       string    `json:"text,omitempty" doc:"For people: why the last one was not good, or why there is none"`
}

// Proven tells whether every receipt that was awaited was verified.
func (c *Command) Proven() bool {
	return !slices.ContainsFunc(c.Receipts, func(r Receipt) bool { return r.State != ReceiptProven })
}

// keepCommands is how many commands are kept, the oldest that are done going first.
const keepCommands = 1024

// commands keeps a document for each command. The authority's journal decides; these say
// how it went.
type commands struct {
	dir  string
	warn func(error) // told what could not be written

	mu      sync.Mutex
	byID    map[string]*Command
	changed chan struct{} // closed at the next change
}

func openCommands(dir string, warn func(error)) (*commands, error) {
	c := &commands{dir: dir, warn: warn, byID: map[string]*Command{}, changed: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("commands: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		v := new(Command)
		if err := document(name).read(v); err != nil {
			return nil, fmt.Errorf("commands: %w", err)
		}
		if v.ID != strings.TrimSuffix(filepath.Base(name), ".json") {
			return nil, fmt.Errorf("commands: %s is damaged: it is about %q; remove it", name, v.ID)
		}
		c.byID[v.ID] = v
	}
	return c, nil
}

// carryOut has the authority carry a command out and begins its record. Receipts are not
// taken in meanwhile, so none comes before its record.
func (c *commands) carryOut(a *authority.Authority, raw []byte, now time.Time) (*Command, *authority.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out, err := a.Command(raw)
	if err != nil {
		return nil, nil, err
	}
	v := describe(out.Command, now)
	for _, o := range out.Push {
		v.Hosts = append(v.Hosts, o.Host)
		for _, k := range o.Kills {
			if k.Command == out.Command.ID {
				v.await(o.Host, k.Agents)
			}
		}
	}
	v.settle()
	c.byID[v.ID] = v
	c.save(v)
	c.prune()
	return v.clone(), out, nil
}

func describe(c *captoken.Command, at time.Time) *Command {
	return &Command{ID: c.ID.String(), Operator: c.Operator.String(), Role: c.Role, Action: c.Action.String(),
		Target: targetOf(c.Target), Reason: c.Reason, AcceptedAt: at.UTC(),
		Hosts: []string{}, Receipts: []Receipt{}}
}

func (c *Command) await(host string, agents []string) {
	for _, agent := range agents {
		c.Receipts = append(c.Receipts, Receipt{Host: host, Agent: agent, State: ReceiptAwaited})
	}
}

func (c *Command) settle() {
	c.State = CommandDone
	if slices.ContainsFunc(c.Receipts, func(r Receipt) bool { return r.State == ReceiptAwaited }) {
		c.State = CommandPending
	}
}

func (c *Command) receipt(host, agent string) *Receipt {
	i := slices.IndexFunc(c.Receipts, func(r Receipt) bool { return r.Host == host && r.Agent == agent })
	if i < 0 {
		return nil
	}
	return &c.Receipts[i]
}

func (c *Command) clone() *Command {
	v := *c
	v.Hosts, v.Receipts = slices.Clone(c.Hosts), slices.Clone(c.Receipts)
	return &v
}

// save writes a record and tells who waits for it. What is decided is in the authority's
// journal, so a disk that is full costs details and no more. Precondition: c.mu is held.
func (c *commands) save(v *Command) {
	if err := document(filepath.Join(c.dir, v.ID+".json")).write(v); err != nil {
		c.warn(fmt.Errorf("record of command %s: %w", v.ID, err))
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// prune forgets the oldest that are done. Precondition: c.mu is held.
func (c *commands) prune() {
	for len(c.byID) > keepCommands {
		var oldest *Command
		for _, v := range c.byID {
			if v.State == CommandDone && (oldest == nil || v.AcceptedAt.Before(oldest.AcceptedAt)) {
				oldest = v
			}
		}
		if oldest == nil {
			return
		}
		delete(c.byID, oldest.ID)
		if err := os.Remove(filepath.Join(c.dir, oldest.ID+".json")); err != nil {
			c.warn(fmt.Errorf("forget command %s: %w", oldest.ID, err))
		}
	}
}

// prove has the authority verify a receipt and notes it. It is one step for reconcile,
// which would take a receipt that is due no more, and not noted yet, for one that is lost.
func (c *commands) prove(a *authority.Authority, host string, ak *quote.Key, encoded []byte, q *quote.Quote, now time.Time) (r Receipt, p *authority.Proof, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, err = a.Receipt(host, ak, encoded, q); err != nil {
		return r, nil, err
	}
	r = Receipt{Host: host, Agent: p.Receipt.Agent, State: ReceiptProven, LatencyMS: milliseconds(p.Took),
		HostMS: milliseconds(p.Receipt.Gone - p.Receipt.Asked), Instance: p.Receipt.Instance, Frames: p.Receipt.Frames, Handles: p.Receipt.Handles,
		VerifiedAt: now.UTC(), Encoded: base64.StdEncoding.EncodeToString(encoded)}
	if v := c.byID[p.Receipt.Command.String()]; v != nil {
		if into := v.receipt(host, r.Agent); into != nil {
			*into = r
			v.settle()
			c.save(v)
		}
	}
	return r, p, nil
}

// failed notes why a receipt is not there yet.
func (c *commands) failed(command captoken.ID, host, agent, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.byID[command.String()]
	if v == nil {
		return
	}
	if r := v.receipt(host, agent); r != nil && r.State == ReceiptAwaited && r.Text != text {
		r.Text = text
		c.save(v)
	}
}

// reconcile makes the records agree with what the authority awaits, after a restart and
// when a host shows another boot.
func (c *commands) reconcile(a *authority.Authority) {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := map[string]map[[2]string]bool{} // command -> host and agent
	for _, d := range a.Due() {
		id := d.Command.String()
		v := c.byID[id]
		if v == nil { // it was carried out, and there was no time to write its record
			command, err := captoken.ReadCommand(d.Raw)
			if err != nil {
				c.warn(fmt.Errorf("command %s in the authority's journal: %w", id, err))
				continue
			}
			v = describe(command, d.At)
			c.byID[id] = v
		}
		if due[id] == nil {
			due[id] = map[[2]string]bool{}
		}
		for _, agent := range d.Agents {
			due[id][[2]string{d.Host, agent}] = true
			if v.receipt(d.Host, agent) == nil {
				v.Hosts = slices.Compact(slices.Sorted(slices.Values(append(v.Hosts, d.Host))))
				v.await(d.Host, []string{agent})
			}
		}
	}
	for id, v := range c.byID {
		before := v.clone()
		for i := range v.Receipts {
			if r := &v.Receipts[i]; r.State == ReceiptAwaited && !due[id][[2]string{r.Host, r.Agent}] {
				r.State, r.Text = ReceiptVoid, "nothing is awaited any more: the host was started anew or forgotten, or the receipt was verified right before the verifier was restarted"
			}
		}
		v.settle()
		if v.State != before.State || !slices.Equal(v.Receipts, before.Receipts) {
			c.save(v)
		}
	}
}

// get also returns what is closed when something changes.
func (c *commands) get(id string) (*Command, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.byID[id]
	if v == nil {
		return nil, nil, fmt.Errorf("command %q: %w", id, ErrNotFound)
	}
	return v.clone(), c.changed, nil
}

// list is the newest first.
func (c *commands) list() []*Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []*Command{}
	for _, v := range c.byID {
		out = append(out, v.clone())
	}
	slices.SortFunc(out, func(a, b *Command) int { return b.AcceptedAt.Compare(a.AcceptedAt) })
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// parseCommandID is for what people enter.
func parseCommandID(s string) (id captoken.ID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("id %q: %w: expected 32 hex digits", s, ErrInvalid)
	}
	return captoken.ID(b), nil
}

var errNoReason = errors.New("a reason is needed")

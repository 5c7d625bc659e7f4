package authority

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"aios/captoken"
)

// Orders is all that a host has to be told: what is good no more, and what it has yet
// to prove. It is complete, so that a push that was lost does no harm: the next one, or
// the next answer to a request, says the same and more. A host takes Orders whose
// sequence is not lower than the highest it has seen, in place of those before.
type Orders struct {
	Host     string
	Sequence uint64 // revocation sequence
	List     []byte // the newest revocation list, signed; nil if nothing was ever revoked
	Listed   uint64 // its sequence
	// All says that no agent may run; Agents are those that may not.
	All    bool
	Agents []string
	Kills  []Kill // of which receipts are awaited, the oldest first
}

// Kill is a command that a host has to carry out and prove.
type Kill struct {
	Command captoken.ID
	Raw     []byte   // as the operator signed it, for a host that wants to see for itself
	Agents  []string // whose receipts are awaited
	Nonce   Nonce    // for captoken.ReceiptQuote
}

// Orders says what a host has to be told now.
func (a *Authority) Orders(host string) Orders {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orders(host)
}

func (a *Authority) orders(host string) Orders {
	o := Orders{Host: host, Sequence: a.state.sequence, List: a.state.signed, Listed: a.state.list.Sequence}
	for s := range a.state.stops {
		switch {
		case s.Host != "" && s.Host != host:
		case s.Agent == "":
			o.All = true
		default:
			o.Agents = append(o.Agents, s.Agent)
		}
	}
	slices.Sort(o.Agents)
	o.Agents = slices.Compact(o.Agents)
	for _, k := range a.state.ordersOf(host) {
		o.Kills = append(o.Kills, Kill{k.Command, slices.Clone(a.state.commands[k.Command].Raw), slices.Clone(k.Agents), k.Nonce})
	}
	return o
}

// live tells whether agents may be running on a host: a lease that was given may not
// have lapsed.
func (a *Authority) live(h hostEntry, now time.Time) bool {
	return now.UnixMilli() < h.Until+a.c.Grace.Milliseconds()
}

// running are the agents of a host whose tokens may be in force, ascending.
func (a *Authority) running(h hostEntry, now time.Time) (agents []string) {
	if !a.live(h, now) {
		return nil
	}
	for _, t := range unexpired(h.Tokens, now.Unix()) {
		agents = append(agents, t.Agent)
	}
	slices.Sort(agents)
	return slices.Compact(agents)
}

// onRecord are the names of all hosts, ascending.
func (a *Authority) onRecord() []string { return slices.Sorted(maps.Keys(a.state.hosts)) }

// mayStop refuses what would stop more of the fleet at once than one person may, on
// whatever way it was reached. The share is taken of all hosts, and of those alone on
// which something may run: a fleet of which most is off is no larger for it.
func (a *Authority) mayStop(what string, hosts []string, now time.Time) error {
	stopped := map[string]bool{}
	for _, h := range hosts {
		stopped[h] = true
	}
	fleet, live, stoppedLive := len(stopped), 0, 0
	for name, h := range a.state.hosts {
		if !stopped[name] {
			fleet++
		}
		if a.live(h, now) {
			live++
			if stopped[name] {
				stoppedLive++
			}
		}
	}
	for _, c := range []struct {
		n, of int
		which string
	}{{len(stopped), fleet, "hosts"}, {stoppedLive, live, "hosts on which agents may be running"}} {
		if allowed := max(1, c.of*a.c.QuorumPercent/100); c.n > allowed {
			return fmt.Errorf("%s: %w: it would stop %d of %d %s at once, and one person may stop %d (%d percent): have the quorum agree to it, or stop fewer",
				what, ErrQuorum, c.n, c.of, c.which, allowed, a.c.QuorumPercent)
		}
	}
	return nil
}

// String says what a stop is about, in the words of a command's target.
func (s Stop) String() string {
	return captoken.Target{Agent: s.Agent, Host: s.Host}.String()
}

package authority

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"aios/captoken"
)

// Outcome is what a command led to.
type Outcome struct {
	Command *captoken.Command
	Push    []Orders // for each host that has to hear of it, ascending by name
	Awaited int      // receipts that are due
}

// Command verifies an operator's command and carries it out: what it stops is stopped
// from then on, and each host's part is in Push. The operator's order number, the stops
// and what is awaited become durable in one step.
//
// Commands are judged by the clock as it is, also if it went back: a kill is the safe
// side, and the order number alone keeps one from being carried out twice.
func (a *Authority) Command(raw []byte) (*Outcome, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, err := captoken.VerifyCommand(raw, captoken.CommandWant{
		Operators: a.c.Operators, Audience: a.c.Installation, Now: a.c.Now(), Permits: a.c.Permits,
		Last: func(operator captoken.Thumbprint) uint64 { return a.state.operators[operator] },
	})
	if err != nil {
		return nil, err
	}
	if c.Action == captoken.ActionRevoke {
		return a.revokeBy(c)
	}
	now := a.now()
	var labelled []string
	if c.Target.Label != "" {
		if labelled, err = a.labelled(c.Target.Label); err != nil {
			return nil, err
		}
	}
	if err := a.mayStop(c.Action.String()+" "+c.Target.String(), a.hit(c.Target, labelled, now), now); err != nil {
		return nil, err
	}
	r := a.revocation(c.Action.String(), c.Reason)
	r.Operators = []operatorEntry{{c.Operator, c.Sequence}}
	hosts := labelled
	switch {
	case c.Target.Label != "":
		for _, h := range labelled {
			r.Stops = append(r.Stops, Stop{Host: h})
		}
	case c.Target.Host != "":
		hosts = []string{c.Target.Host}
		r.Stops = []Stop{{c.Target.Agent, c.Target.Host}}
	default:
		hosts = a.onRecord()
		r.Stops = []Stop{{Agent: c.Target.Agent}}
	}
	out := &Outcome{Command: c}
	for _, name := range hosts {
		o := order{Command: c.ID, Host: name, At: r.At}
		for _, agent := range a.running(a.state.hosts[name], now) {
			if c.Target.Agent == "" || c.Target.Agent == agent {
				o.Agents = append(o.Agents, agent)
			}
		}
		if len(o.Agents) == 0 {
			continue
		}
		rand.Read(o.Nonce[:]) // never fails (Go 1.24)
		r.Orders = append(r.Orders, o)
		out.Awaited += len(o.Agents)
	}
	if len(r.Orders) > 0 {
		r.Commands = []commandEntry{{c.ID, slices.Clone(raw)}}
	}
	if err := a.commit(r); err != nil {
		return nil, err
	}
	for _, name := range hosts {
		out.Push = append(out.Push, a.orders(name))
	}
	return out, nil
}

func (a *Authority) labelled(label string) ([]string, error) {
	var hosts []string
	if a.c.Labelled != nil {
		hosts = slices.Clone(a.c.Labelled(label))
	}
	slices.Sort(hosts)
	hosts = slices.DeleteFunc(slices.Compact(hosts), func(h string) bool { return h == "" })
	if len(hosts) == 0 {
		return nil, fmt.Errorf("kill %v: %w: no host has this label", captoken.Target{Label: label}, ErrTarget)
	}
	return hosts, nil
}

// hit are the hosts on which a target's kill stops something. A target that names one
// host is that host.
func (a *Authority) hit(t captoken.Target, labelled []string, now time.Time) (hosts []string) {
	switch {
	case t.Label != "":
		return labelled
	case t.Host != "":
		return []string{t.Host}
	}
	for _, name := range a.onRecord() {
		if slices.Contains(a.running(a.state.hosts[name], now), t.Agent) {
			hosts = append(hosts, name)
		}
	}
	return hosts
}

package authority

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"aios/captoken"
)

// state is everything that the authority remembers. It changes by apply alone.
type state struct {
	at        int64
	sequence  uint64
	epoch     uint64
	hosts     map[string]hostEntry
	list      captoken.RevocationList // the newest, of sequence 0 before the first
	signed    []byte                  // it, as it was signed
	stops     map[Stop]bool
	operators map[captoken.Thumbprint]uint64
	commands  map[captoken.ID]commandEntry
	orders    map[orderKey]order
}

func newState() *state {
	return &state{hosts: map[string]hostEntry{}, stops: map[Stop]bool{},
		operators: map[captoken.Thumbprint]uint64{}, commands: map[captoken.ID]commandEntry{}, orders: map[orderKey]order{}}
}

// check says why a record cannot follow: what must never go back would.
func (s *state) check(r *record) error {
	switch {
	case r.At < s.at:
		return fmt.Errorf("time expected at least %s, found %s", instant(s.at), instant(r.At))
	case r.Sequence < s.sequence:
		return fmt.Errorf("revocation sequence expected at least %d, found %d", s.sequence, r.Sequence)
	case r.Epoch < s.epoch:
		return fmt.Errorf("epoch expected at least %d, found %d", s.epoch, r.Epoch)
	}
	for _, o := range r.Operators {
		if last := s.operators[o.Operator]; o.Order <= last {
			return fmt.Errorf("order number of operator %s expected above %d, found %d", o.Operator, last, o.Order)
		}
	}
	if err := s.checkList(r); err != nil {
		return err
	}
	for _, stop := range r.Stops {
		if stop == (Stop{}) {
			return fmt.Errorf("a stop names an agent or a host, this one neither")
		}
	}
	return nil
}

// apply takes a record in. Precondition: s.check is nil.
func (s *state) apply(r *record) {
	s.at, s.sequence, s.epoch = r.At, r.Sequence, r.Epoch
	for _, h := range r.Hosts {
		s.hosts[h.Host] = h
	}
	for _, name := range r.Forgotten {
		delete(s.hosts, name)
	}
	if len(r.List) > 0 {
		l, _ := captoken.ReadRevocations(r.List) // s.check has read it
		s.list, s.signed = *l, r.List
	}
	for _, stop := range r.Stops {
		s.stops[stop] = true
	}
	for _, stop := range r.Lifted {
		delete(s.stops, stop)
	}
	for _, o := range r.Operators {
		s.operators[o.Operator] = o.Order
	}
	for _, c := range r.Commands {
		s.commands[c.ID] = c
	}
	for _, o := range r.Orders {
		s.orders[o.key()] = o
	}
	for _, k := range r.Done {
		delete(s.orders, k)
		if !s.awaited(k.Command) {
			delete(s.commands, k.Command)
		}
	}
}

// awaited tells whether a receipt of a command is still due.
func (s *state) awaited(command captoken.ID) bool {
	for k := range s.orders {
		if k.Command == command {
			return true
		}
	}
	return false
}

// ordersOf are those of a host, the oldest first.
func (s *state) ordersOf(host string) (out []order) {
	for k, o := range s.orders {
		if k.Host == host {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b order) int {
		return cmp.Or(cmp.Compare(a.At, b.At), slices.Compare(a.Command[:], b.Command[:]))
	})
	return out
}

// stopped finds what keeps an agent from running on a host.
func (s *state) stopped(agent, host string) (Stop, bool) {
	for _, stop := range []Stop{{agent, host}, {agent, ""}, {"", host}} {
		if s.stops[stop] {
			return stop, true
		}
	}
	return Stop{}, false
}

// chunk is how many entries of each kind go into one record of a snapshot.
const chunk = 256

// snapshot is the records that lead to this state from nothing, without what time has
// made void.
func (s *state) snapshot() []*record {
	now := s.at / 1000
	var hosts []hostEntry
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
		h := s.hosts[name]
		h.Tokens = unexpired(h.Tokens, now)
		hosts = append(hosts, h)
	}
	var stops []Stop
	for stop := range s.stops {
		stops = append(stops, stop)
	}
	slices.SortFunc(stops, compareStops)
	var operators []operatorEntry
	for k, n := range s.operators {
		operators = append(operators, operatorEntry{k, n})
	}
	slices.SortFunc(operators, func(a, b operatorEntry) int { return slices.Compare(a.Operator[:], b.Operator[:]) })
	commands := sorted(s.commands, func(a, b commandEntry) int { return slices.Compare(a.ID[:], b.ID[:]) })
	orders := sorted(s.orders, func(a, b order) int {
		return cmp.Or(slices.Compare(a.Command[:], b.Command[:]), cmp.Compare(a.Host, b.Host))
	})
	head := s.next("snapshot")
	head.List = s.signed
	out := []*record{head}
	for _, c := range []func(*record) bool{
		func(r *record) bool { r.Hosts, hosts = cut(hosts); return len(r.Hosts) > 0 },
		func(r *record) bool { r.Stops, stops = cut(stops); return len(r.Stops) > 0 },
		func(r *record) bool { r.Operators, operators = cut(operators); return len(r.Operators) > 0 },
		func(r *record) bool { r.Commands, commands = cut(commands); return len(r.Commands) > 0 },
		func(r *record) bool { r.Orders, orders = cut(orders); return len(r.Orders) > 0 },
	} {
		for {
			r := s.next("snapshot")
			if !c(r) {
				break
			}
			out = append(out, r)
		}
	}
	head.Follow = uint64(len(out) - 1)
	return out
}

func cut[T any](list []T) (first, rest []T) {
	n := min(len(list), chunk)
	return list[:n:n], list[n:]
}

func sorted[K comparable, V any](m map[K]V, compare func(a, b V) int) []V {
	return slices.SortedFunc(maps.Values(m), compare)
}

func compareStops(a, b Stop) int {
	return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Host, b.Host))
}

// next begins a record that changes nothing yet.
func (s *state) next(what string) *record {
	return &record{At: s.at, Sequence: s.sequence, Epoch: s.epoch, What: what}
}

// unexpired leaves out tokens whose time is over. It changes nothing in place.
func unexpired(tokens []tokenEntry, now int64) (out []tokenEntry) {
	for _, t := range tokens {
		if t.Expires > now {
			out = append(out, t)
		}
	}
	return out
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

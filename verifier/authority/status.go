package authority

import (
	"cmp"
	"slices"
	"time"

	"aios/captoken"
)

// HostStatus is what is on record of a host, for people and for the service.
type HostStatus struct {
	Host   string
	Judged time.Time     // when the newest verdict was reached
	Denied bool          // it was not affirming
	Boot   captoken.Boot // that the lease is for
	Lease  captoken.ID   // zero if the next one gets a new id
	Until  time.Time     // no lease that was given runs longer
	Lapses time.Time     // until then agents may be running: the grace is over
	Agents []string      // of which a token may be in force now
}

// Live tells whether agents may be running on the host.
func (h *HostStatus) Live(now time.Time) bool { return now.Before(h.Lapses) }

// Status lists the hosts on record, ascending by name.
func (a *Authority) Status() []HostStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	var out []HostStatus
	for _, name := range a.onRecord() {
		h := a.state.hosts[name]
		s := HostStatus{Host: name, Judged: time.Unix(h.Judged, 0).UTC(), Denied: h.Denied,
			Boot: captoken.Boot{ID: h.Boot, ResetCount: h.Resets}, Lease: h.Lease, Agents: a.running(h, now)}
		if h.Until > 0 { // else there was never a lease
			s.Until = time.UnixMilli(h.Until).UTC()
			s.Lapses = s.Until.Add(a.c.Grace)
		}
		out = append(out, s)
	}
	return out
}

// Due is a command's part on one host of which receipts are awaited.
type Due struct {
	Command captoken.ID
	Raw     []byte // as the operator signed it
	Host    string
	At      time.Time // when it was ordered
	Agents  []string  // whose receipts are awaited
}

// Due lists what is awaited, the oldest first.
func (a *Authority) Due() []Due {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Due
	for _, o := range a.state.orders {
		out = append(out, Due{o.Command, slices.Clone(a.state.commands[o.Command].Raw), o.Host, time.UnixMilli(o.At).UTC(), slices.Clone(o.Agents)})
	}
	slices.SortFunc(out, func(x, y Due) int {
		return cmp.Or(x.At.Compare(y.At), slices.Compare(x.Command[:], y.Command[:]), cmp.Compare(x.Host, y.Host))
	})
	return out
}

package authority

import (
	"slices"
	"testing"
	"time"

	"aios/captoken"
)

// What the service shows of hosts and of what is due is what is on record, before and
// after a restart.
func TestStatusAndDue(t *testing.T) {
	w := newWorld(t)
	if len(w.a.Status()) != 0 || len(w.a.Due()) != 0 {
		t.Fatal("an empty state shows something")
	}
	h := w.host("host-1")
	g := h.attest("a", "b")
	raw := w.command(captoken.Target{Agent: "b", Host: "host-1"})
	out, err := w.a.Command(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		s := w.a.Status()
		if len(s) != 1 || s[0].Host != "host-1" || s[0].Denied || s[0].Boot != h.boot || s[0].Lease != g.Lease.ID ||
			!s[0].Until.Equal(w.now.Add(g.Lease.Duration)) || !s[0].Lapses.Equal(s[0].Until.Add(DefaultGrace)) ||
			!slices.Equal(s[0].Agents, []string{"a", "b"}) || !s[0].Live(w.now) || s[0].Live(s[0].Lapses) {
			t.Errorf("%s a restart: %+v", when, s)
		}
		d := w.a.Due()
		if len(d) != 1 || d[0].Command != out.Command.ID || d[0].Host != "host-1" || !d[0].At.Equal(w.now) ||
			!slices.Equal(d[0].Agents, []string{"b"}) || !slices.Equal(d[0].Raw, raw) {
			t.Errorf("%s a restart: %+v", when, d)
		}
		w.reopen(w.disk)
	}
	bad := w.verdict("host-2")
	bad.Status = "contraindicated"
	if _, err := w.a.Grant(bad, w.host("host-2").request("a")); err == nil {
		t.Fatal("granted")
	}
	if s := w.a.Status(); len(s) != 2 || !s[1].Denied || !s[1].Until.IsZero() || s[1].Live(w.now) || s[1].Lapses != (time.Time{}) {
		t.Errorf("a host without a lease: %+v", s)
	}
}

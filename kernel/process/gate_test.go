package process

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

// gatedConfig is an agent's: two lines or messages a second, and no right to attest.
func gatedConfig(m *fakeMachine, log Log, until time.Duration) (Config, *cap.Gate, func() []string) {
	var lease cap.Lease
	lease.Begin(time.Hour)
	g := lease.Gate(cap.Terms{Until: m.Now() + until, Messages: 2, Bytes: 1 << 20})
	var mu sync.Mutex
	var refused []string
	return Config{
		Grants: append(allGrants(log, nil), Grant{"SEND", abi.TypeEndpoint, abi.RightWrite, &ipc.Port{}}), Gate: g,
		Limit: func(c cap.Capability) abi.Rights {
			if c.Type == abi.TypeAttestor {
				return 0
			}
			return abi.AllRights
		},
		Refused: func(c *abi.Call, e abi.Errno) {
			mu.Lock()
			defer mu.Unlock()
			refused = append(refused, c.Name+" "+e.Error())
		},
	}, g, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(refused) }
}

// What a token does not admit is refused at the handle, before any argument is looked
// at, and told to the hook; printing is no way round it.
func TestGate(t *testing.T) {
	synctest.Test(t, testGate) // time stands still: what is used up stays so
}

func testGate(t *testing.T) {
	m := newFake()
	log := &lines{}
	cfg, gate, refused := gatedConfig(m, log, time.Hour)
	cfg.Grants = slices.DeleteFunc(cfg.Grants, func(g Grant) bool { return g.Type == abi.TypeStream })
	const nowhere = 8
	e := m.run(t, cfg, func(u *user) {
		h := handles(u)
		is(t, "attest", u.sys(uint64(abi.CallAttest), h["ATTEST"], abi.AttestQuote, nowhere, 8, nowhere, 8), abi.Denied)
		is(t, "clock", u.sys(uint64(abi.CallClockRead), h["CLOCK"]), 0)
		u.store(textAt, []byte("one\n"))
		is(t, "a line", u.sys(uint64(abi.CallLog), h["LOG"], textAt, 4), 0)
		is(t, "a printed one", u.sys(sysWrite, 1, textAt, 4), 0)
		is(t, "a third", u.sys(uint64(abi.CallLog), h["LOG"], nowhere, 4), abi.Quota)
		is(t, "a third, printed", u.sys(sysWrite, 2, textAt, 4), abi.Quota)
		is(t, "a message", u.sys(uint64(abi.CallIPCSend), h["SEND"], nowhere, 4, 0, 0, 0), abi.Quota)
		is(t, "what is not metered", u.sys(uint64(abi.CallClockRead), h["CLOCK"]), 0)
		gate.Shut()
		for name, handle := range h {
			for _, c := range abi.Calls {
				if _, err := abi.Decode(u.sys(uint64(c.Number), handle, nowhere, 8, nowhere, 8, 8)); err == nil || err == abi.Fault {
					t.Errorf("%s on %s after the end: %v", c.Name, name, err)
				}
			}
		}
		is(t, "printing after the end", u.sys(sysWrite, 1, textAt, 4), abi.Lapsed)
	})
	if got := log.get(); len(got) != 2 {
		t.Errorf("the log has %q", got)
	}
	want := []string{"Attest " + abi.Denied.Error(), "Log " + abi.Quota.Error(), "Log " + abi.Quota.Error(), "IPCSend " + abi.Quota.Error()}
	if got := refused(); len(got) < len(want) || !slices.Equal(got[:len(want)], want) || !strings.Contains(got[len(got)-1], abi.Lapsed.Error()) {
		t.Errorf("told of %q", refused())
	}
	if e.Handles != len(cfg.Grants) {
		t.Errorf("%d handles died, want %d", e.Handles, len(cfg.Grants))
	}
}

// The token's end needs nobody to act: the check sees it.
func TestGateEnds(t *testing.T) {
	m := newFake()
	cfg, _, _ := gatedConfig(m, &lines{}, 0)
	cfg.Grants = slices.DeleteFunc(cfg.Grants, func(g Grant) bool { return g.Type == abi.TypeStream })
	m.run(t, cfg, func(u *user) {
		is(t, "clock", u.sys(uint64(abi.CallClockRead), handles(u)["CLOCK"]), abi.Lapsed)
		is(t, "Null", u.sys(uint64(abi.CallNull), handles(u)["SELF"]), abi.Lapsed)
	})
}

// Rights that are taken from a running process are gone, and only those.
func TestRestrict(t *testing.T) {
	m := newFake()
	cfg, _, _ := gatedConfig(m, &lines{}, time.Hour)
	cfg.Grants = slices.DeleteFunc(cfg.Grants, func(g Grant) bool { return g.Type == abi.TypeStream })
	m.run(t, cfg, func(u *user) {
		h := handles(u)
		m.p.Restrict(func(c cap.Capability) abi.Rights {
			if c.Type == abi.TypeClock {
				return 0
			}
			return abi.AllRights
		})
		is(t, "clock", u.sys(uint64(abi.CallClockRead), h["CLOCK"]), abi.Denied)
		is(t, "blob", u.sys(uint64(abi.CallBlobRead), h["BLOB"], 0, textAt, 4), 0)
		is(t, "attest: nothing comes back", u.sys(uint64(abi.CallAttest), h["ATTEST"], 1, 0, 0, 0, 0), abi.Denied)
	})
}

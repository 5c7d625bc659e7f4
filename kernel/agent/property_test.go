package agent

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
)

// Whatever comes at once, and in whatever order: never two instances of one agent, none
// under a lease that is over, no call without an answer, and each end has a receipt.
func TestAtOnce(t *testing.T) {
	for seed := range uint64(5) {
		on(t, func(m *machine) {
			m.linger = time.Millisecond
			r := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex // of r and the verifier
			var revoked captoken.RevocationList
			draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
			name := func() string { return []string{"hello", "spare"}[draw(2)] }
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					for range 60 {
						time.Sleep(time.Duration(draw(2000)) * time.Millisecond)
						switch draw(12) {
						case 0, 1, 2:
							f, err := m.call(abi.AuthorityRequest)
							if err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							if r.IntN(6) == 0 {
								m.v.LeaseID[0]++
							}
							raw := m.v.Lease(f, func(l *captoken.Lease) { l.Duration = 3 * time.Second })
							mu.Unlock()
							m.call(abi.AuthorityLease, raw)
						case 3, 4:
							n := name()
							mu.Lock()
							raw := m.v.Token(n, func(c *captoken.Claims) { c.Expires = m.v.Time().Add(time.Duration(1+r.IntN(20)) * time.Second) })
							mu.Unlock()
							m.call(abi.AuthorityToken, raw)
						case 5, 6, 7, 8:
							m.call(abi.AuthorityStart, []byte(name()))
						case 9:
							mu.Lock()
							m.v.Sequence++
							revoked.Revoke([]captoken.ID{{2, byte(r.IntN(256))}}, nil, nil)
							o := Orders{Sequence: m.v.Sequence}
							if r.IntN(3) == 0 {
								o.Agents = []string{"hello"}
							}
							if r.IntN(5) == 0 {
								revoked.Revoke(nil, []captoken.ID{m.v.LeaseID}, nil)
							}
							if r.IntN(8) == 0 {
								m.v.Epoch++
								revoked = captoken.RevocationList{}
							}
							list := m.v.Revocations(func(l *captoken.RevocationList) { l.Tokens, l.Leases = revoked.Tokens, revoked.Leases })
							mu.Unlock()
							m.call(abi.AuthorityRevocations, list)
							m.call(abi.AuthorityOrders, m.orders(o)...)
						case 10:
							command := captoken.ID{byte(1 + draw(255)), byte(draw(256))}
							if f, err := m.call(abi.AuthorityKill, command[:], []byte(name())); err != nil || len(f) != 1 {
								t.Errorf("kill: %d receipts, %v", len(f), err)
							}
						case 11:
							m.mu.Lock()
							n := len(m.started)
							var p *fakeProcess
							if n > 0 {
								p = m.started[n-1]
							}
							m.mu.Unlock()
							if p != nil {
								p.end("page fault", false)
							}
						}
						m.invariants()
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute) // every lease is over
			synctest.Wait()
			m.invariants()
			for _, p := range m.started {
				select {
				case <-p.done:
				default:
					t.Fatalf("seed %d: agent %s runs without a lease", seed, p.cfg.Name)
				}
			}
			m.Authority.mu.Lock()
			defer m.Authority.mu.Unlock()
			gone := 0
			for n := uint64(1); n <= m.events.last && m.events.last <= maxEvents; n++ {
				f, _ := abi.Fields(m.events.ring[n%maxEvents], 7)
				if string(f[3]) == "gone" && binary.LittleEndian.Uint64(f[2]) > 0 && string(f[5]) != "it did not run when the command came" {
					gone++
				}
			}
			if m.events.last <= maxEvents && gone != len(m.started) {
				t.Errorf("seed %d: %d started, %d receipts", seed, len(m.started), gone)
			}
			if len(m.started) < 5 {
				t.Errorf("seed %d: only %d were started", seed, len(m.started))
			}
		})
	}
}

func (m *machine) invariants() {
	m.Authority.mu.Lock()
	defer m.Authority.mu.Unlock()
	now := m.c.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	running := map[string]int{}
	for _, p := range m.started {
		select {
		case <-p.done:
		default:
			p.mu.Lock()
			if p.exit.Reason == "" { // it was not told to end
				running[p.cfg.Name]++
			}
			p.mu.Unlock()
		}
	}
	for name, n := range running {
		if n > 1 {
			m.Errorf("%d instances of %s", n, name)
		}
		if at, ok := m.state.Deadline(); (!ok || now > at) && m.told != captoken.LeaseLapsed {
			m.Errorf("%s runs, and the lease was over at %v", name, at)
		}
	}
	for _, g := range m.order {
		if g.run != nil && g.run.cause == 0 && g.token == nil {
			m.Errorf("%s runs without a token", g.Name)
		}
		if l := m.list.List(); l != nil && g.token.revokedBy(l) != "" {
			m.Errorf("%s holds a token that was revoked", g.Name)
		}
	}
}

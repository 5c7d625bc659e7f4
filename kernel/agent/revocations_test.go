package agent

import (
	"encoding/binary"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
)

// What a list names ends while it runs, is gone when the call returns, and does not come
// back with a list that says nothing more.
func TestRevocations(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*captoken.RevocationList)
		dies   bool
		token  string // why a new token is refused, empty: it is not
	}{
		{"nothing", nil, false, ""},
		{"its token", theToken(captoken.ID{3}, captoken.ID{2, 1}), true, ""},
		{"another token", theToken(captoken.ID{3}), false, ""},
		{"the agent", theAgent("hello"), true, `everything of agent "hello" was revoked`},
		{"another agent", theAgent("spare", "stranger"), false, ""},
		{"the epoch", func(l *captoken.RevocationList) { l.Epoch = 2 }, true, "epoch expected at least 2, found 0"},
		{"the lease", theLease(captoken.ID{1}), true, "the lease has lapsed"},
		{"another lease", theLease(captoken.ID{4}), false, ""},
	} {
		on(t, func(m *machine) {
			m.attest()
			p := m.run("hello", nil)
			p.linger = 50 * time.Millisecond
			list := m.revoke(c.change)
			if c.dies {
				m.dead(p, captoken.CauseRevoked)
			} else {
				m.alive(p)
			}
			if c.token == "" {
				m.must(abi.AuthorityToken, m.v.Token("hello", nil))
				m.must(abi.AuthorityStart, []byte("hello"))
			} else {
				m.refused(c.token, abi.AuthorityToken, m.v.Token("hello", nil))
				m.refused("", abi.AuthorityStart, []byte("hello"))
			}
			m.must(abi.AuthorityRevocations, list) // once more is nothing new
			if c.name == "its token" {
				m.refused("was revoked", abi.AuthorityToken, m.v.Token("hello", func(c *captoken.Claims) { c.ID = captoken.ID{2, 1} }))
			}
			if c.name == "the lease" {
				m.refused("was revoked", abi.AuthorityLease, m.v.Lease(m.must(abi.AuthorityRequest), nil))
				m.v.LeaseID = captoken.ID{8}
				m.attest()
				m.alive(m.run("hello", nil))
			}
		})
	}
}

// A list that is not good changes nothing, and none goes back.
func TestBadRevocations(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p := m.run("hello", nil)
		m.v.Sequence = 4
		all := func(l *captoken.RevocationList) {
			l.Epoch = 9
			l.Revoke([]captoken.ID{{2, 1}}, []captoken.ID{{1}}, []string{"hello"})
		}
		good := m.v.Revocations(theAgent("stranger"))
		for i := 0; i < len(good); i += 97 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1 << (i % 8)
			m.refused("revocation list", abi.AuthorityRevocations, bad)
		}
		m.refused("revocation list", abi.AuthorityRevocations, nil)
		m.refused("revocation list", abi.AuthorityRevocations, m.v.Lease(m.must(abi.AuthorityRequest), nil))
		m.refused("signed by key", abi.AuthorityRevocations, m.v.RevocationsBy(m.v.Other, all))
		m.must(abi.AuthorityRevocations, good)
		m.refused("sequence number expected above 4, found 3", abi.AuthorityRevocations, m.v.Revocations(func(l *captoken.RevocationList) { all(l); l.Sequence = 3 }))
		m.refused("sequence number expected above 4, found 4", abi.AuthorityRevocations, m.v.Revocations(all))
		m.v.Sequence = 5
		m.refused(`agent "stranger" was revoked in this epoch, and is not in the list`, abi.AuthorityRevocations, m.v.Revocations(nil))
		m.alive(p)
		if f := m.must(abi.AuthorityRequest); binary.LittleEndian.Uint64(f[4]) != 4 || binary.LittleEndian.Uint64(f[6]) != 4 {
			t.Errorf("it says that it has seen %x and holds list %x", f[4], f[6])
		}
	})
}

// Nothing begins while the newest list is older than the lease says: a host that was
// started anew, or to which the list is not handed, gains nothing.
func TestNothingWithoutTheList(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p, token := m.run("hello", nil), m.v.Token("spare", nil)
		m.v.Sequence = 7
		late := m.v.Lease(m.must(abi.AuthorityRequest), nil)
		want := "revocation list 7 expected, found 0; it has to come from the verifier first"
		if _, err := m.call(abi.AuthorityLease, late); err == nil || err.Error() != "lease: "+want+": have the host attest" {
			t.Fatalf("a renewal without the list: %v", err)
		}
		m.refused(want, abi.AuthorityLease, late)
		m.refused(want, abi.AuthorityToken, token)
		m.refused(want, abi.AuthorityStart, []byte("spare"))
		m.alive(p) // what ran before goes on to the end of its lease
		m.v.Sequence = 6
		m.must(abi.AuthorityRevocations, m.v.Revocations(nil))
		m.refused("revocation list 7 expected, found 6", abi.AuthorityToken, token)
		m.v.Sequence = 7
		m.must(abi.AuthorityRevocations, m.v.Revocations(theAgent("hello")))
		m.dead(p, captoken.CauseRevoked)
		m.must(abi.AuthorityLease, late)
		m.must(abi.AuthorityToken, token)
		m.must(abi.AuthorityStart, []byte("spare"))
	})
	on(t, func(m *machine) { // another boot: what it knew is gone, and the lease says what it has to know
		m.v.Sequence = 7
		lease := m.v.Lease(m.must(abi.AuthorityRequest), nil)
		m.call(abi.AuthorityLease, lease)
		m.refused("revocation list 7 expected, found 0", abi.AuthorityToken, m.v.Token("hello", nil))
		m.must(abi.AuthorityRevocations, m.v.Revocations(theAgent("hello")))
		m.must(abi.AuthorityLease, lease)
		m.refused(`everything of agent "hello" was revoked`, abi.AuthorityToken, m.v.Token("hello", nil))
		m.refused("revocation sequence expected at least 7, found 6", abi.AuthorityLease,
			m.v.Lease(m.must(abi.AuthorityRequest), func(l *captoken.Lease) { l.Sequence = 6 }))
	})
}

// A delegation dies with its token, with any block between, and with any agent in its
// chain.
func TestRevokedChain(t *testing.T) {
	for _, c := range []struct {
		name string
		list func(*captoken.RevocationList)
		dies bool
	}{
		{"the token", theToken(captoken.ID{2, 1}), true},
		{"the first delegation", theToken(captoken.ID{7}), true},
		{"the last delegation", theToken(captoken.ID{8}), true},
		{"who was granted it", theAgent("broker"), true},
		{"who passed it on", theAgent("spare"), true},
		{"others", func(l *captoken.RevocationList) { l.Revoke([]captoken.ID{{9}}, nil, []string{"stranger"}) }, false},
	} {
		on(t, func(m *machine) {
			m.attest()
			m.must(abi.AuthorityToken, m.v.Delegated("broker", captoken.ID{7}, "spare", captoken.ID{8}, "hello"))
			m.must(abi.AuthorityStart, []byte("hello"))
			p := m.started[0]
			m.revoke(c.list)
			if c.dies {
				m.dead(p, captoken.CauseRevoked)
			} else {
				m.alive(p)
			}
		})
	}
}

// A new epoch empties the list, and brings nothing back: not the lease either.
func TestNewEpoch(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		m.run("hello", nil)
		m.revoke(theLease(captoken.ID{1}))
		m.v.Epoch = 1
		m.revoke(nil)
		m.refused("has lapsed", abi.AuthorityToken, m.v.Token("hello", nil))
		m.refused("was revoked", abi.AuthorityLease, m.v.Lease(m.must(abi.AuthorityRequest), nil))
		m.v.LeaseID = captoken.ID{8}
		m.attest()
		m.refused("epoch expected at least 1, found 0", abi.AuthorityToken, m.v.Token("hello", func(c *captoken.Claims) { c.Epoch = 0 }))
		m.alive(m.run("hello", nil))
	})
}

// The fullest list of ids fits the call.
func TestFullList(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		p := m.run("hello", nil)
		var ids []captoken.ID
		for i := range captoken.MaxRevoked {
			ids = append(ids, captoken.ID(binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i))))
		}
		m.revoke(theToken(ids...))
		m.alive(p)
		if !m.said(fmt.Sprintf("revocations taken sequence=1 epoch=0 tokens=%d leases=0 agents=0", len(ids))) {
			t.Error("the log does not say it")
		}
	})
}

// An agent that is being started when the list comes does not run.
func TestRevokedWhileStarting(t *testing.T) {
	on(t, func(m *machine) {
		m.attest()
		m.must(abi.AuthorityToken, m.v.Token("hello", nil))
		m.wait = make(chan struct{})
		go m.call(abi.AuthorityStart, []byte("hello"))
		synctest.Wait()
		revoked := make(chan struct{})
		go func() { m.revoke(theAgent("hello")); close(revoked) }()
		synctest.Wait()
		close(m.wait)
		<-revoked
		m.dead(m.started[0], captoken.CauseRevoked)
		m.wait = nil
	})
}

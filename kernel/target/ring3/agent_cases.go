package ring3

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
)

// AgentCases run the Go program as agents.
func (s *Suite) AgentCases() []Case {
	cases := []Case{
		{"agent: on a token it logs, computes, sends; a call that the token does not admit is denied", s.agentLives},
		{"agent: one that spins is killed, to the last frame, and a receipt says so", s.agentKilled},
		{"agent: when the lease is over, it is gone", s.agentLapses},
		{"agent: when its token is revoked, it is gone", s.agentRevoked},
		{"agent: when its token expires, it is gone", s.agentExpires},
		{"agent: each bad token is refused, with its reason", s.badTokens},
		{"agent: a token without its holder's proof over the kernel's nonce is refused, and the nonce is spent", s.proofs},
		{"agent: nothing begins without the newest revocation list, and no bad list is taken", s.revocationLists},
		{"agent: a flood of messages and lines stops at its quota, and the host lives", s.agentFloods},
		{"agent: one that eats memory ends at its token's quota", s.agentEats},
		{"calls: 100,000 at random, most of them with good handles", s.randomCalls},
	}
	for i, c := range cases {
		cases[i].Run = func() error { return s.balanced(c.Run) }
	}
	return cases
}

// balanced wants the machine's frames back after a case.
func (s *Suite) balanced(run func() error) error {
	before := s.frames()
	if err := run(); err != nil {
		return err
	}
	if after := s.frames(); after > before+slack {
		return fmt.Errorf("%d frames in use before, %d after", before, after)
	}
	return nil
}

// without is a token without some rights.
func without(r captoken.Rights) func(*captoken.Claims) {
	return func(c *captoken.Claims) { c.Rights &^= r }
}

func (s *Suite) agentLives() error {
	a := s.agents(time.Minute, "agentcalls")
	if err := a.attest(); err != nil {
		return err
	}
	if err := a.run("agentcalls", func(c *captoken.Claims) {
		c.Rights &^= captoken.RightAttest
		c.Scopes.Peers = captoken.Patterns{"agentcalls"}
	}); err != nil {
		return err
	}
	r, err := a.gone("agentcalls")
	if err != nil {
		return err
	}
	if r.Cause != captoken.CauseExit || r.Frames == 0 || r.Handles < 6 {
		return fmt.Errorf("receipt %+v; log:\n%s", r, a.log.text())
	}
	return a.says("lease held id=01", "token installed agent=agentcalls", "agent start agent=agentcalls instance=1 pid=301",
		"aios agentcalls: an agent's line",
		`agent denied agent=agentcalls call=Attest reason="the agent's token does not admit the right attest"`,
		`agent denied agent=agentcalls call=IPCSend reason="the agent's token does not admit to send to this peer`,
		"agent gone agent=agentcalls instance=1 cause=exit", "frames_lost=0")
}

func (s *Suite) agentKilled() error {
	a := s.agents(time.Minute, "loop", "loops")
	if err := a.attest(); err != nil {
		return err
	}
	for i, name := range []string{"loop", "loops"} {
		if err := a.run(name, nil); err != nil {
			return err
		}
		if err := a.until("aios " + name + ": looping"); err != nil {
			return err
		}
		command := captoken.ID{7, byte(i)}
		r, err := a.kill(name, command)
		if err != nil {
			return err
		}
		if r.Cause != captoken.CauseCommand || r.Command != command || r.Frames == 0 || r.Handles < 6 || r.Gone < r.Asked {
			return fmt.Errorf("receipt %+v", r)
		}
		if err := a.says(fmt.Sprintf("agent gone agent=%s instance=%d cause=command frames_freed=%d frames_lost=0 handles=%d", name, i+1, r.Frames, r.Handles)); err != nil {
			return err
		}
		if _, err := a.call(abi.AuthorityStart, []byte(name)); err == nil || !strings.Contains(err.Error(), "stopped it") {
			return fmt.Errorf("a start after the kill: %v", err)
		}
		if err := a.token(a.v.Token(name, nil)); err == nil || !strings.Contains(err.Error(), "revoked") {
			return fmt.Errorf("a token after the kill: %v", err)
		}
	}
	return nil
}

func (s *Suite) agentLapses() error {
	a := s.agents(agentLease, "loop")
	if err := a.attest(); err != nil {
		return err
	}
	if err := a.run("loop", nil); err != nil {
		return err
	}
	r, err := a.gone("loop")
	if err != nil {
		return err
	}
	if r.Cause != captoken.CauseLease || r.Frames == 0 {
		return fmt.Errorf("receipt %+v", r)
	}
	if _, err := a.call(abi.AuthorityStart, []byte("loop")); err == nil || !strings.Contains(err.Error(), "has lapsed") {
		return fmt.Errorf("start after the lease: %v", err)
	}
	if err := a.until("lease lapsed"); err != nil { // said by who noticed it, who need not be the first to speak
		return err
	}
	return a.says("lease grace", "cause=lease", "frames_lost=0")
}

func (s *Suite) agentRevoked() error {
	for _, c := range []struct {
		name   string
		orders func(a *agents) error
	}{
		{"its token", func(a *agents) error {
			return a.revoke(func(l *captoken.RevocationList) { l.Revoke([]captoken.ID{{2, 1}}, nil, nil) })
		}},
		{"the lease", func(a *agents) error {
			return a.revoke(func(l *captoken.RevocationList) { l.Revoke(nil, []captoken.ID{a.v.LeaseID}, nil) })
		}},
		{"the agent, by the list", func(a *agents) error {
			return a.revoke(func(l *captoken.RevocationList) { l.Revoke(nil, nil, []string{"loop"}) })
		}},
		{"the agent, by orders", func(a *agents) error { return a.orders("loop") }},
		{"the epoch", func(a *agents) error { a.v.Epoch++; return a.revoke(nil) }},
	} {
		a := s.agents(time.Minute, "loop")
		if err := a.attest(); err != nil {
			return err
		}
		if err := a.run("loop", nil); err != nil {
			return err
		}
		if err := c.orders(a); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := a.says("agent gone agent=loop instance=1 cause=revoked"); err != nil { // when the call has returned
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if r, err := a.gone("loop"); err != nil || r.Cause != captoken.CauseRevoked || r.Frames == 0 {
			return fmt.Errorf("%s: receipt %+v, %v", c.name, r, err)
		}
	}
	return nil
}

func (s *Suite) agentExpires() error {
	a := s.agents(time.Minute, "loop")
	if err := a.attest(); err != nil {
		return err
	}
	if err := a.run("loop", func(c *captoken.Claims) { c.Expires = a.v.Time().Add(2 * time.Second) }); err != nil {
		return err
	}
	if r, err := a.gone("loop"); err != nil || r.Cause != captoken.CauseRevoked {
		return fmt.Errorf("receipt %+v, %v", r, err)
	}
	return a.says("its token expired", "frames_lost=0")
}

func (s *Suite) badTokens() error {
	a := s.agents(time.Minute, "loop", "loops")
	a.v.Epoch = 3
	if err := a.revoke(nil); err != nil {
		return err
	}
	if err := a.attest(); err != nil {
		return err
	}
	good := a.v.Token("loop", nil)
	flipped := append(captoken.Token(nil), good...)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name  string
		token captoken.Token
		want  string
	}{
		{"one flipped bit", flipped, "signature"},
		{"expired", a.v.Token("loop", func(c *captoken.Claims) { // the host's time may be a second behind
			c.NotBefore, c.Expires = a.v.Time().Add(-time.Hour), a.v.Time().Add(-time.Second)
		}), "valid until"},
		{"not yet valid", a.v.Token("loop", func(c *captoken.Claims) { c.NotBefore = a.v.Time().Add(time.Minute) }), "valid from"},
		{"another host", a.v.Token("loop", func(c *captoken.Claims) { c.Audience = "host-fedcba9876543210" }), "host expected"},
		{"another agent", a.v.Token("stranger", nil), "none of this host's system manifest"},
		{"an old epoch", a.v.Token("loop", func(c *captoken.Claims) { c.Epoch = 2 }), "epoch expected at least 3"},
		{"without the right", a.v.Token("loop", without(captoken.RightMemory)), "rights memory expected"},
		{"another issuer", a.v.TokenBy(a.v.Other, "loop", nil), "signed by key"},
		{"another lease", a.v.Token("loop", func(c *captoken.Claims) { c.Lease = captoken.ID{9} }), "lease expected"},
	} {
		if err := a.token(c.token); err == nil || !strings.Contains(err.Error(), c.want) {
			return fmt.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err := a.says("token refused reason="); err != nil {
			return err
		}
	}
	if _, err := a.call(abi.AuthorityStart, []byte("loop")); err == nil || !strings.Contains(err.Error(), "no token") {
		return fmt.Errorf("a start on nothing but bad tokens: %v", err)
	}
	if err := a.token(good); err != nil {
		return fmt.Errorf("the good one: %w", err)
	}
	return nil
}

func (s *Suite) proofs() error {
	a := s.agents(time.Minute, "loop", "loops")
	if err := a.attest(); err != nil {
		return err
	}
	token, other := a.v.Token("loop", nil), a.v.Token("loops", nil)
	held := a.v.Token("loop", func(c *captoken.Claims) { c.Holder = a.v.Other.Public().Thumbprint() })
	var used []byte
	for _, c := range []struct {
		name  string
		proof func(nonce []byte) []byte
		want  string
	}{
		{"none", func([]byte) []byte { return nil }, "proof of possession"},
		{"by another key", func(n []byte) []byte { return a.v.Proof(held, n) }, "signer expected"},
		{"for another token", func(n []byte) []byte { return a.v.Proof(other, n) }, "made for another token"},
		{"over another nonce", func([]byte) []byte { return a.v.Proof(token, bytes.Repeat([]byte{1}, captoken.NonceSize)) }, "nonce expected"},
		{"replayed", func(n []byte) []byte {
			proof := a.v.Proof(token, n)
			if _, err := a.call(abi.AuthorityToken, token, proof); err != nil {
				return nil
			}
			used = proof
			return proof
		}, "nonce expected"},
	} {
		nonce, err := a.call(abi.AuthorityNonce)
		if err != nil {
			return err
		}
		if _, err := a.call(abi.AuthorityToken, token, c.proof(nonce[0])); err == nil || !strings.Contains(err.Error(), c.want) {
			return fmt.Errorf("a proof %s: %v, want %q", c.name, err, c.want)
		}
		if _, err := a.call(abi.AuthorityToken, token, a.v.Proof(token, nonce[0])); err == nil || !strings.Contains(err.Error(), "nonce expected") {
			return fmt.Errorf("a nonce that was spent on a proof %s: %v", c.name, err)
		}
	}
	if used == nil {
		return fmt.Errorf("the good proof was refused; log:\n%s", a.log.text())
	}
	return nil
}

func (s *Suite) revocationLists() error {
	a := s.agents(time.Minute, "loop")
	if err := a.revoke(nil); err != nil {
		return err
	}
	if err := a.attest(); err != nil {
		return err
	}
	if err := a.run("loop", nil); err != nil {
		return err
	}
	all := func(l *captoken.RevocationList) {
		l.Epoch = 9
		l.Revoke([]captoken.ID{{2, 1}}, []captoken.ID{a.v.LeaseID}, []string{"loop"})
	}
	flipped := a.v.Revocations(func(l *captoken.RevocationList) { all(l); l.Sequence = 2 })
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name string
		list []byte
		want string
	}{
		{"one flipped bit", flipped, "signature"},
		{"another issuer", a.v.RevocationsBy(a.v.Other, all), "signed by key"},
		{"of the same number", a.v.Revocations(all), "sequence number expected above 1, found 1"},
	} {
		if _, err := a.call(abi.AuthorityRevocations, c.list); err == nil || !strings.Contains(err.Error(), c.want) {
			return fmt.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	a.v.Sequence = 2 // of a list that is not handed to the host
	const want = "revocation list 2 expected, found 1"
	if err := a.attest(); err == nil || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("a lease without its list: %v, want %q", err, want)
	}
	if err := a.token(a.v.Token("loop", nil)); err == nil || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("a token without the list: %v, want %q", err, want)
	}
	list := a.v.Revocations(func(l *captoken.RevocationList) { l.Revoke(nil, nil, []string{"loop"}) })
	if _, err := a.call(abi.AuthorityRevocations, list); err != nil {
		return err
	}
	if err := a.says("agent gone agent=loop instance=1 cause=revoked"); err != nil {
		return err
	}
	if err := a.attest(); err != nil {
		return err
	}
	const never = `everything of agent "loop" was revoked`
	if err := a.token(a.v.Token("loop", nil)); err == nil || !strings.Contains(err.Error(), never) {
		return fmt.Errorf("a token of a revoked agent: %v, want %q", err, never)
	}
	return nil
}

func (s *Suite) agentFloods() error {
	a := s.agents(time.Minute, "agentflood", "agentcalls")
	if err := a.attest(); err != nil {
		return err
	}
	if err := a.run("agentflood", func(c *captoken.Claims) { c.Quotas.MessagesPerSecond = 20 }); err != nil {
		return err
	}
	r, err := a.gone("agentflood")
	if err != nil {
		return err
	}
	if r.Cause != captoken.CauseExit {
		return fmt.Errorf("receipt %+v; log:\n%s", r, a.log.text())
	}
	if err := a.says(`agent denied agent=agentflood call=IPCSend reason="the quota of messages`, `agent denied agent=agentflood call=Log reason="the quota of messages`); err != nil {
		return err
	}
	if n := strings.Count(a.log.text(), "agentflood: flood"); n > 200 {
		return fmt.Errorf("%d lines of the flood are in the log", n)
	}
	if err := a.run("agentcalls", without(captoken.RightAttest)); err != nil { // others are served
		return err
	}
	if r, err := a.gone("agentcalls"); err != nil || r.Cause != captoken.CauseExit {
		return fmt.Errorf("beside it: %+v, %v", r, err)
	}
	return nil
}

func (s *Suite) agentEats() error {
	a := s.agents(time.Minute, "eat")
	if err := a.attest(); err != nil {
		return err
	}
	if err := a.run("eat", func(c *captoken.Claims) { c.Quotas.MemoryBytes = 40 << 20 }); err != nil {
		return err
	}
	if r, err := a.gone("eat"); err != nil || r.Cause != captoken.CauseQuota || r.Frames > 40<<8 {
		return fmt.Errorf("receipt %+v, %v; log:\n%s", r, err, a.log.text())
	}
	return a.says("memory quota of 41943040 bytes exhausted", "frames_lost=0")
}

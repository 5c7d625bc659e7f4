package ring3

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/agent/agenttest"
	"aios/kernel/process"
)

// replays has a program in attestd's place bring the authority what it has seen before,
// what was for another host, another boot or another agent, and what nobody signed.
func (s *Suite) replays() error {
	a := s.agents(time.Minute, "loop", "loops")
	channel := newDuplex()
	call := func(op uint32, fields ...[]byte) ([][]byte, error) {
		channel.toProgram <- append(binary.LittleEndian.AppendUint32(nil, op), abi.Message(fields...)...)
		select {
		case b := <-channel.fromProgram:
			return agenttest.Answer(b, nil)
		case <-time.After(patience):
			return nil, errors.New("no answer")
		}
	}
	during := func([]*process.Process) error {
		defer func() { channel.toProgram <- []byte("end") }()
		return a.replay(call)
	}
	return s.play(during, player{thing: "clerk", grants: []process.Grant{
		{Name: abi.CapChannel, Type: abi.TypeStream, Rights: abi.RightRead | abi.RightWrite, Object: channel},
		{Name: abi.CapAuthor, Type: abi.TypeAuthority, Rights: abi.RightInvoke, Object: a.authority},
	}})
}

// ask makes a call of the authority by the program.
type ask func(op uint32, fields ...[]byte) ([][]byte, error)

// replay asks for what has to be refused, between things that are not.
func (a *agents) replay(ask ask) error {
	refused := func(what, why string, op uint32, fields ...[]byte) error {
		if _, err := ask(op, fields...); err == nil || !strings.Contains(err.Error(), why) {
			return fmt.Errorf("%s: %v, want %q", what, err, why)
		}
		return nil
	}
	first, err := ask(abi.AuthorityRequest)
	if err != nil {
		return err
	}
	held := a.v.Lease(first, nil)
	if _, err := ask(abi.AuthorityLease, held); err != nil {
		return fmt.Errorf("the first lease: %w", err)
	}
	request, err := ask(abi.AuthorityRequest)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		what, why string
		lease     []byte
	}{
		{"the same lease again", "answers no request", held},
		{"a lease for the request before", "answers no request", a.v.Lease(first, func(l *captoken.Lease) { l.ID = captoken.ID{8} })},
		{"another host's", "host", a.v.Lease(request, func(l *captoken.Lease) { l.Host = "host-fedcba9876543210" })},
		{"of another boot", "boot", a.v.Lease(request, func(l *captoken.Lease) { l.Boot.ID[0] ^= 1 })},
		{"of a boot before", "boot", a.v.Lease(request, func(l *captoken.Lease) { l.Boot.ResetCount++ })},
	} {
		if err := refused(c.what, c.why, abi.AuthorityLease, c.lease); err != nil {
			return err
		}
	}
	list := func() []byte { a.sequence++; a.v.Sequence = a.sequence; return a.v.Revocations(nil) }
	old, newer := list(), list()
	if _, err := ask(abi.AuthorityRevocations, newer); err != nil {
		return err
	}
	order := func(sequence uint64, names string) [][]byte {
		return [][]byte{binary.LittleEndian.AppendUint64(nil, sequence), {0}, []byte(names)}
	}
	if _, err := ask(abi.AuthorityOrders, order(3, "")...); err != nil {
		return err
	}
	a.sequence = 3
	if err := errors.Join(
		refused("a list from before", "sequence", abi.AuthorityRevocations, old),
		refused("orders from before", "sequence", abi.AuthorityOrders, order(1, "loop\n")...),
	); err != nil {
		return err
	}
	if err := a.replayToken(ask, refused); err != nil {
		return err
	}
	if _, err := ask(abi.AuthorityStart, []byte("loop")); err != nil {
		return err
	}
	if err := refused("an agent on another's token", "no token", abi.AuthorityStart, []byte("loops")); err != nil {
		return err
	}
	if err := a.until("aios loop: looping"); err != nil {
		return err
	}
	command := captoken.ID{9}
	receipts, err := ask(abi.AuthorityKill, command[:], []byte("loop"))
	if err != nil || len(receipts) != 1 {
		return fmt.Errorf("%d receipts, %v", len(receipts), err)
	}
	nonce := make([]byte, 32)
	if _, err := ask(abi.AuthorityQuote, nonce, receipts[0]); err != nil {
		return err
	}
	for at := range receipts[0] {
		if at%16 != 0 {
			continue
		}
		forged := append([]byte(nil), receipts[0]...)
		forged[at] ^= 1
		if _, err := ask(abi.AuthorityQuote, nonce, forged); err == nil {
			return fmt.Errorf("a receipt with another byte %d is quoted", at)
		}
	}
	if _, err := ask(abi.AuthorityStart, []byte("loop")); err == nil {
		return errors.New("an agent that was stopped starts again")
	}
	if err := a.says("lease held id=01", "agent gone agent=loop instance=1 cause=command"); err != nil {
		return err
	}
	if n := strings.Count(a.log.text(), "lease held") + strings.Count(a.log.text(), "lease renewed"); n != 1 {
		return fmt.Errorf("%d leases were taken; log:\n%s", n, a.log.text())
	}
	return nil
}

// replayToken installs a token by its holder's proof, and tries that again, another host's
// token with a proof of its own, and one that nobody proves to hold.
func (a *agents) replayToken(ask ask, refused func(what, why string, op uint32, fields ...[]byte) error) error {
	proven := func(t captoken.Token) []byte {
		nonce, err := ask(abi.AuthorityNonce)
		if err != nil || len(nonce) != 1 {
			return nil
		}
		return a.v.Proof(t, nonce[0])
	}
	good := a.v.Token("loop", nil)
	proof := proven(good)
	if _, err := ask(abi.AuthorityToken, good, proof); err != nil {
		return fmt.Errorf("the good token: %w", err)
	}
	elsewhere := a.v.Token("loop", func(c *captoken.Claims) { c.Audience = "host-fedcba9876543210" })
	return errors.Join(
		refused("the same token with the same proof", "nonce expected", abi.AuthorityToken, good, proof),
		refused("another host's token", "host expected", abi.AuthorityToken, elsewhere, proven(elsewhere)),
		refused("a token without a proof", "proof of possession", abi.AuthorityToken, good, nil),
	)
}

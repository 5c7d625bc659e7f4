// Package agenttest is a verifier for tests of package agent, on any machine: it signs
// leases and tokens, good and bad ones.
package agenttest

import (
	"encoding/binary"
	"fmt"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/kernel/abi"
)

// epoch is the verifier's time when the host booted.
var epoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// Verifier signs with a key that is the same in each test.
type Verifier struct {
	Key      *captoken.PrivateKey
	Other    *captoken.PrivateKey // that nobody trusts
	Holder   *captoken.PrivateKey // of tokens
	Now      func() time.Duration // since boot, on the host's clock
	LeaseID  captoken.ID
	Duration time.Duration // of leases
	Sequence uint64
	Epoch    uint64
	last     byte // of the ids of tokens
	Host     string
}

// New makes one. now is the host's clock.
func New(now func() time.Duration) *Verifier {
	key := func(b byte) *captoken.PrivateKey {
		seed := make([]byte, 32)
		seed[0] = b
		k, err := mldsa.NewPrivateKey(seed)
		if err != nil {
			panic(err) // the length is right
		}
		return captoken.NewPrivateKey(k)
	}
	return &Verifier{Key: key(1), Other: key(2), Holder: key(3), Now: now, LeaseID: captoken.ID{1}, Duration: time.Minute, Host: "host-0123456789abcdef"}
}

// Time is the verifier's, in whole seconds.
func (v *Verifier) Time() time.Time { return epoch.Add(v.Now()).Truncate(time.Second) }

// Lease answers a request: the fields of AuthorityRequest behind the reason.
func (v *Verifier) Lease(request [][]byte, change func(*captoken.Lease)) []byte {
	l := captoken.Lease{
		ID: v.LeaseID, Host: v.Host, Nonce: [32]byte(request[0]), Duration: v.Duration, IssuedAt: v.Time(), Sequence: v.Sequence,
		Boot: captoken.Boot{ID: captoken.ID(request[1]), ResetCount: uint32(binary.LittleEndian.Uint64(request[2]))},
	}
	key := v.Key
	if change != nil {
		change(&l)
	}
	raw, err := captoken.MintLease(key, l)
	if err != nil {
		panic(err)
	}
	return raw
}

// Token is one for an agent that may do everything, changed.
func (v *Verifier) Token(agent string, change func(*captoken.Claims)) captoken.Token {
	return v.TokenBy(v.Key, agent, change)
}

// TokenBy is one that somebody else signs.
func (v *Verifier) TokenBy(key captoken.Signer, agent string, change func(*captoken.Claims)) captoken.Token {
	v.last++
	c := captoken.Claims{
		ID: captoken.ID{2, v.last}, Subject: agent, Audience: v.Host, Rights: 1<<17 - 1,
		Scopes: captoken.Scopes{Peers: captoken.Patterns{"*"}},
		Quotas: captoken.Quotas{MemoryBytes: 1 << 40, MessagesPerSecond: 1 << 30, BytesPerSecond: 1 << 40},
		// A second late, since a lease has whole seconds: the host's time is a little behind.
		NotBefore: v.Time().Add(-time.Second), Expires: v.Time().Add(10 * time.Minute), Epoch: v.Epoch, Lease: v.LeaseID, Holder: v.Holder.Public().Thumbprint(),
	}
	if change != nil {
		change(&c)
	}
	t, err := captoken.Mint(key, c)
	if err != nil {
		panic(err)
	}
	return t
}

// Proof is what the holder signs over a nonce of the host, empty if neither the holder
// nor Other holds the token.
func (v *Verifier) Proof(t captoken.Token, nonce []byte) []byte {
	for _, holder := range []*captoken.PrivateKey{v.Holder, v.Other} {
		if proof, err := captoken.Prove(holder, t, [32]byte(nonce)); err == nil {
			return proof
		}
	}
	return nil
}

// Delegated is a token for the first agent that is passed on from agent to agent, each
// time under an id: what follows is one id and one agent for each delegation.
func (v *Verifier) Delegated(first string, chain ...any) captoken.Token {
	t := v.Token(first, func(c *captoken.Claims) { c.Holder, c.Depth = v.Other.Public().Thumbprint(), uint8(len(chain)/2) })
	for i := 0; i < len(chain); i += 2 {
		links, left, err := captoken.Read(t)
		if err != nil {
			panic(err)
		}
		t, err = captoken.Delegate(v.Other, t, captoken.Delegation{ID: chain[i].(captoken.ID), Subject: chain[i+1].(string), Holder: v.Other.Public().Thumbprint(),
			Rights: left.Rights, Scopes: left.Scopes, Quotas: left.Quotas, NotBefore: left.NotBefore, Expires: left.Expires, Depth: uint8(len(chain)/2 - len(links))})
		if err != nil {
			panic(err)
		}
	}
	return t
}

// Revocations is a list of the verifier's sequence and epoch, changed.
func (v *Verifier) Revocations(change func(*captoken.RevocationList)) []byte {
	return v.RevocationsBy(v.Key, change)
}

// RevocationsBy is one that somebody else signs.
func (v *Verifier) RevocationsBy(key captoken.Signer, change func(*captoken.RevocationList)) []byte {
	l := captoken.RevocationList{IssuedAt: v.Time(), Sequence: v.Sequence, Epoch: v.Epoch}
	if change != nil {
		change(&l)
	}
	raw, err := captoken.MintRevocations(key, l)
	if err != nil {
		panic(err)
	}
	return raw
}

// Answer splits a response of the system call: a reason is an error.
func Answer(response []byte, err error) (fields [][]byte, refusal error) {
	if err != nil {
		return nil, fmt.Errorf("the call failed: %w", err)
	}
	for len(response) > 0 {
		f, rest, err := abi.NextField(response)
		if err != nil {
			return nil, err
		}
		fields, response = append(fields, f), rest
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("the answer has no field")
	}
	if len(fields[0]) > 0 {
		return nil, fmt.Errorf("%s", fields[0])
	}
	return fields[1:], nil
}

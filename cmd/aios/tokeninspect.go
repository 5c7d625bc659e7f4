package main

import (
	"errors"
	"fmt"
	"time"

	"aios/captoken"
)

type tokenInspectCmd struct {
	File        string   `arg:"" help:"Token, proof, revocation list, lease, command or receipt, or - for standard input." type:"path"`
	Issuer      []string `help:"Public key to trust: of the issuer of a token or a revocation list, the verifier of a lease, the operator of a command (may be given several times)." placeholder:"FILE" type:"path"`
	Epoch       uint64   `help:"Lowest revocation epoch of the issuers."`
	Host        string   `help:"Host to present it on (default: the one that it names)."`
	Agent       string   `help:"Agent to present it (default: that of the token)."`
	Lease       string   `help:"Lease that the host holds (default: that of the token)." placeholder:"HEX"`
	At          string   `help:"Time at which to present it (default: now)." placeholder:"RFC3339"`
	Right       []string `help:"Rights that are needed."`
	Token       string   `help:"The token that a proof is for." placeholder:"FILE" type:"path"`
	Proof       string   `help:"Proof that the presenter of a token has the holder's key, as an answer to --nonce." placeholder:"FILE" type:"path"`
	Nonce       string   `help:"The nonce that the host made up, for a proof or a lease." placeholder:"HEX"`
	Revocations string   `help:"Revocation list of the issuer." placeholder:"FILE" type:"path"`
}

const unverified = "none of this is verified: name the keys that you trust with --issuer"

// Run succeeds for anything that says what it is: that it would be refused is a finding.
func (c tokenInspectCmd) Run(e *env) error {
	raw, err := readToken(c.File)
	if err != nil {
		return err
	}
	object, err := captoken.Identify(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	switch object {
	case captoken.ObjectProof:
		err = c.proof(e, raw)
	case captoken.ObjectRevocations:
		err = c.list(e, raw)
	case captoken.ObjectLease:
		err = c.lease(e, raw)
	case captoken.ObjectCommand:
		err = c.command(e, raw)
	case captoken.ObjectReceipt:
		err = c.receipt(e, raw)
	default: // a delegation alone is refused as a token
		err = c.token(e, raw)
	}
	var refused *captoken.Error
	if errors.As(err, &refused) {
		return say(e, "it would be refused: "+refused.Error())
	}
	return err
}

func say(e *env, lines ...string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(e.stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// token says what a token grants, and whether it would be accepted.
func (c tokenInspectCmd) token(e *env, token captoken.Token) error {
	links, left, err := captoken.Read(token)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("token %s, %d bytes, signed with %s by key %s of issuer %s", links[0].ID, len(token), links[0].Algorithm, links[0].Key, links[0].Issuer)}
	for i, l := range links[1:] {
		lines = append(lines, fmt.Sprintf("passed on by agent %s to agent %s: delegation %s, %d bytes, signed with %s", links[i].Subject, l.Subject, l.ID, l.Size, l.Algorithm))
	}
	if err := say(e, append(lines, left.Describe()...)...); err != nil {
		return err
	}
	if len(c.Issuer) == 0 {
		return say(e, unverified)
	}
	v := c.verifier(left)
	want, err := v.want()
	var refused *captoken.Error
	if errors.As(err, &refused) { // the list is not good
		return say(e, "it cannot be judged: "+err.Error())
	}
	if err != nil {
		return err
	}
	g, err := captoken.Verify(token, want)
	if err == nil {
		err = v.possession(token, g)
	}
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("it would be accepted at %s for agent %s on host %s", want.Now.Format(time.RFC3339), want.Agent, want.Host))
}

// verifier checks a token for what it says itself, where the flags do not say otherwise.
func (c tokenInspectCmd) verifier(left *captoken.Grant) tokenVerifyCmd {
	v := tokenVerifyCmd{File: c.File, Issuer: c.Issuer, Epoch: c.Epoch, Host: c.Host, Agent: c.Agent, Lease: c.Lease, At: c.At, Right: c.Right, Proof: c.Proof, Nonce: c.Nonce, Revocations: c.Revocations}
	if v.Host == "" {
		v.Host = left.Audience
	}
	if v.Agent == "" {
		v.Agent = left.Subject
	}
	if v.Lease == "" {
		v.Lease = left.Lease.String()
	}
	return v
}

// list says what a revocation list revokes, and whether one of the issuers signed it.
func (c tokenInspectCmd) list(e *env, raw []byte) error {
	list, err := captoken.ReadRevocations(raw)
	if err != nil {
		return err
	}
	if err := say(e, list.Describe()...); err != nil {
		return err
	}
	if len(c.Issuer) == 0 {
		return say(e, unverified)
	}
	var refused error
	for _, file := range c.Issuer {
		keys, err := readPublicKeys(file)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if _, refused = captoken.VerifyRevocations(raw, k); refused == nil {
				return say(e, "it is signed by this issuer, whose key is in "+file)
			}
		}
	}
	return refused
}

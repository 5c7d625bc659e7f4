package main

import (
	"errors"
	"fmt"
	"time"

	"aios/captoken"
)

type tokenInspectCmd struct {
	File        string   `arg:"" help:"Token, or - for standard input." type:"path"`
	Issuer      []string `help:"Public key of an issuer to trust (may be given several times)." placeholder:"FILE" type:"path"`
	Epoch       uint64   `help:"Lowest revocation epoch of the issuers."`
	Host        string   `help:"Host to present it on (default: that of the token)."`
	Agent       string   `help:"Agent to present it (default: that of the token)."`
	Lease       string   `help:"Lease that the host holds (default: that of the token)." placeholder:"HEX"`
	At          string   `help:"Time at which to present it (default: now)." placeholder:"RFC3339"`
	Right       []string `help:"Rights that are needed."`
	Proof       string   `help:"Proof that the presenter has the holder's key, as an answer to --nonce." placeholder:"FILE" type:"path"`
	Nonce       string   `help:"The nonce that the host made up." placeholder:"HEX"`
	Revocations string   `help:"Revocation list of the issuer." placeholder:"FILE" type:"path"`
}

// Run succeeds for any token that can be read: that one would be refused is a finding.
func (c tokenInspectCmd) Run(e *env) error {
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	if list, err := captoken.ReadRevocations(token); err == nil {
		return c.inspectList(e, token, list)
	}
	links, left, err := captoken.Read(token)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	fmt.Fprintf(e.stdout, "token %s, %d bytes, signed with %s by key %s of issuer %s\n", links[0].ID, len(token), links[0].Algorithm, links[0].Key, links[0].Issuer)
	for i, l := range links[1:] {
		fmt.Fprintf(e.stdout, "passed on by agent %s to agent %s: delegation %s, %d bytes, signed with %s\n", links[i].Subject, l.Subject, l.ID, l.Size, l.Algorithm)
	}
	for _, line := range left.Describe() {
		fmt.Fprintln(e.stdout, line)
	}
	if len(c.Issuer) == 0 {
		_, err := fmt.Fprintln(e.stdout, "none of this is verified: name the issuers that you trust with --issuer")
		return err
	}
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
	want, err := v.want()
	var refused *captoken.Error
	if errors.As(err, &refused) { // the list is not good
		_, err = fmt.Fprintln(e.stdout, "it cannot be judged:", err)
		return err
	}
	if err != nil {
		return err
	}
	g, err := captoken.Verify(token, want)
	if err == nil {
		err = v.possession(token, g)
	}
	switch {
	case errors.As(err, &refused):
		_, err = fmt.Fprintln(e.stdout, "it would be refused:", refused)
		return err
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "it would be accepted at %s for agent %s on host %s\n", want.Now.Format(time.RFC3339), want.Agent, want.Host)
	return err
}

// inspectList says what a revocation list revokes, and whether one of the issuers signed it.
func (c tokenInspectCmd) inspectList(e *env, raw []byte, list *captoken.RevocationList) error {
	for _, line := range list.Describe() {
		fmt.Fprintln(e.stdout, line)
	}
	said := "none of this is verified: name the issuers that you trust with --issuer"
	for _, file := range c.Issuer {
		keys, err := readPublicKeys(file)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if _, err := captoken.VerifyRevocations(raw, k); err == nil {
				_, err = fmt.Fprintln(e.stdout, "it is signed by this issuer, whose key is in", file)
				return err
			} else {
				said = "it would be refused: " + err.Error()
			}
		}
	}
	_, err := fmt.Fprintln(e.stdout, said)
	return err
}

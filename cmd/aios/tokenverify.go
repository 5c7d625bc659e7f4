package main

import (
	"fmt"
	"os"
	"time"

	"aios/captoken"
)

type tokenVerifyCmd struct {
	File        string   `arg:"" help:"Token, or - for standard input." type:"path"`
	Issuer      []string `help:"Public key of a trusted issuer (may be given several times)." required:"" placeholder:"FILE" type:"path"`
	Epoch       uint64   `help:"Lowest revocation epoch of the issuers."`
	Host        string   `help:"This host." required:""`
	Agent       string   `help:"The agent that presents it." required:""`
	Lease       string   `help:"The lease that the host holds." required:"" placeholder:"HEX"`
	At          string   `help:"Time at which it is presented (default: now)." placeholder:"RFC3339"`
	Right       []string `help:"Rights that are needed."`
	Proof       string   `help:"Proof that the presenter has the holder's key, as an answer to --nonce." placeholder:"FILE" type:"path"`
	Nonce       string   `help:"The nonce that this host made up." placeholder:"HEX"`
	Revocations string   `help:"Revocation list of the issuer." placeholder:"FILE" type:"path"`
}

func (c tokenVerifyCmd) want() (w captoken.Want, err error) {
	w = captoken.Want{Host: c.Host, Agent: c.Agent, Now: time.Now().UTC()}
	for _, file := range c.Issuer {
		keys, err := readPublicKeys(file)
		if err != nil {
			return w, err
		}
		for _, k := range keys {
			w.Trusted = append(w.Trusted, captoken.Issuer{Key: k, Epoch: c.Epoch})
		}
	}
	if err := c.revocations(&w); err != nil {
		return w, err
	}
	if w.Lease, err = parseID("--lease", c.Lease); err != nil {
		return w, err
	}
	if c.At != "" {
		if w.Now, err = parseTime(c.At); err != nil {
			return w, err
		}
	}
	w.Rights, err = grantFlags{Right: c.Right}.rights()
	return w, err
}

func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError("--at %s: expected a time such as 2027-01-15T08:00:00Z", text)
	}
	return at, nil
}

func (c tokenVerifyCmd) Run(e *env) error {
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	want, err := c.want()
	if err != nil {
		return err
	}
	g, err := captoken.Verify(token, want)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if err := c.possession(token, g); err != nil {
		return err
	}
	for _, line := range g.Describe() {
		fmt.Fprintln(e.stdout, line)
	}
	if c.Proof != "" {
		fmt.Fprintf(e.stdout, "the presenter has shown that it has key %s\n", g.Holder)
	}
	return nil
}

// revocations gives the list to the issuer that signed it.
func (c tokenVerifyCmd) revocations(w *captoken.Want) error {
	if c.Revocations == "" {
		return nil
	}
	raw, err := os.ReadFile(c.Revocations)
	if err != nil {
		return err
	}
	var refused error
	for i := range w.Trusted {
		list, err := captoken.VerifyRevocations(raw, w.Trusted[i].Key)
		if err == nil {
			w.Trusted[i].Revoked = list
			return nil
		}
		refused = err
	}
	return fmt.Errorf("%s: %w", c.Revocations, refused)
}

// possession checks the proof, if one was given.
func (c tokenVerifyCmd) possession(token captoken.Token, g *captoken.Grant) error {
	if c.Proof == "" && c.Nonce == "" {
		return nil
	}
	if c.Proof == "" || c.Nonce == "" {
		return usageError("--proof and --nonce go together: a proof answers the nonce that the host made up")
	}
	nonce, err := parseNonce(c.Nonce)
	if err != nil {
		return err
	}
	proof, err := readToken(c.Proof)
	if err != nil {
		return err
	}
	if err := captoken.VerifyProof(proof, token, g, nonce); err != nil {
		return fmt.Errorf("%s: %w", c.Proof, err)
	}
	return nil
}

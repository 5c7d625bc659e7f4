package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"aios/captoken"
)

// proof says what a proof of possession shows. Alone it shows that somebody has the key
// in it; with the token, that this is the holder's.
func (c tokenInspectCmd) proof(e *env, raw []byte) error {
	p, err := captoken.ReadProof(raw)
	if err != nil {
		return err
	}
	if err := say(e, p.Describe()...); err != nil {
		return err
	}
	if p.Unsigned != nil {
		return p.Unsigned
	}
	nonce := p.Nonce
	if c.Nonce != "" {
		if nonce, err = parseNonce(c.Nonce); err != nil {
			return err
		}
	}
	if c.Token != "" {
		return c.proofOfToken(e, raw, nonce)
	}
	g := &captoken.Grant{Claims: captoken.Claims{Holder: p.Signer, Audience: p.Host}}
	if c.Host != "" {
		g.Audience = c.Host
	}
	// The last thing that is compared is the token, which is not here.
	if err := captoken.VerifyProof(raw, nil, g, nonce); !errors.Is(err, captoken.ErrDelegation) {
		return err
	}
	return say(e, "it is signed by that key, and would be accepted with a token that says so: name the token with --token"+c.andNonce())
}

// andNonce asks for the nonce where it was taken from what was to be checked.
func (c tokenInspectCmd) andNonce() string {
	if c.Nonce == "" {
		return ", and the nonce that the host made up with --nonce"
	}
	return ""
}

// proofOfToken checks a proof beside the token that it is for.
func (c tokenInspectCmd) proofOfToken(e *env, raw []byte, nonce [captoken.NonceSize]byte) error {
	token, err := readToken(c.Token)
	if err != nil {
		return err
	}
	if len(c.Issuer) > 0 {
		c.File, c.Proof, c.Nonce = c.Token, c.File, hex.EncodeToString(nonce[:])
		return c.token(e, token)
	}
	_, left, err := captoken.Read(token)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Token, err)
	}
	if err := captoken.VerifyProof(raw, token, left, nonce); err != nil {
		return err
	}
	return say(e, "it is of agent "+left.Subject+", which the token names as its holder; the token is not verified: name the issuers that you trust with --issuer"+c.andNonce())
}

// lease says what a lease allows, and whether the host that asked for it would take it.
func (c tokenInspectCmd) lease(e *env, raw []byte) error {
	l, err := captoken.ReadLease(raw)
	if err != nil {
		return err
	}
	if err := say(e, l.Describe()...); err != nil {
		return err
	}
	if len(c.Issuer) == 0 {
		return say(e, unverified)
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	host, nonce := l.Host, l.Nonce
	if c.Host != "" {
		host = c.Host
	}
	if c.Nonce != "" {
		if nonce, err = parseNonce(c.Nonce); err != nil {
			return err
		}
	}
	state := captoken.NewLeaseState(keys, host, l.Boot, 0, 0)
	state.Sent(nonce, 0)
	if _, err := state.Renew(raw, 0); err != nil {
		return err
	}
	return say(e, "host "+host+" would take it in that boot, if it still waits for the answer to that nonce and has not waited for "+l.Duration.String())
}

func (c tokenInspectCmd) keys() (all []*captoken.PublicKey, err error) {
	for _, file := range c.Issuer {
		keys, err := readPublicKeys(file)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// command says what an operator ordered, and whether it would be carried out by an
// installation that gives the operator the role.
func (c tokenInspectCmd) command(e *env, raw []byte) error {
	order, err := captoken.ReadCommand(raw)
	if err != nil {
		return err
	}
	if err := say(e, "command "+order.ID.String()+" to installation "+order.Audience+": "+order.Describe()); err != nil {
		return err
	}
	if len(c.Issuer) == 0 {
		return say(e, unverified)
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	want := captoken.CommandWant{Audience: order.Audience, Now: time.Now().UTC(), Last: func(captoken.Thumbprint) uint64 { return 0 },
		Permits: func(string, captoken.Action, captoken.Target) bool { return true }}
	if c.At != "" {
		if want.Now, err = parseTime(c.At); err != nil {
			return err
		}
	}
	for _, k := range keys {
		want.Operators = append(want.Operators, captoken.Operator{Key: k, Roles: []string{order.Role}})
	}
	if _, err := captoken.VerifyCommand(raw, want); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("it would be carried out at %s, if the operator has the role %s, the role may do this, and no order from number %d on was carried out before", want.Now.Format(time.RFC3339), order.Role, order.Sequence))
}

// receipt says how an agent ended. Nobody signs a receipt, so what it is worth is said by
// a quote.
func (c tokenInspectCmd) receipt(e *env, raw []byte) error {
	r, err := captoken.ParseReceipt(raw)
	if err != nil {
		return err
	}
	hash := captoken.ReceiptHash(raw)
	return say(e, append(r.Describe(), "it is not signed: believe it if a quote by the TPM of this host, in this boot, was made for its SHA-256 "+hex.EncodeToString(hash[:]))...)
}

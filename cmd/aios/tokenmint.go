package main

import (
	"time"

	"aios/captoken"
)

type tokenMintCmd struct {
	Key   string        `help:"Private key of the issuer." required:"" placeholder:"FILE" type:"path"`
	Agent string        `help:"The agent that it is for." required:""`
	Host  string        `help:"The host that it is for." required:""`
	Lease string        `help:"The lease that it hangs from." required:"" placeholder:"HEX"`
	Epoch uint64        `help:"Revocation epoch of the issuer."`
	Valid time.Duration `help:"For how long it is valid from now on." default:"10m"`
	Depth uint8         `help:"How often it may be passed on."`
	grantFlags
}

func (c tokenMintCmd) Run(e *env) error {
	issuer, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	claims := captoken.Claims{Subject: c.Agent, Audience: c.Host, NotBefore: now, Expires: now.Add(c.Valid.Truncate(time.Second)), Epoch: c.Epoch, Depth: c.Depth, Quotas: c.quotas()}
	if claims.Lease, err = parseID("--lease", c.Lease); err != nil {
		return err
	}
	if claims.Rights, err = c.rights(); err != nil {
		return err
	}
	if claims.Scopes, err = c.scopes(); err != nil {
		return err
	}
	if claims.Holder, err = readThumbprint(c.Holder); err != nil {
		return err
	}
	token, err := captoken.Mint(issuer, claims)
	if err != nil {
		return err
	}
	return writeToken(e, c.Out, token)
}

package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"aios/captoken"
	"aios/verifier/service"
)

type agentRevokeCmd struct {
	Subject string `help:"Name of an agent: everything of it is revoked on every host, until the epoch is raised." placeholder:"AGENT"`
	Token   string `help:"Id of a token or delegation; the agent gets another token." placeholder:"ID"`
	Lease   string `help:"Id of a lease, as GET /v1/hosts tells it; the host gets another lease." placeholder:"ID"`
	Epoch   uint64 `help:"The epoch after the present one: every token of before ends, and the revocation list begins anew." placeholder:"N"`
	Reason  string `help:"Why; it is recorded." required:"" placeholder:"TEXT"`
	signFlags
	apiFlags
}

func (c agentRevokeCmd) Run(e *env) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	api, err := c.client(e)
	if err != nil {
		return err
	}
	raw, err := c.sign(e, api, captoken.ActionRevoke, target, c.Reason)
	if err != nil {
		return err
	}
	v, err := api.submit(e.ctx, raw)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, v)
	}
	var list service.Revocations
	if err := api.ask(e.ctx, http.MethodGet, "/v1/revocations", nil, nil, &list); err != nil {
		return fmt.Errorf("command %s was carried out, and the revocation list cannot be shown: %w", v.ID, err)
	}
	_, err = fmt.Fprintf(e.stdout, "revoked: %s; it is on revocation list %d of epoch %d, which the connected hosts are being sent; on the others nothing starts without it. What ran is gone when `aios agent list` does not show it running\n",
		revokedWords(target), list.Sequence, list.Epoch)
	return err
}

// target is what the flags name, one thing.
func (c agentRevokeCmd) target() (t captoken.Target, err error) {
	t = captoken.Target{Agent: c.Subject, Epoch: c.Epoch}
	for _, f := range []struct {
		flag, text string
		into       *captoken.ID
	}{{"--token", c.Token, &t.Token}, {"--lease", c.Lease, &t.Lease}} {
		if f.text == "" {
			continue
		}
		b, err := hex.DecodeString(f.text)
		if err != nil || len(b) != len(f.into) || captoken.ID(b).IsZero() {
			return t, usageError("%s %q: expected an id as 32 hex digits, not all of them 0", f.flag, f.text)
		}
		*f.into = captoken.ID(b)
	}
	switch t {
	case captoken.Target{}:
	case captoken.Target{Agent: t.Agent}, captoken.Target{Token: t.Token}, captoken.Target{Lease: t.Lease}, captoken.Target{Epoch: t.Epoch}:
		return t, nil
	}
	return t, usageError("name one of --subject, --token, --lease and --epoch")
}

func revokedWords(t captoken.Target) string {
	if t.Agent != "" {
		return "everything of agent " + t.Agent
	}
	return t.String()
}

type agentRevocationsCmd struct{ apiFlags }

func (c agentRevocationsCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	var list service.Revocations
	if err := api.ask(e.ctx, http.MethodGet, "/v1/revocations", nil, nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, list)
	}
	if list.Sequence == 0 {
		_, err := fmt.Fprintln(e.stdout, "nothing was ever revoked; the epoch is 0")
		return err
	}
	fmt.Fprintf(e.stdout, "revocation list %d of %s; the epoch is %d\n", list.Sequence, list.IssuedAt.Format(time.RFC3339), list.Epoch)
	for _, part := range []struct {
		what string
		list []string
	}{{"everything of agent", list.Agents}, {"token or delegation", list.Tokens}, {"lease", list.Leases}} {
		for _, name := range part.list {
			fmt.Fprintln(e.stdout, part.what, name)
		}
	}
	return nil
}

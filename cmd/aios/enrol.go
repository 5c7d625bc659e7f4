package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"aios/verifier/service"
)

// enrolCmd says which hosts may be enrolled.
type enrolCmd struct {
	Token  enrolTokenCmd  `cmd:"" help:"Issue a one-time enrolment token and print it: it is shown once."`
	Tokens enrolTokensCmd `cmd:"" help:"List the tokens that were issued, or revoke one."`
	EK     enrolEKCmd     `cmd:"" name:"ek" help:"Register a TPM, so that its host is enrolled without a token."`
	EKs    enrolEKsCmd    `cmd:"" name:"eks" help:"List the TPMs that are registered, or take a registration back."`
}

type enrolTokenCmd struct {
	Note string        `help:"What it is for." placeholder:"TEXT"`
	Life time.Duration `help:"How long it can be used." default:"24h" placeholder:"TIME"`
	apiFlags
}

// Run prints the token alone on standard output, so that it can be passed on.
func (c enrolTokenCmd) Run(e *env) error {
	if c.Life < time.Second {
		return usageError("--life: expected at least 1s, found %v", c.Life)
	}
	api, err := c.client(e)
	if err != nil {
		return err
	}
	in := struct {
		Note    string `json:"note,omitempty"`
		Seconds int64  `json:"seconds"`
	}{c.Note, int64(c.Life / time.Second)}
	var out service.EnrolmentToken
	if err := api.ask(e.ctx, http.MethodPost, "/v1/enrolment-tokens", nil, in, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, out)
	}
	_, err = fmt.Fprintln(e.stdout, out.Token)
	return err
}

type enrolTokensCmd struct {
	Revoke string `help:"Revoke the token with this id." placeholder:"ID"`
	apiFlags
}

func (c enrolTokensCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	if c.Revoke != "" {
		if err := api.ask(e.ctx, http.MethodDelete, "/v1/enrolment-tokens/"+url.PathEscape(c.Revoke), nil, nil, nil); err != nil || c.JSON {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "token %s is revoked; a host that was enrolled with it stays enrolled\n", c.Revoke)
		return err
	}
	tokens := []service.EnrolmentToken{}
	if err := api.ask(e.ctx, http.MethodGet, "/v1/enrolment-tokens", nil, nil, &tokens); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, tokens)
	}
	for _, t := range tokens {
		fmt.Fprintf(e.stdout, "%s  %s  expires %s", t.ID, t.State, t.Expires.Format(time.RFC3339))
		if t.UsedBy != "" {
			fmt.Fprintf(e.stdout, "  by %s at %s", t.UsedBy, t.UsedAt.Format(time.RFC3339))
		}
		if t.Note != "" {
			fmt.Fprintf(e.stdout, "  %q", t.Note)
		}
		fmt.Fprintln(e.stdout)
	}
	if len(tokens) == 0 {
		fmt.Fprintln(e.stdout, "no token was issued")
	}
	return nil
}

type enrolEKCmd struct {
	EK   string `arg:"" help:"SHA-256 of the EK's SubjectPublicKeyInfo (64 hex digits), or a file with its EK certificate (DER or PEM)."`
	Note string `help:"What it is for." placeholder:"TEXT"`
	apiFlags
}

func (c enrolEKCmd) Run(e *env) error {
	in := struct {
		Hash        string `json:"ek_sha256,omitempty"`
		Certificate []byte `json:"certificate,omitempty"`
		Note        string `json:"note,omitempty"`
	}{Note: c.Note}
	if b, err := hex.DecodeString(c.EK); err == nil && len(b) == 32 {
		in.Hash = strings.ToLower(c.EK)
	} else if in.Certificate, err = os.ReadFile(c.EK); err != nil {
		return usageError("EK %q is neither 64 hex digits nor a file that can be read: %v", c.EK, err)
	}
	api, err := c.client(e)
	if err != nil {
		return err
	}
	var out service.RegisteredEK
	if err := api.ask(e.ctx, http.MethodPost, "/v1/eks", nil, in, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, out)
	}
	_, err = fmt.Fprintf(e.stdout, "EK %s is registered: its host, host-%.16s, is enrolled at its first contact\n", out.Hash, out.Hash)
	return err
}

type enrolEKsCmd struct {
	Remove string `help:"Take the registration of this EK back." placeholder:"SHA256"`
	apiFlags
}

func (c enrolEKsCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	if c.Remove != "" {
		if err := api.ask(e.ctx, http.MethodDelete, "/v1/eks/"+url.PathEscape(c.Remove), nil, nil, nil); err != nil || c.JSON {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "EK %s is registered no more; a host that is enrolled stays enrolled\n", c.Remove)
		return err
	}
	eks := []service.RegisteredEK{}
	if err := api.ask(e.ctx, http.MethodGet, "/v1/eks", nil, nil, &eks); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, eks)
	}
	for _, k := range eks {
		fmt.Fprintf(e.stdout, "%s  since %s  %s\n", k.Hash, k.Added.Format(time.RFC3339), k.Note)
	}
	if len(eks) == 0 {
		fmt.Fprintln(e.stdout, "no TPM is registered")
	}
	return nil
}

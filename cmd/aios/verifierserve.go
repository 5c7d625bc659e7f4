package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/host/install"
	"aios/host/story"
	"aios/verifier/authority"
	"aios/verifier/service"
)

// verifierServeCmd is the verifier as a program that runs.
type verifierServeCmd struct {
	ListenHosts string        `help:"Where hosts dial (default: the address that this installation's image names)." placeholder:"HOST:PORT"`
	ListenAPI   string        `name:"listen-api" help:"Where the REST API is served; a loopback address." default:"127.0.0.1:8471" placeholder:"HOST:PORT"`
	Interval    time.Duration `help:"Time from one appraisal of a host to the next, give or take a tenth." default:"30s" placeholder:"TIME"`
	Lease       time.Duration `help:"How long the lease of a good verdict lasts." default:"2m" placeholder:"TIME"`
	Grace       time.Duration `help:"The grace that hosts are set to, in their image." default:"3m" placeholder:"TIME"`
	TokenLife   time.Duration `help:"How long a capability token is valid." default:"1h" placeholder:"TIME"`
	Quorum      int           `help:"Share of the fleet, in percent, that one person may stop at once; one host in any case." default:"25" placeholder:"PERCENT"`
	MaxHosts    int           `help:"Hosts that may be connected at once." default:"4096" placeholder:"N"`
	Operator    []string      `help:"Public key of a person whose commands are accepted, beside this installation's operator." placeholder:"FILE" type:"existingfile"`
	OpenEnrol   bool          `help:"Enrol every TPM that a trusted CA vouches for, without token or registration."`
	NewState    bool          `help:"Begin an empty state of the token authority although there was one: for when it was lost for good (docs/authority.md)."`
	JSON        bool          `help:"Log as JSON, one object a line."`
	verifierFlags
	policyFlag
}

func (c verifierServeCmd) check() error {
	switch {
	case c.Interval < time.Second:
		return usageError("--interval: expected at least 1s, found %s", c.Interval)
	case c.Lease <= c.Interval:
		return usageError("--lease: expected more than the interval of %s, or agents stop between two appraisals; found %s", c.Interval, c.Lease)
	case c.Lease > captoken.MaxLease || c.Grace < 0 || c.Grace > captoken.MaxLease:
		return usageError("--lease and --grace: expected at most %s", captoken.MaxLease)
	case c.TokenLife < time.Second || c.TokenLife > authority.MaxTokenLife:
		return usageError("--token-life: expected 1s to %s, found %s", authority.MaxTokenLife, c.TokenLife)
	case c.Quorum < 1 || c.Quorum > 100:
		return usageError("--quorum: expected 1 to 100 percent, found %d", c.Quorum)
	case c.MaxHosts < 1:
		return usageError("--max-hosts: expected at least 1, found %d", c.MaxHosts)
	}
	return nil
}

// Run takes no lock of the state folder: other commands work beside it. Two verifiers
// with one state are kept apart by the lock of the token authority.
func (c verifierServeCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	d, err := e.dir()
	if err != nil {
		return err
	}
	l := newLaunch(d, story.New(e.stdout, c.JSON))
	if l.keys, err = install.EnsureKeys(d); err != nil {
		return err
	}
	if l.policy, err = c.load(e.ctx); err != nil {
		return err
	}
	sessions, err := l.verifier(c.verifierFlags)
	if err != nil {
		return err
	}
	people, err := c.operators(l.keys)
	if err != nil {
		return err
	}
	if c.ListenHosts == "" {
		if c.ListenHosts, err = d.HostsAddress(); err != nil {
			return err
		}
	}
	hosts, err := net.Listen("tcp", c.ListenHosts)
	if err != nil {
		return fmt.Errorf("await hosts: %w; end what uses the address, or give another one with --listen-hosts", err)
	}
	api, token, err := listenAPI(d, c.ListenAPI)
	if err != nil {
		return errors.Join(err, hosts.Close())
	}
	svc, err := service.New(service.Config{Dir: d.Verifier(), NewAuthority: c.NewState, Sessions: sessions, OpenEnrolment: c.OpenEnrol,
		Identity: l.keys.Identity, Token: l.keys.TokenSigner(), Installation: l.keys.Installation(), Operators: people,
		Interval: c.Interval, Lease: c.Lease, Grace: c.Grace, TokenLife: c.TokenLife, QuorumPercent: c.Quorum, MaxHosts: c.MaxHosts,
		APIToken: token, Build: "aios " + version, Log: c.logger(e)})
	if err != nil {
		return errors.Join(err, hosts.Close(), api.Close())
	}
	defer svc.Close()
	if err := publishAPI(d, api); err != nil {
		return errors.Join(err, hosts.Close(), api.Close())
	}
	if !c.JSON {
		fmt.Fprintf(e.stdout, "awaiting hosts at %s\nREST API at http://%s, bearer token in %s\ninstallation %s\n", hosts.Addr(), api.Addr(), d.APIToken(), l.keys.Installation())
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	return svc.Serve(ctx, hosts, api)
}

func (c verifierServeCmd) logger(e *env) *slog.Logger {
	if c.JSON {
		return slog.New(slog.NewJSONHandler(e.stdout, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// operators are the installation's own and those that were named.
func (c verifierServeCmd) operators(k *install.Keys) ([]captoken.Operator, error) {
	out := []captoken.Operator{{Key: k.OperatorSigner().Public(), Roles: []string{install.OperatorRole}}}
	for _, file := range c.Operator {
		keys, err := mldsa.ReadPublicKeyFile(file)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			out = append(out, captoken.Operator{Key: captoken.NewPublicKey(key), Roles: []string{install.OperatorRole}})
		}
	}
	return out, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"aios/verifier/service"
)

// fleet is the installation's verifier at work in this process, and what is told of
// the one host that `aios up` brings up.
type fleet struct {
	l    *launch
	svc  *service.Service
	api  *apiClient // to it, as an operator has one
	stop func()     // ends it, and waits until nothing of it is left
}

// serve starts the verifier. It ends with ctx.
func (l *launch) serve(ctx context.Context, c upCmd) (*fleet, error) {
	v, err := l.verifier(verifierFlags{})
	if err != nil {
		return nil, err
	}
	people, err := verifierServeCmd{}.operators(l.keys)
	if err != nil {
		return nil, err
	}
	hosts, err := l.listenForHosts()
	if err != nil {
		return nil, err
	}
	api, token, err := listenAPI(l.dir, "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, hosts.Close())
	}
	log, err := os.OpenFile(filepath.Join(l.dir.Verifier(), "verifier.log"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, errors.Join(err, hosts.Close(), api.Close())
	}
	svc, err := service.New(service.Config{
		Dir: l.dir.Verifier(), Sessions: v, Identity: l.keys.Identity, Token: l.keys.TokenSigner(),
		Installation: l.keys.Installation(), Operators: people, Interval: c.Interval, Lease: c.Lease, Grace: c.Grace,
		APIToken: token, Build: "aios " + version, Log: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		return nil, errors.Join(err, hosts.Close(), api.Close(), log.Close())
	}
	if err := publishAPI(l.dir, api); err != nil {
		return nil, errors.Join(err, hosts.Close(), api.Close(), svc.Close(), log.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- svc.Serve(ctx, hosts, api) }()
	client := &apiClient{base: "http://" + api.Addr().String(), token: token}
	return &fleet{l: l, svc: svc, api: client, stop: func() {
		cancel()
		<-ended
		svc.Close()
		log.Close()
	}}, nil
}

// listenForHosts takes the address that the signed image names.
func (l *launch) listenForHosts() (net.Listener, error) {
	address, err := l.dir.HostsAddress()
	if err != nil {
		return nil, err
	}
	hosts, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &addressError{address, filepath.Join(l.dir.Verifier(), "hosts-address"), err}
	}
	return hosts, nil
}

// addressError says that the verifier cannot be where its hosts look for it.
type addressError struct {
	address, file string
	err           error
}

func (e *addressError) Error() string {
	return fmt.Sprintf("await hosts at %s, the address that is in their image: %v", e.address, e.err)
}
func (e *addressError) Unwrap() error { return e.err }
func (e *addressError) Remedy() string {
	return "end what uses the address (another `aios up` or `aios verifier serve`?); or remove " + e.file + " to have another one chosen, and an image built for it"
}

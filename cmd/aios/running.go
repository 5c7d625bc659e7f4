package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"aios/evidence"
	"aios/host/vm"
)

// runningHost finds the sockets of the host that another command of this installation
// has started.
func (e *env) runningHost() (control, channel string, err error) {
	d, err := e.dir()
	if err != nil {
		return "", "", err
	}
	b, err := os.ReadFile(d.Sockets())
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", &notRunningError{d.Root}
	}
	if err != nil {
		return "", "", err
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 2 {
		return "", "", fmt.Errorf("%s: expected two lines, found %q", d.Sockets(), b)
	}
	if _, err := os.Stat(lines[0]); err != nil {
		return "", "", &notRunningError{d.Root}
	}
	return lines[0], lines[1], nil
}

type notRunningError struct{ root string }

func (e *notRunningError) Error() string {
	return "no host of the installation in " + e.root + " is running"
}
func (e *notRunningError) Remedy() string {
	return "start one with `aios up` or `aios host start`, and leave it running"
}

type linkCutCmd struct{}

func (linkCutCmd) Run(e *env) error { return setLink(e, false, "cut") }

type linkRestoreCmd struct{}

func (linkRestoreCmd) Run(e *env) error { return setLink(e, true, "restored") }

func setLink(e *env, up bool, did string) error {
	control, _, err := e.runningHost()
	if err != nil {
		return err
	}
	if err := vm.SetLink(e.ctx, control, up); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "the network of the host is %s\n", did)
	return err
}

// hostAdmitCmd reads the token from standard input: what is on a command line can be
// read by everybody on the machine.
type hostAdmitCmd struct{}

// maxToken bounds what is read.
const maxToken = 1024

func (hostAdmitCmd) Run(e *env) error {
	_, channel, err := e.runningHost()
	if err != nil {
		return err
	}
	token, err := io.ReadAll(io.LimitReader(os.Stdin, maxToken))
	if err != nil {
		return err
	}
	token = bytes.TrimSpace(token)
	if len(token) == 0 {
		return &exitError{exitUsage, errors.New("host admit: expected an enrolment token on standard input, found nothing: aios enrol token | aios host admit")}
	}
	if err := admit(e.ctx, channel, token); err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, "the host has the enrolment token and shows it to its verifier")
	return err
}

// admit gives a token to the host behind a console channel.
func admit(ctx context.Context, channel string, token []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", channel)
	if err != nil {
		return fmt.Errorf("console of the host: %w", err)
	}
	client, err := evidence.Dial(ctx, conn)
	if err != nil {
		return errors.Join(err, closed(conn))
	}
	return errors.Join(client.Admit(ctx, token), closed(client))
}

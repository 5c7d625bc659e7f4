package net

import (
	"context"
	"errors"
	"net"

	"aios/sdk/go/net/wire"
)

// What a connection or a lookup may fail with, for errors.Is. The error itself
// says more: netd's reason, with the address.
var (
	ErrRestarted   = errors.New("netd ended, and is being started again: what was open is lost; dial again")
	ErrRefused     = errors.New("connection refused")
	ErrUnreachable = errors.New("host unreachable")
	ErrTimedOut    = errors.New("the peer does not answer")
	ErrReset       = errors.New("connection reset by peer")
	ErrNoHost      = errors.New("no such host")
	ErrNoNetwork   = errors.New("the host has no network")
	ErrLimit       = errors.New("too many connections")
	ErrMalformed   = errors.New("not understood by netd")
)

var sentinels = map[wire.Code]error{
	wire.Refused: ErrRefused, wire.Unreachable: ErrUnreachable, wire.TimedOut: ErrTimedOut, wire.Reset: ErrReset,
	wire.NoHost: ErrNoHost, wire.NoNetwork: ErrNoNetwork, wire.Limit: ErrLimit, wire.Malformed: ErrMalformed,
}

// failure is what netd said.
type failure struct {
	code wire.Code
	text string
}

func failed(m *wire.Message) error { return &failure{m.Code, m.Text} }

func (f *failure) Error() string {
	if f.text != "" {
		return f.text
	}
	if s := sentinels[f.code]; s != nil {
		return s.Error()
	}
	return "netd gives no reason"
}

func (f *failure) Unwrap() error   { return sentinels[f.code] }
func (f *failure) Timeout() bool   { return f.code == wire.TimedOut }
func (f *failure) Temporary() bool { return f.code == wire.NoNetwork || f.code == wire.Limit }

var _ net.Error = (*failure)(nil)

// dialTimeout is a deadline of a context that is over, as package net says it.
type dialTimeout struct{ error }

func (dialTimeout) Timeout() bool   { return true }
func (dialTimeout) Temporary() bool { return true }
func (e dialTimeout) Unwrap() error { return e.error }

func contextError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return dialTimeout{err}
	}
	return err
}

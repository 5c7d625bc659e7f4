package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"aios/boot/manifest"
	"aios/captoken/mldsa"
	"aios/evidence"
	aiosnet "aios/sdk/go/net"
)

// Waiting between two attempts to reach the verifier: doubled from the first to the
// last, with jitter, so that a fleet does not come back all at once.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
	// dialLimit is for one attempt: address, connection, TLS and introduction.
	dialLimit = 20 * time.Second
)

// dialer opens connections; *aiosnet.Stack is one.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// attest keeps a session with the verifier, for as long as ctx lasts.
func (a *attester) attest(ctx context.Context, log io.Writer, v *manifest.Verifier) error {
	identity, err := mldsa.NewPublicKey(v.Identity)
	if err != nil {
		return fmt.Errorf("identity key of the verifier in the system manifest: %w", err)
	}
	stack, err := aiosnet.Open()
	if err != nil {
		return err
	}
	return a.keepSession(ctx, log, stack, v.Address, identity)
}

// keepSession returns only when ctx is done.
func (a *attester) keepSession(ctx context.Context, log io.Writer, d dialer, address string, identity *mldsa.PublicKey) error {
	retry := firstRetry
	for {
		err := a.session(ctx, log, d, address, identity, func() { retry = firstRetry })
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := retry/2 + rand.N(retry)
		fmt.Fprintf(log, "verifier away address=%s reason=%q remedy=%q retry_ms=%d", address, err, awayRemedy(err), wait.Milliseconds())
		retry = min(2*retry, lastRetry)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-a.admitted: // the verifier may think otherwise of the host now
			retry = firstRetry
		}
		timer.Stop()
	}
}

func awayRemedy(err error) string {
	if errors.Is(err, evidence.ErrIdentity) {
		return "nothing was told to it; find out who answers at this address, or build an image for the verifier that is there"
	}
	return "the host asks again by itself; running agents go on until the lease and its grace end, and none starts"
}

// session is one connection to the verifier, from the dial to its end.
func (a *attester) session(ctx context.Context, log io.Writer, d dialer, address string, identity *mldsa.PublicKey, up func()) error {
	dial, cancel := context.WithTimeoutCause(ctx, dialLimit, fmt.Errorf("no answer within %v", dialLimit))
	defer cancel()
	conn, err := d.DialContext(dial, "tcp", address)
	if err != nil {
		return err
	}
	c, err := evidence.Secure(dial, conn, identity)
	if err != nil {
		return err
	}
	cancel()
	fmt.Fprintf(log, "verifier connected address=%s key=%x tls=1.3 group=X25519MLKEM768", address, identity.ID())
	up()
	return evidence.ServeSecured(ctx, c, &member{attester: a, log: log, binding: c.Binding})
}

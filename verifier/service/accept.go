package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"aios/captoken"
	"aios/evidence"
	"aios/verifier/enrol"
	"aios/verifier/quote"
	"aios/verifier/session"
)

// serveHosts takes connections until ctx ends. Those that have proved nothing have seats
// of their own, so that a flood of them takes no proven host's place.
func (s *Service) serveHosts(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("hosts are not served any more: %w", err)
		case err != nil: // out of descriptors, or the other end was faster
			s.warn(fmt.Errorf("accept a host: %w", err))
			if !pause(ctx, 50*time.Millisecond) {
				return nil
			}
			continue
		}
		select {
		case s.unproven <- struct{}{}:
		default:
			s.metrics.connections.WithLabelValues("shed").Inc()
			conn.Close()
			continue
		}
		wg.Go(func() { s.host(ctx, conn) })
	}
}

// pause waits, and says whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// host serves one connection to its end. Preconditions: it has a seat of s.unproven.
func (s *Service) host(ctx context.Context, conn net.Conn) {
	seat := sync.OnceFunc(func() { <-s.unproven })
	defer seat()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	address := conn.RemoteAddr().String()
	c, result, took, err := s.prove(ctx, cancel, conn)
	if err != nil {
		if ctx.Err() == nil { // else it is the service that ends
			s.refused(Event{Kind: HostRefused, Text: address + ": " + withRemedy(err), Err: err}, "refused")
		}
		return
	}
	defer c.client.Close()
	stop := context.AfterFunc(ctx, func() { c.client.Close() })
	defer stop()
	if err := s.register(c); err != nil {
		s.refused(Event{Kind: HostRefused, Host: c.id, Text: withRemedy(err), Err: err}, "shed")
		return
	}
	seat()
	s.metrics.connections.WithLabelValues("proven").Inc()
	s.publish(Event{Kind: HostConnected, Host: c.id, Text: address, Session: c.session})
	err = c.run(ctx, result, took)
	s.unregister(c)
	s.publish(Event{Kind: HostDisconnected, Host: c.id, Text: err.Error()})
}

// refused tells of a connection that came to nothing. Whoever can reach the port can make
// them, so that all but some are counted and no more: the events before would be lost.
func (s *Service) refused(e Event, outcome string) {
	s.metrics.connections.WithLabelValues(outcome).Inc()
	if s.refusals.allow(s.c.Now()) {
		s.publish(e)
		return
	}
	s.log.Debug(e.Kind, "text", e.Text)
}

// budget allows so many a minute.
type budget struct {
	mu    sync.Mutex
	from  time.Time
	spent int
}

const refusalsPerMinute = 60

// farewellLimit is how long a host may take to hear why it is not taken.
const farewellLimit = 3 * time.Second

func (b *budget) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if age := now.Sub(b.from); age < 0 || age >= time.Minute {
		b.from, b.spent = now, 0
	}
	b.spent++
	return b.spent <= refusalsPerMinute
}

// prove opens the session and appraises the host once. What it says at first names it and
// proves nothing, since EK and AK are no secrets; a good quote over this connection does.
func (s *Service) prove(ctx context.Context, cancel context.CancelCauseFunc, conn net.Conn) (c *connection, r *session.Result, took time.Duration, err error) {
	shake, done := context.WithTimeoutCause(ctx, handshakeLimit, fmt.Errorf("no TLS session within %s", handshakeLimit))
	client, err := s.listener.Accept(shake, conn)
	done()
	if err != nil {
		return nil, nil, 0, err
	}
	defer func() {
		if err != nil {
			farewell(ctx, client, err)
		}
	}()
	limited, done := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
	defer done()
	open, err := s.c.Sessions.Open(limited, client)
	if err != nil {
		return nil, nil, 0, err
	}
	if open.First {
		s.publish(Event{Kind: HostEnrolled, Host: open.Host.ID, Text: "EK certified by " + open.Host.EKIssuer, Session: open})
	}
	begun := time.Now()
	if r, err = open.Round(limited); err != nil {
		return nil, nil, 0, fmt.Errorf("%s: %w", open.Host.ID, err)
	}
	took = time.Since(begun)
	if !r.Quoted {
		return nil, nil, 0, fmt.Errorf("%s: %w: %s", open.Host.ID, ErrUnproven, findings(r))
	}
	ak, err := quote.ParseKey(open.Host.AKPublic)
	if err != nil {
		return nil, nil, 0, err
	}
	c = &connection{s: s, id: open.Host.ID, address: conn.RemoteAddr().String(), since: s.c.Now(), cancel: cancel,
		client: client, session: open, ak: ak, pushed: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	if r.Request != nil {
		c.boot = r.Request.Boot
	}
	return c, r, took, nil
}

// Reasons why a connection is refused or ended, beside those of session and enrol.
var (
	ErrUnproven = errors.New("what connects as this host has no good quote of its attestation key")
	ErrReplaced = errors.New("the host has made a newer connection")
	ErrTooMany  = errors.New("as many hosts are connected as this verifier takes")

	errAnswer = fmt.Errorf("the host did not answer within %s", answerLimit)
)

// farewell tells a host why it is not taken, so that its own log says it.
func farewell(ctx context.Context, client *evidence.Client, why error) {
	ctx, done := context.WithTimeout(ctx, farewellLimit)
	defer done()
	client.Refuse(ctx, withRemedy(why)) // whoever does not listen has had his chance
	client.Close()
}

// register makes a connection the one of its host. It has proved that it is, so an older
// one, which the host may have given up long ago, is ended.
func (s *Service) register(c *connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.connected[c.id]
	if old == nil && len(s.connected) >= s.c.MaxHosts {
		return fmt.Errorf("%s: %w (%d)", c.id, ErrTooMany, s.c.MaxHosts)
	}
	if old != nil {
		old.cancel(ErrReplaced)
	}
	s.connected[c.id] = c
	if s.states[c.id] == nil {
		s.states[c.id] = newHostState()
	}
	c.state = s.states[c.id]
	c.state.begin(c.boot)
	s.metrics.hosts.Set(float64(len(s.connected)))
	return nil
}

func (s *Service) unregister(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected[c.id] == c {
		delete(s.connected, c.id)
	}
	s.metrics.hosts.Set(float64(len(s.connected)))
}

// each calls f for the connection of one host, or of all if host is empty.
func (s *Service) each(host string, f func(*connection)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host != "" {
		if c := s.connected[host]; c != nil {
			f(c)
		}
		return
	}
	for _, c := range s.connected {
		f(c)
	}
}

// push has a host's orders delivered, now if it is connected and else when it is.
func (s *Service) push(host string) { s.each(host, func(c *connection) { wake(c.pushed) }) }

// appraise begins a round of a host now.
func (s *Service) appraise(host string) { s.each(host, func(c *connection) { wake(c.again) }) }

func (s *Service) appraiseAll() { s.appraise("") }

func (s *Service) hangUp(host string, why error) {
	s.each(host, func(c *connection) { c.cancel(why) })
	s.mu.Lock()
	delete(s.states, host)
	s.mu.Unlock()
}

// wake leaves a mark that somebody sees once.
func wake(mark chan struct{}) {
	select {
	case mark <- struct{}{}:
	default:
	}
}

// withRemedy adds what to do, for the log and for events.
func withRemedy(err error) string {
	if r := Remedy(err); r != "" {
		return err.Error() + "; what to do: " + r
	}
	return err.Error()
}

// Remedy says what to do about an error of this package or those below it, "" if that is
// not known or the error says it.
func Remedy(err error) string {
	var own interface{ Remedy() string }
	var e *captoken.Error
	switch {
	case errors.As(err, &own):
		return own.Remedy()
	case errors.As(err, &e):
		return e.Remedy
	case enrol.AdmissionRemedy(err) != "":
		return enrol.AdmissionRemedy(err)
	case errors.Is(err, session.ErrOtherAK):
		return "if the host's TPM was cleared on purpose: aios verifier forget HOST, and it is enrolled anew; otherwise treat the host as taken over"
	case errors.Is(err, enrol.ErrUnknownHost):
		return "list the hosts with `aios verifier hosts`"
	case errors.Is(err, ErrUnproven):
		return "find out what runs at that address: it knows the host's public keys and does not have its TPM"
	case errors.Is(err, ErrTooMany):
		return "give the verifier a higher bound, or divide the hosts between several"
	case errors.Is(err, evidence.ErrMessage):
		return "what connects is no host, or is of another version: boot the image that was built together with this verifier"
	}
	return ""
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"aios/captoken"
	"aios/host/install"
	"aios/host/state"
	"aios/host/story"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/service"
)

// What is shown of the kill switch: the sample agent, which by then spins on purpose.
const (
	sampleAgent = "hello"
	killReason  = "aios up shows the kill switch"
)

// Limits of the stages that follow the boot. Under TCG on a busy machine each was seen
// to take several times what it takes alone.
const (
	connectLimit = 120 * time.Second // until the host has dialled and proved itself once
	agentLimit   = 180 * time.Second // until the agent runs and was refused a call
	killLimit    = 60 * time.Second  // until its end is proven
)

var errShown = errors.New("all was shown")

// prove tells what the host does from its first contact on: verdict, lease, agent, and
// the agent's end. It ends after that, or goes on until ctx ends or the host does.
func (f *fleet) prove(ctx context.Context, flags roundFlags) error {
	if err := f.assign(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-f.l.m.Done():
			cancel(&goneError{f.l.exit()})
		case <-ctx.Done():
		}
	}()
	s := &shown{f: f, flags: flags, cancel: cancel}
	defer s.stop()
	s.await("connect", "waiting for the host to dial its verifier", connectLimit)
	err := f.svc.Follow(ctx, 0, func(e service.Event) error { return s.event(ctx, e) })
	if errors.Is(err, errShown) {
		return nil
	}
	return err
}

// assign gives the sample agent what it may do, and lifts what an earlier run left.
func (f *fleet) assign() error {
	err := f.svc.Assign(sampleAgent, service.Assignment{
		Agent: sampleAgent, Hosts: []string{"*"},
		Rights: []string{"log", "clock", "send", "receive", "transfer", "memory"},
		Scopes: &service.Scopes{Peers: []string{"echod"}},
		Quotas: &service.Quotas{MemoryBytes: 256 << 20, CPUMillis: 1000, MessagesPerSecond: 200, BytesPerSecond: 1 << 20},
	})
	if err != nil {
		return err
	}
	for _, stop := range f.svc.Stops() {
		if stop.Agent == sampleAgent {
			if err := f.svc.Lift(stop, "aios up is run again"); err != nil {
				return err
			}
		}
	}
	return nil
}

// shown is how far the story has come.
type shown struct {
	f      *fleet
	flags  roundFlags
	cancel context.CancelCauseFunc

	stage    string // that is awaited, "" when none is
	begun    time.Time
	progress func()      // ends the announcement of it
	limit    *time.Timer // of it

	admitted        bool // a token was given by this run
	host            string
	running, denied bool
	killing         bool
	sent            time.Time // the kill command
}

// await begins a stage: it is announced if it lasts, and it may not last too long.
func (s *shown) await(stage, what string, limit time.Duration) {
	s.stop()
	s.stage, s.begun = stage, time.Now()
	s.progress = s.f.l.tell.Progress(what)
	s.limit = time.AfterFunc(limit, func() { s.cancel(&stageError{stage, what, limit}) })
}

// stop ends the stage, if there is one.
func (s *shown) stop() {
	if s.stage == "" {
		return
	}
	s.limit.Stop()
	s.progress()
	s.f.l.took(s.stage, time.Since(s.begun))
	s.stage = ""
}

// stageError says that something did not happen in time.
type stageError struct {
	stage, what string
	limit       time.Duration
}

func (e *stageError) Error() string {
	return fmt.Sprintf("%s: nothing within %s (stage %s)", e.what, e.limit, e.stage)
}
func (e *stageError) Remedy() string {
	return "read host/console.log and verifier/verifier.log in the state folder; on a very busy machine try again"
}

func (s *shown) event(ctx context.Context, e service.Event) error {
	tell := s.f.l.tell.Tell
	switch e.Kind {
	case service.HostRefused:
		return s.refused(ctx, e)
	case service.HostConnected, service.HostEnrolled:
		if s.host != "" && e.Kind == service.HostConnected {
			return nil // it came again
		}
		s.host = e.Host
		id := s.f.l.keys.Identity.Public().ID()
		tell(story.Connected{Remote: e.Text, Identity: fmt.Sprintf("%x", id)})
		h := e.Session.Host
		tell(story.Enrolled{Host: h.ID, First: e.Session.First, EK: h.EKHash, EKIssuer: h.EKIssuer, AK: h.AKName, Took: story.Milliseconds(time.Since(s.begun))})
		s.await("verdict", "challenging the host and judging its evidence", connectLimit)
	case service.HostVerdict:
		return s.verdict(e)
	case service.HostLease:
		tell(story.Lease{Host: e.Host, ID: e.Lease.ID, Renewed: e.Lease.Renewed, Duration: story.Milliseconds(time.Duration(e.Lease.DurationMS) * time.Millisecond),
			Tokens: len(e.Lease.Tokens), Withheld: e.Lease.Withheld})
	case service.HostNotice:
		tell(story.Console{From: "verifier", Text: e.Host + ": " + e.Text})
	case service.HostNoLease, service.HostDisconnected, service.ReceiptRefused, service.CommandRefused:
		tell(story.Console{From: "verifier", Text: e.Kind + " " + e.Host + ": " + e.Text})
	case service.AgentStarted:
		s.running = true
		tell(story.AgentRunning{Host: e.Host, Agent: e.Agent, Instance: e.Instance})
	case service.AgentDenied:
		s.denied = true
		tell(story.AgentDenied{Host: e.Host, Agent: e.Agent, Instance: e.Instance, Reason: e.Text})
	case service.AgentGone:
		if strings.HasPrefix(e.Text, "a command: ") {
			return nil // its receipt follows, and says more
		}
		tell(story.AgentGone{Host: e.Host, Agent: e.Agent, Instance: e.Instance, Reason: e.Text})
		if s.running && !s.killing && s.flags.Once {
			return fmt.Errorf("agent %s ended before it was killed: %s", e.Agent, e.Text)
		}
	case service.ReceiptVerified:
		return s.proven(e)
	}
	if s.running && s.denied && !s.killing {
		s.kill(ctx)
	}
	return nil
}

// refused gives a host that is unknown its token; anything else that is refused before
// the first verdict ends the story.
func (s *shown) refused(ctx context.Context, e service.Event) error {
	if s.host == "" && !s.admitted && errors.Is(e.Err, enrol.ErrNotAdmitted) {
		s.admitted = true
		return s.admit(ctx)
	}
	if s.host != "" {
		s.f.l.tell.Tell(story.Console{From: "verifier", Text: e.Kind + ": " + e.Text})
		return nil
	}
	return &refusedError{e.Text, e.Err}
}

// admit carries an enrolment token to the host's console.
func (s *shown) admit(ctx context.Context) error {
	token, record, err := s.f.svc.NewEnrolmentToken("aios up", 10*time.Minute)
	if err != nil {
		return err
	}
	if err := admit(ctx, s.f.l.m.Channel(), []byte(token)); err != nil {
		return err
	}
	s.f.l.tell.Tell(story.Admitted{Expires: record.Expires})
	return nil
}

// verdict tells the verdict and keeps the signed result.
func (s *shown) verdict(e service.Event) error {
	l, r := s.f.l, e.Result
	file := l.dir.EAR(e.Host)
	if err := state.WriteFile(file, []byte(r.EAR+"\n"), 0o600); err != nil {
		return fmt.Errorf("attestation result: %w", err)
	}
	l.verdict = verdictEvent(r, file, time.Duration(e.Verdict.TookMS)*time.Millisecond)
	l.verdict.Table = !s.flags.Once && r.Round == 1 // else the summary has it
	l.tell.Tell(l.verdict)
	switch {
	case l.verdict.Status == policy.Affirming && !s.running && r.Round == 1:
		s.await("agent", "waiting for the agent to start and to be refused a call", agentLimit)
	case l.verdict.Status != policy.Affirming:
		s.stop()
		if s.flags.Once {
			return errShown // end says why that is a failure
		}
	}
	return nil
}

// kill signs the operator's command and hands it to the verifier.
func (s *shown) kill(ctx context.Context) {
	s.killing = true
	s.await("kill", "killing the agent and waiting for the proof", killLimit)
	s.sent = time.Now()
	go func() {
		if err := s.f.command(ctx, captoken.Target{Agent: sampleAgent, Host: s.host}, killReason); err != nil {
			s.cancel(fmt.Errorf("kill agent %s: %w", sampleAgent, err))
		}
	}()
}

// command signs a command as the installation's operator and posts it to the verifier's
// API, as `aios agent kill` does.
func (f *fleet) command(ctx context.Context, target captoken.Target, reason string) error {
	e := &env{ctx: ctx, state: f.l.dir.Root}
	raw, err := signFlags{Role: install.OperatorRole}.sign(e, f.api, captoken.ActionKill, target, reason)
	if err != nil {
		return err
	}
	_, err = f.api.submit(ctx, raw)
	return err
}

func (s *shown) proven(e service.Event) error {
	r := e.Receipt
	took := time.Duration(r.LatencyMS * float64(time.Millisecond))
	if s.killing && !s.f.l.killed { // this one is ours: from when it was signed
		took = time.Since(s.sent)
	}
	s.f.l.tell.Tell(story.AgentKilled{Host: e.Host, Agent: e.Agent, Instance: r.Instance, Command: e.Command,
		Latency: story.Milliseconds(took), InKernel: r.HostMS, Frames: r.Frames, Handles: r.Handles, Verified: true, Stays: !s.flags.Once})
	s.stop()
	s.f.l.killed = true
	if s.flags.Once {
		return errShown
	}
	return nil
}

// refusedError is what the verifier says to a host that it does not take.
type refusedError struct {
	text string
	err  error
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.err }

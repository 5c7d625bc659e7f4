package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"aios/evidence"
	"aios/host/state"
	"aios/host/story"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/session"
)

// roundFlags say how often to appraise.
type roundFlags struct {
	Once     bool          `help:"End after the first verdict; exit status 0 only if it is affirming."`
	Interval time.Duration `help:"Time from one appraisal to the next, give or take a tenth." default:"30s" placeholder:"TIME"`
	JSON     bool          `help:"One JSON object a line (docs/events.md)."`
}

func (f roundFlags) check() error {
	if f.Interval < time.Second {
		return &exitError{exitUsage, fmt.Errorf("--interval: expected at least 1s, found %s", f.Interval)}
	}
	return nil
}

// upCmd is the whole story: keys, image, boot, proof.
type upCmd struct {
	machineFlags
	imageFlags
	roundFlags
}

func (c upCmd) Run(e *env) error {
	if err := errors.Join(c.machineFlags.check(), c.roundFlags.check()); err != nil {
		return err
	}
	d, unlock, err := e.lockedDir()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	l := newLaunch(d, story.New(e.stdout, c.JSON))
	defer l.stop()
	err = c.up(ctx, l)
	l.stop()
	return l.end(ctx, err)
}

func (c upCmd) up(ctx context.Context, l *launch) error {
	sb, err := l.prepare(ctx, c.imageFlags)
	if err != nil {
		return err
	}
	if err := l.start(ctx, c.machineFlags, sb); err != nil {
		return err
	}
	v, err := l.verifier(verifierFlags{})
	if err != nil {
		return err
	}
	return l.prove(ctx, v, l.m.Dial, l.m.Done(), c.roundFlags)
}

// end tells the summary. A user who ends a host that has proven itself is
// content; everything else but an affirming verdict is a failure.
func (l *launch) end(ctx context.Context, err error) error {
	switch {
	case interrupted(ctx, err) && l.verdict.Status == "":
		err = errors.New("interrupted before the host had proved anything")
	case interrupted(ctx, err):
		err = nil
	}
	if err == nil && l.verdict.Status != policy.Affirming {
		err = &notTrustedError{l.verdict}
	}
	s := l.summary(l.verdict.Status, err)
	s.Predicted, s.Quoted, s.Baseline = l.verdict.Predicted, l.verdict.Quoted, l.verdict.Baseline
	l.tell.Tell(s)
	switch {
	case l.tell.Err() != nil:
		return l.tell.Err()
	case err != nil:
		return &exitError{code: exitFailed}
	}
	return nil
}

// notTrustedError is a verdict that is not affirming.
type notTrustedError struct{ verdict story.Verdict }

func (e *notTrustedError) Error() string {
	s := fmt.Sprintf("the host is not to be trusted: verdict %s", e.verdict.Status)
	if len(e.verdict.Findings) > 0 {
		s += ": " + e.verdict.Findings[0].Text
	}
	if n := len(e.verdict.Findings) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more reasons)", n)
	}
	return s
}

func (e *notTrustedError) Remedy() string {
	if len(e.verdict.Findings) > 0 && e.verdict.Findings[0].Remedy != "" {
		return e.verdict.Findings[0].Remedy
	}
	return "read the reasons of the verdict"
}

// answerLimit is how long a host may take for its part of one stage: a quote
// takes a fraction of a second, under TCG on a busy machine some seconds.
const answerLimit = 90 * time.Second

var errAnswer = fmt.Errorf("the host did not answer within %s", answerLimit)

// prove opens a session with the host behind dial and appraises it: once, or
// until ctx ends or the host does.
func (l *launch) prove(ctx context.Context, v *session.Verifier, dial func(context.Context) (net.Conn, error), gone <-chan struct{}, flags roundFlags) error {
	var s *session.Session
	err := l.stage("enrol", "asking the host who it is", func() (err error) {
		ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
		defer cancel()
		s, err = l.open(ctx, v, dial)
		return err
	})
	if err != nil {
		return err
	}
	defer l.hangUp()
	for {
		err := l.stage("verdict", "challenging the host and judging its evidence", func() error { return l.round(ctx, s, flags) })
		if err != nil {
			return l.orGone(ctx, gone, err)
		}
		if flags.Once {
			return nil
		}
		wait := time.NewTimer(jitter(flags.Interval))
		select {
		case <-ctx.Done():
			wait.Stop()
			return context.Cause(ctx)
		case <-gone:
			wait.Stop()
			return &goneError{l.exit()}
		case <-wait.C:
		}
	}
}

// orGone prefers the end of the machine to what its end did to the channel,
// which is often seen first.
func (l *launch) orGone(ctx context.Context, gone <-chan struct{}, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	wait := time.NewTimer(3 * time.Second)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-gone:
		return &goneError{l.exit()}
	case <-wait.C:
	}
	return err
}

// open dials the host and enrols or recognises it.
func (l *launch) open(ctx context.Context, v *session.Verifier, dial func(context.Context) (net.Conn, error)) (*session.Session, error) {
	begun := time.Now()
	conn, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	client, err := evidence.Dial(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, closed(conn))
	}
	s, err := v.Open(ctx, client)
	if err != nil {
		return nil, errors.Join(err, closed(client))
	}
	l.hangUp = func() { client.Close() }
	l.tell.Tell(story.Enrolled{Host: s.Host.ID, First: s.First, EK: s.Host.EKHash, EKIssuer: s.Host.EKIssuer, AK: s.Host.AKName,
		Took: story.Milliseconds(time.Since(begun))})
	return s, nil
}

// closed closes what an error makes useless.
func closed(c interface{ Close() error }) error {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// round appraises once, tells the verdict and keeps the signed result.
func (l *launch) round(ctx context.Context, s *session.Session, flags roundFlags) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errAnswer)
	defer cancel()
	begun := time.Now()
	r, err := s.Round(ctx)
	if err != nil {
		return err
	}
	file := l.dir.EAR(s.Host.ID)
	if err := state.WriteFile(file, []byte(r.EAR+"\n"), 0o600); err != nil {
		return fmt.Errorf("attestation result: %w", err)
	}
	l.verdict = verdictEvent(r, file, time.Since(begun))
	l.verdict.Table = !flags.Once && r.Round == 1 // else the summary has it
	l.tell.Tell(l.verdict)
	return nil
}

// verdictEvent tells a result as the story does.
func verdictEvent(r *session.Result, file string, took time.Duration) story.Verdict {
	v := story.Verdict{Round: r.Round, Status: r.Status, Reasons: []string{}, Findings: []story.Finding{},
		Predicted: story.PCRs{}, Quoted: story.PCRs{}, Baseline: story.PCRs{},
		EAR: r.EAR, EARFile: file, Took: story.Milliseconds(took)}
	for _, reason := range r.Reasons {
		v.Reasons = append(v.Reasons, reason.Text)
		v.Findings = append(v.Findings, story.Finding(reason))
	}
	put := func(p story.PCRs, index, value string) {
		if p["sha256"] == nil {
			p["sha256"] = map[string]string{}
		}
		p["sha256"][index] = value
	}
	for index, p := range r.PCRs {
		put(v.Quoted, index, p.Quoted)
		switch p.Basis {
		case policy.BasisPredicted:
			put(v.Predicted, index, p.Expected)
		case policy.BasisBaseline:
			put(v.Baseline, index, p.Expected)
		}
	}
	return v
}

// jitter spreads the rounds of many hosts that started together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// goneError says that the host ended though nobody asked it to.
type goneError struct{ exit string }

func (e *goneError) Error() string  { return "the host ended by itself: " + e.exit }
func (e *goneError) Remedy() string { return "read the console in the state folder's host/console.log" }

// remedies for what a verifier refuses before there is a verdict.
func enrolRemedy(err error) string {
	switch {
	case errors.Is(err, session.ErrOtherAK):
		return "if the host's TPM was cleared on purpose: aios verifier forget HOST, and it is enrolled anew; otherwise treat the host as taken over"
	case errors.Is(err, session.ErrRestarted):
		return "attest again; if nobody reset the host, find out what did"
	case errors.Is(err, enrol.ErrNoCertificate):
		return "have the manufacturer's EK certificate written into the TPM"
	case errors.Is(err, enrol.ErrActivation), errors.Is(err, enrol.ErrEK):
		return "do not trust this host: its attestation key is not in the TPM that the certificate is for"
	case errors.Is(err, enrol.ErrUnknownHost):
		return "list the hosts with `aios verifier hosts`"
	case errors.Is(err, errAnswer):
		return "see on its console whether attestd runs (host/console.log in the state folder); on a very busy machine try again"
	}
	return ""
}

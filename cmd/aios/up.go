package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"aios/host/story"
	"aios/policy"
	"aios/verifier/enrol"
	"aios/verifier/session"
)

// roundFlags say how often to appraise.
type roundFlags struct {
	Once     bool          `help:"End after the first verdict (up: after the agent's end); exit status 0 only if all went well and the verdict is affirming."`
	Interval time.Duration `help:"Time from one appraisal to the next, give or take a tenth." default:"30s" placeholder:"TIME"`
	JSON     bool          `help:"One JSON object a line (docs/events.md)."`
}

func (f roundFlags) check() error {
	if f.Interval < time.Second {
		return &exitError{exitUsage, fmt.Errorf("--interval: expected at least 1s, found %s", f.Interval)}
	}
	return nil
}

// upCmd is the whole story: keys, image, boot, proof, an agent, and its end.
type upCmd struct {
	machineFlags
	imageFlags
	roundFlags
	Lease time.Duration `help:"How long the lease of a good verdict lasts." default:"2m" placeholder:"TIME"`
}

func (c upCmd) check() error {
	err := errors.Join(c.machineFlags.check(), c.roundFlags.check())
	if c.Lease < time.Second || c.Lease <= c.Interval && !c.Once {
		err = errors.Join(err, &exitError{exitUsage, fmt.Errorf("--lease: expected more than the interval of %s, or agents stop between two appraisals; found %s", c.Interval, c.Lease)})
	}
	return err
}

func (c upCmd) Run(e *env) error {
	if err := c.check(); err != nil {
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
	cfg, err := l.equip(ctx, c.machineFlags, sb)
	if err != nil {
		return err
	}
	f, err := l.serve(ctx, c)
	if err != nil {
		return err
	}
	defer f.stop()
	if err := l.boot(ctx, c.machineFlags, cfg); err != nil {
		return err
	}
	return f.prove(ctx, c.roundFlags)
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
	s.Killed = l.killed
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

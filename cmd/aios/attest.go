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
	"aios/verifier/session"
)

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

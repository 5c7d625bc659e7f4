package process

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Restart backoff: doubled from the first to the last, and back to the first
// once a run has lasted long enough.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 10 * time.Second
	stableRun    = 30 * time.Second
)

// Supervisor runs services and starts them again when they end.
type Supervisor struct {
	machine Machine
	event   func(line string)
	lastPID atomic.Int64
}

// NewSupervisor makes one that reports each start and exit as a line to event.
func NewSupervisor(m Machine, event func(line string)) *Supervisor {
	return &Supervisor{machine: m, event: event}
}

// NewPID numbers a process. No number is given twice.
func (s *Supervisor) NewPID() int { return int(s.lastPID.Add(1)) }

// Run runs a service until ctx is done, or until it ends if restart is false.
// It returns how the last run ended; the error is one of Start's, which no
// restart would mend.
func (s *Supervisor) Run(ctx context.Context, cfg Config, restart bool) (Exit, error) {
	backoff := firstBackoff
	for {
		cfg.PID = s.NewPID()
		p, err := Start(s.machine, cfg)
		if err != nil {
			s.event(fmt.Sprintf("aios kernel: service refused name=%s reason=%q", cfg.Name, err))
			return Exit{}, err
		}
		s.event(fmt.Sprintf("aios kernel: service start name=%s pid=%d", cfg.Name, cfg.PID))
		select {
		case <-ctx.Done():
			p.Kill("the host is going down")
		case <-p.Done():
		}
		e := p.Wait()
		s.event(exitLine(e))
		if !restart || ctx.Err() != nil {
			return e, nil
		}
		if e.Ran >= stableRun {
			backoff = firstBackoff
		}
		select {
		case <-ctx.Done():
			return e, nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

func exitLine(e Exit) string {
	line := fmt.Sprintf("aios kernel: service exit name=%s reason=%q frames_freed=%d", e.Name, e.Reason, e.Freed)
	if e.Lost != 0 {
		line += fmt.Sprintf(" frames_lost=%d", e.Lost)
	}
	return line
}

package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// instance is one run of an agent.
type instance struct {
	agent   *agent
	number  uint64
	process Process // nil while it is being started
	gate    *cap.Gate
	admits  admits

	cause   captoken.Cause // why it was ended, 0 while nobody did
	command captoken.ID
	why     string
	asked   time.Duration
	ordered bool          // orders ended it, and no command has yet
	gone    chan struct{} // closed when nothing of it is left, its receipt is written, and the log says so
}

// ending is what is known of an agent's last run, for a command that finds it gone.
type ending struct {
	receipt captoken.Receipt
	ordered bool // the orders that ended it name no command: the next command's receipt may tell of it
}

func (t *token) terms(d admits) cap.Terms {
	return cap.Terms{Until: t.until, Epoch: t.grant.Epoch, Messages: d.messages, Bytes: d.bytes}
}

// move follows the token's end.
func (i *instance) move(t *token) { i.gate.Move(t.terms(i.admits)) }

// narrow takes what a newer token does not admit: of what the agent holds, and, since
// its rights are others' to bound there, all that it has passed on.
func (i *instance) narrow(t *token, peers map[*ipc.Port]string) {
	was := i.admits
	i.admits = was.both(t.admits)
	if i.admits.rights != was.rights || len(i.admits.peers) != len(was.peers) {
		i.gate.Recall()
	}
	if i.process != nil { // else Start does it
		i.process.Restrict(i.admits.limit(i.agent.Port, peers))
	}
	i.move(t)
}

// Start has an agent run that may: it starts it, unless it runs already. What is being
// ended does not run.
func (a *Authority) Start(name string) (uint64, error) {
	what := "agent refused agent=" + label(name)
	now, err := a.lockIdentified()
	if err != nil {
		return 0, a.refuse(what, err)
	}
	if g := a.agents[name]; g != nil && g.run != nil && g.run.cause == 0 {
		number := g.run.number
		a.unlock()
		return number, nil
	}
	i, cfg, err := a.prepare(name, now)
	a.unlock()
	if err != nil {
		return 0, a.refuse(what, err)
	}
	p, err := a.c.Start(cfg) // takes its time; whoever ends the agent meanwhile is heard below
	a.mu.Lock()
	if err != nil {
		a.say("%s reason=%s", what, quoted(err.Error()))
		if i.agent.run = nil; i.cause != 0 { // somebody waits for its end
			a.finish(i, process.Exit{Reason: err.Error()})
		}
		a.unlock()
		close(i.gone)
		return 0, err
	}
	defer a.unlock()
	i.process = p
	a.say("agent start agent=%s instance=%d pid=%d", name, i.number, cfg.PID)
	a.event(a.c.Now(), "start", i, fmt.Sprintf("pid %d", cfg.PID), nil)
	p.Restrict(i.admits.limit(i.agent.Port, a.c.Peers))
	if i.cause != 0 {
		p.Kill(i.why)
	}
	go func() {
		e := p.Wait()
		a.mu.Lock()
		a.finish(i, e)
		a.unlock()
		close(i.gone)
	}()
	return i.number, nil
}

// prepare checks that an agent may start, and says with what.
func (a *Authority) prepare(name string, now time.Duration) (*instance, process.Config, error) {
	refuse := func(format string, v ...any) (*instance, process.Config, error) {
		return nil, process.Config{}, fmt.Errorf("agent %s: %w", quoted(name), fmt.Errorf(format, v...))
	}
	g := a.agents[name]
	if g == nil {
		return refuse("none of this host's system manifest")
	}
	if err := a.held(now); err != nil {
		return refuse("%w", err)
	}
	switch {
	case a.stopAll || g.stopped:
		return refuse("orders of the verifier say that it may not run")
	case g.killed != nil:
		return refuse("command %v stopped it; it can run when the verifier has lifted that", g.killed.command)
	case g.run != nil:
		return refuse("its instance %d is not gone yet", g.run.number)
	case g.token == nil:
		return refuse("no token for it is installed")
	case g.token.grant.Quotas.MemoryBytes == 0:
		return refuse("its token admits no memory")
	}
	t := g.token
	memory := g.Memory
	if q := t.grant.Quotas.MemoryBytes; q < uint64(memory) {
		memory = int64(q)
	}
	a.runs++
	i := &instance{agent: g, number: a.runs, admits: t.admits, gone: make(chan struct{})}
	i.gate = a.lease.Gate(t.terms(t.admits))
	g.run = i
	grants := []process.Grant{
		{Name: abi.CapSelf, Type: abi.TypeProcess, Rights: abi.RightControl},
		{Name: abi.CapModule, Type: abi.TypeBlob, Rights: abi.RightRead, Object: g.Module},
	}
	return i, process.Config{
		Name: name, PID: a.c.NewPID(), Image: g.Image, Args: []string{g.Runtime, name}, Memory: memory, CodeGen: g.CodeGen,
		Grants: append(grants, g.Grants...), Port: g.Port,
		Gate: i.gate, Limit: t.admits.limit(g.Port, a.c.Peers),
		Refused: func(c *abi.Call, e abi.Errno) { a.denied(i, c, e) },
	}, nil
}

// end has an agent's instance end, if there is one. The first cause counts.
func (a *Authority) end(g *agent, now time.Duration, cause captoken.Cause, command captoken.ID, why string) {
	i := g.run
	if i == nil || i.cause != 0 {
		return
	}
	i.cause, i.command, i.why, i.asked = cause, command, why, now
	i.gate.Shut()
	if i.process != nil {
		i.process.Kill(why)
	}
}

// finish writes the receipt of an instance of which nothing is left. Its gone is closed
// after unlock.
func (a *Authority) finish(i *instance, e process.Exit) {
	now := a.c.Now()
	cause, why := i.cause, i.why
	if cause == 0 { // by itself
		i.asked, why = now, e.Reason
		switch {
		case e.OK:
			cause = captoken.CauseExit
		case strings.HasPrefix(e.Reason, process.QuotaReason):
			cause = captoken.CauseQuota
		default:
			cause = captoken.CauseFault
		}
	}
	i.gate.Shut()
	r := captoken.Receipt{
		Host: a.host, Boot: a.boot, Agent: i.agent.Name, Instance: i.number, Cause: cause, Command: i.command,
		Frames: uint64(e.Freed), Handles: uint64(e.Handles), Asked: i.asked, Gone: max(now, i.asked),
	}
	encoded := a.receipt(r)
	i.agent.run, i.agent.last = nil, ending{r, i.ordered}
	a.say("agent gone agent=%s instance=%d cause=%v frames_freed=%d frames_lost=%d handles=%d ms=%d reason=%s",
		r.Agent, r.Instance, r.Cause, r.Frames, e.Lost, r.Handles, (r.Gone - r.Asked).Milliseconds(), quoted(why))
	a.event(now, "gone", i, why, encoded)
}

// Kill ends an agent for an operator's command, or all if name is empty, and gives a
// receipt of each. It cannot start again before later orders do not name it. What it
// names is gone when it returns.
//
// The verifier awaits a receipt of each agent that may run for all it knows. So an agent
// that did not run has one too: of its last instance (0: it never ran), with no frames
// and handles, since the command freed none; unless it was by orders that the instance
// ended and no command has told of it yet: then they are told. The same command gets the
// same receipt again.
func (a *Authority) Kill(ctx context.Context, command captoken.ID, name string) ([][]byte, error) {
	what := "kill refused agent=" + label(name)
	now, err := a.lockIdentified()
	if err != nil {
		return nil, a.refuse(what, err)
	}
	targets, runs, err := a.kill(command, name, now)
	a.unlock()
	if err != nil {
		return nil, a.refuse(what, err)
	}
	if err := gone(ctx, runs); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.unlock()
	var out [][]byte
	for _, g := range targets {
		out = append(out, a.proof(g, command, now))
	}
	return out, nil
}

func (a *Authority) kill(command captoken.ID, name string, now time.Duration) (targets []*agent, runs []*instance, err error) {
	if command.IsZero() {
		return nil, nil, fmt.Errorf("kill: the id of the command is missing")
	}
	targets = a.order
	if name != "" {
		g := a.agents[name]
		if g == nil {
			return nil, nil, fmt.Errorf("kill: agent %s is none of this host's system manifest", quoted(name))
		}
		targets = []*agent{g}
	}
	for _, g := range targets {
		if a.receipts.of(command, g.Name) != nil {
			continue // it was carried out; what runs now was started since
		}
		g.killed = &kill{command, a.seen()}
		g.token = nil
		a.end(g, now, captoken.CauseCommand, command, "a command: "+command.String())
		if g.run != nil {
			runs = append(runs, g.run)
		}
	}
	return targets, runs, nil
}

// proof is the receipt of an agent that a command ended, or found gone.
func (a *Authority) proof(g *agent, command captoken.ID, asked time.Duration) []byte {
	if encoded := a.receipts.of(command, g.Name); encoded != nil {
		return encoded
	}
	r := g.last.receipt
	if !g.last.ordered {
		r.Frames, r.Handles = 0, 0
		r.Asked, r.Gone = asked, max(asked, a.c.Now())
	}
	g.last.ordered = false
	r.Host, r.Boot, r.Agent, r.Cause, r.Command = a.host, a.boot, g.Name, captoken.CauseCommand, command
	encoded := a.receipt(r)
	a.say("agent gone agent=%s instance=%d cause=command frames_freed=%d frames_lost=0 handles=%d ms=%d reason=%s",
		r.Agent, r.Instance, r.Frames, r.Handles, (r.Gone - r.Asked).Milliseconds(), quoted("it did not run when command "+command.String()+" came"))
	a.eventOf(a.c.Now(), "gone", g.Name, r.Instance, "it did not run when the command came", encoded)
	return encoded
}

package agent

import (
	"fmt"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
)

// maxDenials is how many refused calls of an agent are told in a second.
const maxDenials = 8

// denials count, so that an agent cannot flood the log by being refused.
type denials struct {
	since   time.Duration
	told    int
	omitted int
}

// denied tells of a call that an agent had no right to. It is called by the agent's
// threads.
func (a *Authority) denied(i *instance, c *abi.Call, e abi.Errno) {
	a.mu.Lock()
	defer a.unlock()
	now := a.c.Now()
	d := &i.agent.denials
	if now-d.since >= time.Second {
		d.since, d.told = now, 0
	}
	if d.told++; d.told > maxDenials {
		d.omitted++
		return
	}
	why := reason(c, e)
	if d.omitted > 0 {
		why += fmt.Sprintf(" (and %d more calls were refused)", d.omitted)
		d.omitted = 0
	}
	a.say("agent denied agent=%s call=%s reason=%s", i.agent.Name, c.Name, quoted(why))
	a.event(now, "denied", i, c.Name+": "+why, nil)
}

// rightOf is the right of a token that calls on a type of object need.
var rightOf = map[abi.Type]captoken.Rights{
	abi.TypeLog: captoken.RightLog, abi.TypeClock: captoken.RightClock, abi.TypeAttestor: captoken.RightAttest, abi.TypeMailbox: captoken.RightReceive,
}

func reason(c *abi.Call, e abi.Errno) string {
	if e != abi.Denied {
		return e.Error()
	}
	if r, ok := rightOf[c.Type]; ok {
		return "the agent's token does not admit the right " + r.String()
	}
	if c.Type == abi.TypeEndpoint {
		return "the agent's token does not admit to send to this peer, or to pass that handle on"
	}
	return e.Error()
}

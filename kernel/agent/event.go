package agent

import (
	"time"

	"aios/kernel/abi"
)

const (
	maxEvents = 256 // that are kept
	maxTold   = 64  // that one answer has: it then fits abi.MaxOrder whatever they say
	maxText   = 512 // bytes of an event's text
)

// events are the last ones. They are numbered from 1: who watches sees by a gap in the
// numbers that it missed some.
type events struct {
	ring    [maxEvents][]byte
	last    uint64
	changed chan struct{} // closed and replaced when there is another
}

func (a *Authority) event(now time.Duration, kind string, i *instance, text string, receipt []byte) {
	name, instance := "", uint64(0)
	if i != nil {
		name, instance = i.agent.Name, i.number
	}
	a.eventOf(now, kind, name, instance, text, receipt)
}

func (a *Authority) eventOf(now time.Duration, kind, agent string, instance uint64, text string, receipt []byte) {
	if len(text) > maxText {
		text = text[:maxText]
	}
	e := &a.events
	e.last++
	e.ring[e.last%maxEvents] = abi.Message(number(e.last), number(uint64(now)), number(instance), []byte(kind), []byte(agent), []byte(text), receipt)
	close(e.changed)
	e.changed = make(chan struct{})
}

// after are those of a higher number, the oldest first.
func (e *events) after(n uint64) (found [][]byte) {
	if e.last > maxEvents {
		n = max(n, e.last-maxEvents)
	}
	for n++; n <= e.last && len(found) < maxTold; n++ {
		found = append(found, e.ring[n%maxEvents])
	}
	return found
}

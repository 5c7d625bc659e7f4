package captoken

import (
	"strconv"
	"strings"
)

// rightTexts say what each right admits, in the order of the bits.
var rightTexts = [endOfRights]string{
	"write lines to the log", "read the clock", "ask for random bytes", "send messages", "receive messages", "pass capabilities on in messages",
	"allocate memory", "map shared memory", "call services", "open connections", "take connections", "use devices", "start agents",
	"clone, merge, split, upgrade, specialise, snapshot and restore what it started", "end what it started", "sign, open and seal with its own key",
	"ask for evidence of the host",
}

// Describe says in words who may do what, to what, how much of it and until when: one
// line for each statement.
func (g *Grant) Describe() []string {
	lines := []string{"agent " + g.Subject + " on host " + g.Audience + " may:"}
	for i, text := range rightTexts {
		if right := Rights(1) << i; g.Rights&right != 0 {
			lines = append(lines, "  "+text+g.reach(right))
		}
	}
	if unknown := g.Rights >> endOfRights << endOfRights; unknown != 0 {
		lines = append(lines, "  nothing by rights without a name: "+unknown.String())
	}
	if len(lines) == 1 {
		lines = append(lines, "  nothing")
	}
	lines = append(lines, "using at most: "+g.Quotas.describe(),
		"from "+stamp(g.NotBefore)+" until "+stamp(g.Expires),
		"while the host holds lease "+g.Lease.String()+", unless its id, its agent or epoch "+count(g.Epoch)+" is revoked")
	switch {
	case g.Depth == 0:
		lines = append(lines, "it may not be passed on")
	case g.Depth == 1:
		lines = append(lines, "the holder of key "+g.Holder.String()+" may pass it on once")
	default:
		lines = append(lines, "the holder of key "+g.Holder.String()+" may pass it on, "+strconv.Itoa(int(g.Depth))+" times in a row at most")
	}
	return lines
}

// reach says what a right can be used on.
func (g *Grant) reach(right Rights) string {
	list := func(before string, names []string, none string) string {
		if len(names) == 0 {
			return ", but " + none + " is in its scope"
		}
		return before + strings.Join(names, ", ")
	}
	switch right {
	case RightSend:
		return list(" to ", g.Scopes.Peers, "no peer")
	case RightReceive:
		return list(" from ", g.Scopes.Peers, "no peer")
	case RightShare:
		return list(" of the pools ", g.Scopes.Memory, "no pool")
	case RightDevice:
		return list(": ", g.Scopes.Devices, "no device")
	case RightService:
		var names []string
		for _, s := range g.Scopes.Services {
			names = append(names, s.Name+" ("+strings.Join(s.Operations, ", ")+")")
		}
		return list(": ", names, "no service")
	case RightConnect:
		var names []string
		for _, d := range g.Scopes.Network {
			names = append(names, d.String())
		}
		return list(" to ", names, "no destination")
	case RightMemory:
		if g.Quotas.MemoryBytes == 0 {
			return ", but its quota is 0 bytes"
		}
	}
	return ""
}

// String writes a destination as tcp://host:port or tcp://host:first-last.
func (d Destination) String() string {
	s := d.Protocol.String() + "://" + d.Host + ":" + strconv.Itoa(int(d.First))
	if d.Last != d.First {
		s += "-" + strconv.Itoa(int(d.Last))
	}
	return s
}

func (q *Quotas) describe() string {
	units := [...]string{" bytes of memory", " thousandths of a processor", " messages a second", " bytes a second", " ms of device time a second"}
	var parts []string
	q.each(func(key int64, v *uint64) {
		if *v > 0 {
			parts = append(parts, count(*v)+units[key-1])
		}
	})
	if len(parts) == 0 {
		return "nothing that is counted"
	}
	return strings.Join(parts, ", ")
}

// Describe says in words what a command asks for.
func (c *Command) Describe() string {
	return c.Action.String() + " " + c.Target.String() + " (" + quote(c.Reason) + "), number " + count(c.Sequence) + " of operator " + c.Operator.String() +
		" as " + c.Role + ", from " + stamp(c.IssuedAt) + " until " + stamp(c.Expires)
}

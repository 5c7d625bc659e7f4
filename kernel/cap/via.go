package cap

import "aios/kernel/abi"

// maxVia bounds the gates that a capability can have come through.
const maxVia = 8

// via is a gate that a capability came through: it left the table of an agent, whose
// token it owes itself to. It ends with that token, whoever holds it then. A list of
// them is never changed.
type via struct {
	gate *Gate
	loan uint64 // of the gate, when it left
	next *via
}

// through is v with g before it.
func (v *via) through(g *Gate) *via {
	if v.has(g) {
		return v
	}
	return &via{g, g.loan.Load(), v}
}

func (v *via) has(g *Gate) bool {
	for ; v != nil; v = v.next {
		if v.gate == g {
			return true
		}
	}
	return false
}

// full tells whether g is one too many.
func (v *via) full(g *Gate) bool {
	n := 0
	for at := v; at != nil; at = at.next {
		n++
	}
	return n >= maxVia && !v.has(g)
}

// check asks all gates. Their quotas are their agents' own.
func (v *via) check(now int64) abi.Errno {
	for ; v != nil; v = v.next {
		if v.loan != v.gate.loan.Load() {
			return abi.Lapsed
		}
		if e := v.gate.check(false, now); e != 0 {
			return e
		}
	}
	return 0
}

package captoken

import (
	"math/bits"
	"strconv"
	"strings"
)

// Rights is the capability mask of a token: what its holder may do at all. What it may
// do it to is for the scopes to say, and how much of it for the quotas.
type Rights uint64

// The rights. A bit keeps its meaning for good; one without a name admits nothing.
const (
	RightLog       Rights = 1 << iota // write lines to the log
	RightClock                        // read the clock
	RightRandom                       // ask for random bytes
	RightSend                         // send to the peers of the scope
	RightReceive                      // take messages from the peers of the scope
	RightTransfer                     // pass capabilities on in a message
	RightMemory                       // allocate memory within the quota
	RightShare                        // map the memory pools of the scope
	RightService                      // call the operations of the services of the scope
	RightConnect                      // open connections to the destinations of the scope
	RightListen                       // take connections
	RightDevice                       // use the devices of the scope
	RightSpawn                        // start agents
	RightLifecycle                    // clone, merge, split, upgrade, specialise, snapshot, restore what it started
	RightKill                         // end what it started
	RightCrypto                       // sign, open and seal with its own key
	RightAttest                       // ask for evidence of this host
	endOfRights    = iota
)

var rightNames = [endOfRights]string{
	"log", "clock", "random", "send", "receive", "transfer", "memory", "share", "service", "connect", "listen",
	"device", "spawn", "lifecycle", "kill", "crypto", "attest",
}

// String lists the names, separated by commas.
func (r Rights) String() string {
	if r == 0 {
		return "none"
	}
	var names []string
	for left := uint64(r); left != 0; left &= left - 1 {
		i := bits.TrailingZeros64(left)
		if i < endOfRights {
			names = append(names, rightNames[i])
		} else {
			names = append(names, "bit"+strconv.Itoa(i))
		}
	}
	return strings.Join(names, ",")
}

// ParseRight finds a right by its name.
func ParseRight(name string) (Rights, bool) {
	for i, n := range rightNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// RightNames lists the names of all rights, in the order of their bits.
func RightNames() []string { return append([]string(nil), rightNames[:]...) }

package agent

import (
	"fmt"

	"aios/captoken"
)

// maxRevoked bounds the ids that are kept as revoked, of each kind.
const maxRevoked = 4096

// revocations are ids that are good no more. Orders name all that are still of
// interest; those that they name no longer have expired, as the verifier says, and are
// kept as long as there is room: the ones that were left out first go first. When there
// is none even so, nothing is forgotten, and nothing new is accepted.
type revocations struct {
	named map[captoken.ID]uint64 // the orders, counted, that named it last
	count uint64                 // of orders
	full  bool
}

func (r *revocations) has(id captoken.ID) bool {
	_, ok := r.named[id]
	return ok
}

func (r *revocations) any(ids []captoken.ID) bool {
	for _, id := range ids {
		if r.has(id) {
			return true
		}
	}
	return false
}

func (r *revocations) err(what string) error {
	return fmt.Errorf("the verifier revoked more than %d %s that are still of interest, and this host cannot keep them all; raise the epoch at the verifier", maxRevoked, what)
}

func (r *revocations) take(ids []captoken.ID) {
	if r.named == nil {
		r.named = map[captoken.ID]uint64{}
	}
	r.count++
	for _, id := range ids {
		r.named[id] = r.count
	}
	for len(r.named) > maxRevoked {
		oldest := r.count
		for _, n := range r.named {
			oldest = min(oldest, n)
		}
		if oldest == r.count { // only those that the orders name are left
			break
		}
		for id, n := range r.named {
			if n == oldest && len(r.named) > maxRevoked {
				delete(r.named, id)
			}
		}
	}
	r.full = len(r.named) > maxRevoked
}

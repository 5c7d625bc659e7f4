package captoken

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// RevocationList is what an issuer revoked of its own tokens. Each list is whole and
// takes the place of the one before; within an epoch nothing that was revoked comes back.
type RevocationList struct {
	Issuer   Thumbprint // MintRevocations fills it in
	IssuedAt time.Time  // whole seconds
	Sequence uint64     // of the list, at least 1, each higher than the one before
	Epoch    uint64     // the lowest that is accepted
	// What was revoked one by one, ascending, each once, at most MaxRevoked in all.
	Tokens   []ID     // tokens and delegations
	Leases   []ID     // with all tokens that hang from them
	Subjects []string // agents, wherever in a chain they stand
}

// Bounds on a revocation list. When it is full, a higher epoch makes room: tokens of a
// lower one are good for nothing, so their ids need not be named any more.
const (
	MaxRevoked          = 4096
	MaxRevocationClaims = 272 << 10 // bytes; MaxRevoked names of MaxName fit
)

// Claims of revocation lists, beside iss, iat, epoch and sequence.
const (
	claimRevokedTokens   = -65554 // ids, one after the other, in one byte string
	claimRevokedLeases   = -65555 // the same
	claimRevokedSubjects = -65556 // array of texts
)

var revocationClaims = []int64{claimIssuer, claimIssuedAt, claimEpoch, claimSequence}

const revocationName = "revocation list"

// RevokedToken tells whether a token or a delegation was revoked by its id.
func (l *RevocationList) RevokedToken(id ID) bool { return hasID(l.Tokens, id) }

// RevokedLease tells whether a lease was revoked.
func (l *RevocationList) RevokedLease(id ID) bool { return hasID(l.Leases, id) }

// RevokedSubject tells whether everything of an agent was revoked.
func (l *RevocationList) RevokedSubject(agent string) bool {
	_, found := slices.BinarySearch(l.Subjects, agent)
	return found
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

func hasID(list []ID, id ID) bool {
	_, found := slices.BinarySearchFunc(list, id, compareIDs)
	return found
}

// Revoke adds to the list what is not there yet, each in its place.
func (l *RevocationList) Revoke(tokens, leases []ID, subjects []string) {
	add := func(to, ids []ID) []ID {
		out := slices.Concat(to, ids)
		slices.SortFunc(out, compareIDs)
		return slices.Compact(out)
	}
	l.Tokens, l.Leases = add(l.Tokens, tokens), add(l.Leases, leases)
	l.Subjects = slices.Concat(l.Subjects, subjects)
	slices.Sort(l.Subjects)
	l.Subjects = slices.Compact(l.Subjects)
}

func (l *RevocationList) validate() error {
	if l.Sequence == 0 {
		return claimError(revocationName, "sequence number expected at least 1, found 0")
	}
	if n := len(l.Tokens) + len(l.Leases) + len(l.Subjects); n > MaxRevoked {
		return claimError(revocationName, "expected at most "+strconv.Itoa(MaxRevoked)+" entries, found "+strconv.Itoa(n)+": raise the epoch")
	}
	for _, list := range [...][]ID{l.Tokens, l.Leases} {
		for i := range list {
			if i > 0 && compareIDs(list[i-1], list[i]) >= 0 {
				return claimError(revocationName, "expected ascending ids, each once; found "+list[i].String()+" after "+list[i-1].String())
			}
		}
	}
	for i, s := range l.Subjects {
		if !validName(s) {
			return claimError(revocationName, "agent "+quote(s)+": expected "+nameRule)
		}
		if i > 0 && l.Subjects[i-1] >= s {
			return claimError(revocationName, "expected ascending agents, each once; found "+quote(s)+" after "+quote(l.Subjects[i-1]))
		}
	}
	return validIssuedAt(revocationName, l.IssuedAt)
}

// MintRevocations signs a list with the issuer's key.
func MintRevocations(issuer Signer, l RevocationList) ([]byte, error) {
	l.Issuer = issuer.Public().Thumbprint()
	if err := l.validate(); err != nil {
		return nil, err
	}
	return seal(issuer, revocationName, kindRevocations, l.encode())
}

func (l *RevocationList) encode() []byte {
	n := len(revocationClaims)
	for _, size := range [...]int{len(l.Tokens), len(l.Leases), len(l.Subjects)} {
		if size > 0 {
			n++
		}
	}
	b := cbor.AppendMap(nil, n)
	b = cbor.AppendText(cbor.AppendInt(b, claimIssuer), l.Issuer.URI())
	b = appendTime(b, claimIssuedAt, l.IssuedAt)
	b = cbor.AppendUint(cbor.AppendInt(b, claimEpoch), l.Epoch)
	b = cbor.AppendUint(cbor.AppendInt(b, claimSequence), l.Sequence)
	b = appendIDs(b, claimRevokedTokens, l.Tokens)
	b = appendIDs(b, claimRevokedLeases, l.Leases)
	if len(l.Subjects) > 0 {
		b = Patterns(l.Subjects).append(cbor.AppendInt(b, claimRevokedSubjects))
	}
	return b
}

func appendIDs(b []byte, key int64, ids []ID) []byte {
	if len(ids) == 0 {
		return b
	}
	var all []byte
	for _, id := range ids {
		all = append(all, id[:]...)
	}
	return cbor.AppendBytes(cbor.AppendInt(b, key), all)
}

func readIDs(r *cbor.Reader) (ids []ID) {
	at := r.Offset()
	all := r.Bytes(len(ID{}), MaxRevoked*len(ID{}))
	if len(all)%len(ID{}) != 0 {
		r.Fail(at, "ids of "+strconv.Itoa(len(ID{}))+" bytes expected, found "+strconv.Itoa(len(all))+" bytes")
		return nil
	}
	for id := range slices.Chunk(all, len(ID{})) {
		ids = append(ids, ID(id))
	}
	return ids
}

func decodeRevocations(payload []byte) (*RevocationList, error) {
	l := new(RevocationList)
	r := cbor.NewReader(payload)
	s := newClaimSet(r, revocationClaims, claimRevokedTokens, claimRevokedLeases, claimRevokedSubjects)
	for key, ok := s.next(); ok; key, ok = s.next() {
		switch key {
		case claimIssuer:
			l.Issuer = readIssuer(r)
		case claimIssuedAt:
			l.IssuedAt = readTime(r)
		case claimEpoch:
			l.Epoch = r.Uint()
		case claimSequence:
			l.Sequence = r.Uint()
		case claimRevokedTokens:
			l.Tokens = readIDs(r)
		case claimRevokedLeases:
			l.Leases = readIDs(r)
		case claimRevokedSubjects:
			for n := r.Array(1, MaxRevoked); n > 0 && r.Err() == nil; n-- {
				l.Subjects = append(l.Subjects, readName(r))
			}
		}
	}
	if err := s.end(); err != nil {
		return nil, formError(revocationName, "its claims, "+err.Error())
	}
	if err := l.validate(); err != nil {
		return nil, received(err)
	}
	return l, nil
}

// VerifyRevocations reads a list that an issuer signed. Whether it is the newest is for
// RevocationState to say.
func VerifyRevocations(raw []byte, issuer *PublicKey) (*RevocationList, error) {
	key, payload, err := open(raw, revocationName, kindRevocations, []*PublicKey{issuer})
	if err != nil {
		return nil, err
	}
	l, err := decodeRevocations(payload)
	switch {
	case err != nil:
		return nil, err
	case l.Issuer != key.Thumbprint():
		return nil, wrongIssuer(revocationName, key, l.Issuer)
	}
	return l, nil
}

// ReadRevocations takes a list apart without verifying anything, to show it.
func ReadRevocations(raw []byte) (*RevocationList, error) {
	s, err := readSign1(raw, revocationName, kindRevocations)
	if err == nil {
		err = s.end(raw, revocationName)
	}
	if err != nil {
		return nil, err
	}
	return decodeRevocations(s.payload)
}

// RevocationState keeps the newest list of one issuer and never goes back. Whoever wants
// that to outlive a restart stores the bytes that Take accepted before it relies on them,
// and takes them first.
type RevocationState struct {
	issuer *PublicKey
	list   *RevocationList
	hash   [sha256.Size]byte
}

// NewRevocationState knows no list yet.
func NewRevocationState(issuer *PublicKey) *RevocationState { return &RevocationState{issuer: issuer} }

// List returns the newest list, nil before the first.
func (s *RevocationState) List() *RevocationList { return s.list }

// Take verifies a list and goes on to it. The one that is known changes nothing; an older
// one, another one of the same number, and one that takes something back are refused.
func (s *RevocationState) Take(raw []byte) (*RevocationList, error) {
	l, err := VerifyRevocations(raw, s.issuer)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(raw)
	if s.list != nil {
		if l.Sequence == s.list.Sequence && hash == s.hash {
			return s.list, nil
		}
		if err := l.follows(s.list); err != nil {
			return nil, err
		}
	}
	s.list, s.hash = l, hash
	return l, nil
}

// follows says why a list must not take the place of another one.
func (l *RevocationList) follows(old *RevocationList) error {
	refuse := func(reason string) error {
		return &Error{ErrSequence, revocationName, reason, "get the newest list from the issuer; if this is it, the issuer went back: report it"}
	}
	switch {
	case l.Sequence <= old.Sequence:
		return refuse("sequence number expected above " + count(old.Sequence) + ", found " + count(l.Sequence))
	case l.Epoch < old.Epoch:
		return refuse("epoch expected at least " + count(old.Epoch) + ", found " + count(l.Epoch))
	case l.Epoch > old.Epoch:
		return nil // no token from before is good any more
	}
	for _, id := range old.Tokens {
		if !l.RevokedToken(id) {
			return refuse("token " + id.String() + " was revoked in this epoch, and is not in the list")
		}
	}
	for _, id := range old.Leases {
		if !l.RevokedLease(id) {
			return refuse("lease " + id.String() + " was revoked in this epoch, and is not in the list")
		}
	}
	for _, s := range old.Subjects {
		if !l.RevokedSubject(s) {
			return refuse("agent " + quote(s) + " was revoked in this epoch, and is not in the list")
		}
	}
	return nil
}

// Describe says in words what was revoked: one line for each statement.
func (l *RevocationList) Describe() []string {
	lines := []string{"revocation list " + count(l.Sequence) + " of issuer " + l.Issuer.String() + ", " + stamp(l.IssuedAt),
		"revoked is every token of an epoch below " + count(l.Epoch)}
	for _, id := range l.Tokens {
		lines = append(lines, "revoked is token or delegation "+id.String()+", and what was passed on from it")
	}
	for _, id := range l.Leases {
		lines = append(lines, "revoked is every token under lease "+id.String())
	}
	for _, s := range l.Subjects {
		lines = append(lines, "revoked is everything of agent "+s+", and what it passed on")
	}
	return lines
}

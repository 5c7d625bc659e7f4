package captoken

import (
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// Claims are what a token says.
type Claims struct {
	ID       ID         // Mint chooses one if it is zero
	Issuer   Thumbprint // the key that signs; Mint fills it in
	Subject  string     // the agent
	Audience string     // the host
	Rights   Rights
	Scopes   Scopes
	Quotas   Quotas
	// The token is valid from NotBefore on and until before Expires, both whole seconds.
	NotBefore, Expires time.Time
	Epoch              uint64     // of the issuer: raising the epoch revokes all tokens of a lower one
	Lease              ID         // that the token hangs from
	Holder             Thumbprint // of the key that can pass the token on
	Depth              uint8      // how many delegations may follow, at most MaxDelegations
}

// MaxDelegations is how many delegations a token can carry.
const MaxDelegations = 8

// Keys of the claims: those of RFC 8392 section 4, cnf of RFC 8747, and ours in the
// private-use range of the registry (less than -65536).
const (
	claimIssuer    = 1      // text: RFC 9679 URI of the issuer's key
	claimSubject   = 2      // text: the agent
	claimAudience  = 3      // text: the host
	claimExpires   = 4      // seconds since 1970
	claimNotBefore = 5      // seconds since 1970
	claimIssuedAt  = 6      // seconds since 1970
	claimID        = 7      // 16 bytes
	claimHolder    = 8      // map of one pair, 5 (ckt, RFC 9679): thumbprint of the holder's key
	claimNonce     = 10     // bytes, RFC 9711
	claimRights    = -65537 // capability mask
	claimScopes    = -65538 // map, left out when empty
	claimQuotas    = -65539 // map, left out when empty
	claimEpoch     = -65540 // revocation epoch
	claimLease     = -65541 // 16 bytes: lease id
	claimDepth     = -65542 // delegations that may follow, left out when none
	claimParent    = -65543 // delegations: SHA-256 of everything before
)

// confirmThumbprint is the confirmation method of RFC 9679.
const confirmThumbprint = 5

// maxTime is the end of the year 9999, the last that RFC 3339 can write.
const maxTime = 253402300799

// validate says what keeps c from being signed.
func (c *Claims) validate(object string) error {
	if !validName(c.Audience) {
		return claimError(object, "audience "+quote(c.Audience)+": expected "+nameRule)
	}
	if c.Lease.IsZero() {
		return claimError(object, "lease id expected, found none")
	}
	return validateGrant(object, c.Subject, &c.Scopes, c.NotBefore, c.Expires, c.Holder, c.Depth)
}

// validateGrant checks what tokens and delegations have in common.
func validateGrant(object, subject string, scopes *Scopes, notBefore, expires time.Time, holder Thumbprint, depth uint8) error {
	if !validName(subject) {
		return claimError(object, "subject "+quote(subject)+": expected "+nameRule)
	}
	if err := validTimes(object, notBefore, expires); err != nil {
		return err
	}
	if holder == (Thumbprint{}) {
		return claimError(object, "thumbprint of the holder's key expected, found none")
	}
	if depth > MaxDelegations {
		return claimError(object, "depth expected at most "+strconv.Itoa(MaxDelegations)+", found "+strconv.Itoa(int(depth)))
	}
	return scopes.validate(object)
}

func validTimes(object string, from, until time.Time) error {
	for _, t := range [...]time.Time{from, until} {
		if s := t.Unix(); s < 0 || s > maxTime || t.Nanosecond() != 0 {
			return claimError(object, "time "+stamp(t)+": expected whole seconds from 1970 to 9999")
		}
	}
	if !from.Before(until) {
		return claimError(object, "expected to end after it begins, found "+stamp(from)+" to "+stamp(until))
	}
	return nil
}

// encode writes the claims. Precondition: c.validate is nil.
func (c *Claims) encode() []byte {
	b := make([]byte, 0, 512)
	b = cbor.AppendMap(b, 10+optional(&c.Scopes, &c.Quotas, c.Depth))
	b = cbor.AppendText(cbor.AppendInt(b, claimIssuer), c.Issuer.URI())
	b = cbor.AppendText(cbor.AppendInt(b, claimSubject), c.Subject)
	b = cbor.AppendText(cbor.AppendInt(b, claimAudience), c.Audience)
	b = appendTime(b, claimExpires, c.Expires)
	b = appendTime(b, claimNotBefore, c.NotBefore)
	b = cbor.AppendBytes(cbor.AppendInt(b, claimID), c.ID[:])
	b = appendHolder(b, c.Holder)
	b = cbor.AppendUint(cbor.AppendInt(b, claimRights), uint64(c.Rights))
	b = appendScopesAndQuotas(b, &c.Scopes, &c.Quotas)
	b = cbor.AppendUint(cbor.AppendInt(b, claimEpoch), c.Epoch)
	b = cbor.AppendBytes(cbor.AppendInt(b, claimLease), c.Lease[:])
	return appendDepth(b, c.Depth)
}

// optional counts the claims that are there only when they say something.
func optional(s *Scopes, q *Quotas, depth uint8) (n int) {
	if !s.IsZero() {
		n++
	}
	if *q != (Quotas{}) {
		n++
	}
	if depth > 0 {
		n++
	}
	return n
}

func appendTime(b []byte, key int64, t time.Time) []byte {
	return cbor.AppendUint(cbor.AppendInt(b, key), uint64(t.Unix()))
}

func appendHolder(b []byte, t Thumbprint) []byte {
	b = cbor.AppendMap(cbor.AppendInt(b, claimHolder), 1)
	return cbor.AppendBytes(cbor.AppendInt(b, confirmThumbprint), t[:])
}

func appendScopesAndQuotas(b []byte, s *Scopes, q *Quotas) []byte {
	if !s.IsZero() {
		b = s.append(cbor.AppendInt(b, claimScopes))
	}
	if *q != (Quotas{}) {
		b = q.append(cbor.AppendInt(b, claimQuotas))
	}
	return b
}

func appendDepth(b []byte, depth uint8) []byte {
	if depth > 0 {
		b = cbor.AppendUint(cbor.AppendInt(b, claimDepth), uint64(depth))
	}
	return b
}

// tokenClaims and delegationClaims are the keys that have to be there.
var (
	tokenClaims = []int64{claimIssuer, claimSubject, claimAudience, claimExpires, claimNotBefore, claimID, claimHolder,
		claimRights, claimEpoch, claimLease}
	delegationClaims = []int64{claimSubject, claimExpires, claimNotBefore, claimID, claimHolder, claimRights, claimParent}
)

// decodeClaims reads the payload of a token or of a delegation, whose parent it
// returns too.
func decodeClaims(payload []byte, object string, delegation bool) (c Claims, parent [32]byte, err error) {
	required := tokenClaims
	if delegation {
		required = delegationClaims
	}
	r := cbor.NewReader(payload)
	s := newClaimSet(r, required, claimScopes, claimQuotas, claimDepth)
	for key, ok := s.next(); ok; key, ok = s.next() {
		switch key {
		case claimIssuer:
			c.Issuer = readIssuer(r)
		case claimSubject:
			c.Subject = readName(r)
		case claimAudience:
			c.Audience = readName(r)
		case claimExpires:
			c.Expires = readTime(r)
		case claimNotBefore:
			c.NotBefore = readTime(r)
		case claimID:
			c.ID = readID(r)
		case claimHolder:
			c.Holder = readHolder(r)
		case claimRights:
			c.Rights = Rights(r.Uint())
		case claimScopes:
			c.Scopes = readScopes(r)
		case claimQuotas:
			c.Quotas = readQuotas(r)
		case claimEpoch:
			c.Epoch = r.Uint()
		case claimLease:
			c.Lease = readID(r)
		case claimDepth:
			at := r.Offset()
			if c.Depth = uint8(readBounded(r, MaxDelegations)); c.Depth == 0 {
				r.Fail(at, "depth expected above zero, or left out")
			}
		case claimParent:
			copy(parent[:], r.Bytes(len(parent), len(parent)))
		}
	}
	if err := s.end(); err != nil {
		return c, parent, formError(object, "its claims, "+err.Error())
	}
	if delegation {
		err = validateGrant(object, c.Subject, &c.Scopes, c.NotBefore, c.Expires, c.Holder, c.Depth)
	} else {
		err = c.validate(object)
	}
	return c, parent, received(err)
}

// claimSet reads a map of claims and sees to it that all are there that have to be.
type claimSet struct {
	r        *cbor.Reader
	m        *cbor.Map
	required []int64
	optional []int64
	found    uint32 // a bit for each required one
}

func newClaimSet(r *cbor.Reader, required []int64, optional ...int64) *claimSet {
	return &claimSet{r, r.Map(len(required), len(required)+len(optional)), required, optional, 0}
}

// next reads a key that is known.
func (s *claimSet) next() (key int64, ok bool) {
	at := s.r.Offset()
	key, ok = s.m.Next()
	if !ok {
		return 0, false
	}
	for i, k := range s.required {
		if k == key {
			s.found |= 1 << i
			return key, true
		}
	}
	for _, k := range s.optional {
		if k == key {
			return key, true
		}
	}
	s.r.Fail(at, "claim "+strconv.FormatInt(key, 10)+" is unknown")
	return 0, false
}

func (s *claimSet) end() error {
	for i, k := range s.required {
		if s.found&(1<<i) == 0 {
			s.r.Fail(s.r.Offset(), "claim "+strconv.FormatInt(k, 10)+" is missing")
		}
	}
	return s.r.End()
}

func readIssuer(r *cbor.Reader) Thumbprint {
	at := r.Offset()
	text := r.Text(issuerSize, issuerSize)
	t, ok := parseURI(string(text))
	if !ok {
		r.Fail(at, "issuer expected as "+thumbprintURI+" and 43 characters of base64url")
	}
	return t
}

func readName(r *cbor.Reader) string { return string(r.Text(1, MaxName)) }

func readID(r *cbor.Reader) (id ID) {
	copy(id[:], r.Bytes(len(id), len(id)))
	return id
}

func readTime(r *cbor.Reader) time.Time { return time.Unix(int64(readBounded(r, maxTime)), 0).UTC() }

func readHolder(r *cbor.Reader) (t Thumbprint) {
	m := r.Map(1, 1)
	at := r.Offset()
	if key, ok := m.Next(); ok && key != confirmThumbprint {
		r.Fail(at, "confirmation method expected 5 (ckt), found "+strconv.FormatInt(key, 10))
	}
	copy(t[:], r.Bytes(len(t), len(t)))
	return t
}

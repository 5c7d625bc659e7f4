package captoken

import (
	"crypto/sha256"
	"strconv"
	"time"
)

// Issuer is a key whose tokens are accepted.
type Issuer struct {
	Key   *PublicKey
	Epoch uint64 // the lowest epoch that was not revoked
	// Revoked is the issuer's own newest list, if there is one; it counts for this
	// issuer's tokens alone, beside Want.Revoked.
	Revoked *RevocationList
}

// epoch is the lowest that is accepted.
func (i *Issuer) epoch() uint64 {
	if i.Revoked == nil {
		return i.Epoch
	}
	return max(i.Epoch, i.Revoked.Epoch)
}

// Revocations says what was revoked one by one.
type Revocations interface {
	RevokedToken(ID) bool       // a token or a delegation
	RevokedSubject(string) bool // an agent
}

// Want is what a token has to be good for.
type Want struct {
	Trusted []Issuer
	Host    string    // this one
	Agent   string    // that presents the token
	Now     time.Time // the verifier's time, see LeaseState.Time
	Lease   ID        // that this host holds
	Rights  Rights    // that are needed, all of them
	Revoked Revocations
}

// Grant is what a token admits, all its delegations taken into account.
type Grant struct {
	Claims      // ID, Subject and Holder are those of the last delegation
	Chain  []ID // of the token and each delegation, any of which can be revoked
}

// Verify says what a token admits, or why it is refused. The order of the work does not
// depend on what a token says: size, form, then signatures from the issuer's on, then
// the claims. The first refusal in this order is the one that is returned.
func Verify(t Token, want Want) (*Grant, error) {
	signed, err := split(t)
	if err != nil {
		return nil, err
	}
	issuer, err := findIssuer(signed[0].keyID, want.Trusted)
	if err != nil {
		return nil, err
	}
	if err := signed[0].verify("token", issuer.Key); err != nil {
		return nil, err
	}
	c, _, err := decodeClaims(signed[0].payload, "token", false)
	if err != nil {
		return nil, err
	}
	g := newGrant(c)
	subjects := []string{c.Subject}
	before := len(signed[0].raw)
	for i := 1; i < len(signed); i++ {
		if err := g.narrow(linkName(i), &signed[i], sha256.Sum256(t[:before])); err != nil {
			return nil, err
		}
		subjects = append(subjects, g.Subject)
		before += len(signed[i].raw)
	}
	if err := g.check(issuer, &want, subjects); err != nil {
		return nil, err
	}
	return g, nil
}

func newGrant(c Claims) *Grant { return &Grant{c, []ID{c.ID}} }

func findIssuer(id ID, trusted []Issuer) (*Issuer, error) {
	for i := range trusted {
		if trusted[i].Key.ID() == id {
			return &trusted[i], nil
		}
	}
	return nil, &Error{ErrIssuer, "token", "signed by key " + id.String() + ", expected one of " + strconv.Itoa(len(trusted)) + " trusted issuers",
		"get the token from an issuer that this host trusts"}
}

// narrow verifies a delegation and takes away what it does not admit. The signature of
// everything before was found good.
func (g *Grant) narrow(object string, s *sign1, before [32]byte) error {
	key, err := ParsePublicKey(s.algorithm, s.key)
	if err != nil {
		return formError(object, err.Error())
	}
	if key.ID() != s.keyID {
		return formError(object, "key id expected "+key.ID().String()+", of the key beside it, found "+s.keyID.String())
	}
	if err := mayDelegate(object, key, g.Holder, int(g.Depth)); err != nil {
		return err
	}
	if err := s.verify(object, key); err != nil {
		return err
	}
	c, parent, err := decodeClaims(s.payload, object, true)
	if err != nil {
		return err
	}
	if parent != before {
		return &Error{ErrDelegation, object, "it was made for another token", "it belongs behind the token that its holder signed it for"}
	}
	g.take(&c)
	return nil
}

// take goes on to what a delegation leaves. Precondition: g.Depth is above 0.
func (g *Grant) take(c *Claims) {
	g.ID, g.Subject, g.Holder = c.ID, c.Subject, c.Holder
	g.Rights &= c.Rights
	g.Scopes = g.Scopes.intersect(&c.Scopes)
	g.Quotas = g.Quotas.intersect(c.Quotas)
	if c.NotBefore.After(g.NotBefore) {
		g.NotBefore = c.NotBefore
	}
	if c.Expires.Before(g.Expires) {
		g.Expires = c.Expires
	}
	g.Depth = min(g.Depth-1, c.Depth)
	g.Chain = append(g.Chain, c.ID)
}

// check compares what is left with what is wanted. subjects are those of the chain.
func (g *Grant) check(issuer *Issuer, want *Want, subjects []string) error {
	refuse := func(kind error, reason, remedy string) error { return &Error{kind, "token", reason, remedy} }
	switch {
	case g.Issuer != issuer.Key.Thumbprint():
		return refuse(ErrIssuer, "issuer expected "+issuer.Key.Thumbprint().String()+", the key that signed it, found "+g.Issuer.String(),
			"the issuer has to name its own key; report it")
	case g.Audience != want.Host:
		return refuse(ErrAudience, "host expected "+quote(want.Host)+", found "+quote(g.Audience), "ask the issuer for a token for this host")
	case g.Subject != want.Agent:
		return refuse(ErrSubject, "agent expected "+quote(want.Agent)+", found "+quote(g.Subject), "present the agent's own token")
	case want.Now.Before(g.NotBefore):
		return refuse(ErrNotYet, "valid from "+stamp(g.NotBefore)+" on, and it is "+stamp(want.Now), "wait, or check the verifier's clock")
	case !want.Now.Before(g.Expires):
		return refuse(ErrExpired, "valid until "+stamp(g.Expires)+", and it is "+stamp(want.Now), "ask the issuer for a new token")
	case issuer.Revoked != nil && issuer.Revoked.Issuer != g.Issuer:
		return refuse(ErrIssuer, "revocation list expected of issuer "+g.Issuer.String()+", found one of "+issuer.Revoked.Issuer.String(), "give each issuer its own list")
	case g.Epoch < issuer.epoch():
		return refuse(ErrEpoch, "epoch expected at least "+count(issuer.epoch())+", found "+count(g.Epoch), "the issuer revoked all of its older tokens; ask it for a new one")
	case want.Lease.IsZero() || g.Lease != want.Lease:
		return refuse(ErrLease, "lease expected "+leaseName(want.Lease)+", found "+g.Lease.String(), "have the host attest, and ask the issuer for a token under its new lease")
	}
	if want.Revoked != nil {
		if err := g.revoked(want.Revoked, subjects); err != nil {
			return err
		}
	}
	if issuer.Revoked != nil {
		if err := g.revoked(issuer.Revoked, subjects); err != nil {
			return err
		}
		if issuer.Revoked.RevokedLease(g.Lease) {
			return refuse(ErrRevoked, "lease "+g.Lease.String()+" was revoked", "have the host attest, and ask the issuer for a token under its new lease")
		}
	}
	if missing := want.Rights &^ g.Rights; missing != 0 {
		return refuse(ErrRight, "rights "+want.Rights.String()+" expected, "+missing.String()+" not found", "ask the issuer for a token with these rights")
	}
	return nil
}

// revoked says what in the chain was revoked one by one.
func (g *Grant) revoked(r Revocations, subjects []string) error {
	for i, id := range g.Chain {
		if r.RevokedToken(id) {
			return &Error{ErrRevoked, linkName(i), id.String() + " was revoked", "ask the issuer whether a new token is due"}
		}
	}
	for _, s := range subjects {
		if r.RevokedSubject(s) {
			return &Error{ErrRevoked, "token", "everything of agent " + quote(s) + " was revoked", "ask the operator why"}
		}
	}
	return nil
}

func leaseName(id ID) string {
	if id.IsZero() {
		return "of this host, which holds none"
	}
	return id.String()
}

package captoken

import (
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// Token is an encoded token with the delegations that follow it: a CBOR sequence (RFC
// 8742) of COSE_Sign1 objects. Without a delegation it is a plain CWT.
type Token []byte

// MaxToken bounds a token with all its delegations, in bytes.
const MaxToken = 64 << 10

// Mint makes a token.
func Mint(issuer Signer, c Claims) (Token, error) {
	const object = "token"
	thumbprint := issuer.Public().Thumbprint()
	if c.Issuer != (Thumbprint{}) && c.Issuer != thumbprint {
		return nil, claimError(object, "issuer expected "+thumbprint.String()+", the key that signs, or none, found "+c.Issuer.String())
	}
	c.Issuer = thumbprint
	if err := chooseID(&c.ID); err != nil {
		return nil, err
	}
	if err := c.validate(object); err != nil {
		return nil, err
	}
	return seal(issuer, object, kindToken, c.encode())
}

func chooseID(id *ID) error {
	if !id.IsZero() {
		return nil
	}
	_, err := rand.Read(id[:])
	return err
}

// Delegation is what a holder passes on. What counts is what both it and the token
// before it admit, so it can narrow and never widen.
type Delegation struct {
	ID                 ID     // Delegate chooses one if it is zero
	Subject            string // the agent that receives it
	Rights             Rights
	Scopes             Scopes
	Quotas             Quotas
	NotBefore, Expires time.Time
	Holder             Thumbprint // of the receiver's key
	Depth              uint8
}

// Delegate appends a delegation to a token. The signer is the token's present holder.
// It checks whether a verifier could accept the result, but not the token's signatures.
func Delegate(holder Signer, t Token, d Delegation) (Token, error) {
	links, left, err := Read(t)
	if err != nil {
		return nil, err
	}
	object := linkName(len(links))
	if err := mayDelegate(object, holder.Public(), left.Holder, int(left.Depth)); err != nil {
		return nil, err
	}
	if err := chooseID(&d.ID); err != nil {
		return nil, err
	}
	if err := validateGrant(object, d.Subject, &d.Scopes, d.NotBefore, d.Expires, d.Holder, d.Depth); err != nil {
		return nil, err
	}
	block, err := seal(holder, object, kindDelegation, d.encode(sha256.Sum256(t)))
	if err != nil {
		return nil, err
	}
	out := append(append(make(Token, 0, len(t)+len(block)), t...), block...)
	if len(out) > MaxToken {
		return nil, tooLong(len(out))
	}
	return out, nil
}

func tooLong(n int) error {
	return formError("token", "expected at most "+strconv.Itoa(MaxToken)+" bytes, found "+strconv.Itoa(n))
}

// mayDelegate checks that a key may append a delegation after a link.
func mayDelegate(object string, key *PublicKey, holder Thumbprint, depth int) error {
	if depth < 1 {
		return tooDeep(object)
	}
	if t := key.Thumbprint(); t != holder {
		return &Error{ErrDelegation, object, "signer expected " + holder.String() + ", the holder, found " + t.String(),
			"only the holder can pass a token on; sign with its key"}
	}
	return nil
}

func tooDeep(object string) error {
	return &Error{ErrDelegation, object, "the token before it may not be passed on, its depth is 0", "ask the issuer for a token of more depth"}
}

func (d *Delegation) encode(parent [32]byte) []byte {
	b := make([]byte, 0, 512)
	b = cbor.AppendMap(b, 7+optional(&d.Scopes, &d.Quotas, d.Depth))
	b = cbor.AppendText(cbor.AppendInt(b, claimSubject), d.Subject)
	b = appendTime(b, claimExpires, d.Expires)
	b = appendTime(b, claimNotBefore, d.NotBefore)
	b = cbor.AppendBytes(cbor.AppendInt(b, claimID), d.ID[:])
	b = appendHolder(b, d.Holder)
	b = cbor.AppendUint(cbor.AppendInt(b, claimRights), uint64(d.Rights))
	b = appendScopesAndQuotas(b, &d.Scopes, &d.Quotas)
	b = appendDepth(b, d.Depth)
	return cbor.AppendBytes(cbor.AppendInt(b, claimParent), parent[:])
}

// Link is a token or one of its delegations as it stands there, unverified.
type Link struct {
	Key       ID // that is to have signed it
	Claims       // a delegation has no issuer, audience, epoch and lease
	Size      int
	Algorithm Algorithm
}

// Read takes a token apart without verifying anything, to show it, to find its issuer
// or to pass it on. It returns the token and its delegations, and what they leave if
// they are genuine. Nothing that it returns may be relied on.
func Read(t Token) (links []Link, left *Grant, err error) {
	signed, err := split(t)
	if err != nil {
		return nil, nil, err
	}
	for i := range signed {
		c, _, err := decodeClaims(signed[i].payload, linkName(i), i > 0)
		switch {
		case err != nil:
			return nil, nil, err
		case i == 0:
			left = newGrant(c)
		case left.Depth == 0:
			return nil, nil, tooDeep(linkName(i))
		default:
			left.take(&c)
		}
		links = append(links, Link{signed[i].keyID, c, len(signed[i].raw), signed[i].algorithm})
	}
	return links, left, nil
}

// linkName is what errors call the i-th link.
func linkName(i int) string {
	if i == 0 {
		return "token"
	}
	return "delegation " + strconv.Itoa(i)
}

// split takes the objects of a token apart and checks size and form of each, without a
// look into their payloads.
func split(t Token) ([]sign1, error) {
	if len(t) > MaxToken {
		return nil, tooLong(len(t))
	}
	signed := make([]sign1, 0, 1)
	for rest := []byte(t); len(rest) > 0 || len(signed) == 0; {
		object := linkName(len(signed))
		if len(signed) > MaxDelegations {
			return nil, formError(object, "expected at most "+strconv.Itoa(MaxDelegations)+" delegations")
		}
		want := kindToken
		if len(signed) > 0 {
			want = kindDelegation
		}
		s, err := readSign1(rest, object, want)
		if err != nil {
			return nil, err
		}
		signed, rest = append(signed, s), rest[len(s.raw):]
	}
	return signed, nil
}

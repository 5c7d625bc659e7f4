package captoken

import (
	"encoding/hex"
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// What is here takes objects apart without verifying where they come from, to show them.
// Nothing that it returns may be relied on.

// Object is what bytes say that they are.
type Object string

// The objects of this package.
const (
	ObjectToken       Object = Object(kindToken) // with or without delegations
	ObjectDelegation  Object = Object(kindDelegation)
	ObjectLease       Object = Object(kindLease)
	ObjectCommand     Object = Object(kindCommand)
	ObjectProof       Object = Object(kindProof)
	ObjectRevocations Object = Object(kindRevocations)
	ObjectReceipt     Object = Object(kindReceipt)
)

// Identify says what the object at the start of b is meant to be. It looks for no more
// than the kind, so that a damaged object is still named.
func Identify(b []byte) (Object, error) {
	r := cbor.NewReader(b)
	r.Array(2, 2)
	if text := r.Text(1, maxKind); r.Err() == nil && string(text) == string(kindReceipt) {
		return ObjectReceipt, nil
	}
	r = cbor.NewReader(b)
	r.Tag(tagSign1)
	r.Array(4, 4)
	protected := r.Bytes(1, MaxHeader)
	if err := r.Err(); err != nil {
		return "", formError("object", "expected a COSE_Sign1 or a receipt, "+err.Error())
	}
	h := cbor.NewReader(protected)
	m := h.Map(3, 4)
	for key, ok := m.Next(); ok; key, ok = m.Next() {
		switch key {
		case headerAlgorithm:
			h.Int()
		case headerKeyID:
			h.Bytes(0, MaxHeader)
		case headerType:
			switch o := Object(h.Text(1, maxKind)); o {
			case ObjectToken, ObjectDelegation, ObjectLease, ObjectCommand, ObjectProof, ObjectRevocations:
				return o, nil
			default:
				return "", formError("object", "type expected of this package, found "+quote(string(o)))
			}
		default:
			h.Fail(h.Offset(), "header "+strconv.FormatInt(key, 10)+" expected after the type")
		}
	}
	reason := "type expected, found none"
	if h.Err() != nil {
		reason = h.Err().Error()
	}
	return "", formError("object", "its protected header, "+reason)
}

// Proof is what a proof of possession says.
type Proof struct {
	Host      string
	Nonce     [NonceSize]byte
	Token     [32]byte   // SHA-256 of the token with all its delegations
	Signer    Thumbprint // to be that of the token's holder
	Algorithm Algorithm
	// Unsigned says why the signature is not of Signer; nil if it is. That much can be
	// said of a proof alone: it carries the key. Whose key that is cannot.
	Unsigned error
}

// ReadProof takes a proof apart.
func ReadProof(raw []byte) (*Proof, error) {
	s, key, err := openProof(raw)
	if err != nil {
		return nil, err
	}
	p := &Proof{Signer: key.Thumbprint(), Algorithm: key.Algorithm(), Unsigned: s.verify(proofName, key)}
	p.Host, p.Nonce, p.Token, err = decodeProof(s.payload)
	return p, err
}

// ReadLease takes a lease apart.
func ReadLease(raw []byte) (*Lease, error) {
	const object = "lease"
	s, err := readSign1(raw, object, kindLease)
	if err == nil {
		err = s.end(raw, object)
	}
	if err != nil {
		return nil, err
	}
	return decodeLease(s.payload, object)
}

// Describe says in words what a proof is good for: one line for each statement.
func (p *Proof) Describe() []string {
	return []string{
		"proof of possession: who has the key " + p.Signer.String() + " (" + p.Algorithm.String() + ")",
		"presents the token with the SHA-256 " + hex.EncodeToString(p.Token[:]),
		"on host " + p.Host + ", in answer to nonce " + hex.EncodeToString(p.Nonce[:]) + ", once",
	}
}

// Describe says in words what a lease allows: one line for each statement.
func (l *Lease) Describe() []string {
	return []string{
		"lease " + l.ID.String() + " of verifier " + l.Issuer.String() + ", issued at " + stamp(l.IssuedAt),
		"host " + l.Host + " may use its tokens for " + l.Duration.String() + " from when it sent the request with nonce " + hex.EncodeToString(l.Nonce[:]),
		"in boot " + l.Boot.String(),
		"if it knows of no later revocation than number " + count(l.Sequence),
	}
}

// causeTexts say why an agent ended, in the order of the causes.
var causeTexts = [...]string{"an operator's command", "the lapse of its lease", "the revocation of its token", "the overrun of a quota", "a fault of its own",
	"the end of what started it", "its own exit"}

// Describe says in words what a receipt states: one line for each statement.
func (v *Receipt) Describe() []string {
	cause := causeTexts[v.Cause-1]
	if !v.Command.IsZero() {
		cause += " (" + v.Command.String() + ")"
	}
	return []string{
		"receipt of host " + v.Host + " in boot " + v.Boot.String(),
		"agent " + v.Agent + ", instance " + count(v.Instance) + ", is gone: ended by " + cause,
		count(v.Frames) + " frames were scrubbed and given back, " + count(v.Handles) + " handles are dead",
		"the kernel learnt of it " + v.Asked.String() + " after the boot; nothing was left " + (v.Gone - v.Asked).Round(time.Microsecond).String() + " later",
	}
}

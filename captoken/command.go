package captoken

import (
	"strconv"
	"time"

	"aios/captoken/cbor"
)

// Action is what a command asks for.
type Action uint8

// The actions.
const (
	ActionKill   Action = 1
	ActionRevoke Action = 2 // puts what the target names on the issuer's revocation list
)

func (a Action) String() string {
	switch a {
	case ActionKill:
		return "kill"
	case ActionRevoke:
		return "revoke"
	}
	return "action " + strconv.Itoa(int(a))
}

// Target is what a command is about. A kill: an agent on one host or wherever it is, all
// agents of a host, or all agents of the hosts with a label. A revocation: everything of
// an agent, a token or delegation, what hangs from a lease, or all epochs below one.
type Target struct {
	Agent string
	Host  string
	Label string
	Token ID
	Lease ID
	Epoch uint64
}

func (t Target) String() string {
	switch {
	case !t.Token.IsZero():
		return "token " + t.Token.String()
	case !t.Lease.IsZero():
		return "lease " + t.Lease.String()
	case t.Epoch > 0:
		return "every epoch below " + count(t.Epoch)
	case t.Label != "":
		return "all agents of hosts labelled " + t.Label
	case t.Agent == "":
		return "all agents of host " + t.Host
	case t.Host == "":
		return "agent " + t.Agent + " on every host"
	}
	return "agent " + t.Agent + " on host " + t.Host
}

// Command is an order of an operator.
type Command struct {
	ID                ID // MintCommand chooses one if it is zero
	Operator          Thumbprint
	Audience          string // the installation whose verifier is to act on it
	IssuedAt, Expires time.Time
	// Sequence is higher than in any command of this operator before: of two with the
	// same one only the first is carried out.
	Sequence uint64
	Role     string // in which the operator acts
	Action   Action
	Target   Target
	Reason   string // for people
}

// Bounds on commands.
const (
	MaxReason      = 256            // bytes
	MaxCommandLife = 24 * time.Hour // from IssuedAt to Expires
	ClockTolerance = time.Minute    // by which an operator's clock may be ahead
)

// Claims of commands, beside iss, aud, exp, iat and cti.
const (
	claimOrder  = -65548 // sequence number of the operator, at least 1
	claimRole   = -65549 // text
	claimAction = -65550 // 1: kill, 2: revoke
	claimTarget = -65551 // map: 1 agent, 2 host, 3 label, 4 token, 5 lease, 6 epoch
	claimReason = -65552 // text
)

// Keys of a target.
const (
	targetAgent = 1
	targetHost  = 2
	targetLabel = 3
	targetToken = 4
	targetLease = 5
	targetEpoch = 6
)

var commandClaims = []int64{claimIssuer, claimAudience, claimExpires, claimIssuedAt, claimID, claimOrder, claimRole, claimAction, claimTarget, claimReason}

func (c *Command) validate(object string) error {
	for _, n := range [...]struct{ what, name string }{{"audience", c.Audience}, {"role", c.Role}} {
		if !validName(n.name) {
			return claimError(object, n.what+" "+quote(n.name)+": expected "+nameRule)
		}
	}
	if err := validTimes(object, c.IssuedAt, c.Expires); err != nil {
		return err
	}
	switch {
	case c.Expires.Sub(c.IssuedAt) > MaxCommandLife:
		return claimError(object, "expected to last at most "+MaxCommandLife.String()+", found "+c.Expires.Sub(c.IssuedAt).String())
	case c.Sequence == 0:
		return claimError(object, "sequence number expected at least 1, found 0")
	case c.Action != ActionKill && c.Action != ActionRevoke:
		return claimError(object, "action expected 1 (kill) or 2 (revoke), found "+strconv.Itoa(int(c.Action)))
	case len(c.Reason) < 1 || len(c.Reason) > MaxReason || !printable(c.Reason):
		return claimError(object, "reason expected as printable text of 1 to "+strconv.Itoa(MaxReason)+" bytes, found "+quote(c.Reason))
	}
	return c.Target.validate(object, c.Action)
}

func (t *Target) validate(object string, action Action) error {
	for _, n := range [...]string{t.Agent, t.Host, t.Label} {
		if n != "" && !validName(n) {
			return claimError(object, "target "+quote(n)+": expected "+nameRule)
		}
	}
	if action == ActionRevoke {
		switch *t {
		case Target{}:
		case Target{Agent: t.Agent}, Target{Token: t.Token}, Target{Lease: t.Lease}, Target{Epoch: t.Epoch}:
			return nil
		}
		return claimError(object, "target expected as one of an agent, a token, a lease and an epoch")
	}
	if *t != (Target{Agent: t.Agent, Host: t.Host, Label: t.Label}) || (t.Label != "") == (t.Agent != "" || t.Host != "") {
		return claimError(object, "target expected as an agent, a host, both, or a label")
	}
	return nil
}

func printable(s string) bool {
	for _, c := range s {
		if !strconv.IsPrint(c) || c == '\uFFFD' { // what is no UTF-8 reads as U+FFFD
			return false
		}
	}
	return true
}

// MintCommand signs a command with an operator's key.
func MintCommand(operator Signer, c Command) ([]byte, error) {
	const object = "command"
	c.Operator = operator.Public().Thumbprint()
	if err := chooseID(&c.ID); err != nil {
		return nil, err
	}
	if err := c.validate(object); err != nil {
		return nil, err
	}
	return seal(operator, object, kindCommand, c.encode())
}

func (c *Command) encode() []byte {
	b := cbor.AppendMap(make([]byte, 0, 512), len(commandClaims))
	b = cbor.AppendText(cbor.AppendInt(b, claimIssuer), c.Operator.URI())
	b = cbor.AppendText(cbor.AppendInt(b, claimAudience), c.Audience)
	b = appendTime(b, claimExpires, c.Expires)
	b = appendTime(b, claimIssuedAt, c.IssuedAt)
	b = cbor.AppendBytes(cbor.AppendInt(b, claimID), c.ID[:])
	b = cbor.AppendUint(cbor.AppendInt(b, claimOrder), c.Sequence)
	b = cbor.AppendText(cbor.AppendInt(b, claimRole), c.Role)
	b = cbor.AppendUint(cbor.AppendInt(b, claimAction), uint64(c.Action))
	b = c.Target.append(cbor.AppendInt(b, claimTarget))
	return cbor.AppendText(cbor.AppendInt(b, claimReason), c.Reason)
}

func (t *Target) append(b []byte) []byte {
	n := 0
	var fields []byte
	add := func(key int64, there bool, value func([]byte) []byte) {
		if there {
			n++
			fields = value(cbor.AppendInt(fields, key))
		}
	}
	text := func(s string) func([]byte) []byte {
		return func(b []byte) []byte { return cbor.AppendText(b, s) }
	}
	add(targetAgent, t.Agent != "", text(t.Agent))
	add(targetHost, t.Host != "", text(t.Host))
	add(targetLabel, t.Label != "", text(t.Label))
	add(targetToken, !t.Token.IsZero(), func(b []byte) []byte { return cbor.AppendBytes(b, t.Token[:]) })
	add(targetLease, !t.Lease.IsZero(), func(b []byte) []byte { return cbor.AppendBytes(b, t.Lease[:]) })
	add(targetEpoch, t.Epoch > 0, func(b []byte) []byte { return cbor.AppendUint(b, t.Epoch) })
	return append(cbor.AppendMap(b, n), fields...)
}

// Operator is a person whose commands are accepted.
type Operator struct {
	Key   *PublicKey
	Roles []string
}

// CommandWant is what a command has to be good for.
type CommandWant struct {
	Operators []Operator
	Audience  string
	Now       time.Time
	// Permits says what a role may do. Without it nobody may do anything.
	Permits func(role string, action Action, target Target) bool
	// Last is the highest sequence number of an operator that was carried out, 0 if none.
	// Whoever acts on a command first stores its number, so that it is carried out once.
	Last func(operator Thumbprint) uint64
}

// VerifyCommand reads a command, or says why it must not be carried out.
func VerifyCommand(raw []byte, want CommandWant) (*Command, error) {
	const object = "command"
	keys := make([]*PublicKey, len(want.Operators))
	for i := range want.Operators {
		keys[i] = want.Operators[i].Key
	}
	key, payload, err := open(raw, object, kindCommand, keys)
	if err != nil {
		return nil, err
	}
	c, err := decodeCommand(payload, object)
	if err != nil {
		return nil, err
	}
	refuse := func(kind error, reason, remedy string) (*Command, error) {
		return nil, &Error{kind, object, reason, remedy}
	}
	switch {
	case c.Operator != key.Thumbprint():
		return nil, wrongIssuer(object, key, c.Operator)
	case c.Audience != want.Audience:
		return refuse(ErrAudience, "installation expected "+quote(want.Audience)+", found "+quote(c.Audience), "sign the command for this installation")
	case want.Now.Add(ClockTolerance).Before(c.IssuedAt):
		return refuse(ErrNotYet, "issued at "+stamp(c.IssuedAt)+", and it is "+stamp(want.Now), "check the clocks of operator and verifier")
	case !want.Now.Before(c.Expires):
		return refuse(ErrExpired, "valid until "+stamp(c.Expires)+", and it is "+stamp(want.Now), "sign the command again")
	case !hasRole(want.Operators, key, c.Role):
		return refuse(ErrRole, "the operator does not have the role "+quote(c.Role), "sign it in a role of yours, or ask for the role")
	case want.Permits == nil || !want.Permits(c.Role, c.Action, c.Target):
		return refuse(ErrRole, "the role "+c.Role+" may not "+c.Action.String()+" "+c.Target.String(), "have somebody sign it whose role may")
	}
	if last := want.Last(c.Operator); c.Sequence <= last {
		return refuse(ErrReplay, "sequence number expected above "+count(last)+", found "+count(c.Sequence), "sign a new command; this one was carried out, or a later one was")
	}
	return c, nil
}

func hasRole(operators []Operator, key *PublicKey, role string) bool {
	for i := range operators {
		if operators[i].Key != key {
			continue
		}
		for _, r := range operators[i].Roles {
			if r == role {
				return true
			}
		}
	}
	return false
}

// ReadCommand takes a command apart without verifying anything, to show it. Nothing
// that it returns may be relied on.
func ReadCommand(raw []byte) (*Command, error) {
	s, err := readSign1(raw, "command", kindCommand)
	if err == nil {
		err = s.end(raw, "command")
	}
	if err != nil {
		return nil, err
	}
	return decodeCommand(s.payload, "command")
}

func decodeCommand(payload []byte, object string) (*Command, error) {
	c := new(Command)
	r := cbor.NewReader(payload)
	s := newClaimSet(r, commandClaims)
	for key, ok := s.next(); ok; key, ok = s.next() {
		switch key {
		case claimIssuer:
			c.Operator = readIssuer(r)
		case claimAudience:
			c.Audience = readName(r)
		case claimExpires:
			c.Expires = readTime(r)
		case claimIssuedAt:
			c.IssuedAt = readTime(r)
		case claimID:
			c.ID = readID(r)
		case claimOrder:
			c.Sequence = r.Uint()
		case claimRole:
			c.Role = readName(r)
		case claimAction:
			c.Action = Action(readBounded(r, 255))
		case claimTarget:
			c.Target = readTarget(r)
		case claimReason:
			c.Reason = string(r.Text(1, MaxReason))
		}
	}
	if err := s.end(); err != nil {
		return nil, formError(object, "its claims, "+err.Error())
	}
	if err := c.validate(object); err != nil {
		return nil, received(err)
	}
	return c, nil
}

func readTarget(r *cbor.Reader) (t Target) {
	m := r.Map(1, 2)
	for key, ok := m.Next(); ok; key, ok = m.Next() {
		at, named := r.Offset(), true
		switch key {
		case targetAgent:
			t.Agent = readName(r)
		case targetHost:
			t.Host = readName(r)
		case targetLabel:
			t.Label = readName(r)
		case targetToken:
			t.Token = readID(r)
			named = !t.Token.IsZero()
		case targetLease:
			t.Lease = readID(r)
			named = !t.Lease.IsZero()
		case targetEpoch:
			t.Epoch = r.Uint()
			named = t.Epoch > 0
		default:
			r.Fail(at, "target "+strconv.FormatInt(key, 10)+" is unknown")
		}
		if !named && r.Err() == nil { // or two encodings would mean the same
			r.Fail(at, "target "+strconv.FormatInt(key, 10)+": expected more than zeros")
		}
	}
	return t
}

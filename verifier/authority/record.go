package authority

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"aios/captoken"
)

// record is one change of the state, and one line of the journal: what was decided in
// one step is in one record, so that all of it is there after a crash or none. It says
// what things are from then on, not how they came to be so: replaying needs no clock,
// no keys and no policy.
type record struct {
	At       int64  `cbor:"1,keyasint"` // milliseconds since 1970, never lower than before
	Sequence uint64 `cbor:"2,keyasint"` // revocation sequence from here on, never lower than before
	Epoch    uint64 `cbor:"3,keyasint"` // of the issuer from here on, never lower than before
	What     string `cbor:"4,keyasint"` // what was done, for people
	Reason   string `cbor:"5,keyasint,omitempty"`
	// Follow is in the first record of a file alone: so many records after it belong to
	// the snapshot, without all of which the file is worth nothing.
	Follow    uint64          `cbor:"6,keyasint,omitempty"`
	Hosts     []hostEntry     `cbor:"7,keyasint,omitempty"`  // each in place of what was known of the host
	Forgotten []string        `cbor:"8,keyasint,omitempty"`  // hosts
	Stops     []Stop          `cbor:"10,keyasint,omitempty"` // added
	Lifted    []Stop          `cbor:"11,keyasint,omitempty"` // taken away
	Operators []operatorEntry `cbor:"12,keyasint,omitempty"` // order numbers that were carried out
	Commands  []commandEntry  `cbor:"13,keyasint,omitempty"` // added; one goes when its last order does
	Orders    []order         `cbor:"14,keyasint,omitempty"` // each in place of one of the same command and host
	Done      []orderKey      `cbor:"15,keyasint,omitempty"` // orders that wait for nothing any more
	List      []byte          `cbor:"16,keyasint,omitempty"` // revocation list, signed, in place of the one before
}

// hostEntry is what is known of a host.
type hostEntry struct {
	Host     string       `cbor:"1,keyasint"`
	Judged   int64        `cbor:"2,keyasint"`           // seconds since 1970: when the newest verdict was reached
	Denied   bool         `cbor:"3,keyasint,omitempty"` // it was not affirming
	Boot     captoken.ID  `cbor:"4,keyasint"`           // that the lease is for
	Resets   uint32       `cbor:"5,keyasint"`           // TPM reset count of that boot
	Lease    captoken.ID  `cbor:"6,keyasint"`           // zeros: the next lease gets a new id
	Until    int64        `cbor:"7,keyasint"`           // milliseconds since 1970: no lease that was given runs longer, but for the grace
	Measured Measurement  `cbor:"8,keyasint"`           // SHA-256 of the PCR values of the boot
	Tokens   []tokenEntry `cbor:"9,keyasint,omitempty"` // that may be in force
}

// tokenEntry is a token that may be in force.
type tokenEntry struct {
	ID      captoken.ID `cbor:"1,keyasint"`
	Agent   string      `cbor:"2,keyasint"`
	Lease   captoken.ID `cbor:"3,keyasint"` // zeros: it was revoked, but the agent may not have heard of it
	Expires int64       `cbor:"4,keyasint"` // seconds since 1970
}

// Stop keeps agents from running: no token is issued to them. It stays until it is
// lifted.
type Stop struct {
	Agent string `cbor:"1,keyasint,omitempty"` // empty: every agent
	Host  string `cbor:"2,keyasint,omitempty"` // empty: every host
}

// operatorEntry is the highest order number of an operator that was carried out.
type operatorEntry struct {
	Operator captoken.Thumbprint `cbor:"1,keyasint"`
	Order    uint64              `cbor:"2,keyasint"`
}

// commandEntry is a command of which a receipt is awaited.
type commandEntry struct {
	ID  captoken.ID `cbor:"1,keyasint"`
	Raw []byte      `cbor:"2,keyasint"` // as the operator signed it
}

// order is a command's part that one host has to carry out and prove.
type order struct {
	Command captoken.ID `cbor:"1,keyasint"`
	Host    string      `cbor:"2,keyasint"`
	Nonce   Nonce       `cbor:"3,keyasint"` // of the quotes of its receipts
	At      int64       `cbor:"4,keyasint"` // milliseconds since 1970: when it was ordered
	Agents  []string    `cbor:"5,keyasint"` // whose receipts are awaited, ascending
}

// Nonce is the verifier's nonce in the quotes of receipts.
type Nonce [captoken.NonceSize]byte

type orderKey struct {
	Command captoken.ID `cbor:"1,keyasint"`
	Host    string      `cbor:"2,keyasint"`
}

func (o *order) key() orderKey { return orderKey{o.Command, o.Host} }

var (
	encoder cbor.EncMode
	decoder cbor.DecMode
)

func init() {
	var err error
	if encoder, err = cbor.CoreDetEncOptions().EncMode(); err != nil {
		panic(err) // options are constants
	}
	decoder, err = cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 6, MaxArrayElements: 1 << 20, MaxMapPairs: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
}

func (r *record) encode() ([]byte, error) { return encoder.Marshal(r) }

// decodeRecord reads what encode writes and nothing else.
func decodeRecord(body []byte) (*record, error) {
	r := new(record)
	if err := decoder.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("not a record: %w", err)
	}
	again, err := r.encode()
	if err != nil {
		return nil, fmt.Errorf("not a record: %w", err)
	}
	if string(again) != string(body) {
		return nil, fmt.Errorf("a record that is not in the one form it has")
	}
	return r, nil
}

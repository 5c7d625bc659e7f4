package evidence

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/fxamacker/cbor/v2"
)

// Operations.
const (
	OpHello     = "hello"
	OpIdentity  = "identity"
	OpActivate  = "activate"
	OpChallenge = "challenge"
	OpGrant     = "grant"
	OpOrders    = "orders"
	OpWatch     = "watch"
	OpAdmit     = "admit"
	OpRefuse    = "refuse"
)

// Request is what the verifier asks. Only the fields of its operation are set.
type Request struct {
	ID         uint64  `cbor:"1,keyasint"`            // of the client's choice, in the answer too
	Op         string  `cbor:"2,keyasint"`            // one of the operations
	Nonce      []byte  `cbor:"3,keyasint,omitempty"`  // challenge: 32 bytes
	Credential []byte  `cbor:"4,keyasint,omitempty"`  // activate: TPM2B_ID_OBJECT
	Secret     []byte  `cbor:"5,keyasint,omitempty"`  // activate: TPM2B_ENCRYPTED_SECRET
	Grant      *Grant  `cbor:"6,keyasint,omitempty"`  // grant
	Orders     *Orders `cbor:"7,keyasint,omitempty"`  // orders
	After      uint64  `cbor:"8,keyasint,omitempty"`  // watch: number of the last event that is known
	Token      []byte  `cbor:"9,keyasint,omitempty"`  // admit: enrolment token for the host to show to its verifier
	Text       string  `cbor:"10,keyasint,omitempty"` // refuse: why, for people
}

// Response answers the request of the same ID. Exactly one of the pointers is set.
type Response struct {
	ID       uint64    `cbor:"1,keyasint"`            // of the request
	Error    *Error    `cbor:"2,keyasint,omitempty"`  // instead of an answer
	Hello    *Hello    `cbor:"3,keyasint,omitempty"`  // hello
	Identity *Identity `cbor:"4,keyasint,omitempty"`  // identity
	Secret   []byte    `cbor:"5,keyasint,omitempty"`  // activate
	Evidence *Evidence `cbor:"6,keyasint,omitempty"`  // challenge
	Granted  *Granted  `cbor:"7,keyasint,omitempty"`  // grant
	Obeyed   *Obeyed   `cbor:"8,keyasint,omitempty"`  // orders
	Events   *Events   `cbor:"9,keyasint,omitempty"`  // watch
	Taken    bool      `cbor:"10,keyasint,omitempty"` // admit, refuse: it was taken note of
}

// Error is a refusal by the host.
type Error struct {
	Code string `cbor:"1,keyasint"` // for programs
	Text string `cbor:"2,keyasint"` // for people, at most 1024 bytes
}

// Codes of Error.
const (
	CodeRequest = "bad-request" // the request cannot be served as it is
	CodeTPM     = "tpm"         // the TPM or the kernel refused
)

// Error is for a terminal: what a host says may not control it.
func (e *Error) Error() string {
	printable := func(s string) string {
		return strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '.'
			}
			return r
		}, s[:min(len(s), maxText)])
	}
	return fmt.Sprintf("host: %s (%s)", printable(e.Text), printable(e.Code))
}

// Hello says who answers. Nothing in it is proven.
type Hello struct {
	Version         string `cbor:"1,keyasint"` // of the attester
	ManifestVersion uint64 `cbor:"2,keyasint"` // of the system manifest
	UptimeNanos     uint64 `cbor:"3,keyasint"` // since boot
}

// Identity is what an enrolment needs, as the TPM gave it.
type Identity struct {
	EKCertificate     []byte `cbor:"1,keyasint"` // DER as stored in NV, may be empty
	EKPublic          []byte `cbor:"2,keyasint"` // TPMT_PUBLIC
	AKPublic          []byte `cbor:"3,keyasint"` // TPMT_PUBLIC
	CreationData      []byte `cbor:"4,keyasint"` // TPMS_CREATION_DATA
	CreationAttest    []byte `cbor:"5,keyasint"` // TPMS_ATTEST
	CreationSignature []byte `cbor:"6,keyasint"` // TPMT_SIGNATURE
	// Token is the enrolment token that the host was given, if any.
	Token []byte `cbor:"7,keyasint,omitempty"`
}

// Evidence is a quote and what explains it.
type Evidence struct {
	Attest    []byte   `cbor:"1,keyasint"` // TPMS_ATTEST
	Signature []byte   `cbor:"2,keyasint"` // TPMT_SIGNATURE
	PCRs      [][]byte `cbor:"3,keyasint"` // 24 values of the sha256 bank
	EventLog  []byte   `cbor:"4,keyasint"` // crypto-agile, merged
	Manifest  []byte   `cbor:"5,keyasint"` // payload of the system manifest
	// Request is what the host asks of the token authority, bound to the quote by
	// Qualify; nil from a host that asks for nothing.
	Request *LeaseRequest `cbor:"6,keyasint,omitempty"`
}

// Bounds.
const (
	NonceSize   = 32
	MaxRequest  = 1 << 20
	MaxResponse = 4 << 20
	MaxList     = 4096 // elements of any list
	maxText     = 1024
)

// ErrMessage is wrapped when bytes are not a message of this protocol.
var ErrMessage = errors.New("not a message of the evidence protocol")

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
		MaxNestedLevels: 6, MaxArrayElements: MaxList, MaxMapPairs: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
}

func encode(v any) ([]byte, error) { return encoder.Marshal(v) }

// decode takes a message only in its one deterministic form.
func decode(b []byte, v any) error {
	if err := decoder.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMessage, err)
	}
	again, err := encode(v)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if string(again) != string(b) {
		return fmt.Errorf("%w: not in deterministic form", ErrMessage)
	}
	return nil
}

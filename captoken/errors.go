package captoken

import (
	"errors"
	"strconv"
	"time"
)

// Why an object is refused. errors.Is finds them in every error of this package.
var (
	ErrForm       = errors.New("not in the form that the format demands")
	ErrIssuer     = errors.New("signed by nobody who is trusted with it")
	ErrSignature  = errors.New("the signature does not fit")
	ErrDelegation = errors.New("not a delegation that the token allows")
	ErrAudience   = errors.New("for another host")
	ErrSubject    = errors.New("for another agent")
	ErrNotYet     = errors.New("not valid yet")
	ErrExpired    = errors.New("expired")
	ErrEpoch      = errors.New("of an epoch that was revoked")
	ErrLease      = errors.New("hangs from no lease that is held")
	ErrRevoked    = errors.New("revoked")
	ErrRight      = errors.New("does not carry the right")
	ErrBoot       = errors.New("for another boot")
	ErrNonce      = errors.New("answers no request that is open")
	ErrSequence   = errors.New("older than what is known")
	ErrReplay     = errors.New("was carried out before")
	ErrRole       = errors.New("outside the operator's role")
)

// Error is the type of every error of this package.
type Error struct {
	Kind   error  // one of the above
	Object string // what was looked at: "token", "delegation 2", "lease"
	Reason string // what was expected and what was found
	Remedy string // what to do about it
}

func (e *Error) Error() string { return e.Object + ": " + e.Reason + "; " + e.Remedy }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

const (
	remedyForm  = "it was damaged on its way or written by another version; get it again from whom it came"
	remedyClaim = "correct the value"
)

func formError(object, reason string) error { return &Error{ErrForm, object, reason, remedyForm} }

// claimError is about a value that somebody wants to sign.
func claimError(object, reason string) error { return &Error{ErrForm, object, reason, remedyClaim} }

// received turns an error of validation into one about something that was read.
func received(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return formError(e.Object, e.Reason)
	}
	return err
}

// quote makes untrusted text fit for a console line.
func quote(s string) string {
	if len(s) > 64 {
		return strconv.QuoteToASCII(s[:64]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func count(n uint64) string { return strconv.FormatUint(n, 10) }

package manifest

import (
	"errors"
	"strconv"
)

// What can be wrong with a manifest or with what it describes.
var (
	ErrFormat    = errors.New("not a system manifest")
	ErrSignature = errors.New("not signed by whom it has to be")
	ErrDigest    = errors.New("not the image of the manifest")
	ErrRollback  = errors.New("older than the rollback floor")
)

// Error is the type of every error of this package. The boot stage prints its parts
// one by one.
type Error struct {
	Kind   error  // one of the four above; errors.Is finds it
	Object string // what was looked at: "kernel.elf", "line 3"
	Reason string // what was expected and what was found
	Remedy string // what to do about it
}

func (e *Error) Error() string {
	return e.Object + ": " + e.Reason + "; " + e.Remedy
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

const (
	remedyImage  = "the file was changed, cut off or belongs to another manifest; install the image again"
	remedyFormat = "write the manifest with aios image build"
	remedySigned = "sign the manifest with a key that this boot stage trusts, or build the boot stage with the signer's public key"
)

func formatError(object, reason string) error {
	return &Error{ErrFormat, object, reason, remedyFormat}
}

func lineError(line int, reason string) error {
	return formatError("system manifest line "+strconv.Itoa(line), reason)
}

func signatureError(object, reason string) error {
	return &Error{ErrSignature, object, reason, remedySigned}
}

// quote makes untrusted text fit for a console line.
func quote(s string) string {
	if len(s) > 64 {
		return strconv.QuoteToASCII(s[:64]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

package eventlog

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
)

// Algorithm is a TPM_ALG_ID of a hash (TCG Algorithm Registry, 5).
type Algorithm uint16

const (
	SHA1   Algorithm = 0x0004
	SHA256 Algorithm = 0x000b
	SHA384 Algorithm = 0x000c
	SHA512 Algorithm = 0x000d
	SM3    Algorithm = 0x0012
)

// String is the bank's name as in TPM tools, alg-XXXX if it has none here.
func (a Algorithm) String() string {
	switch a {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
	case SM3:
		return "sm3"
	}
	return fmt.Sprintf("alg-%04x", uint16(a))
}

// Size is the digest's length in bytes, 0 for an algorithm that is not known here.
func (a Algorithm) Size() int {
	switch a {
	case SHA1:
		return sha1.Size
	case SHA256, SM3:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

// appendHash appends the hash of b to dst, or reports that a cannot be computed
// (SM3, unknown algorithms).
func (a Algorithm) appendHash(dst, b []byte) ([]byte, bool) {
	switch a {
	case SHA1:
		h := sha1.Sum(b)
		return append(dst, h[:]...), true
	case SHA256:
		h := sha256.Sum256(b)
		return append(dst, h[:]...), true
	case SHA384:
		h := sha512.Sum384(b)
		return append(dst, h[:]...), true
	case SHA512:
		h := sha512.Sum512(b)
		return append(dst, h[:]...), true
	}
	return dst, false
}

// Bank is one algorithm of the log and its digest size, from the Spec ID event.
type Bank struct {
	Algorithm Algorithm
	Size      int
}

// Digest is one digest of an event. Bytes aliases the log.
type Digest struct {
	Algorithm Algorithm
	Bytes     []byte
}

// Event is one entry. Slices alias the log.
type Event struct {
	Index   int // in the log, from 0
	Offset  int // of its first byte
	PCR     uint32
	Type    Type
	Digests []Digest
	Data    []byte
	Legacy  bool // a TCG_PCR_EVENT: one SHA-1 digest, no list
}

// Digest returns the event's digest in a bank, nil if it has none.
func (e *Event) Digest(a Algorithm) []byte {
	for _, d := range e.Digests {
		if d.Algorithm == a {
			return d.Bytes
		}
	}
	return nil
}

// Log is what was read of a log.
type Log struct {
	Agile    bool   // crypto-agile: every event has a digest in each bank
	Banks    []Bank // in the order of the Spec ID event; SHA-1 alone if there is none
	Spec     Spec   // of the Spec ID event
	Events   []Event
	Size     int      // bytes that the events take, without padding
	Warnings []string // oddities that change nothing
}

// Spec is the version that the Spec ID event declares.
type Spec struct {
	Signature    string
	Major, Minor uint8
	Errata       uint8
	VendorInfo   []byte
}

// ErrTruncated is wrapped when the log ends inside an event, ErrTrailing when
// bytes follow that begin no event, ErrFormat when an event contradicts the
// log's own header.
var (
	ErrTruncated = errors.New("event log is truncated")
	ErrTrailing  = errors.New("bytes after the last event")
	ErrFormat    = errors.New("malformed event log")
)

// ParseError tells where reading stopped; what came before is in the Log.
type ParseError struct {
	Offset int    // of the event that cannot be read
	Event  int    // its index
	Reason string // what was expected, what was found
	Kind   error  // ErrTruncated, ErrTrailing or ErrFormat
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%v: event %d at byte %d: %s", e.Kind, e.Event, e.Offset, e.Reason)
}

func (e *ParseError) Unwrap() error { return e.Kind }

package ear

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Profile is the eat_profile of draft-ietf-rats-ear-04, Submodule the name of the one
// submodule that AIOS appraises.
const (
	Profile   = "tag:ietf.org,2026:rats/ear#04"
	Submodule = "aios-host"
)

// Statuses, AR4SI section 2.3.2. The fourth, "none", is never issued: a host about
// which nothing is known is contraindicated.
const (
	Affirming       = "affirming"
	Warning         = "warning"
	Contraindicated = "contraindicated"
)

// Bounds. RFC 9711 section 4.1 wants nonces of 8 to 64 bytes. A result states what was
// so when it was issued, so it must not live long.
const (
	MinNonce    = 8
	MaxNonce    = 64
	MaxLifetime = 24 * time.Hour
	MaxToken    = 64 << 10 // bytes of a token; the signature alone has 4412
)

// Result is the outcome of one appraisal.
type Result struct {
	Status   string
	Nonce    []byte
	IssuedAt time.Time // whole seconds
	Expires  time.Time // whole seconds
	Verifier Verifier
	PolicyID string // names the policy, for example by its digest
	Vector   Vector
	Host     map[string]string // what was proven about the host
	Reasons  []Reason          // why the status is not affirming
}

// Verifier names the program that appraised.
type Verifier struct {
	Build     string `json:"build"`
	Developer string `json:"developer"`
}

// Reason is one cause for a status that is not affirming. Its fields are those of
// policy.Reason, so one converts to the other.
type Reason struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// Vector is AR4SI's trustworthiness vector. Zero means that nothing is said.
type Vector struct {
	Configuration    int8 `json:"configuration,omitempty"`
	Executables      int8 `json:"executables,omitempty"`
	FileSystem       int8 `json:"file-system,omitempty"`
	Hardware         int8 `json:"hardware,omitempty"`
	InstanceIdentity int8 `json:"instance-identity,omitempty"`
	RuntimeOpaque    int8 `json:"runtime-opaque,omitempty"`
	SourcedData      int8 `json:"sourced-data,omitempty"`
	StorageOpaque    int8 `json:"storage-opaque,omitempty"`
}

// Values of a vector's elements, AR4SI section 2.3.3. The same number means something
// else in each element.
const (
	CryptoFailed int8 = 99 // any element: signatures or digests did not verify

	InstanceTrusted      int8 = 2
	InstanceUntrusted    int8 = 96
	InstanceUnrecognized int8 = 97

	ConfigurationApproved      int8 = 2
	ConfigurationUnsafe        int8 = 32
	ConfigurationUnsupportable int8 = 96

	ExecutablesApproved        int8 = 2 // at boot and while running
	ExecutablesApprovedBoot    int8 = 3 // what was booted, nothing about later
	ExecutablesUnrecognized    int8 = 33
	ExecutablesContraindicated int8 = 96

	HardwareGenuine         int8 = 2
	HardwareUnsafe          int8 = 32
	HardwareContraindicated int8 = 96
	HardwareUnrecognized    int8 = 97
)

func (v Vector) values() [8]int8 {
	return [8]int8{v.Configuration, v.Executables, v.FileSystem, v.Hardware, v.InstanceIdentity, v.RuntimeOpaque, v.SourcedData, v.StorageOpaque}
}

// AtBest returns v without the elements that AR4SI ranks below a status: where a policy
// overrules a finding, the result makes no claim instead of a contradictory one.
func (v Vector) AtBest(status string) Vector {
	for _, e := range []*int8{&v.Configuration, &v.Executables, &v.FileSystem, &v.Hardware, &v.InstanceIdentity, &v.RuntimeOpaque, &v.SourcedData, &v.StorageOpaque} {
		if tier(*e) > rank(status) {
			*e = 0
		}
	}
	return v
}

// rank orders statuses from good to bad; 0 is no status.
func rank(status string) int {
	switch status {
	case Affirming:
		return 1
	case Warning:
		return 2
	case Contraindicated:
		return 3
	}
	return 0
}

// tier is the status that one value stands for, AR4SI section 2.3.2.
func tier(value int8) int {
	switch v := int(value); {
	case v >= -1 && v <= 1:
		return 0
	case v >= -32 && v <= 31:
		return 1
	case v >= -96 && v <= 95:
		return 2
	default:
		return 3
	}
}

// ErrResult is wrapped by Issue's errors about a result that makes no sense, and by
// Verify's about a token that carries one.
var ErrResult = errors.New("inconsistent attestation result")

// check holds a result to what every reader may rely on.
func (r *Result) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrResult, fmt.Sprintf(format, args...))
	}
	status := rank(r.Status)
	if status == 0 {
		return bad("status: expected affirming, warning or contraindicated, found %q", r.Status)
	}
	if n := len(r.Nonce); n < MinNonce || n > MaxNonce {
		return bad("nonce: %d bytes, expected %d to %d", n, MinNonce, MaxNonce)
	}
	if r.IssuedAt.Unix() <= 0 || !r.IssuedAt.Equal(r.IssuedAt.Truncate(time.Second)) || !r.Expires.Equal(r.Expires.Truncate(time.Second)) {
		return bad("issued %v, expires %v: expected whole seconds after 1970", r.IssuedAt, r.Expires)
	}
	if life := r.Expires.Sub(r.IssuedAt); life <= 0 || life > MaxLifetime {
		return bad("issued %v, expires %v: expected a lifetime above 0 and up to %v", r.IssuedAt, r.Expires, MaxLifetime)
	}
	if r.Verifier.Build == "" || r.Verifier.Developer == "" {
		return bad("the verifier has no build or no developer")
	}
	if r.PolicyID == "" {
		return bad("the policy is not named")
	}
	worst := 0
	for _, v := range r.Vector.values() {
		worst = max(worst, tier(v))
	}
	if r.Vector == (Vector{}) {
		return bad("the trustworthiness vector says nothing; set at least one element")
	}
	if worst > status {
		return bad("status %s is better than the trustworthiness vector %+v", r.Status, r.Vector)
	}
	if (r.Status == Affirming) != (len(r.Reasons) == 0) {
		return bad("status %s with %d reasons", r.Status, len(r.Reasons))
	}
	for i, reason := range r.Reasons {
		if reason.Code == "" || reason.Text == "" {
			return bad("reason %d has no code or no text", i)
		}
	}
	return nil
}

// toUTF8 returns r with every text made valid UTF-8. A text may quote what a hostile
// log holds; JSON has no other characters, and the token must not read differently
// from what was signed.
func (r Result) toUTF8() Result {
	fix := func(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }
	r.PolicyID = fix(r.PolicyID)
	r.Verifier = Verifier{fix(r.Verifier.Build), fix(r.Verifier.Developer)}
	if r.Host != nil {
		host := make(map[string]string, len(r.Host))
		for k, v := range r.Host {
			host[fix(k)] = fix(v)
		}
		r.Host = host
	}
	if r.Reasons != nil {
		reasons := make([]Reason, len(r.Reasons))
		for i, reason := range r.Reasons {
			reasons[i] = Reason{fix(reason.Code), fix(reason.Text), fix(reason.Remedy)}
		}
		r.Reasons = reasons
	}
	return r
}

package manifest

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"aios/captoken/mldsa"
)

// Verifier is whom the host proves itself to, and from whom alone it takes orders. A host
// without one proves itself to whoever asks over its console and runs no agent.
type Verifier struct {
	Address  string        // host:port: an IPv4 address or a DNS name in lower case
	Grace    time.Duration // how long agents go on when a lease was not renewed, in whole milliseconds
	Identity []byte        // raw ML-DSA-65 public key that it introduces itself with
	Issuer   []byte        // raw ML-DSA-65 public key that signs leases and tokens
}

func appendVerifier(b []byte, v *Verifier) []byte {
	b = append(b, "verifier "+v.Address+" grace="...)
	b = strconv.AppendInt(b, v.Grace.Milliseconds(), 10)
	b = append(b, " identity="...)
	b = base64.StdEncoding.AppendEncode(b, v.Identity)
	b = append(b, " issuer="...)
	b = base64.StdEncoding.AppendEncode(b, v.Issuer)
	return append(b, '\n')
}

func parseVerifier(line string) (*Verifier, error) {
	f := strings.Split(line, " ")
	if len(f) != 5 || f[0] != "verifier" {
		return nil, fieldError("expected \"verifier <host>:<port> grace=<ms> identity=<base64> issuer=<base64>\", found " + quote(line))
	}
	grace, ok1 := strings.CutPrefix(f[2], "grace=")
	identity, ok2 := strings.CutPrefix(f[3], "identity=")
	issuer, ok3 := strings.CutPrefix(f[4], "issuer=")
	if !ok1 || !ok2 || !ok3 {
		return nil, fieldError("verifier: expected grace=, identity= and issuer=, found " + quote(strings.Join(f[2:], " ")))
	}
	ms, err := strconv.ParseInt(grace, 10, 64)
	if err != nil || ms < 0 || ms > MaxGrace.Milliseconds() { // before it is multiplied
		return nil, fieldError("verifier: grace expected 0 to " + strconv.FormatInt(MaxGrace.Milliseconds(), 10) + " ms, found " + quote(grace))
	}
	v := &Verifier{Address: f[1], Grace: time.Duration(ms) * time.Millisecond}
	if v.Identity, err = base64.StdEncoding.DecodeString(identity); err != nil {
		return nil, fieldError("verifier: identity expected base64, found " + quote(identity))
	}
	if v.Issuer, err = base64.StdEncoding.DecodeString(issuer); err != nil {
		return nil, fieldError("verifier: issuer expected base64, found " + quote(issuer))
	}
	return v, nil
}

func (v *Verifier) validate() error {
	if !validAddress(v.Address) {
		return formatError("verifier", "address "+quote(v.Address)+": expected <host>:<port> with an IPv4 address or a DNS name in lower case, and a port of 1 to 65535")
	}
	if v.Grace < 0 || v.Grace > MaxGrace || v.Grace%time.Millisecond != 0 {
		return formatError("verifier", "grace expected whole milliseconds from 0 to "+strconv.FormatInt(MaxGrace.Milliseconds(), 10)+", found "+v.Grace.String())
	}
	for _, key := range []struct {
		name string
		raw  []byte
	}{{"identity", v.Identity}, {"issuer", v.Issuer}} {
		if _, err := mldsa.NewPublicKey(key.raw); err != nil {
			return formatError("verifier", key.name+": expected the "+strconv.Itoa(mldsa.PublicKeySize)+" bytes of an ML-DSA-65 public key, found "+strconv.Itoa(len(key.raw)))
		}
	}
	return nil
}

// validAddress insists on one spelling of an address, as everywhere in a manifest.
func validAddress(s string) bool {
	host, port, _ := strings.Cut(s, ":")
	if n, ok := decimal(port, 65535); !ok || n == 0 {
		return false
	}
	labels := strings.Split(host, ".")
	if _, number := decimal(labels[len(labels)-1], 1<<62); number { // no name ends in a number (RFC 1123 section 2.1)
		for _, l := range labels {
			if _, ok := decimal(l, 255); !ok {
				return false
			}
		}
		return len(labels) == 4
	}
	for _, l := range labels {
		if len(l) > 63 || !wellFormed(l, false) {
			return false
		}
	}
	return len(host) <= MaxHost
}

// decimal reads a number in its one spelling.
func decimal(s string, most uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= most && strconv.FormatUint(n, 10) == s
}

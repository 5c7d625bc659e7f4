package eventlog

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// SignatureList is one EFI_SIGNATURE_LIST (UEFI 2.10 section 32.4.1).
type SignatureList struct {
	Type       GUID
	X509       bool
	Signatures []Signature
}

// Signature is one EFI_SIGNATURE_DATA.
type Signature struct {
	Owner GUID
	Data  []byte
	// Certificate is the parsed X.509 certificate, nil for hashes and for
	// certificates that Go refuses (CertificateError says why): real db
	// variables hold some with negative serials or duplicate extensions.
	Certificate      *x509.Certificate
	CertificateError error
}

var guidX509 = GUID{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}

const maxSignatures = 8192

// ErrSignatureList reports a malformed EFI_SIGNATURE_LIST.
var ErrSignatureList = errors.New("malformed EFI_SIGNATURE_LIST")

// ParseSignatureLists reads the content of PK, KEK, db or dbx.
func ParseSignatureLists(b []byte) ([]SignatureList, error) {
	var out []SignatureList
	total := 0
	for len(b) > 0 {
		const header = 28
		if len(b) < header {
			return out, fmt.Errorf("%w: %d bytes left, a list takes at least %d", ErrSignatureList, len(b), header)
		}
		size, head, each := uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:])), uint64(le.Uint32(b[24:]))
		if size < header || size > uint64(len(b)) || head > size-header || each < 16 || (size-header-head)%each != 0 {
			return out, fmt.Errorf("%w: list of %d bytes with header %d and entries of %d, %d are left", ErrSignatureList, size, head, each, len(b))
		}
		l := SignatureList{Type: GUID(b[:16])}
		l.X509 = l.Type == guidX509
		for body := b[header+head : size]; len(body) > 0; body = body[each:] {
			if total++; total > maxSignatures {
				return out, fmt.Errorf("%w: more than %d entries", ErrSignatureList, maxSignatures)
			}
			s := Signature{Owner: GUID(body[:16]), Data: body[16:each]}
			if l.X509 {
				s.Certificate, s.CertificateError = x509.ParseCertificate(s.Data)
			}
			l.Signatures = append(l.Signatures, s)
		}
		out = append(out, l)
		b = b[size:]
	}
	return out, nil
}

// SecureBootState says what a log proves about Secure Boot.
type SecureBootState string

const (
	SecureBootOn        SecureBootState = "enabled"    // on, and a verified image was measured with the authority that allowed it
	SecureBootOff       SecureBootState = "disabled"   // the variable says so, or is empty
	SecureBootNotProven SecureBootState = "not proven" // nothing was measured, or no authority
)

// SecureBoot is the state with its grounds.
type SecureBoot struct {
	State       SecureBootState `json:"state"`
	Reason      string          `json:"reason"`
	Authorities []string        `json:"authorities,omitempty"` // who vouched for the images, in order
}

// maxAuthorities bounds what is told of a log that names more.
const maxAuthorities = 64

// SecureBoot judges the events of PCR 7. It means something only once the
// replay has matched a quote, and only as far as every digest there is that of
// the event's data.
func (l *Log) SecureBoot() SecureBoot {
	v, ok := l.Variable("SecureBoot")
	switch {
	case !ok:
		return SecureBoot{State: SecureBootNotProven, Reason: "the SecureBoot variable was not measured before the separator"}
	case len(v) == 0:
		return SecureBoot{State: SecureBootOff, Reason: "the SecureBoot variable is empty"}
	case len(v) != 1 || v[0] != 1:
		return SecureBoot{State: SecureBootOff, Reason: fmt.Sprintf("the SecureBoot variable is %x", head(v))}
	}
	s := SecureBoot{State: SecureBootOn}
	n, pcr := 0, l.secureBootPCR()
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type != EVEFIVariableAuthority || e.PCR != pcr {
			continue
		}
		if n++; n <= maxAuthorities {
			s.Authorities = append(s.Authorities, authority(e.Data))
		}
	}
	if n == 0 {
		return SecureBoot{State: SecureBootNotProven, Reason: "Secure Boot is on, but no authority was measured for any image"}
	}
	s.Reason = fmt.Sprintf("on, images vouched for by %d authorities", n)
	return s
}

// secureBootPCR is the register that holds the state of Secure Boot: PCR 7. The
// log of a confidential machine numbers measurement registers instead, of which
// 1 takes the place of PCR 1 and 7 (UEFI 2.10 section 38.4.1); it has neither of
// the banks that every TPM has.
func (l *Log) secureBootPCR() uint32 {
	for _, b := range l.Banks {
		if b.Algorithm == SHA1 || b.Algorithm == SHA256 {
			return 7
		}
	}
	for i := range l.Events {
		if l.Events[i].PCR == 7 {
			return 7
		}
	}
	return 1
}

// authority names the certificate or hash that an EV_EFI_VARIABLE_AUTHORITY event shows.
func authority(d []byte) string {
	v, err := ParseVariable(d)
	if err != nil {
		return clean("malformed: " + err.Error())
	}
	for _, skip := range []int{16, 0} { // EFI_SIGNATURE_DATA; some firmware leaves the owner out
		if len(v.Data) > skip {
			if c, err := x509.ParseCertificate(v.Data[skip:]); err == nil {
				return clean(v.Name + ": " + c.Subject.String())
			}
		}
	}
	return clean(fmt.Sprintf("%s: %d bytes", v.Name, len(v.Data)))
}

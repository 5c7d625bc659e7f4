// Package ek reads endorsement key certificates (TCG EK Credential Profile
// 2.6) as vendors write them, and verifies that they lead to a CA that the
// operator trusts.
package ek

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

var (
	// ErrFormat: the bytes are not a certificate that can be used.
	ErrFormat = errors.New("EK certificate")
	// ErrUnknownCA: no chain leads to a trusted root.
	ErrUnknownCA = errors.New("EK certificate is not from a trusted TPM manufacturer")
)

// Quirks that Parse unwraps and names.
const (
	QuirkNVHeader = "7-byte header of the NV index in front"
	QuirkPadding  = "padding behind the certificate"
	QuirkPEM      = "PEM instead of DER"
	QuirkOAEP     = "public key marked RSAES-OAEP"
	QuirkNoSAN    = "no subject alternative name: the TPM's model is not stated"
)

const maxSize = 16 << 10

// Certificate is a parsed EK certificate.
type Certificate struct {
	X509      *x509.Certificate
	PublicKey crypto.PublicKey // *rsa.PublicKey or *ecdsa.PublicKey
	Quirks    []string
}

// Issuer names who signed it.
func (c *Certificate) Issuer() string { return c.X509.Issuer.String() }

var (
	oidRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidOAEP  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	oidSAN   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidEK    = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
	nvHeader = []byte{0x10, 0x01, 0x00}                // TCG PC Specific Implementation 1.21, 7.4.2: TCG_PCCLIENT_STORED_CERT
)

// Parse reads a certificate as it lies in NV or in a file.
func Parse(b []byte) (*Certificate, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrFormat, len(b), maxSize)
	}
	c := &Certificate{}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
		c.Quirks = append(c.Quirks, QuirkPEM)
	}
	if len(b) > 7 && bytes.HasPrefix(b, nvHeader) && b[7] == 0x30 {
		b = b[7:]
		c.Quirks = append(c.Quirks, QuirkNVHeader)
	}
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(b, &outer)
	if err != nil || outer.Tag != asn1.TagSequence || outer.Class != asn1.ClassUniversal {
		return nil, fmt.Errorf("%w: does not begin with an ASN.1 sequence: is NV index 0x1c00002 a certificate?", ErrFormat)
	}
	if len(rest) > 0 {
		if !bytes.Equal(rest, bytes.Repeat(rest[:1], len(rest))) { // one byte, repeated
			return nil, fmt.Errorf("%w: %d bytes behind it are not padding", ErrFormat, len(rest))
		}
		c.Quirks = append(c.Quirks, QuirkPadding)
	}
	if c.X509, err = x509.ParseCertificate(outer.FullBytes); err != nil {
		return nil, fmt.Errorf("%w: %v: ask the TPM's vendor for a valid one", ErrFormat, err)
	}
	if c.PublicKey = c.X509.PublicKey; c.PublicKey == nil {
		if c.PublicKey, err = oaepKey(c.X509.RawSubjectPublicKeyInfo); err != nil {
			return nil, err
		}
		c.Quirks = append(c.Quirks, QuirkOAEP)
	}
	if !slices.ContainsFunc(c.X509.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSAN) }) {
		c.Quirks = append(c.Quirks, QuirkNoSAN)
	}
	return c, nil
}

// oaepKey reads an RSA key whose algorithm says that it is for RSAES-OAEP,
// as older profiles wanted it; Go takes rsaEncryption only.
func oaepKey(spki []byte) (*rsa.PublicKey, error) {
	var info struct {
		Algorithm struct {
			OID        asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Key asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &info); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: malformed public key", ErrFormat)
	}
	if !info.Algorithm.OID.Equal(oidOAEP) && !info.Algorithm.OID.Equal(oidRSA) {
		return nil, fmt.Errorf("%w: public key of algorithm %v, want RSA or ECC", ErrFormat, info.Algorithm.OID)
	}
	k, err := x509.ParsePKCS1PublicKey(info.Key.RightAlign())
	if err != nil {
		return nil, fmt.Errorf("%w: public key: %v", ErrFormat, err)
	}
	return k, nil
}

// Roots are the CAs that the operator trusts to know real TPMs, and the
// intermediates that lead to them.
type Roots struct {
	roots, intermediates *x509.CertPool
	n                    int
}

// LoadRoots reads PEM files. Self-signed certificates become roots, others intermediates.
func LoadRoots(files ...string) (Roots, error) {
	r := Roots{x509.NewCertPool(), x509.NewCertPool(), 0}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return r, fmt.Errorf("EK roots: %w", err)
		}
		found := false
		for {
			var block *pem.Block
			if block, b = pem.Decode(b); block == nil {
				break
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return r, fmt.Errorf("EK roots: %s: a %s: %w", name, block.Type, err)
			}
			r.Add(c)
			found = true
		}
		if !found {
			return r, fmt.Errorf("EK roots: %s holds no PEM certificate", name)
		}
	}
	return r, nil
}

// Add takes one more CA.
func (r *Roots) Add(c *x509.Certificate) {
	if r.roots == nil {
		r.roots, r.intermediates = x509.NewCertPool(), x509.NewCertPool()
	}
	if bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil {
		r.roots.AddCert(c)
		r.n++
	} else {
		r.intermediates.AddCert(c)
	}
}

// Verify looks for a chain to one of the roots, as of now. The subject
// alternative name is critical in EK certificates and holds the TPM's model in
// a directory name, which Go leaves unhandled; nothing is decided by it here.
func (c *Certificate) Verify(r Roots, now time.Time) ([]*x509.Certificate, error) {
	if r.n == 0 {
		return nil, fmt.Errorf("%w: no root is configured: give the verifier the certificates of the manufacturers it should trust", ErrUnknownCA)
	}
	if err := c.purpose(); err != nil {
		return nil, err
	}
	leaf := *c.X509
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidSAN.Equal)
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: r.roots, Intermediates: r.intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return nil, fmt.Errorf("%w: issued by %q, and no chain leads from there to a configured root: add that CA if you trust it, else this is not a TPM you know", ErrUnknownCA, c.Issuer())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: issued by %q: %v", ErrFormat, c.Issuer(), err)
	}
	return chains[0], nil
}

// purpose refuses certificates that manufacturers issue for other keys than EKs:
// whoever has the private key of one could open credentials without a TPM (EK
// Credential Profile 2.6, section 3.2). What a certificate does not say is not
// held against it: older ones say little.
func (c *Certificate) purpose() error {
	x := c.X509
	const decrypt = x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageDataEncipherment
	switch {
	case x.IsCA:
		return fmt.Errorf("%w: it is a CA's, not an endorsement key's", ErrFormat)
	case x.KeyUsage != 0 && x.KeyUsage&decrypt == 0:
		return fmt.Errorf("%w: its key is not for encryption, which an endorsement key is (key usage %#x)", ErrFormat, int(x.KeyUsage))
	case len(x.ExtKeyUsage)+len(x.UnknownExtKeyUsage) > 0 && !slices.ContainsFunc(x.UnknownExtKeyUsage, oidEK.Equal) && !slices.Contains(x.ExtKeyUsage, x509.ExtKeyUsageAny):
		return fmt.Errorf("%w: its extended key usage is not that of an endorsement key (%v)", ErrFormat, oidEK)
	}
	return nil
}

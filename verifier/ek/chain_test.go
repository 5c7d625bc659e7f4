package ek

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aios/verifier/quote/tpmtest"
)

// issued is what a CA makes of one EK, altered.
func issued(t testing.TB, ca *tpmtest.CA, alter func(*x509.Certificate)) *Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Issue(&k.PublicKey, alter)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCA(t testing.TB, name string) *tpmtest.CA {
	t.Helper()
	ca, err := tpmtest.NewCA(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestPurpose: a manufacturer's CA signs more than EK certificates. One that is
// for another use, whose private key may lie on a disk, must not pass for one.
func TestPurpose(t *testing.T) {
	ca := newCA(t, "vendor")
	var roots Roots
	roots.Add(ca.Certificate)
	now := time.Unix(1_800_000_000, 0)
	usage := func(u x509.KeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.KeyUsage = u }
	}
	extended := func(oids ...asn1.ObjectIdentifier) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.UnknownExtKeyUsage = oids }
	}
	aik := asn1.ObjectIdentifier{2, 23, 133, 8, 3} // tcg-kp-AIKCertificate
	for _, c := range []struct {
		name  string
		alter func(*x509.Certificate)
		want  string // "": good
	}{
		{"as the profile wants it", nil, ""},
		{"key agreement, for ECC", usage(x509.KeyUsageKeyAgreement), ""},
		{"may sign too", usage(x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature), ""},
		{"says nothing", func(c *x509.Certificate) { c.KeyUsage, c.UnknownExtKeyUsage = 0, nil }, ""},
		{"for an EK and more", extended(aik, oidEK), ""},
		{"for signatures only", usage(x509.KeyUsageDigitalSignature), "its key is not for encryption"},
		{"for an attestation key", extended(aik), "extended key usage is not that of an endorsement key"},
		{"for a web server", func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, "extended key usage is not that of an endorsement key"},
		{"a CA", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }, "it is a CA's"},
		{"expired", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }, "has expired"},
		{"not yet valid", func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }, "not yet valid"},
		{"another critical extension", func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		}, "unhandled critical extension"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := issued(t, ca, c.alter).Verify(roots, now)
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestImpostor: a CA of the same name with another key, and a leaf that another
// leaf signed.
func TestImpostor(t *testing.T) {
	ca, impostor := newCA(t, "vendor"), newCA(t, "vendor")
	var roots Roots
	roots.Add(ca.Certificate)
	now := time.Unix(1_800_000_000, 0)
	if _, err := issued(t, impostor, nil).Verify(roots, now); !errors.Is(err, ErrUnknownCA) {
		t.Errorf("signed by a CA of the same name: %v, want ErrUnknownCA", err)
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Issue(&k.PublicKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.Add(leaf) // an operator gives too much: it becomes an intermediate
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(3), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)},
		leaf, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(roots, now); err == nil {
		t.Error("a certificate that an EK's key signed was accepted")
	}
}

func TestLoadRoots(t *testing.T) {
	ca := newCA(t, "vendor")
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := block("CERTIFICATE", ca.Certificate.Raw)
	for _, c := range []struct{ name, text, want string }{
		{"one", good, ""},
		{"with a heading", "the vendor's root\n" + good, ""},
		{"two", good + block("CERTIFICATE", newCA(t, "other").Certificate.Raw), ""},
		{"empty", "", "holds no PEM certificate"},
		{"DER", string(ca.Certificate.Raw), "holds no PEM certificate"},
		{"damaged", good + block("CERTIFICATE", ca.Certificate.Raw[:100]), "roots.pem: a CERTIFICATE: x509:"},
		{"a private key", block("PRIVATE KEY", []byte{1}), "roots.pem: a PRIVATE KEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "roots.pem")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := LoadRoots(file)
			if c.want == "" && (err != nil || r.n == 0) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%d roots, %v, want %q", r.n, err, c.want)
			}
		})
	}
}

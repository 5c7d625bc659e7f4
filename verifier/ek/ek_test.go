package ek

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVendors(t *testing.T) {
	for name, want := range map[string]struct {
		quirks []string
		err    string
	}{
		"gce_pca_tpm_ecc_enc_cert.pem":            {quirks: []string{QuirkPEM, QuirkNoSAN}},
		"gce_uca_tpm_ecc_sign_cert.pem":           {quirks: []string{QuirkPEM}},
		"gce_uca_tpm_rsa_enc_cert.pem":            {quirks: []string{QuirkPEM}},
		"nuc-1_ek_cert_7_byte_header_removed.cer": {quirks: []string{QuirkOAEP}},
		"nuc-1_ek_cert_untouched.cer":             {quirks: []string{QuirkNVHeader, QuirkOAEP}},
		"nuc-1_tpmcert.pem":                       {quirks: []string{QuirkPEM, QuirkOAEP}},
		"ab21ccf2-tpmcert.pem":                    {quirks: []string{QuirkPEM, QuirkOAEP}},
		"ek_cert_with_padded_bytes.cer":           {quirks: []string{QuirkPadding, QuirkOAEP}},
		"stmtpmekint02.pem":                       {err: "malformed serial number"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(b)
			if want.err != "" {
				if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want.err) {
					t.Errorf("error %v, want one that says %q", err, want.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.Quirks, want.quirks) {
				t.Errorf("quirks %q, want %q", c.Quirks, want.quirks)
			}
			if c.PublicKey == nil {
				t.Error("no public key")
			}
			if _, err := c.Verify(Roots{}, time.Now()); !errors.Is(err, ErrUnknownCA) {
				t.Errorf("without roots: %v, want ErrUnknownCA", err)
			}
		})
	}
}

// authority is a CA with one EK certificate.
type authority struct {
	ca, leaf *x509.Certificate
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	make := func(tmpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ek, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	from, to := time.Unix(1_700_000_000, 0), time.Unix(1_900_000_000, 0)
	ca := make(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &x509.Certificate{Subject: pkix.Name{CommonName: name}}, k, k)
	leaf := make(&x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to,
		// The TPM's model as a directory name, critical since the subject is empty.
		ExtraExtensions: []pkix.Extension{{Id: oidSAN, Critical: true, Value: []byte{0x30, 0x0f, 0xa4, 0x0d, 0x30, 0x0b, 0x31, 0x09, 0x30, 0x07, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x00}}}},
		ca, ek, k)
	return authority{ca, leaf}
}

func TestVerify(t *testing.T) {
	a, other := newAuthority(t, "good vendor"), newAuthority(t, "other vendor")
	now := time.Unix(1_800_000_000, 0)
	c, err := Parse(a.leaf.Raw)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := LoadRoots(file)
	if err != nil {
		t.Fatal(err)
	}
	if chain, err := c.Verify(roots, now); err != nil || len(chain) != 2 {
		t.Errorf("chain of %d, %v", len(chain), err)
	}
	var wrong Roots
	wrong.Add(other.ca)
	if _, err := c.Verify(wrong, now); !errors.Is(err, ErrUnknownCA) || !strings.Contains(err.Error(), "good vendor") {
		t.Errorf("other roots: %v, want ErrUnknownCA that names the issuer", err)
	}
	if _, err := c.Verify(roots, now.AddDate(20, 0, 0)); !errors.Is(err, ErrFormat) {
		t.Errorf("expired: %v, want ErrFormat", err)
	}
	if _, err := LoadRoots(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was loaded")
	}
}

func TestRefused(t *testing.T) {
	a := newAuthority(t, "vendor")
	for name, b := range map[string][]byte{
		"empty": nil, "text": []byte("no certificate"), "cut": a.leaf.Raw[:100], "huge": make([]byte, maxSize+1),
		"garbage behind": append(slices.Clone(a.leaf.Raw), 1, 2, 3), "only a header": {0x10, 1, 0, 4, 0x64, 0x10, 2, 0x30},
	} {
		if _, err := Parse(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.*e*")
	for _, n := range files {
		if b, err := os.ReadFile(n); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Parse(b); err == nil && c.PublicKey == nil {
			t.Error("a certificate without a key was taken")
		}
	})
}

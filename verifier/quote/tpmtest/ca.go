package tpmtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// CA is a manufacturer that certifies EKs.
type CA struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var (
	oidEK    = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
	oidSAN   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidModel = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
)

// NewCA makes one whose certificate is self-signed.
func NewCA(name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	c, err = x509.ParseCertificate(der)
	return &CA{c, key}, err
}

// Issue certifies an EK as the EK Credential Profile wants it (2.6, section 3.2),
// but for what alter changes.
func (ca *CA) Issue(ek crypto.PublicKey, alter func(*x509.Certificate)) ([]byte, error) {
	model, err := asn1.Marshal(pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidModel, Value: "software"}}}.ToRDNSequence())
	if err != nil {
		return nil, err
	}
	// GeneralNames with one directoryName: [4] EXPLICIT Name.
	name, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: model})
	if err != nil {
		return nil, err
	}
	san, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageKeyEncipherment, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidEK},
		ExtraExtensions: []pkix.Extension{{Id: oidSAN, Critical: true, Value: san}},
	}
	if alter != nil {
		alter(c)
	}
	return x509.CreateCertificate(rand.Reader, c, ca.Certificate, ek, ca.key)
}

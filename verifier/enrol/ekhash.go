package enrol

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"aios/verifier/ek"
)

// CertificateHash is what a TPM is registered by, taken from its EK certificate, which
// may be DER, as it stands in the TPM, or PEM. The certificate is not verified: whoever
// registers it says that it is good, and at enrolment its chain is checked in any case.
func CertificateHash(certificate []byte) (string, error) {
	if block, _ := pem.Decode(certificate); block != nil {
		if block.Type != "CERTIFICATE" {
			return "", fmt.Errorf("%w: expected a PEM block CERTIFICATE, found %s", ek.ErrFormat, block.Type)
		}
		certificate = block.Bytes
	}
	cert, err := ek.Parse(certificate)
	if err != nil {
		return "", err
	}
	return keyHash(cert.PublicKey)
}

// PublicHash is CertificateHash of a public key, as DER or PEM SubjectPublicKeyInfo.
func PublicHash(spki []byte) (string, error) {
	if block, _ := pem.Decode(spki); block != nil {
		spki = block.Bytes
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return "", fmt.Errorf("%w: not a SubjectPublicKeyInfo: %v", ErrEK, err)
	}
	return keyHash(key)
}

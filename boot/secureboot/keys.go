package secureboot

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Pair is a key and its self-signed certificate.
type Pair struct {
	Key  *rsa.PrivateKey
	Cert *x509.Certificate
}

// Keys are the platform key, the key exchange key and the key whose signatures
// db accepts (UEFI 2.10 section 32.3).
type Keys struct {
	PK, KEK, Db Pair
}

// names of the pairs, which are also the names of their files.
func (k *Keys) pairs() map[string]*Pair {
	return map[string]*Pair{"PK": &k.PK, "KEK": &k.KEK, "db": &k.Db}
}

// validity is long, because firmware does not look at it and a host must boot
// without asking anyone.
const validity = 20 * 365 * 24 * time.Hour

// EnsureKeys reads the keys in dir and makes those that are missing, with
// private keys in files of mode 0600. It reports whether it made any. A file
// that is there but cannot be used is an error: it is never replaced.
func EnsureKeys(dir string, now time.Time) (k *Keys, made bool, err error) {
	k = &Keys{}
	for _, name := range []string{"PK", "KEK", "db"} {
		p := k.pairs()[name]
		key, cert := filepath.Join(dir, name+".key"), filepath.Join(dir, name+".crt")
		*p, err = readPair(key, cert)
		if errors.Is(err, fs.ErrNotExist) {
			if err = absent(key, cert); err == nil {
				made = true
				*p, err = makePair(name, key, cert, now)
			}
		}
		if err != nil {
			return nil, made, fmt.Errorf("Secure Boot key %s: %w", name, err)
		}
	}
	return k, made, nil
}

// absent refuses half a pair, which no new key could complete. The private key
// is written last: a certificate alone is what an interrupted start leaves.
func absent(key, cert string) error {
	if _, err := os.Lstat(key); err == nil {
		return fmt.Errorf("%s has no certificate: put %s back", key, cert)
	}
	if err := os.Remove(cert); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func makePair(name, keyFile, certFile string, now time.Time) (p Pair, err error) {
	if p.Key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return p, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return p, err
	}
	t := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: "AIOS Secure Boot " + name},
		NotBefore: now.Add(-time.Hour).UTC(), NotAfter: now.Add(validity).UTC(),
		KeyUsage: x509.KeyUsageDigitalSignature, SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, p.Key.Public(), p.Key)
	if err != nil {
		return p, err
	}
	if p.Cert, err = x509.ParseCertificate(der); err != nil {
		return p, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		return p, err
	}
	if err := create(certFile, 0o644, "CERTIFICATE", der); err != nil {
		return p, err
	}
	return p, create(keyFile, 0o600, "PRIVATE KEY", keyDER)
}

// create makes a new PEM file and does not return before it is on the disk.
func create(name string, mode fs.FileMode, kind string, der []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
}

func readPair(keyFile, certFile string) (p Pair, err error) {
	fi, err := os.Stat(keyFile)
	if err != nil {
		return p, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return p, fmt.Errorf("%s has mode %#o: others may read it: chmod 600 %s", keyFile, fi.Mode().Perm(), keyFile)
	}
	keyDER, err := readPEM(keyFile, "PRIVATE KEY")
	if err != nil {
		return p, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyDER)
	if err != nil {
		return p, fmt.Errorf("%s: %w", keyFile, err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return p, fmt.Errorf("%s: a %T, where firmware needs RSA", keyFile, key)
	}
	certDER, err := readPEM(certFile, "CERTIFICATE")
	if err != nil {
		return p, err
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		return p, fmt.Errorf("%s: %w", certFile, err)
	}
	if !rsaKey.PublicKey.Equal(cert.PublicKey) {
		return p, fmt.Errorf("%s is not the certificate of the key beside it", certFile)
	}
	return Pair{rsaKey, cert}, nil
}

func readPEM(name, kind string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(text)
	if b == nil || b.Type != kind {
		return nil, fmt.Errorf("%s: no PEM block %q", name, kind)
	}
	return b.Bytes, nil
}

package tpm

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// TestPublicKeyInfo: the verifier hashes what crypto/x509 writes.
func TestPublicKeyInfo(t *testing.T) {
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*rsa.PublicKey{&made.PublicKey, {N: big.NewInt(0x7f), E: 3}, {N: big.NewInt(0x80), E: 65537}} {
		got, err := publicKeyInfo(k)
		want, _ := x509.MarshalPKIXPublicKey(k)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%x, %v; want %x", got, err, want)
		}
	}
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: made.N.Bytes()})
	var r Root
	if err := r.learn(tpm2.New2B(public)); err != nil {
		t.Fatal(err)
	}
	spki, _ := x509.MarshalPKIXPublicKey(&made.PublicKey)
	sum := sha256.Sum256(spki)
	if want := "host-" + hex.EncodeToString(sum[:8]); r.hostID != want {
		t.Errorf("host id %s, want %s", r.hostID, want)
	}
}

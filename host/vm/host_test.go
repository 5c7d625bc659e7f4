//go:build swtpm

package vm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"aios/boot/rollback"

	"github.com/google/go-tpm/tpm2/transport"
)

func programs(t *testing.T) Programs {
	t.Helper()
	p, err := FindPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The trial must say yes where a guest runs: else a no means nothing.
func TestTrialRunsAGuest(t *testing.T) {
	if err := tryAccelerator(t.Context(), programs(t), "tcg"); err != nil {
		t.Fatal(err)
	}
	if err := tryAccelerator(t.Context(), programs(t), "qtest"); err == nil {
		t.Fatal("qtest executes no guest code, yet the trial passed")
	}
}

func TestManufactureTPM(t *testing.T) {
	p, dir := programs(t), filepath.Join(t.TempDir(), "tpm")
	if made, err := ManufactureTPM(t.Context(), p, dir); err != nil || !made {
		t.Fatalf("first time: %v, %v", made, err)
	}
	state := filepath.Join(dir, tpmStateDir, "tpm2-00.permall")
	before, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := ManufactureTPM(t.Context(), p, dir); err != nil || made {
		t.Fatalf("second time: %v, %v", made, err)
	}
	if after, _ := os.ReadFile(state); !bytes.Equal(before, after) {
		t.Fatal("the second call changed the TPM")
	}
	var roots []byte
	for _, name := range EKRoots(dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, b...)
	}
	n := 0
	for b, rest := pem.Decode(roots); b != nil; b, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil || !c.IsCA {
			t.Fatalf("certificate %d: %v", n, err)
		}
		n++
	}
	if n != 2 {
		t.Fatalf("%d certificates, want root and issuer", n)
	}
}

// What is written to a TPM while its machine is off is there afterwards.
func TestUseTPM(t *testing.T) {
	p, dir := programs(t), filepath.Join(t.TempDir(), "tpm")
	if _, err := ManufactureTPM(t.Context(), p, dir); err != nil {
		t.Fatal(err)
	}
	if err := UseTPM(p, dir, func(tpm transport.TPM) error { return rollback.Provision(tpm, 7) }); err != nil {
		t.Fatal(err)
	}
	if err := UseTPM(p, dir, func(tpm transport.TPM) error {
		floor, defined, err := rollback.Read(tpm)
		if floor != 7 || !defined {
			t.Errorf("floor %d, defined %v, want 7", floor, defined)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

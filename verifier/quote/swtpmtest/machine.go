// Package swtpmtest is a host's TPM for tests: swtpm, manufactured with EK
// certificates by a CA of its own, and held by package kernel/tpm as the kernel
// holds it. Tests that use it carry the build tag swtpm.
package swtpmtest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"aios/evidence"
	"aios/host/vm"
	"aios/kernel/tpm"
	"aios/verifier/ek"
)

// Machine is the TPM of a host that is off.
type Machine struct {
	Roots ek.Roots // that vouch for it
	p     vm.Programs
	dir   string
}

// New manufactures one; it ends with the test.
func New(t testing.TB) *Machine {
	t.Helper()
	m := &Machine{dir: filepath.Join(t.TempDir(), "tpm")}
	for name, into := range map[string]*string{"swtpm": &m.p.SWTPM, "swtpm_setup": &m.p.SWTPMSetup, "swtpm_localca": &m.p.LocalCA} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		*into = path
	}
	if _, err := vm.ManufactureTPM(t.Context(), m.p, m.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.Roots, err = ek.LoadRoots(vm.EKRoots(m.dir)...); err != nil {
		t.Fatal(err)
	}
	return m
}

// Boot runs f with the TPM after a reset.
func (m *Machine) Boot(t testing.TB, f func(*Device)) {
	t.Helper()
	err := vm.UseTPM(m.p, m.dir, func(c transport.TPM) error {
		r, err := tpm.Open(c)
		if err != nil {
			return err
		}
		f(&Device{r, c})
		return r.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Device is the TPM of a host that is on. It answers as attestd does.
type Device struct {
	root *tpm.Root
	t    transport.TPM
}

// Identity is what an enrolment asks for.
func (d *Device) Identity() (*evidence.Identity, error) {
	id, err := d.root.Identity()
	return &evidence.Identity{EKCertificate: id.EKCertificate, EKPublic: id.EKPublic, AKPublic: id.AKPublic,
		CreationData: id.CreationData, CreationAttest: id.CreationAttest, CreationSignature: id.CreationSignature}, err
}

// Activate opens a credential.
func (d *Device) Activate(credential, secret []byte) ([]byte, error) {
	return d.root.Activate(credential, secret)
}

// Extend is what firmware does with a digest, in the sha256 bank.
func (d *Device) Extend(pcr int, digest []byte) error {
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest}}},
	}.Execute(d.t)
	if err != nil {
		return fmt.Errorf("extend PCR %d: %w", pcr, err)
	}
	return nil
}

// Quote signs all PCRs with nonce, and gives their values.
func (d *Device) Quote(nonce []byte) (attest, signature []byte, pcrs [][]byte, err error) {
	q, err := d.root.Quote(nonce)
	for i := range q.PCRs {
		pcrs = append(pcrs, q.PCRs[i][:])
	}
	return q.Attest, q.Signature, pcrs, err
}

//go:build swtpm

package enrol

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"aios/evidence"
	"aios/host/vm"
	"aios/kernel/tpm"
	"aios/verifier/ek"
)

// machine is a manufactured swtpm with EK certificates by a CA of its own.
type machine struct {
	t     *testing.T
	p     vm.Programs
	dir   string
	roots ek.Roots
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "tpm")}
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
	if m.roots, err = ek.LoadRoots(vm.EKRoots(m.dir)...); err != nil {
		t.Fatal(err)
	}
	return m
}

// boot runs f with the TPM after a reset.
func (m *machine) boot(f func(*tpm.Root)) {
	m.t.Helper()
	err := vm.UseTPM(m.p, m.dir, func(c transport.TPM) error {
		r, err := tpm.Open(c)
		if err != nil {
			return err
		}
		f(r)
		return r.Close()
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) identity(r *tpm.Root) *evidence.Identity {
	m.t.Helper()
	id, err := r.Identity()
	if err != nil {
		m.t.Fatal(err)
	}
	return &evidence.Identity{EKCertificate: id.EKCertificate, EKPublic: id.EKPublic, AKPublic: id.AKPublic,
		CreationData: id.CreationData, CreationAttest: id.CreationAttest, CreationSignature: id.CreationSignature}
}

// TestSWTPM: what the software TPM of the other tests claims to be true of a TPM.
func TestSWTPM(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	when := time.Now()
	var foreign *evidence.Identity
	other.boot(func(r *tpm.Root) { foreign = other.identity(r) })
	var host *Host
	m.boot(func(r *tpm.Root) {
		id := m.identity(r)
		p, err := Begin(id, m.roots, when)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := r.Activate(p.Credential, p.Secret)
		if err != nil {
			t.Fatal(err)
		}
		altered := bytes.Clone(secret)
		altered[0] ^= 1
		if _, err := p.Finish(altered); !errors.Is(err, ErrActivation) {
			t.Errorf("an altered secret: %v, want ErrActivation", err)
		}
		if host, err = p.Finish(secret); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(host.EKIssuer, "swtpm-localca") || len(host.EKQuirks) > 0 {
			t.Errorf("issued by %q, quirks %q", host.EKIssuer, host.EKQuirks)
		}

		if _, err := Begin(id, other.roots, when); !errors.Is(err, ek.ErrUnknownCA) {
			t.Errorf("the other installation's CA: %v, want ErrUnknownCA", err)
		}
		if _, err := Begin(id, m.roots, when.AddDate(-100, 0, 0)); !errors.Is(err, ek.ErrFormat) || !strings.Contains(err.Error(), "not yet valid") {
			t.Errorf("a hundred years ago: %v, want one that says not yet valid", err)
		}
		swapped := *id
		swapped.EKCertificate = foreign.EKCertificate
		if _, err := Begin(&swapped, other.roots, when); !errors.Is(err, ErrEK) {
			t.Errorf("the certificate of another TPM: %v, want ErrEK", err)
		}

		// An AK of another TPM with this one's EK: neither can open the credential.
		mixed := *foreign
		mixed.EKCertificate, mixed.EKPublic = id.EKCertificate, id.EKPublic
		p, err = Begin(&mixed, m.roots, when)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Activate(p.Credential, p.Secret); err == nil {
			t.Error("the EK's TPM opened a credential for another TPM's AK")
		}
		other.boot(func(r *tpm.Root) {
			if _, err := r.Activate(p.Credential, p.Secret); err == nil {
				t.Error("the AK's TPM opened a credential for another TPM's EK")
			}
		})
	})
	m.boot(func(r *tpm.Root) {
		id := m.identity(r)
		if !host.SameEK(id.EKPublic) || !host.SameAK(id.AKPublic) {
			t.Error("the host is not recognised after a reboot")
		}
	})
}

//go:build swtpm

package enrol

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"aios/evidence"
	"aios/verifier/ek"
	"aios/verifier/quote/swtpmtest"
)

// TestSWTPM: what the software TPM of the other tests claims to be true of a TPM.
func TestSWTPM(t *testing.T) {
	m, other := swtpmtest.New(t), swtpmtest.New(t)
	when := time.Now()
	identity := func(d *swtpmtest.Device) *evidence.Identity {
		id, err := d.Identity()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var foreign *evidence.Identity
	other.Boot(t, func(d *swtpmtest.Device) { foreign = identity(d) })
	var host *Host
	m.Boot(t, func(d *swtpmtest.Device) {
		id := identity(d)
		p, err := Begin(id, m.Roots, when)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := d.Activate(p.Credential, p.Secret)
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

		if _, err := Begin(id, other.Roots, when); !errors.Is(err, ek.ErrUnknownCA) {
			t.Errorf("the other installation's CA: %v, want ErrUnknownCA", err)
		}
		if _, err := Begin(id, m.Roots, when.AddDate(-100, 0, 0)); !errors.Is(err, ek.ErrFormat) || !strings.Contains(err.Error(), "not yet valid") {
			t.Errorf("a hundred years ago: %v, want one that says not yet valid", err)
		}
		swapped := *id
		swapped.EKCertificate = foreign.EKCertificate
		if _, err := Begin(&swapped, other.Roots, when); !errors.Is(err, ErrEK) {
			t.Errorf("the certificate of another TPM: %v, want ErrEK", err)
		}

		// An AK of another TPM with this one's EK: neither can open the credential.
		mixed := *foreign
		mixed.EKCertificate, mixed.EKPublic = id.EKCertificate, id.EKPublic
		p, err = Begin(&mixed, m.Roots, when)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Activate(p.Credential, p.Secret); err == nil {
			t.Error("the EK's TPM opened a credential for another TPM's AK")
		}
		other.Boot(t, func(d *swtpmtest.Device) {
			if _, err := d.Activate(p.Credential, p.Secret); err == nil {
				t.Error("the AK's TPM opened a credential for another TPM's EK")
			}
		})
	})
	m.Boot(t, func(d *swtpmtest.Device) {
		id := identity(d)
		if !host.SameEK(id.EKPublic) || !host.SameAK(id.AKPublic) {
			t.Error("the host is not recognised after a reboot")
		}
	})
}

package enrol

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"aios/evidence"
	"aios/verifier/ek"
	"aios/verifier/quote"
	"aios/verifier/quote/tpmtest"
)

var now = time.Unix(1_800_000_000, 0)

// vendor is a CA and the roots of a verifier that trusts it.
func vendor(t testing.TB, name string) (*tpmtest.CA, ek.Roots) {
	t.Helper()
	ca, err := tpmtest.NewCA(name)
	if err != nil {
		t.Fatal(err)
	}
	var roots ek.Roots
	roots.Add(ca.Certificate)
	return ca, roots
}

// manufacture makes a TPM with a certificate by ca.
func manufacture(t testing.TB, ca *tpmtest.CA, alter func(*x509.Certificate)) *tpmtest.TPM {
	t.Helper()
	tpm, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	if tpm.Certificate, err = ca.Issue(tpm.EK(), alter); err != nil {
		t.Fatal(err)
	}
	return tpm
}

func identity(t testing.TB, tpm *tpmtest.TPM) *evidence.Identity {
	t.Helper()
	id, err := tpm.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestEnrol(t *testing.T) {
	ca, roots := vendor(t, "vendor")
	tpm := manufacture(t, ca, nil)
	p, err := Begin(identity(t, tpm), roots, now)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := tpm.Activate(p.Credential, p.Secret)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Finish(secret)
	if err != nil {
		t.Fatal(err)
	}
	if h.ID != p.HostID() || h.EKIssuer != "CN=vendor" || !h.EnrolledAt.Equal(now) || len(h.AKName) != 68 || h.Baselines != nil || h.Floor != 0 {
		t.Errorf("host %+v", h)
	}
	if err := h.check(h.ID); err != nil {
		t.Errorf("the record would not be read back: %v", err)
	}
	if !h.SameEK(tpm.EKPublic()) || !h.SameAK(tpm.AKPublic()) {
		t.Error("the host is not recognised")
	}
	other := manufacture(t, ca, nil)
	if h.SameEK(other.EKPublic()) || h.SameAK(other.AKPublic()) || h.SameEK(nil) || h.SameAK(nil) {
		t.Error("another TPM is taken for this one")
	}

	again, err := Begin(identity(t, tpm), roots, now)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again.Credential, p.Credential) || bytes.Equal(again.want, p.want) {
		t.Error("two enrolments share their secret")
	}
	if _, err := again.Finish(secret); !errors.Is(err, ErrActivation) {
		t.Errorf("the secret of another enrolment: %v, want ErrActivation", err)
	}
}

// TestWrongSecret: only the whole secret will do, and never an enrolment that
// was not begun.
func TestWrongSecret(t *testing.T) {
	ca, roots := vendor(t, "vendor")
	tpm := manufacture(t, ca, nil)
	p, err := Begin(identity(t, tpm), roots, now)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(p.want)
	flipped[31] ^= 1
	for name, secret := range map[string][]byte{
		"none": nil, "empty": {}, "zeros": make([]byte, 32), "cut": p.want[:31], "longer": append(bytes.Clone(p.want), 0), "one bit": flipped,
	} {
		if h, err := p.Finish(secret); h != nil || !errors.Is(err, ErrActivation) || !strings.Contains(err.Error(), "its attestation key is not in the TPM") {
			t.Errorf("%s: %v, want ErrActivation", name, err)
		}
		if h, err := (&Pending{}).Finish(secret); h != nil || !errors.Is(err, ErrActivation) {
			t.Errorf("%s, nothing was begun: %v, want ErrActivation", name, err)
		}
	}
}

// TestRefused: what is wrong with an identity is named before a secret is made for it.
func TestRefused(t *testing.T) {
	ca, roots := vendor(t, "vendor")
	stranger, _ := vendor(t, "stranger")
	good := manufacture(t, ca, nil)
	other := manufacture(t, ca, nil)
	attributes := func(change func(*tpm2.TPMAObject)) *evidence.Identity {
		tpm := manufacture(t, ca, nil)
		change(&tpm.AKAttributes)
		return identity(t, tpm)
	}
	edit := func(f func(*evidence.Identity)) *evidence.Identity {
		id := *identity(t, good)
		f(&id)
		return &id
	}
	cert := func(alter func(*x509.Certificate)) *evidence.Identity { return identity(t, manufacture(t, ca, alter)) }
	for _, c := range []struct {
		name string
		id   *evidence.Identity
		want error
		text string
	}{
		{"no certificate", edit(func(id *evidence.Identity) { id.EKCertificate = nil }), ErrNoCertificate, "NV 0x1c00002"},
		{"certificate is none", edit(func(id *evidence.Identity) { id.EKCertificate = []byte("hello") }), ek.ErrFormat, "ASN.1"},
		{"certificate cut", edit(func(id *evidence.Identity) { id.EKCertificate = id.EKCertificate[:100] }), ek.ErrFormat, ""},
		{"certificate of an unknown CA", identity(t, manufacture(t, stranger, nil)), ek.ErrUnknownCA, "stranger"},
		{"certificate expired", cert(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) }), ek.ErrFormat, "expired"},
		{"certificate of a CA", cert(func(c *x509.Certificate) { c.IsCA = true }), ek.ErrFormat, "CA's"},
		{"certificate for another TPM", edit(func(id *evidence.Identity) { id.EKCertificate = other.Certificate }), ErrEK, "belongs to another TPM"},
		{"certificate altered", edit(func(id *evidence.Identity) {
			id.EKCertificate = bytes.Clone(id.EKCertificate)
			id.EKCertificate[len(id.EKCertificate)-1] ^= 1
		}), ek.ErrUnknownCA, "vendor"},
		{"no EK", edit(func(id *evidence.Identity) { id.EKPublic = nil }), ErrEK, "not a TPMT_PUBLIC"},
		{"EK of another TPM", edit(func(id *evidence.Identity) { id.EKPublic = other.EKPublic() }), ErrEK, "belongs to another TPM"},
		{"EK is the AK", edit(func(id *evidence.Identity) { id.EKPublic = id.AKPublic }), ErrEK, "belongs to another TPM"},
		{"no AK", edit(func(id *evidence.Identity) { id.AKPublic = nil }), quote.ErrKey, "not a TPMT_PUBLIC"},
		{"AK is the EK", edit(func(id *evidence.Identity) { id.AKPublic = id.EKPublic }), quote.ErrKey, "restricted signing key"},
		{"AK not restricted", attributes(func(a *tpm2.TPMAObject) { a.Restricted = false }), quote.ErrKey, "restricted signing key"},
		{"AK cannot sign", attributes(func(a *tpm2.TPMAObject) { a.SignEncrypt = false }), quote.ErrKey, "restricted signing key"},
		{"AK can leave the TPM", attributes(func(a *tpm2.TPMAObject) { a.FixedTPM = false }), quote.ErrKey, "restricted signing key"},
		{"AK of another TPM", edit(func(id *evidence.Identity) { id.AKPublic = other.AKPublic() }), ErrActivation, "different key"},
		{"no creation data", edit(func(id *evidence.Identity) { id.CreationData = nil }), ErrActivation, ""},
		{"creation data altered", edit(func(id *evidence.Identity) { id.CreationData = append(bytes.Clone(id.CreationData), 0) }), ErrActivation, ""},
		{"no creation statement", edit(func(id *evidence.Identity) { id.CreationAttest = nil }), ErrActivation, ""},
		{"creation statement by another key", edit(func(id *evidence.Identity) { id.CreationSignature = other.Sign(id.CreationAttest) }), ErrActivation, "unable to verify"},
		{"a quote for a creation statement", edit(func(id *evidence.Identity) {
			id.CreationAttest, id.CreationSignature, _ = good.Quote(make([]byte, 32))
		}), ErrActivation, "does not apply to creation data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Begin(c.id, roots, now)
			if p != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v that says %q", err, c.want, c.text)
			}
		})
	}
}

// TestOneTPMOneHost: what surrounds a key in a TPMT_PUBLIC is the host's word. One
// TPM must not enrol as many hosts, or a host that was shut out would come back.
func TestOneTPMOneHost(t *testing.T) {
	ca, roots := vendor(t, "vendor")
	tpm := manufacture(t, ca, nil)
	p, err := Begin(identity(t, tpm), roots, now)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](tpm.EKPublic())
	if err != nil {
		t.Fatal(err)
	}
	pub.ObjectAttributes.NoDA = true
	pub.AuthPolicy.Buffer = nil
	for name, public := range map[string][]byte{"other attributes": tpm2.Marshal(pub), "bytes behind": append(tpm.EKPublic(), 0)} {
		id := identity(t, tpm)
		id.EKPublic = public
		again, err := Begin(id, roots, now)
		if err == nil && again.HostID() != p.HostID() {
			t.Errorf("%s: %s, known as %s", name, again.HostID(), p.HostID())
		}
	}
}

// TestStolenIdentity: who only knows a TPM's identity cannot enrol as that host,
// nor bind a key of its own to it.
func TestStolenIdentity(t *testing.T) {
	ca, roots := vendor(t, "vendor")
	victim, thief := manufacture(t, ca, nil), manufacture(t, ca, nil)
	p, err := Begin(identity(t, victim), roots, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := thief.Activate(p.Credential, p.Secret); err == nil {
		t.Error("the thief's TPM opened the victim's credential")
	}
	id, own := identity(t, victim), identity(t, thief)
	id.AKPublic, id.CreationData, id.CreationAttest, id.CreationSignature = own.AKPublic, own.CreationData, own.CreationAttest, own.CreationSignature
	if p, err = Begin(id, roots, now); err != nil {
		t.Fatal(err) // nothing is wrong with it so far
	}
	for name, tpm := range map[string]*tpmtest.TPM{"victim": victim, "thief": thief} {
		if _, err := tpm.Activate(p.Credential, p.Secret); err == nil {
			t.Errorf("the %s's TPM opened a credential for the one's EK and the other's AK", name)
		}
	}
}

// FuzzBegin: whatever a host says of itself, it is refused or enrolled under the
// TPM's own id.
func FuzzBegin(f *testing.F) {
	ca, roots := vendor(f, "vendor")
	tpm := manufacture(f, ca, nil)
	id := identity(f, tpm)
	p, err := Begin(id, roots, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), uint16(0), uint16(0), []byte{})
	f.Add(uint8(2), uint16(5), uint16(1), []byte{0x05})
	f.Fuzz(func(t *testing.T, which uint8, at, cut uint16, with []byte) {
		id := *id
		fields := []*[]byte{&id.EKCertificate, &id.EKPublic, &id.AKPublic, &id.CreationData, &id.CreationAttest, &id.CreationSignature}
		field := fields[int(which)%len(fields)]
		*field = tpmtest.Splice(*field, int(at), int(cut), with)
		again, err := Begin(&id, roots, now)
		if err == nil && (again.HostID() != p.HostID() || !slices.Equal(id.AKPublic, tpm.AKPublic())) {
			t.Errorf("enrols %s", again.HostID())
		}
		(&Host{}).SameEK(id.EKPublic) // must not panic
	})
}

package service

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/verifier/enrol"
	"aios/verifier/quote/tpmtest"
	"aios/verifier/session"
)

// refused connects a host and returns why it was refused.
func (s *site) refusedHost(h *fakeHost) Event {
	s.t.Helper()
	at := s.Position()
	c := s.connect(h)
	e := s.await(at, "a refusal", func(e Event) bool { return e.Kind == HostRefused })
	<-c.done // the host hears of it: the connection is closed
	return e
}

func TestWhoIsEnrolled(t *testing.T) {
	s := newSite(t)
	used := s.enrolled()
	s.up(used)
	for _, c := range []struct {
		name   string
		host   func(*fakeHost)
		want   error
		remedy string
	}{
		{"unknown EK without token", func(*fakeHost) {}, enrol.ErrNotAdmitted, "aios enrol token"},
		{"replayed token", func(h *fakeHost) { h.token = used.token }, enrol.ErrTokenUsed, "find out who did"},
		{"a guess", func(h *fakeHost) { h.token = []byte("aios-enrol-guess") }, enrol.ErrToken, "aios enrol token"},
		{"AK in another TPM", func(h *fakeHost) {
			h.secret = func(b []byte) []byte { return bytes.Repeat([]byte{1}, len(b)) }
			text, _, err := s.NewEnrolmentToken("", 0)
			check(t, err)
			h.token = []byte(text)
		}, enrol.ErrActivation, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := s.newHost()
			c.host(h)
			e := s.refusedHost(h)
			if !errors.Is(e.Err, c.want) || !bytes.Contains([]byte(e.Text), []byte(c.remedy)) {
				t.Errorf("%s: %v", e.Text, e.Err)
			}
			if _, err := s.Host(h.id); !errors.Is(err, enrol.ErrUnknownHost) {
				t.Errorf("it is on record: %v", err)
			}
		})
	}
	// An enrolment that failed used its token up for nobody.
	unused := slices.ContainsFunc(s.admissions.Tokens(), func(r enrol.Token) bool { return r.UsedAt.IsZero() })
	if !unused {
		t.Error("the token of the failed activation is used up")
	}
}

func TestRegisteredEK(t *testing.T) {
	s := newSite(t)
	h := s.newHost()
	hash, err := enrol.CertificateHash(h.tpm.Certificate)
	check(t, err)
	_, err = s.RegisterEK(hash, "rack 4")
	check(t, err)
	s.up(h)
}

// A used token is refused after a restart too, even for the host that used it.
func TestTokenIsUsedUpForGood(t *testing.T) {
	s := newSite(t)
	h := s.enrolled()
	c := s.up(h)
	c.end()
	s.awaitKind(0, HostDisconnected, h.id)
	s.restart()
	check(t, s.hosts.Remove(h.id))
	if e := s.refusedHost(h); !errors.Is(e.Err, enrol.ErrTokenUsed) {
		t.Errorf("%v", e.Err)
	}
}

func TestOtherAKIsRefused(t *testing.T) {
	s := newSite(t)
	h := s.enrolled()
	c := s.up(h)
	c.end()
	s.awaitKind(0, HostDisconnected, h.id)
	h.tpm.AKAttributes.NoDA = false // another template, so another key
	if e := s.refusedHost(h); !errors.Is(e.Err, session.ErrOtherAK) {
		t.Errorf("%v", e.Err)
	}
}

// Whoever knows the public keys of a host can say that he is the host. He gets no lease,
// ends no connection of the host, and costs it nothing.
func TestImpostorTakesNobodysPlace(t *testing.T) {
	s := newSite(t)
	s.assign("hello")
	h := s.enrolled()
	s.up(h)
	before, err := s.Host(h.id)
	check(t, err)
	fake, err := tpmtest.New()
	check(t, err)
	impostor := s.newHost()
	impostor.tpm, impostor.id = h.tpm, h.id // its identity
	impostor.quoteBy = fake
	for i := range fake.PCRs {
		fake.PCRs[i] = h.tpm.PCRs[i]
	}
	if e := s.refusedHost(impostor); !errors.Is(e.Err, ErrUnproven) {
		t.Fatalf("%v", e.Err)
	}
	after, err := s.Host(h.id)
	check(t, err)
	if !after.Connected || after.Address != before.Address || after.LeaseID != before.LeaseID || after.Denied {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	at := s.Position()
	s.appraise(h.id)
	if l := s.awaitKind(at, HostLease, h.id).Lease; !l.Renewed {
		t.Errorf("the host's lease was not renewed: %+v", l)
	}
}

// A host that trusts another verifier says nothing to this one.
func TestHostRefusesOtherVerifier(t *testing.T) {
	s := newSite(t)
	h := s.enrolled()
	other, err := mldsa.GenerateKey()
	check(t, err)
	c := s.dial(h, other.Public())
	if err := <-c.done; !errors.Is(err, evidence.ErrIdentity) {
		t.Errorf("%v", err)
	}
	s.await(0, "a refusal", func(e Event) bool { return e.Kind == HostRefused })
	if list, err := s.Hosts(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

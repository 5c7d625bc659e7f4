//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"aios/boot/measure"
	"aios/captoken"
	"aios/evidence"
	"aios/host/vm"
	"aios/verifier/eventlog"
	"aios/verifier/quote/tpmtest"
)

// between stands between a verifier and a host that has really booted: it
// forwards every request and alters what comes back.
type between struct {
	host   *evidence.Client
	socket string // where the verifier dials

	mu    sync.Mutex
	alter alteration         // nil: nothing; guarded by mu
	last  *evidence.Evidence // that the host sent; guarded by mu
}

// alteration changes an answer of the host.
type alteration func(q *evidence.Request, r *evidence.Response) error

func newBetween(t *testing.T, r *running) *between {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	host := must(evidence.Dial(ctx, must(net.Dial("unix", r.socket))(t)))(t)
	dir := must(os.MkdirTemp("", "aios-e2e-"))(t) // a socket's name must be short
	b := &between{host: host, socket: filepath.Join(dir, "s")}
	l := must(net.Listen("unix", b.socket))(t)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				evidence.Serve(t.Context(), c, b)
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		host.Close()
		os.RemoveAll(dir)
		serving.Wait()
	})
	return b
}

// Handle implements evidence.Handler.
func (b *between) Handle(ctx context.Context, q *evidence.Request) (r *evidence.Response, err error) {
	r = &evidence.Response{}
	switch q.Op {
	case evidence.OpHello:
		r.Hello, err = b.host.Hello(ctx)
	case evidence.OpIdentity:
		r.Identity, err = b.host.Identity(ctx)
	case evidence.OpActivate:
		r.Secret, err = b.host.Activate(ctx, q.Credential, q.Secret)
	case evidence.OpChallenge:
		r.Evidence, err = b.host.Challenge(ctx, q.Nonce)
	}
	var refusal *evidence.Error
	if errors.As(err, &refusal) {
		return &evidence.Response{Error: refusal}, nil
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Evidence != nil {
		seen := *r.Evidence
		b.last = &seen
	}
	if b.alter != nil {
		err = b.alter(q, r)
	}
	return r, err
}

// set says how answers are altered from now on.
func (b *between) set(alter alteration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alter = alter
}

// recorded is the evidence that the host sent last.
func (b *between) recorded() evidence.Evidence {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.last
}

// inEvidence alters evidence and lets everything else pass.
func inEvidence(alter func(nonce []byte, e *evidence.Evidence) error) alteration {
	return func(q *evidence.Request, r *evidence.Response) error {
		if r.Evidence == nil {
			return nil
		}
		r.Evidence.PCRs = slices.Clone(r.Evidence.PCRs)
		return alter(q.Nonce, r.Evidence)
	}
}

// inIdentity alters what the host says of its TPM.
func inIdentity(alter func(id *evidence.Identity) error) alteration {
	return func(_ *evidence.Request, r *evidence.Response) error {
		if r.Identity == nil {
			return nil
		}
		return alter(r.Identity)
	}
}

// inKernelEvent alters the event that measured the kernel, in the log.
func inKernelEvent(edit func(l *eventlog.Log, i int)) alteration {
	return inEvidence(func(_ []byte, e *evidence.Evidence) error {
		l, err := eventlog.Parse(e.EventLog)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(l.Events, func(e eventlog.Event) bool {
			text, ok := measure.ParseTagged(e.Data)
			return ok && strings.HasPrefix(text, "aios.kernel ")
		})
		if i < 0 {
			return errors.New("the host's log does not say which kernel was started")
		}
		edit(l, i)
		e.EventLog = l.Encode()
		return nil
	})
}

// TestTamper: one host boots once and tells the truth; what stands between it and
// the verifier alters it. Every alteration is found and named. Each case has a
// verifier of its own that has never met the host.
func TestTamper(t *testing.T) {
	s := newSite(t)
	host := s.start()
	b := newBetween(t, host)
	roots := vm.EKRoots(filepath.Join(s.state, "host", "tpm"))
	reference := filepath.Join(s.state, "image", "reference.json")
	// attest has a new verifier appraise the host through the one between.
	attest := func(t *testing.T, args ...string) outcome {
		t.Helper()
		return newSite(t).json(append([]string{"verifier", "attest", "--once", "--json", "--channel", b.socket, "--reference", reference}, args...)...)
	}
	trusted := []string{"--roots", strings.Join(roots, ",")}

	honest := attest(t, trusted...)
	affirmed(t, honest)
	if !honest.last(t, "enrolled").First {
		t.Error("the verifier has met the host before")
	}
	old := b.recorded()

	thief := must(tpmtest.New())(t)
	for _, c := range []struct {
		name  string
		alter alteration
		wants []string
	}{
		{"a quote with an old nonce", inEvidence(func(_ []byte, e *evidence.Evidence) error {
			*e = old
			return nil
		}), []string{"nonce of the quote", "the quote is old"}},
		{"a quote by another attestation key", inEvidence(func(nonce []byte, e *evidence.Evidence) (err error) {
			copy(thief.PCRs[:], e.PCRs)
			asked, err := evidence.Qualify(nonce, [evidence.BindingSize]byte{}, nil) // as the console's host does
			if err != nil {
				return err
			}
			qualifying := captoken.ChallengeQuote(asked[:])
			e.Attest, e.Signature, err = thief.Quote(qualifying[:])
			return err
		}), []string{"signature of the quote", "not from the enrolled attestation key"}},
		{"another attestation key from the start", inIdentity(func(id *evidence.Identity) error {
			own, err := thief.Identity()
			id.AKPublic, id.CreationData, id.CreationAttest, id.CreationSignature = own.AKPublic, own.CreationData, own.CreationAttest, own.CreationSignature
			return err
		}), []string{"credential activation", "activate a credential"}},
		{"a secret that the TPM did not open", func(_ *evidence.Request, r *evidence.Response) error {
			if r.Secret != nil {
				r.Secret = flip(r.Secret, 0)
			}
			return nil
		}, []string{"credential activation", "could not open the credential"}},
		{"another TPM's endorsement key", inIdentity(func(id *evidence.Identity) error {
			id.EKPublic = thief.EKPublic()
			return nil
		}), []string{"endorsement key", "belongs to another TPM"}},
		{"no EK certificate", inIdentity(func(id *evidence.Identity) error {
			id.EKCertificate = nil
			return nil
		}), []string{"no EK certificate"}},
		{"one altered PCR", inEvidence(func(_ []byte, e *evidence.Evidence) error {
			e.PCRs[11] = flip(e.PCRs[11], 5)
			return nil
		}), []string{"PCR values", "at least one was altered"}},
		{"one bit of the signature", inEvidence(func(_ []byte, e *evidence.Evidence) error {
			e.Signature = flip(e.Signature, len(e.Signature)-1)
			return nil
		}), []string{"signature of the quote", "does not verify"}},
		{"one altered digest in the log", inKernelEvent(func(l *eventlog.Log, i int) {
			d := &l.Events[i].Digests[0]
			d.Bytes = flip(d.Bytes, 0)
		}), []string{"quoted value of PCR 9", "digest was altered"}},
		{"one event's data, its digest left alone", inKernelEvent(func(l *eventlog.Log, i int) {
			l.Events[i].Data = flip(l.Events[i].Data, len(l.Events[i].Data)-1)
		}), []string{"EV_EVENT_TAG, PCR 9", "aios.kernel", "its data was altered"}},
		{"an event removed", inKernelEvent(func(l *eventlog.Log, i int) {
			l.Events = slices.Delete(l.Events, i, i+1)
		}), []string{"quoted value of PCR 9", "events are missing"}},
		{"a truncated log", inEvidence(func(_ []byte, e *evidence.Evidence) error {
			e.EventLog = e.EventLog[:len(e.EventLog)-7]
			return nil
		}), []string{"event log is truncated"}},
		{"no log", inEvidence(func(_ []byte, e *evidence.Evidence) error {
			e.EventLog = nil
			return nil
		}), []string{"0 bytes are left"}},
		{"another manifest", inEvidence(func(_ []byte, e *evidence.Evidence) error {
			e.Manifest = bytes.Replace(e.Manifest, []byte("\nversion "), []byte("\nversion 1"), 1)
			return nil
		}), []string{"is not the one that was measured"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.set(c.alter)
			defer b.set(nil)
			refused(t, attest(t, trusted...), c.wants...)
		})
	}

	t.Run("an EK certificate of an unknown CA", func(t *testing.T) {
		ca := must(tpmtest.NewCA("another manufacturer"))(t)
		file := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		o := attest(t, "--roots", file)
		refused(t, o, "not from a trusted TPM manufacturer", "swtpm-localca")
		if strings.Contains(o.names(), "enrolled") {
			t.Error("and yet it was enrolled")
		}
	})
	t.Run("a changed rule", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "policy")
		newSite(t).plain("policy", "export", dir)
		file := filepath.Join(dir, "pcrs.rego")
		text := must(os.ReadFile(file))(t)
		changed := bytes.Replace(text, []byte(`firmware_pcrs := ["0", "2"]`), []byte(`firmware_pcrs := ["0", "2", "5"]`), 1)
		changed = bytes.Replace(changed, []byte("meaning := {\n"), []byte("meaning := {\n\t\"5\": \"partitions\",\n"), 1)
		if bytes.Equal(changed, text) {
			t.Fatal("the rule to change is not there")
		}
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, attest(t, append(trusted, "--policy", dir)...), "PCR 5 (partitions) is not among the findings")
	})
	// The host was the same and in good order all along.
	affirmed(t, attest(t, trusted...))
}

package main

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"aios/captoken"
	"aios/evidence"
	aios "aios/sdk/go"
)

// fakeTPM answers with what it was asked.
type fakeTPM struct{ err error }

func (f fakeTPM) Identity() (*aios.Identity, error) {
	return &aios.Identity{EKCertificate: []byte("cert"), EKPublic: []byte("ek"), AKPublic: []byte("ak"),
		CreationData: []byte("cd"), CreationAttest: []byte("ca"), CreationSignature: []byte("cs")}, f.err
}

func (f fakeTPM) Activate(credential, secret []byte) ([]byte, error) {
	return append(bytes.Clone(credential), secret...), f.err
}

func (f fakeTPM) Quote(nonce []byte) (*aios.Quote, error) {
	q := &aios.Quote{Attest: bytes.Clone(nonce), Signature: []byte("sig")}
	for i := range q.PCRs {
		q.PCRs[i] = make([]byte, 32)
	}
	return q, f.err
}

// connect serves an attester's console and returns a verifier's end.
func connect(t *testing.T, f fakeTPM) *evidence.Client {
	t.Helper()
	host, verifier := net.Pipe()
	a := newAttester(f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		evidence.Serve(t.Context(), host, console{a})
	}()
	t.Cleanup(func() { host.Close(); verifier.Close(); <-done })
	c, err := evidence.Dial(t.Context(), verifier)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newAttester(f fakeTPM) *attester {
	holder, err := captoken.GenerateKey(captoken.MLDSA65)
	if err != nil {
		panic(err)
	}
	return &attester{tpm: f, holder: holder, uptime: func() uint64 { return 5 }, eventLog: []byte("log"), manifest: []byte("m"), manifestVersion: 7,
		admitted: make(chan struct{}, 1)}
}

func TestAnswers(t *testing.T) {
	c := connect(t, fakeTPM{})
	h, err := c.Hello(t.Context())
	if err != nil || h.ManifestVersion != 7 || h.UptimeNanos != 5 {
		t.Errorf("hello: %+v, %v", h, err)
	}
	i, err := c.Identity(t.Context())
	if err != nil || string(i.EKCertificate) != "cert" || string(i.EKPublic) != "ek" || string(i.AKPublic) != "ak" ||
		string(i.CreationData) != "cd" || string(i.CreationAttest) != "ca" || string(i.CreationSignature) != "cs" {
		t.Errorf("identity: %+v, %v", i, err)
	}
	s, err := c.Activate(t.Context(), []byte("a"), []byte("b"))
	if err != nil || string(s) != "ab" {
		t.Errorf("activate: %q, %v", s, err)
	}
	nonce := bytes.Repeat([]byte{9}, evidence.NonceSize)
	e, err := c.Challenge(t.Context(), nonce)
	asked, _ := evidence.Qualify(nonce, [evidence.BindingSize]byte{}, nil)
	if err != nil || !bytes.Equal(e.Attest, asked[:]) || e.Request != nil || len(e.PCRs) != aios.PCRs || string(e.EventLog) != "log" || string(e.Manifest) != "m" {
		t.Errorf("challenge: %+v, %v", e, err)
	}
}

// A refusal by the TPM reaches the verifier, and the session goes on.
func TestRefusalsTravel(t *testing.T) {
	c := connect(t, fakeTPM{errors.New("TPM_RC_FAILURE")})
	_, err := c.Challenge(t.Context(), make([]byte, evidence.NonceSize))
	var e *evidence.Error
	if !errors.As(err, &e) || e.Code != evidence.CodeTPM {
		t.Errorf("got %v", err)
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	c := console{newAttester(fakeTPM{})}
	for _, q := range []*evidence.Request{{Op: "reboot"}, {Op: evidence.OpChallenge, Nonce: make([]byte, 31)},
		{Op: evidence.OpAdmit}, {Op: evidence.OpAdmit, Token: make([]byte, maxToken+1)},
		{Op: evidence.OpGrant, Grant: &evidence.Grant{}}, {Op: evidence.OpOrders, Orders: &evidence.Orders{All: true}}, {Op: evidence.OpWatch}} {
		_, err := c.Handle(t.Context(), q)
		var e *evidence.Error
		if !errors.As(err, &e) || e.Code != evidence.CodeRequest {
			t.Errorf("%s: got %v", q.Op, err)
		}
	}
}

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"aios/captoken"
	"aios/evidence"
	aios "aios/sdk/go"
)

// tpm is what attestd needs of the kernel's attestor.
type tpm interface {
	Identity() (*aios.Identity, error)
	Activate(credential, secret []byte) ([]byte, error)
	Quote(asked []byte) (*aios.Quote, error)
}

// authority is what it needs of the kernel's authority.
type authority interface {
	Request() (*aios.LeaseRequest, error)
	Lease(signed []byte) error
	Nonce() ([32]byte, error)
	Token(signed, proof []byte) error
	Revocations(list []byte) error
	Orders(aios.Orders) error
	Start(agent string) (instance uint64, err error)
	Kill(command [16]byte, agent string) (receipts [][]byte, err error)
	Quote(nonce [32]byte, receipt []byte) (*aios.Quote, error)
	Watch(after uint64, timeout time.Duration) ([]aios.AgentEvent, error)
}

// attester answers requests.
type attester struct {
	tpm             tpm
	authority       authority       // nil: there is no verifier to grant anything
	holder          captoken.Signer // the host's key, which holds the tokens that it is granted
	uptime          func() uint64   // nanoseconds since boot
	eventLog        []byte
	manifest        []byte
	manifestVersion uint64
	admitted        chan struct{} // a token when an enrolment token has come

	mu    sync.Mutex
	token []byte // for enrolment, nil if none was given
}

// console answers on the host's console. Who reaches it may ask what the host is, and
// may say to which verifier's fleet it belongs; grants and orders come from the
// verifier alone.
type console struct{ *attester }

// Handle implements evidence.Handler.
func (c console) Handle(_ context.Context, q *evidence.Request) (*evidence.Response, error) {
	switch q.Op {
	case evidence.OpChallenge:
		return c.challenge(q.Nonce, [evidence.BindingSize]byte{}, nil)
	case evidence.OpAdmit:
		return c.admit(q.Token)
	}
	return c.answer(q)
}

// answer answers what is asked on the console as by the verifier.
func (a *attester) answer(q *evidence.Request) (*evidence.Response, error) {
	switch q.Op {
	case evidence.OpHello:
		return &evidence.Response{Hello: &evidence.Hello{
			Version: version, ManifestVersion: a.manifestVersion, UptimeNanos: a.uptime()}}, nil
	case evidence.OpIdentity:
		i, err := a.tpm.Identity()
		if err != nil {
			return nil, err
		}
		return &evidence.Response{Identity: &evidence.Identity{
			EKCertificate: i.EKCertificate, EKPublic: i.EKPublic, AKPublic: i.AKPublic,
			CreationData: i.CreationData, CreationAttest: i.CreationAttest, CreationSignature: i.CreationSignature}}, nil
	case evidence.OpActivate:
		secret, err := a.tpm.Activate(q.Credential, q.Secret)
		if err != nil {
			return nil, err
		}
		return &evidence.Response{Secret: secret}, nil
	}
	return nil, &evidence.Error{Code: evidence.CodeRequest, Text: fmt.Sprintf("no operation %q here", q.Op)}
}

// maxToken bounds an enrolment token, in bytes.
const maxToken = 256

// admit takes an enrolment token; a newer one takes the place of the one before.
func (a *attester) admit(token []byte) (*evidence.Response, error) {
	if len(token) < 1 || len(token) > maxToken {
		return nil, &evidence.Error{Code: evidence.CodeRequest, Text: fmt.Sprintf("enrolment token of %d bytes, expected 1 to %d", len(token), maxToken)}
	}
	a.mu.Lock()
	a.token = token
	a.mu.Unlock()
	select {
	case a.admitted <- struct{}{}:
	default: // nobody has seen the one before
	}
	return &evidence.Response{Taken: true}, nil
}

func (a *attester) enrolmentToken() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token
}

func (a *attester) challenge(nonce []byte, binding [evidence.BindingSize]byte, request *evidence.LeaseRequest) (*evidence.Response, error) {
	if len(nonce) != evidence.NonceSize {
		return nil, &evidence.Error{Code: evidence.CodeRequest, Text: fmt.Sprintf("nonce of %d bytes, want %d", len(nonce), evidence.NonceSize)}
	}
	asked, err := evidence.Qualify(nonce, binding, request)
	if err != nil {
		return nil, err
	}
	q, err := a.tpm.Quote(asked[:])
	if err != nil {
		return nil, err
	}
	return &evidence.Response{Evidence: &evidence.Evidence{
		Attest: q.Attest, Signature: q.Signature, PCRs: q.PCRs[:], EventLog: a.eventLog, Manifest: a.manifest, Request: request}}, nil
}

// Command attestd is the service that proves what its host booted. It runs in
// ring 3 and answers a verifier's requests (package evidence) over the channel
// that it was granted: who the host's TPM is, that the attestation key lives in
// it, and, for each nonce, a quote with the event log that explains it.
//
// It is not trusted by the verifier: what it sends is signed by the TPM or
// replayed against what is. A broken or evil attestd can only fail to prove.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"aios/boot/manifest"
	"aios/evidence"
	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// maxEventLog bounds what is read of the event log: a response must fit a frame
// of package evidence with room for the rest.
const maxEventLog = evidence.MaxResponse - (128 << 10)

// version is set by the build.
var version = "dev"

func main() {
	log, err := aios.OpenLog()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
	a, channel, err := open()
	if err == nil {
		fmt.Fprintf(log, "ready version=%s manifest_version=%d event_log=%d", version, a.manifestVersion, len(a.eventLog))
		err = evidence.Serve(context.Background(), channel, a)
	}
	// The kernel starts the service again if the manifest says so.
	fmt.Fprintf(log, "FAILED reason=%q", err)
	os.Exit(1)
}

// tpm is what attestd needs of the kernel's attestor.
type tpm interface {
	Identity() (*aios.Identity, error)
	Activate(credential, secret []byte) ([]byte, error)
	Quote(nonce []byte) (*aios.Quote, error)
}

// attester answers requests.
type attester struct {
	tpm             tpm
	uptime          func() uint64 // nanoseconds since boot
	bootID          []byte        // new with each start of the service
	eventLog        []byte
	manifest        []byte
	manifestVersion uint64
}

// open collects what the manifest grants.
func open() (*attester, aios.Stream, error) {
	var none aios.Stream
	attestor, err := aios.OpenAttestor()
	if err != nil {
		return nil, none, err
	}
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return nil, none, err
	}
	clock, err := aios.Cap(abi.CapClock)
	if err != nil {
		return nil, none, err
	}
	a := &attester{tpm: attestor, bootID: make([]byte, 16)}
	rand.Read(a.bootID)
	a.uptime = func() uint64 {
		d, err := aios.Uptime(clock)
		if err != nil {
			return 0 // for people only
		}
		return uint64(d)
	}
	if a.eventLog, err = blob(abi.CapEventLog, maxEventLog); err != nil {
		return nil, none, err
	}
	if a.manifest, err = blob(abi.CapManifest, manifest.MaxSize); err != nil {
		return nil, none, err
	}
	m, err := manifest.Parse(a.manifest)
	if err != nil {
		return nil, none, err
	}
	a.manifestVersion = m.Version
	return a, channel, nil
}

func blob(name string, limit int64) ([]byte, error) {
	b, err := aios.OpenBlob(name)
	if err != nil {
		return nil, err
	}
	return b.ReadAll(limit)
}

// Handle implements evidence.Handler.
func (a *attester) Handle(_ context.Context, q *evidence.Request) (*evidence.Response, error) {
	switch q.Op {
	case evidence.OpHello:
		return &evidence.Response{Hello: &evidence.Hello{
			BootID: a.bootID, Version: version, ManifestVersion: a.manifestVersion, UptimeNanos: a.uptime()}}, nil
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
	case evidence.OpChallenge:
		return a.challenge(q.Nonce)
	}
	return nil, &evidence.Error{Code: evidence.CodeRequest, Text: fmt.Sprintf("no operation %q", q.Op)}
}

func (a *attester) challenge(nonce []byte) (*evidence.Response, error) {
	if len(nonce) != evidence.NonceSize {
		return nil, &evidence.Error{Code: evidence.CodeRequest, Text: fmt.Sprintf("nonce of %d bytes, want %d", len(nonce), evidence.NonceSize)}
	}
	q, err := a.tpm.Quote(nonce)
	if err != nil {
		return nil, err
	}
	return &evidence.Response{Evidence: &evidence.Evidence{
		Attest: q.Attest, Signature: q.Signature, PCRs: q.PCRs[:], EventLog: a.eventLog, Manifest: a.manifest}}, nil
}

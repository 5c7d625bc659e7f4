//go:build swtpm

package tpm

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"aios/captoken"
	"aios/kernel/abi"
)

// loaded counts the objects and sessions that the TPM holds.
func loaded(t *testing.T, tpm transport.TPM) int {
	t.Helper()
	n := 0
	for _, first := range []uint32{0x80000000, 0x02000000, 0x03000000} { // transient, loaded and saved sessions
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(tpm)
		if err != nil {
			t.Fatal(err)
		}
		h, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}
		n += len(h.Handle)
	}
	return n
}

// start runs swtpm on one end of a socket pair.
func start(t *testing.T) transport.TPM {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	server, client := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "client")
	dir := t.TempDir()
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--fd", "3",
		"--flags", "not-need-init,startup-clear", "--log", "file="+filepath.Join(dir, "log"))
	cmd.ExtraFiles = []*os.File{server}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	t.Cleanup(func() {
		client.Close() // swtpm ends with its connection
		cmd.Wait()
	})
	return transport.FromReadWriter(client)
}

func TestSoftwareTPM(t *testing.T) {
	c := start(t)
	r, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	id, err := r.Identity()
	if err != nil {
		t.Fatal(err)
	}
	if len(id.EKCertificate) != 0 {
		t.Errorf("a TPM without certificate gave %d bytes of one", len(id.EKCertificate))
	}
	again, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.akPublic, r.akPublic) {
		t.Error("the template gave another attestation key")
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}

	known, err := r.HostID() // from Identity
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	made, err := fresh.HostID()
	if err != nil || made != known || !regexp.MustCompile(`^host-[0-9a-f]{16}$`).MatchString(made) {
		t.Errorf("host id %q and %q, %v", known, made, err)
	}
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.ResetCount(); err != nil || n != 1 { // swtpm's first start
		t.Errorf("reset count %d, %v", n, err)
	}

	ek, err := tpm2.Unmarshal[tpm2.TPMTPublic](id.EKPublic)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*ek)
	if err != nil {
		t.Fatal(err)
	}
	params := attest.ActivationParameters{
		EK: key, Rand: rand.Reader,
		AK: attest.AttestationParameters{Public: id.AKPublic, CreateData: id.CreationData, CreateAttestation: id.CreationAttest, CreateSignature: id.CreationSignature},
	}
	secret, cred, err := params.Generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Activate(cred.Credential, cred.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, secret) {
		t.Error("activation gave another secret")
	}
	cred.Credential[10] ^= 1
	if _, err := r.Activate(cred.Credential, cred.Secret); err == nil {
		t.Error("an altered credential was activated")
	}

	if err := r.Extend(12, []byte("phase")); err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Repeat([]byte{7}, 32)
	q, err := r.Quote(nonce)
	if err != nil {
		t.Fatal(err)
	}
	event := sha256.Sum256([]byte("phase"))
	if want := sha256.Sum256(append(make([]byte, 32), event[:]...)); q.PCRs[12] != want {
		t.Errorf("PCR 12 is %x, want %x", q.PCRs[12], want)
	}
	ak, err := attest.ParseAKPublic(id.AKPublic)
	if err != nil {
		t.Fatal(err)
	}
	var pcrs []attest.PCR
	for i := range q.PCRs {
		pcrs = append(pcrs, attest.PCR{Index: i, Digest: q.PCRs[i][:], DigestAlg: crypto.SHA256})
	}
	if err := ak.Verify(attest.Quote{Quote: q.Attest, Signature: q.Signature}, pcrs, nonce); err != nil {
		t.Error(err)
	}
	// What ring 3 asks for and what proves a receipt cannot pass for each other.
	answer, err := r.Attest(t.Context(), abi.AttestQuote, abi.Message(nonce))
	if err != nil {
		t.Fatal(err)
	}
	f, err := abi.Fields(answer, 3)
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := r.QuoteReceipt([32]byte(nonce), []byte("receipt"))
	if err != nil {
		t.Fatal(err)
	}
	asked, proof := captoken.ChallengeQuote(nonce), captoken.ReceiptQuote([32]byte(nonce), captoken.ReceiptHash([]byte("receipt")))
	for _, c := range []struct {
		name         string
		quote, sig   []byte
		want, forged [32]byte
	}{{"challenge", f[0], f[1], asked, proof}, {"receipt", receipt.Attest, receipt.Signature, proof, asked}} {
		q := attest.Quote{Quote: c.quote, Signature: c.sig}
		if err := ak.Verify(q, pcrs, c.want[:]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if ak.Verify(q, pcrs, c.forged[:]) == nil || ak.Verify(q, pcrs, nonce) == nil {
			t.Errorf("the quote of a %s passes for another", c.name)
		}
	}
	if _, err := r.Attest(t.Context(), abi.AttestQuote, abi.Message(make([]byte, MaxNonce+1))); err != abi.Invalid {
		t.Errorf("a nonce that is too long: %v", err)
	}
	if b, err := r.Random(64); err != nil || len(b) != 64 {
		t.Errorf("random: %d bytes, %v", len(b), err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := loaded(t, c); n != 0 {
		t.Errorf("%d objects or sessions stayed loaded", n)
	}
}

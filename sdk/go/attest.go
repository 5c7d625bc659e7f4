package aios

import (
	"encoding/binary"
	"fmt"

	"aios/kernel/abi"
)

// PCRs is how many platform configuration registers a quote reports.
const PCRs = 24

const pcrSize = 32 // of the sha256 bank

// Identity is what ties the host's attestation key to its TPM (TCG EK
// Credential Profile; TPM 2.0 Part 2 for the TPM structures).
type Identity struct {
	EKCertificate     []byte // DER; empty if the TPM has none
	EKPublic          []byte // TPMT_PUBLIC
	AKPublic          []byte // TPMT_PUBLIC
	CreationData      []byte // TPMS_CREATION_DATA
	CreationAttest    []byte // TPMS_ATTEST by TPM2_CertifyCreation
	CreationSignature []byte // TPMT_SIGNATURE
}

// Quote is a TPM2_Quote over every PCR of the sha256 bank, and their values.
type Quote struct {
	Attest    []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE
	PCRs      [PCRs][]byte
}

// Attestor asks the kernel for typed TPM operations.
type Attestor struct{ Handle abi.Handle }

// OpenAttestor uses the capability ATTEST.
func OpenAttestor() (Attestor, error) {
	h, err := Cap(abi.CapAttest)
	return Attestor{h}, err
}

// ask makes the call and splits the answer into n fields.
func (a Attestor) ask(op uint64, what string, n int, request ...[]byte) ([][]byte, error) {
	response := make([]byte, abi.MaxMessage)
	k, err := attestCall(a.Handle, op, abi.Message(request...), response)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	fields, err := abi.Fields(response[:k], n)
	if err != nil {
		return nil, fmt.Errorf("%s: the kernel's answer: %w", what, err)
	}
	return fields, nil
}

// Identity reads the keys and their certification.
func (a Attestor) Identity() (*Identity, error) {
	f, err := a.ask(abi.AttestIdentity, "read the TPM identity", 6)
	if err != nil {
		return nil, err
	}
	return &Identity{f[0], f[1], f[2], f[3], f[4], f[5]}, nil
}

// Activate has the TPM open a credential (TPM2_ActivateCredential):
// TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET in, the secret out.
func (a Attestor) Activate(credential, secret []byte) ([]byte, error) {
	f, err := a.ask(abi.AttestActivate, "activate a credential", 1, credential, secret)
	if err != nil {
		return nil, err
	}
	return f[0], nil
}

// Quote signs the PCRs with a nonce of at most 64 bytes.
func (a Attestor) Quote(nonce []byte) (*Quote, error) {
	f, err := a.ask(abi.AttestQuote, "quote", 3, nonce)
	if err != nil {
		return nil, err
	}
	return splitQuote(f)
}

func splitQuote(f [][]byte) (*Quote, error) {
	if len(f[2]) != PCRs*pcrSize {
		return nil, fmt.Errorf("quote: the kernel's answer holds %d bytes of PCR values, expected %d", len(f[2]), PCRs*pcrSize)
	}
	q := &Quote{Attest: f[0], Signature: f[1]}
	for i := range q.PCRs {
		q.PCRs[i] = f[2][i*pcrSize : (i+1)*pcrSize : (i+1)*pcrSize]
	}
	return q, nil
}

// Random asks the TPM for n random bytes.
func (a Attestor) Random(n int) ([]byte, error) {
	f, err := a.ask(abi.AttestRandom, "read random bytes", 1, binary.LittleEndian.AppendUint32(nil, uint32(n)))
	if err != nil {
		return nil, err
	}
	return f[0], nil
}

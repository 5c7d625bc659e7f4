// Package tpm is the kernel's hold on the TPM 2.0: a few typed operations that
// ring 3 gets by capability, never raw commands (TPM 2.0 Library, part 3).
//
// The attestation key is an ECC P-256 restricted signing key, made anew at each
// boot as a primary object of the endorsement hierarchy from a fixed template:
// the TPM derives the same key from the same template and seed, so nothing
// needs to be stored. The endorsement key is the RSA-2048 key of template L-1
// (TCG EK Credential Profile 2.6, B.3.3), made only for an enrolment.
package tpm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

const (
	// PCRs is how many a quote covers: all of the PC client platform.
	PCRs = 24
	// MaxNonce bounds the qualifying data of a quote.
	MaxNonce = 64
	// MaxRandom bounds one request for random bytes.
	MaxRandom = 64

	ekCertIndex = 0x01c00002 // EK Credential Profile 2.6, 2.2.1.4: RSA-2048 EK certificate
	maxEKCert   = 4096
	nvChunk     = 512 // at most TPM_PT_NV_BUFFER_MAX, which no PC client TPM has smaller
	quoteTries  = 8
)

// ErrArgument is wrapped when a request, not the TPM, is at fault.
var ErrArgument = errors.New("bad TPM request")

// Root holds the attestation key. Its methods may be called from any
// goroutine; the TPM does one thing at a time.
type Root struct {
	mu       sync.Mutex
	t        transport.TPM // guarded by mu
	ak       tpm2.NamedHandle
	akPublic []byte // TPMT_PUBLIC
	created  created
	hostID   string // guarded by mu; empty until the endorsement key was made
}

// created is what TPM2_CreatePrimary says of the attestation key's making.
type created struct {
	data   []byte // TPMS_CREATION_DATA
	hash   tpm2.TPM2BDigest
	ticket tpm2.TPMTTKCreation
}

// Identity is what an enrolment needs: who the TPM is, and that the attestation
// key is a restricted key of it.
type Identity struct {
	EKCertificate     []byte // DER as found in NV, empty if the TPM has none
	EKPublic          []byte // TPMT_PUBLIC
	AKPublic          []byte // TPMT_PUBLIC
	CreationData      []byte // TPMS_CREATION_DATA
	CreationAttest    []byte // TPMS_ATTEST
	CreationSignature []byte // TPMT_SIGNATURE by the AK itself
}

// Quote is a signed statement over all PCRs of the sha256 bank.
type Quote struct {
	Attest    []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE
	PCRs      [PCRs][sha256.Size]byte
}

var akTemplate = tpm2.TPMTPublic{
	Type:    tpm2.TPMAlgECC,
	NameAlg: tpm2.TPMAlgSHA256,
	ObjectAttributes: tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true,
		NoDA: true, Restricted: true, SignEncrypt: true,
	},
	Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Scheme: tpm2.TPMTECCScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
		},
		CurveID: tpm2.TPMECCNistP256,
	}),
}

// Open makes the attestation key.
func Open(t transport.TPM) (*Root, error) {
	r := &Root{t: t}
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(akTemplate)}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("make the attestation key: %w", err)
	}
	r.ak = tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}
	r.akPublic = rsp.OutPublic.Bytes()
	r.created = created{rsp.CreationData.Bytes(), rsp.CreationHash, rsp.CreationTicket}
	return r, nil
}

// Close gives the key's slot in the TPM back.
func (r *Root) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flush(r.ak.Handle)
}

func (r *Root) flush(h tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(r.t)
	return err
}

// Identity reads the EK certificate, makes the EK for as long as it takes to
// learn its public part, and certifies the AK's creation.
func (r *Root) Identity() (Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cert, err := r.readNV(ekCertIndex)
	if err != nil {
		return Identity{}, fmt.Errorf("read the EK certificate: %w", err)
	}
	ek, err := r.endorsementKey()
	if err != nil {
		return Identity{}, err
	}
	public := ek.OutPublic.Bytes()
	if err := r.flush(ek.ObjectHandle); err != nil {
		return Identity{}, fmt.Errorf("flush the endorsement key: %w", err)
	}
	if err := r.learn(ek.OutPublic); err != nil {
		return Identity{}, err
	}
	c, err := tpm2.CertifyCreation{
		SignHandle: r.auth(), ObjectHandle: r.ak, CreationHash: r.created.hash,
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, CreationTicket: r.created.ticket,
	}.Execute(r.t)
	if err != nil {
		return Identity{}, fmt.Errorf("certify the attestation key's creation: %w", err)
	}
	return Identity{
		EKCertificate: cert, EKPublic: public, AKPublic: r.akPublic, CreationData: r.created.data,
		CreationAttest: c.CertifyInfo.Bytes(), CreationSignature: tpm2.Marshal(c.Signature),
	}, nil
}

func (r *Root) auth() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: r.ak.Handle, Name: r.ak.Name, Auth: tpm2.PasswordAuth(nil)}
}

func (r *Root) endorsementKey() (*tpm2.CreatePrimaryResponse, error) {
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(tpm2.RSAEKTemplate)}.Execute(r.t)
	if err != nil {
		return nil, fmt.Errorf("make the endorsement key: %w", err)
	}
	return rsp, nil
}

// Activate opens a credential that was made for this TPM's EK and this AK
// (TPM2_ActivateCredential). credential is a TPM2B_ID_OBJECT, secret a
// TPM2B_ENCRYPTED_SECRET.
func (r *Root) Activate(credential, secret []byte) ([]byte, error) {
	if len(credential) < 3 || len(secret) < 3 {
		return nil, fmt.Errorf("%w: credential of %d bytes, secret of %d", ErrArgument, len(credential), len(secret))
	}
	id, err := tpm2.Unmarshal[tpm2.TPM2BIDObject](credential)
	if err != nil {
		return nil, fmt.Errorf("%w: credential is not a TPM2B_ID_OBJECT: %v", ErrArgument, err)
	}
	sec, err := tpm2.Unmarshal[tpm2.TPM2BEncryptedSecret](secret)
	if err != nil {
		return nil, fmt.Errorf("%w: secret is not a TPM2B_ENCRYPTED_SECRET: %v", ErrArgument, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ek, err := r.endorsementKey()
	if err != nil {
		return nil, err
	}
	defer r.flush(ek.ObjectHandle)
	policy := tpm2.Policy(tpm2.TPMAlgSHA256, 16, tpm2.PolicyCallback(func(t transport.TPM, h tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{
			AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			PolicySession: h, NonceTPM: nonce,
		}.Execute(t)
		return err
	}))
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: r.auth(),
		KeyHandle:      tpm2.AuthHandle{Handle: ek.ObjectHandle, Name: ek.Name, Auth: policy},
		CredentialBlob: *id,
		Secret:         *sec,
	}.Execute(r.t)
	if err != nil {
		return nil, fmt.Errorf("activate the credential: %w", err)
	}
	return rsp.CertInfo.Buffer, nil
}

var allPCRs = tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0xff, 0xff, 0xff}}}}

// Quote signs all PCRs of the sha256 bank together with nonce, and reads the
// values that the signature is over. Nothing of ring 3 chooses the nonce: see
// QuoteChallenge and QuoteReceipt.
func (r *Root) Quote(nonce []byte) (Quote, error) {
	if len(nonce) > MaxNonce {
		return Quote{}, fmt.Errorf("%w: nonce of %d bytes, at most %d", ErrArgument, len(nonce), MaxNonce)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for range quoteTries {
		rsp, err := tpm2.Quote{
			SignHandle: r.auth(), QualifyingData: tpm2.TPM2BData{Buffer: nonce},
			InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: allPCRs,
		}.Execute(r.t)
		if err != nil {
			return Quote{}, fmt.Errorf("quote: %w", err)
		}
		q := Quote{Attest: rsp.Quoted.Bytes(), Signature: tpm2.Marshal(rsp.Signature)}
		if err := r.readPCRs(&q.PCRs); err != nil {
			return Quote{}, err
		}
		attest, err := rsp.Quoted.Contents()
		if err != nil {
			return Quote{}, fmt.Errorf("quote: %w", err)
		}
		info, err := attest.Attested.Quote()
		if err != nil {
			return Quote{}, fmt.Errorf("quote: %w", err)
		}
		if d := digest(&q.PCRs); bytes.Equal(d[:], info.PCRDigest.Buffer) {
			return q, nil
		} // else a PCR was extended between the two commands
	}
	return Quote{}, fmt.Errorf("quote: the PCRs kept changing over %d tries", quoteTries)
}

func digest(pcrs *[PCRs][sha256.Size]byte) [sha256.Size]byte {
	h := sha256.New()
	for i := range pcrs {
		h.Write(pcrs[i][:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// readPCRs asks until the TPM has given all 24; one answer holds eight.
func (r *Root) readPCRs(out *[PCRs][sha256.Size]byte) error {
	for first := 0; first < PCRs; first += 8 {
		sel := []byte{0, 0, 0}
		sel[first/8] = 0xff
		rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: sel}}}}.Execute(r.t)
		if err != nil {
			return fmt.Errorf("read PCR %d to %d: %w", first, first+7, err)
		}
		if n := len(rsp.PCRValues.Digests); n != 8 {
			return fmt.Errorf("read PCR %d to %d: %d values, want 8: is the sha256 bank active?", first, first+7, n)
		}
		for i, d := range rsp.PCRValues.Digests {
			if len(d.Buffer) != sha256.Size {
				return fmt.Errorf("read PCR %d: %d bytes, want %d", first+i, len(d.Buffer), sha256.Size)
			}
			copy(out[first+i][:], d.Buffer)
		}
	}
	return nil
}

// Random gives n bytes of the TPM's generator.
func (r *Root) Random(n int) ([]byte, error) {
	if n < 1 || n > MaxRandom {
		return nil, fmt.Errorf("%w: %d random bytes, want 1 to %d", ErrArgument, n, MaxRandom)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []byte
	for len(out) < n {
		rsp, err := tpm2.GetRandom{BytesRequested: uint16(n - len(out))}.Execute(r.t)
		if err != nil {
			return nil, fmt.Errorf("random: %w", err)
		}
		if len(rsp.RandomBytes.Buffer) == 0 {
			return nil, errors.New("random: the TPM gives no bytes")
		}
		out = append(out, rsp.RandomBytes.Buffer...)
	}
	return out[:n], nil
}

// Extend measures event into pcr in every active bank (TPM2_PCR_Event).
func (r *Root) Extend(pcr int, event []byte) error {
	if pcr < 0 || pcr >= PCRs || len(event) > 1024 {
		return fmt.Errorf("%w: %d bytes into PCR %d", ErrArgument, len(event), pcr)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := tpm2.PCREvent{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		EventData: tpm2.TPM2BEvent{Buffer: event},
	}.Execute(r.t)
	if err != nil {
		return fmt.Errorf("extend PCR %d: %w", pcr, err)
	}
	return nil
}

// readNV reads an index that anybody may read; nil if it is not defined.
func (r *Root) readNV(index tpm2.TPMHandle) ([]byte, error) {
	pub, err := tpm2.NVReadPublic{NVIndex: index}.Execute(r.t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := pub.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	if info.DataSize > maxEKCert {
		return nil, fmt.Errorf("NV index %#x holds %d bytes, at most %d", index, info.DataSize, maxEKCert)
	}
	var out []byte
	for len(out) < int(info.DataSize) {
		rsp, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: pub.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: pub.NVName},
			Size:       uint16(min(nvChunk, int(info.DataSize)-len(out))), Offset: uint16(len(out)),
		}.Execute(r.t)
		if err != nil {
			return nil, err
		}
		if len(rsp.Data.Buffer) == 0 {
			return nil, fmt.Errorf("NV index %#x ends after %d of %d bytes", index, len(out), info.DataSize)
		}
		out = append(out, rsp.Data.Buffer...)
	}
	return out, nil
}

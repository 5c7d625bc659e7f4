package quote

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"aios/verifier/quote/tpmtest"
)

func newTPM(t testing.TB) *tpmtest.TPM {
	t.Helper()
	tpm, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	return tpm
}

var (
	nonce16 = bytes.Repeat([]byte{7}, 16)
	strict  = Policy{Nonce: nonce16, Banks: []crypto.Hash{crypto.SHA256}, All: true}
)

// TestSoftware: a TPM signs whatever its commands allow, so every field of what
// it signed has to be the one that was asked for.
func TestSoftware(t *testing.T) {
	tpm := newTPM(t)
	key, err := ParseKey(tpm.AKPublic())
	if err != nil {
		t.Fatal(err)
	}
	body := func(change func(*tpm2.TPMSQuoteInfo)) func(*tpm2.TPMSAttest) {
		return func(a *tpm2.TPMSAttest) {
			q, err := a.Attested.Quote()
			if err != nil {
				t.Fatal(err)
			}
			change(q)
			a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, q)
		}
	}
	selected := func(bank tpm2.TPMAlgID, bits ...byte) func(*tpm2.TPMSAttest) {
		return body(func(q *tpm2.TPMSQuoteInfo) {
			q.PCRSelect = tpmtest.Selection(bank, bits...)
			h := sha256.New()
			for i, v := range tpm.PCRs {
				if i/8 < len(bits) && bits[i/8]>>(i%8)&1 == 1 {
					h.Write(v)
				}
			}
			q.PCRDigest.Buffer = h.Sum(nil)
		})
	}
	for _, c := range []struct {
		name  string
		alter func(*tpm2.TPMSAttest)
		want  error // nil: good
		text  string
	}{
		{"good", nil, nil, ""},
		{"no nonce", func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = nil }, ErrNonce, "not the challenge's"},
		{"nonce cut", func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = nonce16[:15] }, ErrNonce, "not the challenge's"},
		{"nonce longer", func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = append(bytes.Clone(nonce16), 0) }, ErrNonce, "not the challenge's"},
		{"a certification", func(a *tpm2.TPMSAttest) {
			a.Type = tpm2.TPMSTAttestCertify
			a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{})
		}, ErrFormat, "want a quote"},
		{"SHA-1 bank", selected(tpm2.TPMAlgSHA1, 0xff, 0xff, 0xff), ErrBank, "SHA-1 is not acceptable"},
		{"SHA-384 bank", selected(tpm2.TPMAlgSHA384, 0xff, 0xff, 0xff), ErrBank, "SHA-384 is not acceptable"},
		{"unknown bank", selected(0x99, 0xff, 0xff, 0xff), ErrBank, "algorithm 0x99 is not known"},
		{"no PCRs", selected(tpm2.TPMAlgSHA256, 0, 0, 0), ErrPCRs, "PCR 0 is not in the quote"},
		{"one PCR less", selected(tpm2.TPMAlgSHA256, 0xff, 0xf7, 0xff), ErrPCRs, "PCR 11 is not in the quote"},
		{"a short selection", selected(tpm2.TPMAlgSHA256, 0xff, 0xff), ErrPCRs, "PCR 16 is not in the quote"},
		{"no selection", body(func(q *tpm2.TPMSQuoteInfo) { q.PCRSelect = tpm2.TPMLPCRSelection{} }), ErrBank, "0 selections, want one"},
		{"two selections", body(func(q *tpm2.TPMSQuoteInfo) {
			q.PCRSelect.PCRSelections = append(q.PCRSelect.PCRSelections, q.PCRSelect.PCRSelections[0])
		}), ErrBank, "2 selections, want one"},
		{"no PCR digest", body(func(q *tpm2.TPMSQuoteInfo) { q.PCRDigest.Buffer = nil }), ErrPCRs, "not those that the TPM signed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tpm.Alter = c.alter
			attest, sig, err := tpm.Quote(nonce16)
			if err != nil {
				t.Fatal(err)
			}
			info, err := Verify(key, &Quote{attest, sig, tpm.PCRs}, strict)
			if (info == nil) != (c.want != nil) || !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v that says %q", err, c.want, c.text)
			}
			if errors.Is(err, ErrSignature) {
				t.Errorf("the signature is good: %v", err)
			}
		})
	}
}

// TestSignatures: a quote has one signature, and it is good in one form only.
func TestSignatures(t *testing.T) {
	tpm, other := newTPM(t), newTPM(t)
	key, err := ParseKey(tpm.AKPublic())
	if err != nil {
		t.Fatal(err)
	}
	attest, sig, err := tpm.Quote(nonce16)
	if err != nil {
		t.Fatal(err)
	}
	parse := func() (r, s *big.Int) {
		b, err := tpm2.Unmarshal[tpm2.TPMTSignature](sig)
		if err != nil {
			t.Fatal(err)
		}
		e, err := b.Signature.ECDSA()
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(e.SignatureR.Buffer), new(big.Int).SetBytes(e.SignatureS.Buffer)
	}
	r, s := parse()
	rsa := tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgRSASSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgRSASSA,
		&tpm2.TPMSSignatureRSA{Hash: tpm2.TPMAlgSHA256, Sig: tpm2.TPM2BPublicKeyRSA{Buffer: make([]byte, 256)}})})
	null := tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgNull})
	if _, err := Verify(key, &Quote{attest, tpmtest.Signature(tpm2.TPMAlgSHA256, r, s), tpm.PCRs}, strict); err != nil {
		t.Fatalf("the signature re-encoded: %v", err)
	}
	for name, sig := range map[string][]byte{
		"empty":              nil,
		"none":               null,
		"by another key":     other.Sign(attest),
		"of other bytes":     tpm.Sign(append(bytes.Clone(attest), 0)),
		"of another scheme":  rsa,
		"labelled SHA-384":   tpmtest.Signature(tpm2.TPMAlgSHA384, r, s),
		"labelled SHA-1":     tpmtest.Signature(tpm2.TPMAlgSHA1, r, s),
		"r and s swapped":    tpmtest.Signature(tpm2.TPMAlgSHA256, s, r),
		"zero":               tpmtest.Signature(tpm2.TPMAlgSHA256, new(big.Int), new(big.Int)),
		"r of 600 bits":      tpmtest.Signature(tpm2.TPMAlgSHA256, new(big.Int).Lsh(r, 344), s),
		"bytes behind":       append(bytes.Clone(sig), 0),
		"cut":                sig[:len(sig)-1],
		"another TPM's line": append(bytes.Clone(sig), sig...),
	} {
		if _, err := Verify(key, &Quote{attest, sig, tpm.PCRs}, strict); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", name, err)
		}
	}
}

// TestEveryByte: no single changed bit of a quote is overlooked.
func TestEveryByte(t *testing.T) {
	tpm := newTPM(t)
	key, err := ParseKey(tpm.AKPublic())
	if err != nil {
		t.Fatal(err)
	}
	attest, sig, err := tpm.Quote(nonce16)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, i int, q *Quote) {
		if _, err := Verify(key, q, strict); err == nil {
			t.Errorf("%s: the change of byte %d is overlooked", what, i)
		}
	}
	for bit := range 8 {
		changed := func(b []byte, i int) []byte {
			b = bytes.Clone(b)
			b[i] ^= 1 << bit
			return b
		}
		for i := range attest {
			refused("attest", i, &Quote{changed(attest, i), sig, tpm.PCRs})
		}
		for i := range sig {
			refused("signature", i, &Quote{attest, changed(sig, i), tpm.PCRs})
		}
		for i := range tpm.PCRs {
			pcrs := tpm.PCRs
			pcrs[i] = changed(pcrs[i], bit*4)
			refused("PCRs", i, &Quote{attest, sig, pcrs})
		}
	}
	for i := range attest {
		refused("attest cut", i, &Quote{attest[:i], sig, tpm.PCRs})
	}
}

// TestAttributes: a key that could sign what the TPM has not made, or that exists
// elsewhere too, attests nothing.
func TestAttributes(t *testing.T) {
	for name, change := range map[string]func(*tpm2.TPMAObject){
		"not restricted":      func(a *tpm2.TPMAObject) { a.Restricted = false },
		"cannot sign":         func(a *tpm2.TPMAObject) { a.SignEncrypt = false },
		"decrypts":            func(a *tpm2.TPMAObject) { a.Decrypt = true },
		"can be duplicated":   func(a *tpm2.TPMAObject) { a.FixedTPM = false },
		"can change parents":  func(a *tpm2.TPMAObject) { a.FixedParent = false },
		"was made outside":    func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false },
		"nothing of the kind": func(a *tpm2.TPMAObject) { *a = tpm2.TPMAObject{} },
	} {
		tpm := newTPM(t)
		change(&tpm.AKAttributes)
		if _, err := ParseKey(tpm.AKPublic()); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "restricted signing key") {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	tpm := newTPM(t)
	for name, b := range map[string][]byte{
		"bytes behind": append(tpm.AKPublic(), 0), "cut": tpm.AKPublic()[:80], "an EK": tpm.EKPublic(),
		// The point's last byte: no longer on the curve.
		"not a point of the curve": flip(tpm.AKPublic(), len(tpm.AKPublic())-1),
	} {
		if _, err := ParseKey(b); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	tpm := newTPM(f)
	attest, sig, err := tpm.Quote(nonce16)
	if err != nil {
		f.Fatal(err)
	}
	good := tpm.AKPublic()
	same, err := ParseKey(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), uint16(0), []byte{})
	f.Add(uint16(0), uint16(len(good)), tpm.EKPublic())
	f.Fuzz(func(t *testing.T, at, cut uint16, with []byte) {
		public := tpmtest.Splice(good, int(at), int(cut), with)
		k, err := ParseKey(public)
		if err != nil {
			return
		}
		if _, err := Verify(k, &Quote{attest, sig, tpm.PCRs}, strict); err == nil && !k.Public.(*ecdsa.PublicKey).Equal(same.Public) {
			t.Error("another key verifies the quote")
		}
	})
}

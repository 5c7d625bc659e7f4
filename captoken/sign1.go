package captoken

import (
	"strconv"

	"aios/captoken/cbor"
)

// Bounds on signed objects, in bytes. ML-DSA-87 fits.
const (
	MaxHeader = 4 << 10  // protected header; that of a delegation holds a public key
	MaxClaims = 8 << 10  // payload
	MaxObject = 16 << 10 // one COSE_Sign1 with everything
)

// kind is what a signed object is, as its typ header says.
type kind string

// The kinds, as media types (RFC 9596 section 2).
const (
	kindToken      kind = "application/aios-token+cwt"
	kindDelegation kind = "application/aios-delegation+cwt"
	kindLease      kind = "application/aios-lease+cwt"
	kindCommand    kind = "application/aios-command+cwt"
	kindProof      kind = "application/aios-proof+cwt"

	kindRevocations kind = "application/aios-revocations+cwt"
)

// carriesKey tells whether the signer's key stands in the header: whoever verifies such an
// object knows no more of the signer than a thumbprint.
func (k kind) carriesKey() bool { return k == kindDelegation || k == kindProof }

// maxClaims bounds the payload.
func (k kind) maxClaims() int {
	if k == kindRevocations {
		return MaxRevocationClaims
	}
	return MaxClaims
}

const maxKind = 64

// Labels of the protected header.
const (
	headerAlgorithm = 1      // RFC 9052 section 3.1
	headerKeyID     = 4      // RFC 9052 section 3.1
	headerType      = 16     // RFC 9596
	headerKey       = -65537 // private use: the signer's public key, in delegations and proofs
)

// tagSign1 is the CBOR tag of COSE_Sign1, RFC 9052 section 2.
const tagSign1 = 18

// sign1 is a COSE_Sign1 taken apart. Its slices are parts of the bytes it was read from.
type sign1 struct {
	raw       []byte // the whole object
	protected []byte
	payload   []byte
	signature []byte

	algorithm Algorithm
	keyID     ID
	key       []byte // of a delegation or a proof: the signer's public key
}

// readSign1 reads the object of a kind at the start of b. It looks at the header,
// which says who is to have signed, and not into the payload.
func readSign1(b []byte, object string, want kind) (s sign1, err error) {
	whole := b
	if most := MaxObject - MaxClaims + want.maxClaims(); len(b) > most {
		whole = b[:most]
	}
	r := cbor.NewReader(whole)
	r.Tag(tagSign1)
	r.Array(4, 4)
	s.protected = r.Bytes(1, MaxHeader)
	r.Map(0, 0) // nothing is left unprotected
	s.payload = r.Bytes(1, want.maxClaims())
	s.signature = r.Bytes(minSignature, maxSignature)
	if r.Err() != nil {
		return s, formError(object, "its COSE_Sign1, "+r.Err().Error())
	}
	s.raw = b[:r.Offset()]
	if err := s.readHeader(object, want); err != nil {
		return s, err
	}
	if _, n := s.algorithm.sizes(); len(s.signature) != n {
		return s, formError(object, "signature of "+s.algorithm.String()+" expected with "+strconv.Itoa(n)+" bytes, found "+strconv.Itoa(len(s.signature)))
	}
	return s, nil
}

func (s *sign1) readHeader(object string, want kind) error {
	r := cbor.NewReader(s.protected)
	pairs := 3
	if want.carriesKey() {
		pairs = 4
	}
	m := r.Map(pairs, pairs)
	for key, ok := m.Next(); ok; key, ok = m.Next() {
		at := r.Offset()
		switch {
		case key == headerAlgorithm:
			s.algorithm = Algorithm(r.Int())
			if size, _ := s.algorithm.sizes(); size == 0 {
				r.Fail(at, "algorithm expected as -48, -49, -50 or -65537, found "+strconv.FormatInt(int64(s.algorithm), 10))
			}
		case key == headerKeyID:
			copy(s.keyID[:], r.Bytes(len(s.keyID), len(s.keyID)))
		case key == headerType:
			if found := r.Text(1, maxKind); r.Err() == nil && string(found) != string(want) {
				r.Fail(at, "type expected "+string(want)+", found "+quote(string(found)))
			}
		case key == headerKey && want.carriesKey():
			size, _ := s.algorithm.sizes() // read before: labels ascend
			s.key = r.Bytes(size, size)
		default:
			r.Fail(at, "header "+strconv.FormatInt(key, 10)+" is unknown")
		}
	}
	if err := r.End(); err != nil {
		return formError(object, "its protected header, "+err.Error())
	}
	return nil // as many pairs as there are labels, each once: all are there
}

// end refuses bytes after the only object.
func (s *sign1) end(b []byte, object string) error {
	if n := len(b) - len(s.raw); n > 0 {
		return formError(object, "expected its end after "+strconv.Itoa(len(s.raw))+" bytes, found "+strconv.Itoa(n)+" more")
	}
	return nil
}

// verify checks the signature by key. By which algorithm is for the key to say.
func (s *sign1) verify(object string, key *PublicKey) error {
	if s.algorithm != key.algorithm {
		return &Error{ErrSignature, object, "signature of " + key.algorithm.String() + " expected, as key " + key.ID().String() + " demands, found one of " + s.algorithm.String(),
			"get one that is signed by the algorithm of the key"}
	}
	if !key.verify(toBeSigned(s.protected, s.payload), s.signature) {
		return &Error{ErrSignature, object, "the signature is not of key " + key.ID().String() + " over this text",
			"it was changed after it was signed; get it again from whom it came"}
	}
	return nil
}

// toBeSigned is the Sig_structure of RFC 9052 section 4.4, without external data.
func toBeSigned(protected, payload []byte) []byte {
	b := make([]byte, 0, len(protected)+len(payload)+32)
	b = cbor.AppendText(cbor.AppendArray(b, 4), "Signature1")
	b = cbor.AppendBytes(b, protected)
	b = cbor.AppendBytes(b, nil)
	return cbor.AppendBytes(b, payload)
}

// seal signs a payload.
func seal(signer Signer, object string, k kind, payload []byte) ([]byte, error) {
	if most := k.maxClaims(); len(payload) > most {
		return nil, claimError(object, "expected at most "+strconv.Itoa(most)+" bytes of claims, found "+strconv.Itoa(len(payload)))
	}
	public := signer.Public()
	id := public.ID()
	pairs := 3
	if k.carriesKey() {
		pairs = 4
	}
	header := cbor.AppendMap(nil, pairs)
	header = cbor.AppendInt(cbor.AppendInt(header, headerAlgorithm), int64(public.Algorithm()))
	header = cbor.AppendBytes(cbor.AppendInt(header, headerKeyID), id[:])
	header = cbor.AppendText(cbor.AppendInt(header, headerType), string(k))
	if k.carriesKey() {
		header = cbor.AppendBytes(cbor.AppendInt(header, headerKey), public.Bytes())
	}
	signature, err := signer.Sign(toBeSigned(header, payload))
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(header)+len(payload)+len(signature)+16)
	b = cbor.AppendArray(cbor.AppendTag(b, tagSign1), 4)
	b = cbor.AppendBytes(b, header)
	b = cbor.AppendMap(b, 0)
	b = cbor.AppendBytes(b, payload)
	return cbor.AppendBytes(b, signature), nil
}

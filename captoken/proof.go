package captoken

import (
	"crypto/sha256"
	"encoding/hex"

	"aios/captoken/cbor"
)

// A proof of possession says that who presents a token has the key of its holder: the
// holder signs a nonce that the host has just made up. It names the host and the whole
// token, so that a host cannot use it on another one, nor anybody with another token. It
// has a kind of its own, so it is no delegation, and nothing else is a proof.

// claimToken is the SHA-256 of a token with all its delegations.
const claimToken = -65553

var proofClaims = []int64{claimAudience, claimNonce, claimToken}

const proofName = "proof of possession"

// Prove signs the nonce of the host that a token is for. The signer is the token's
// present holder. The token's signatures are not checked.
func Prove(holder Signer, t Token, nonce [NonceSize]byte) ([]byte, error) {
	_, left, err := Read(t)
	if err != nil {
		return nil, err
	}
	if found := holder.Public().Thumbprint(); found != left.Holder {
		return nil, notHolder(left.Holder, found)
	}
	if nonce == [NonceSize]byte{} {
		return nil, claimError(proofName, "nonce of the host expected, found none")
	}
	return seal(holder, proofName, kindProof, encodeProof(left.Audience, nonce, sha256.Sum256(t)))
}

func encodeProof(host string, nonce [NonceSize]byte, token [sha256.Size]byte) []byte {
	b := cbor.AppendMap(make([]byte, 0, 192), len(proofClaims))
	b = cbor.AppendText(cbor.AppendInt(b, claimAudience), host)
	b = cbor.AppendBytes(cbor.AppendInt(b, claimNonce), nonce[:])
	return cbor.AppendBytes(cbor.AppendInt(b, claimToken), token[:])
}

func notHolder(want, found Thumbprint) error {
	return &Error{ErrIssuer, proofName, "signer expected " + want.String() + ", the holder, found " + found.String(),
		"only the holder can prove that it has the key; sign with it"}
}

// VerifyProof checks a proof for a token from which Verify made g, on the host that made
// up the nonce. Whoever calls it accepts one answer to a nonce at most.
func VerifyProof(raw []byte, t Token, g *Grant, nonce [NonceSize]byte) error {
	s, key, err := openProof(raw)
	if err != nil {
		return err
	}
	if key.Thumbprint() != g.Holder {
		return notHolder(g.Holder, key.Thumbprint())
	}
	if err := s.verify(proofName, key); err != nil {
		return err
	}
	host, answered, token, err := decodeProof(s.payload)
	switch {
	case err != nil:
		return err
	case host != g.Audience:
		return &Error{ErrAudience, proofName, "host expected " + quote(g.Audience) + ", found " + quote(host), "sign the nonce of this host"}
	case nonce == [NonceSize]byte{} || answered != nonce:
		return &Error{ErrNonce, proofName, "nonce expected " + hex.EncodeToString(nonce[:]) + ", found " + hex.EncodeToString(answered[:]), "sign the nonce that the host has just made up"}
	case token != sha256.Sum256(t):
		return &Error{ErrDelegation, proofName, "it was made for another token", "sign the nonce for the token that is presented"}
	}
	return nil
}

// openProof reads the envelope and the key in it. The signature is still to be checked.
func openProof(raw []byte) (s sign1, key *PublicKey, err error) {
	if s, err = readSign1(raw, proofName, kindProof); err == nil {
		err = s.end(raw, proofName)
	}
	if err != nil {
		return s, nil, err
	}
	if key, err = ParsePublicKey(s.algorithm, s.key); err != nil {
		return s, nil, formError(proofName, err.Error())
	}
	if key.ID() != s.keyID {
		return s, nil, formError(proofName, "key id expected "+key.ID().String()+", of the key beside it, found "+s.keyID.String())
	}
	return s, key, nil
}

func decodeProof(payload []byte) (host string, nonce [NonceSize]byte, token [sha256.Size]byte, err error) {
	r := cbor.NewReader(payload)
	s := newClaimSet(r, proofClaims)
	for key, ok := s.next(); ok; key, ok = s.next() {
		switch key {
		case claimAudience:
			host = readName(r)
		case claimNonce:
			copy(nonce[:], r.Bytes(NonceSize, NonceSize))
		case claimToken:
			copy(token[:], r.Bytes(len(token), len(token)))
		}
	}
	if err := s.end(); err != nil {
		return host, nonce, token, formError(proofName, "its claims, "+err.Error())
	}
	switch {
	case !validName(host):
		err = formError(proofName, "host "+quote(host)+": expected "+nameRule)
	case nonce == [NonceSize]byte{}:
		err = formError(proofName, "nonce of the host expected, found none")
	}
	return host, nonce, token, err
}

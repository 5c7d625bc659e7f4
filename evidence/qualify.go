package evidence

import "crypto/sha256"

const qualifyDomain = "AIOS evidence v2\n"

// Qualify is what a host asks its kernel to quote over in answer to a challenge: the
// SHA-256 of the domain text, the verifier's nonce, the channel binding (32 bytes, zeros
// on a console) and the SHA-256 of the encoded lease request (of nothing, if there is
// none). So the quote is worth nothing on another connection than the one that it was
// made for: a machine that passes the challenge on to a good host gains nothing. The
// kernel puts captoken.ChallengeQuote around it.
func Qualify(nonce []byte, binding [BindingSize]byte, request *LeaseRequest) ([32]byte, error) {
	var encoded []byte
	if request != nil {
		var err error
		if encoded, err = encode(request); err != nil {
			return [32]byte{}, err
		}
	}
	asks := sha256.Sum256(encoded)
	h := sha256.New()
	h.Write([]byte(qualifyDomain))
	h.Write(nonce)
	h.Write(binding[:])
	h.Write(asks[:])
	return [32]byte(h.Sum(nil)), nil
}

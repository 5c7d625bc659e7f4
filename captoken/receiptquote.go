package captoken

import "crypto/sha256"

// What the kernel's quotes are for is said by how their qualifying data begins, so that
// a quote that was made for a receipt never passes as one that answers a challenge, and
// the other way round. The kernel alone chooses which it makes: a program can ask for a
// quote over what it likes, and gets one of the second kind.
const (
	receiptQuoteDomain   = "AIOS receipt quote v1\n"
	challengeQuoteDomain = "AIOS challenge quote v1\n"
)

// ReceiptQuote is the qualifying data (TPM2_Quote; extraData of the TPMS_ATTEST) of the
// quote that proves a receipt: the kernel quotes over it, the verifier computes it
// again. It is the SHA-256 of the domain text, the verifier's nonce and the ReceiptHash,
// one after the other; only the first has a length of its own, and that one is fixed.
func ReceiptQuote(nonce [NonceSize]byte, hash [32]byte) [32]byte {
	b := make([]byte, 0, len(receiptQuoteDomain)+len(nonce)+len(hash))
	b = append(b, receiptQuoteDomain...)
	b = append(b, nonce[:]...)
	return sha256.Sum256(append(b, hash[:]...))
}

// ChallengeQuote is the qualifying data of every other quote of the kernel: the SHA-256
// of the domain text and what ring 3 asked for.
func ChallengeQuote(asked []byte) [32]byte {
	return sha256.Sum256(append([]byte(challengeQuoteDomain), asked...))
}

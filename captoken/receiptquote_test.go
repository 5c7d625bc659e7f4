package captoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The value is written down once, so that another implementation has something to agree with.
func TestReceiptQuote(t *testing.T) {
	nonce := [NonceSize]byte(bytes.Repeat([]byte{0x11}, NonceSize))
	hash := ReceiptHash([]byte("receipt"))
	got := ReceiptQuote(nonce, hash)
	text := append(append([]byte("AIOS receipt quote v1\n"), nonce[:]...), hash[:]...)
	if want := sha256.Sum256(text); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	const want = "4909905a22885fc9095f2e13d8811fb0c113ff2027bd93f3f99f4901cd988bea"
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
	for i := range nonce {
		other := nonce
		other[i] ^= 1
		if ReceiptQuote(other, hash) == got {
			t.Errorf("byte %d of the nonce does not count", i)
		}
		changed := hash
		changed[i] ^= 1
		if ReceiptQuote(nonce, changed) == got {
			t.Errorf("byte %d of the hash does not count", i)
		}
	}
}

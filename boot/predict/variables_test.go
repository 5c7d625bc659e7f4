package predict

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// signatureList is an EFI_SIGNATURE_LIST with the given certificates of one length.
func signatureList(kind [16]byte, certs ...[]byte) []byte {
	size := 16 + len(certs[0])
	b := append([]byte(nil), kind[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(28+size*len(certs)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	for _, c := range certs {
		b = append(b, bytes.Repeat([]byte{0xA1}, 16)...)
		b = append(b, c...)
	}
	return b
}

func TestParseSignatureLists(t *testing.T) {
	two := append(signatureList(certX509, []byte("ab"), []byte("cd")), signatureList(globalVariable, []byte("e"))...)
	entries, err := parseSignatureLists(two)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d entries, %v; want 3", len(entries), err)
	}
	for i, want := range []string{"ab", "cd", "e"} {
		if got := string(entries[i].raw[16:]); got != want {
			t.Errorf("entry %d = %q, want %q", i, got, want)
		}
	}
	if entries[2].kind != globalVariable {
		t.Errorf("kind of entry 2 = %x", entries[2].kind)
	}
}

func TestParseSignatureListsRefuses(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		change func(b []byte)
	}{
		{"entries that do not fill the list", func(b []byte) { le.PutUint32(b[24:], 17) }},
		{"entries without content", func(b []byte) { le.PutUint32(b[24:], 16) }},
		{"entries of no size", func(b []byte) { le.PutUint32(b[24:], 0) }},
		{"list longer than the variable", func(b []byte) { le.PutUint32(b[16:], 100) }},
		{"list shorter than its header", func(b []byte) { le.PutUint32(b[16:], 27) }},
		{"header longer than the list", func(b []byte) { le.PutUint32(b[20:], 1<<32-1) }},
	} {
		b := signatureList(certX509, []byte("ab"), []byte("cd"))
		c.change(b)
		if entries, err := parseSignatureLists(b); err == nil {
			t.Errorf("%s: accepted with %d entries", c.name, len(entries))
		}
	}
}

// Any bytes are taken apart or refused, never a panic or an endless loop.
func FuzzParseSignatureLists(f *testing.F) {
	f.Add(signatureList(certX509, []byte("ab"), []byte("cd")))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseSignatureLists(b)
		total := 0
		for _, e := range entries {
			total += len(e.raw)
		}
		if err == nil && total > len(b) {
			t.Errorf("%d bytes of entries in %d bytes", total, len(b))
		}
	})
}

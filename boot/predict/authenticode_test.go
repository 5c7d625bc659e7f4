package predict

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/foxboron/go-uefi/authenticode"
)

// plainPE is the smallest PE32+ application that parses: headers and one section.
func plainPE() []byte {
	const headers, section = 0x200, 0x200
	b := make([]byte, headers+section)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	le.PutUint16(b[0x84:], 0x8664) // machine
	le.PutUint16(b[0x86:], 1)      // sections
	le.PutUint16(b[0x94:], 240)    // size of the optional header
	le.PutUint16(b[0x96:], 0x22)   // characteristics
	optional := b[0x98:]
	le.PutUint16(optional, 0x20b)
	le.PutUint32(optional[60:], headers) // SizeOfHeaders
	le.PutUint32(optional[108:], 16)     // data directories
	table := b[0x98+240:]
	copy(table, ".text")
	le.PutUint32(table[8:], section)
	le.PutUint32(table[12:], 0x1000)
	le.PutUint32(table[16:], section)
	le.PutUint32(table[20:], headers)
	for i := headers; i < len(b); i++ {
		b[i] = byte(i * 7)
	}
	return b
}

func signPE(t testing.TB, app []byte, s signer) []byte {
	t.Helper()
	p, err := authenticode.Parse(bytes.NewReader(app))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sign(s.key, s.cert); err != nil {
		t.Fatal(err)
	}
	return p.Bytes()
}

// The same file gives the same digest in go-uefi, which is what signs it.
func TestAuthenticodeAgreesWithSigner(t *testing.T) {
	s, err := signers()
	if err != nil {
		t.Fatal(err)
	}
	trailing := append(plainPE(), bytes.Repeat([]byte{7}, 24)...)
	for name, app := range map[string][]byte{
		"unsigned": plainPE(), "signed": signPE(t, plainPE(), s[0]),
		"signed twice":  signPE(t, signPE(t, plainPE(), s[0]), s[1]),
		"trailing data": trailing, "trailing data, signed": signPE(t, trailing, s[0]),
	} {
		p, err := authenticode.Parse(bytes.NewReader(app))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := Authenticode(app)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, b := range Banks {
			if theirs := p.Hash(b.Hash()); !bytes.Equal(ours[b], theirs) {
				t.Errorf("%s: %s %s, go-uefi has %x", name, b, ours[b], theirs)
			}
		}
	}
}

func TestAuthenticodeRefuses(t *testing.T) {
	s, err := signers()
	if err != nil {
		t.Fatal(err)
	}
	signed := signPE(t, plainPE(), s[0])
	for n := range signed {
		if _, err := Authenticode(signed[:n]); err == nil {
			t.Errorf("accepted when cut to %d of %d bytes", n, len(signed))
		}
	}
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		change func(b []byte)
		want   string
	}{
		{"32 bit", func(b []byte) { le.PutUint16(b[0x98:], 0x10b) }, "the marks"},
		{"four directories", func(b []byte) { le.PutUint32(b[0x98+108:], 4) }, "data directories"},
		{"header offset beyond the file", func(b []byte) { le.PutUint32(b[0x3c:], 1<<32-1) }, "headers: ends at"},
		{"headers beyond the file", func(b []byte) { le.PutUint32(b[0x98+60:], 1<<20) }, "headers: ends at"},
		{"headers shorter than the table", func(b []byte) { le.PutUint32(b[0x98+60:], 0x100) }, "SizeOfHeaders"},
		{"section inside the headers", func(b []byte) { le.PutUint32(b[0x98+240+20:], 0x100) }, "a section starts"},
		{"gap before the section", func(b []byte) { le.PutUint32(b[0x98+240+20:], 0x208) }, "a section starts"},
		{"section beyond the file", func(b []byte) { le.PutUint32(b[0x98+240+16:], 1<<32-1) }, "section: ends at"},
		{"certificates in the middle", func(b []byte) { le.PutUint32(b[0x98+144:], 0x300) }, "certificate table"},
		{"bytes behind the certificates", func(b []byte) { le.PutUint32(b[0x98+148:], 8) }, "certificate table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(signed)
			c.change(b)
			if _, err := Authenticode(b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want one that contains %q", err, c.want)
			}
		})
	}
}

func FuzzAuthenticode(f *testing.F) {
	f.Add(plainPE())
	f.Fuzz(func(t *testing.T, app []byte) {
		parts, err := hashedParts(app)
		total := 0
		for _, p := range parts {
			total += len(p)
		}
		if err == nil && total > len(app)-12 {
			t.Errorf("hashes %d bytes of a file of %d", total, len(app))
		}
	})
}

// Signing may not change what is measured: PCR 4 can be predicted from the unsigned file.
func TestAuthenticodeSurvivesSigning(t *testing.T) {
	s, err := signers()
	if err != nil {
		t.Fatal(err)
	}
	before, err := Authenticode(plainPE())
	if err != nil {
		t.Fatal(err)
	}
	after, err := Authenticode(signPE(t, plainPE(), s[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range Banks {
		if !bytes.Equal(before[b], after[b]) || len(after[b]) != b.Hash().Size() {
			t.Errorf("%s: %s unsigned, %s signed", b, before[b], after[b])
		}
	}
}

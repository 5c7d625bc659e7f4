package secureboot

import (
	"bytes"
	"fmt"

	"github.com/foxboron/go-uefi/authenticode"
)

// Sign returns an EFI program with a signature by the pair (Authenticode; UEFI
// 2.10 section 32.5). The digest that firmware measures does not change by it.
func Sign(program []byte, p Pair) ([]byte, error) {
	if len(program)%8 != 0 {
		// Signing would pad it, and the padding would be measured.
		return nil, fmt.Errorf("sign EFI program: its length %d is not a multiple of 8", len(program))
	}
	pe, err := authenticode.Parse(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("sign EFI program: %w", err)
	}
	if _, err := pe.Sign(p.Key, p.Cert); err != nil {
		return nil, fmt.Errorf("sign EFI program: %w", err)
	}
	return pe.Bytes(), nil
}

// Verify says whether one of a program's signatures is by the pair.
func Verify(program []byte, p Pair) error {
	pe, err := authenticode.Parse(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("EFI program: %w", err)
	}
	if ok, err := pe.Verify(p.Cert); err != nil || !ok {
		return fmt.Errorf("EFI program: not signed by %q (%v)", p.Cert.Subject.CommonName, err)
	}
	return nil
}

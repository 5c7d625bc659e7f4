package predict

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/foxboron/go-uefi/authenticode"
)

// Variables are the contents of the Secure Boot variables: lists of EFI_SIGNATURE_LIST
// (UEFI 2.10 section 32.4.1), exactly the bytes that are enrolled. An empty one is absent.
type Variables struct {
	PK, KEK, Db, Dbx []byte
}

// GUIDs in the byte order of UEFI 2.10 appendix A: the first three fields little endian.
var (
	globalVariable = [16]byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
	// EFI_IMAGE_SECURITY_DATABASE_GUID
	imageSecurityDatabase = [16]byte{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	// EFI_CERT_X509_GUID
	certX509 = [16]byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
)

// variableData returns a UEFI_VARIABLE_DATA (PFP 1.06 section 10.2.6): GUID, lengths of
// name and data as u64, the name as UTF-16 without terminating zero, the data.
func variableData(guid [16]byte, name string, data []byte) []byte {
	units := utf16.Encode([]rune(name))
	b := append([]byte(nil), guid[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(units)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, data...)
}

// signatureData is one entry of a signature list. Raw is the EFI_SIGNATURE_DATA: the
// owner's GUID and the certificate.
type signatureData struct {
	kind [16]byte
	raw  []byte
}

// parseSignatureLists takes the contents of db apart.
func parseSignatureLists(b []byte) ([]signatureData, error) {
	var out []signatureData
	const header = 28
	for len(b) > 0 {
		if len(b) < header {
			return nil, fmt.Errorf("signature list: expected a header of %d bytes, found %d", header, len(b))
		}
		list := uint64(binary.LittleEndian.Uint32(b[16:]))
		skip := uint64(binary.LittleEndian.Uint32(b[20:]))
		size := uint64(binary.LittleEndian.Uint32(b[24:]))
		if list > uint64(len(b)) || header+skip > list || size <= 16 || (list-header-skip)%size != 0 {
			return nil, fmt.Errorf("signature list: sizes do not fit: list %d, header %d, entry %d, found %d bytes", list, skip, size, len(b))
		}
		for e := b[header+skip : list]; len(e) > 0; e = e[size:] {
			out = append(out, signatureData{[16]byte(b), e[:size]})
		}
		b = b[list:]
	}
	return out, nil
}

// authority returns the entry of db that lets the firmware start the application: the
// first one whose certificate made its signature. (A firmware would also take a
// certificate above the signer's and the hash of an unsigned application; AIOS enrols
// neither.)
func (v Variables) authority(app []byte) ([]byte, error) {
	entries, err := parseSignatureLists(v.Db)
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	binary, err := authenticode.Parse(bytes.NewReader(app))
	if err != nil {
		return nil, err
	}
	var reasons []error
	for _, e := range entries {
		if e.kind != certX509 {
			continue
		}
		cert, err := x509.ParseCertificate(e.raw[16:])
		if err != nil {
			return nil, fmt.Errorf("db: certificate: %w", err)
		}
		ok, err := binary.Verify(cert)
		if ok && err == nil {
			return e.raw, nil
		}
		reasons = append(reasons, err)
	}
	return nil, fmt.Errorf("no certificate of db made its signature (db has %d entries), so Secure Boot would refuse it; sign it with the db key: %w",
		len(entries), errors.Join(reasons...))
}

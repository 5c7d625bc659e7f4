package predict

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Authenticode returns the digests under which a firmware measures a PE application: the
// hash of the file without checksum, certificate table and the table's directory entry
// (Microsoft "Windows Authenticode Portable Executable Signature Format" 1.0). Signing
// does not change them if the length of the unsigned file is a multiple of eight.
//
// It takes PE32+ only, and only files whose parts lie one behind the other in the file,
// as linkers write them: for others firmwares do not agree what to hash.
func Authenticode(app []byte) (Digests, error) {
	parts, err := hashedParts(app)
	if err != nil {
		return nil, fmt.Errorf("not a PE32+ application as the firmware wants it: %w", err)
	}
	d := Digests{}
	for _, b := range Banks {
		d[b] = sum(b.Hash(), parts...)
	}
	return d, nil
}

// Offsets in PE32+, from Microsoft's PE/COFF specification.
const (
	offPE             = 0x3c // in the DOS header
	coffSize          = 4 + 20
	offSections       = 4 + 2  // from "PE\0\0": number of sections
	offOptionalSize   = 4 + 16 // from "PE\0\0"
	offSizeOfHeaders  = 60     // from the optional header, as all that follow
	offCheckSum       = 64
	offDirectories    = 108
	offCertificates   = 112 + 4*8 // the fifth directory entry
	sectionHeaderSize = 40
	offRawSize        = 16 // in a section header
)

func hashedParts(app []byte) ([][]byte, error) {
	le := binary.LittleEndian
	length := uint64(len(app))
	need := func(what string, end uint64) error {
		if end > length {
			return fmt.Errorf("%s: ends at byte %d, the file has %d", what, end, length)
		}
		return nil
	}
	if err := need("DOS header", offPE+4); err != nil {
		return nil, err
	}
	pe := uint64(le.Uint32(app[offPE:]))
	optional := pe + coffSize
	if err := need("headers", optional+offCertificates+8); err != nil {
		return nil, err
	}
	if string(app[:2]) != "MZ" || string(app[pe:pe+4]) != "PE\x00\x00" || le.Uint16(app[optional:]) != 0x20b {
		return nil, fmt.Errorf("the marks MZ, PE and PE32+ are not where they belong")
	}
	if n := le.Uint32(app[optional+offDirectories:]); n < 5 {
		return nil, fmt.Errorf("expected at least 5 data directories, found %d", n)
	}
	headers := uint64(le.Uint32(app[optional+offSizeOfHeaders:]))
	table := optional + uint64(le.Uint16(app[pe+offOptionalSize:]))
	tableEnd := table + sectionHeaderSize*uint64(le.Uint16(app[pe+offSections:]))
	if table < optional+offCertificates+8 || headers < tableEnd {
		return nil, fmt.Errorf("SizeOfHeaders %d does not cover the section table, which ends at %d", headers, tableEnd)
	}
	if err := need("headers", headers); err != nil {
		return nil, err
	}
	parts := [][]byte{
		app[:optional+offCheckSum],
		app[optional+offCheckSum+4 : optional+offCertificates],
		app[optional+offCertificates+8 : headers],
	}

	type section struct{ offset, size uint64 }
	var sections []section
	for h := table; h < tableEnd; h += sectionHeaderSize {
		s := section{size: uint64(le.Uint32(app[h+offRawSize:])), offset: uint64(le.Uint32(app[h+offRawSize+4:]))}
		if s.size > 0 {
			sections = append(sections, s)
		}
	}
	slices.SortFunc(sections, func(a, b section) int { return cmp.Compare(a.offset, b.offset) })
	end := headers
	for _, s := range sections {
		if s.offset != end {
			return nil, fmt.Errorf("a section starts at byte %d, the part before it ends at %d", s.offset, end)
		}
		end += s.size
		if err := need("section", end); err != nil {
			return nil, err
		}
		parts = append(parts, app[s.offset:end])
	}

	// What follows the sections is hashed too, up to the certificate table at the very end.
	certs := uint64(le.Uint32(app[optional+offCertificates:]))
	certsSize := uint64(le.Uint32(app[optional+offCertificates+4:]))
	if certsSize == 0 {
		certs = length
	}
	if certs < end || certs+certsSize != length {
		return nil, fmt.Errorf("the certificate table (byte %d, %d bytes) is not the end of the file (%d bytes)", certs, certsSize, length)
	}
	return append(parts, app[end:certs]), nil
}

package image

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf16"
)

// ErrFormat is wrapped by errors about a disk that is not one of ours.
var ErrFormat = errors.New("not a disk image of AIOS")

const (
	sectorSize     = 512
	partitionStart = 2048 // sectors; 1 MiB, as every partitioner aligns
	gptEntries     = 128
	gptEntrySize   = 128
	gptTableSize   = gptEntries * gptEntrySize / sectorSize // sectors
)

// GUID of the type "EFI system partition" (UEFI 2.10 table 5.7), in disk order.
var espType = [16]byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}

// Build returns a disk with one EFI system partition that holds files. The same
// files give the same bytes, whatever their order.
func Build(files []File) ([]byte, error) {
	root, id, err := tree(files)
	if err != nil {
		return nil, err
	}
	v := layOut(root)
	sectors := partitionStart + v.sectors + gptTableSize + 1
	disk := make([]byte, sectors*sectorSize)
	v.write(disk[partitionStart*sectorSize:][:v.sectors*sectorSize], id)
	writeGPT(disk, partitionStart, partitionStart+v.sectors-1, id)
	return disk, nil
}

// Replace returns the disk with one file's content replaced.
func Replace(disk []byte, path string, data []byte) ([]byte, error) {
	files, err := Files(disk)
	if err != nil {
		return nil, err
	}
	for i := range files {
		if files[i].Path == path {
			files[i].Data = data
			return Build(files)
		}
	}
	return nil, fmt.Errorf("%w: there is no file %s in it", ErrFormat, path)
}

// Read returns the content of one file of a disk.
func Read(disk []byte, path string) ([]byte, error) {
	files, err := Files(disk)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.Path == path {
			return f.Data, nil
		}
	}
	return nil, fmt.Errorf("%w: there is no file %s in it", ErrFormat, path)
}

// guid derives an identifier from what the disk holds, so that it is the same
// for the same disk and different for different ones (RFC 9562 version 8).
func guid(id [32]byte, use string) (g [16]byte) {
	h := sha256.Sum256(append([]byte(use), id[:]...))
	copy(g[:], h[:])
	g[7] = g[7]&0x0f | 0x80 // the version sits in the third field, little endian on disk
	g[8] = g[8]&0x3f | 0x80
	return g
}

// writeGPT writes protective MBR and both partition tables (UEFI 2.10 section
// 5.3) around one partition.
func writeGPT(disk []byte, first, last int, id [32]byte) {
	le := binary.LittleEndian
	sectors := len(disk) / sectorSize
	mbr := disk[:sectorSize]
	mbr[446+4] = 0xee // one partition of type "GPT protective", over everything
	copy(mbr[446+1:], []byte{0, 2, 0})
	copy(mbr[446+5:], []byte{0xff, 0xff, 0xff})
	le.PutUint32(mbr[446+8:], 1)
	le.PutUint32(mbr[446+12:], uint32(min(sectors-1, 0xffffffff)))
	mbr[510], mbr[511] = 0x55, 0xaa

	table := make([]byte, gptEntries*gptEntrySize)
	part := guid(id, "partition")
	copy(table[0:], espType[:])
	copy(table[16:], part[:])
	le.PutUint64(table[32:], uint64(first))
	le.PutUint64(table[40:], uint64(last))
	for i, c := range utf16.Encode([]rune("AIOS boot")) {
		le.PutUint16(table[56+2*i:], c)
	}
	disk1 := guid(id, "disk")
	header := func(at, other, tableAt int) {
		h := disk[at*sectorSize:][:sectorSize]
		copy(h, "EFI PART")
		le.PutUint32(h[8:], 0x00010000)
		le.PutUint32(h[12:], gptHeaderSize)
		le.PutUint64(h[24:], uint64(at))
		le.PutUint64(h[32:], uint64(other))
		le.PutUint64(h[40:], 2+gptTableSize)
		le.PutUint64(h[48:], uint64(sectors-gptTableSize-2))
		copy(h[56:], disk1[:])
		le.PutUint64(h[72:], uint64(tableAt))
		le.PutUint32(h[80:], gptEntries)
		le.PutUint32(h[84:], gptEntrySize)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(table))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:gptHeaderSize]))
		copy(disk[tableAt*sectorSize:], table)
	}
	header(1, sectors-1, 2)
	header(sectors-1, 1, sectors-1-gptTableSize)
}

const gptHeaderSize = 92

// findPartition returns the first EFI system partition of a disk.
func findPartition(disk []byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(disk) < partitionStart*sectorSize || string(disk[sectorSize:][:8]) != "EFI PART" {
		return nil, fmt.Errorf("%w: no GUID partition table", ErrFormat)
	}
	h := append([]byte(nil), disk[sectorSize:][:gptHeaderSize]...)
	sum := le.Uint32(h[16:])
	copy(h[16:20], []byte{0, 0, 0, 0})
	if crc32.ChecksumIEEE(h) != sum {
		return nil, fmt.Errorf("%w: the partition table's header is damaged", ErrFormat)
	}
	table := disk[2*sectorSize:][:gptEntries*gptEntrySize]
	for e := table; len(e) >= gptEntrySize; e = e[gptEntrySize:] {
		if [16]byte(e[:16]) != espType {
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if first > last || last >= uint64(len(disk)/sectorSize) {
			return nil, fmt.Errorf("%w: the EFI system partition spans sectors %d to %d of %d", ErrFormat, first, last, len(disk)/sectorSize)
		}
		return disk[first*sectorSize : (last+1)*sectorSize], nil
	}
	return nil, fmt.Errorf("%w: no EFI system partition", ErrFormat)
}

package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Offsets of the encoded form, in bytes. Assembly and other readers use these; TestLayout compares them with the
// struct.
const (
	offMagic         = 0
	offVersion       = 8
	offSize          = 16
	offKernelPhys    = 24
	offKernelSize    = 32
	offKernelVirt    = 40
	offTablesPhys    = 48
	offTablesSize    = 56
	offMemMapPhys    = 64
	offMemMapSize    = 72
	offMemDescSize   = 80
	offRSDP          = 88
	offEventLogPhys  = 96
	offEventLogSize  = 104
	offManifestPhys  = 112
	offManifestSize  = 120
	offManifestKeyID = 128
	offCmdlinePhys   = 144
	offCmdlineSize   = 152
	offSlot          = 160
	offSeed          = 168
	offUnixNanos     = 232
	offTSCAtUnix     = 240
	offBootEntryTSC  = 248
	offHandoffTSC    = 256
	offDMAPhys       = 264
	offDMASize       = 272
	offFloor         = 280
	offBlobCount     = 288
	offBlobs         = 296

	blobSize = 48

	// EncodedSize is the length of the encoded structure.
	EncodedSize = offBlobs + MaxBlobs*blobSize
)

// ErrFormat is wrapped by every error of Decode and Check.
var ErrFormat = errors.New("handoff")

// words pairs each 64-bit field with its offset, for Encode and Decode alike.
func (i *Info) words() [26]struct {
	off int
	p   *uint64
} {
	return [26]struct {
		off int
		p   *uint64
	}{
		{offVersion, &i.Version}, {offSize, &i.Size},
		{offKernelPhys, &i.KernelPhys}, {offKernelSize, &i.KernelSize}, {offKernelVirt, &i.KernelVirt},
		{offTablesPhys, &i.TablesPhys}, {offTablesSize, &i.TablesSize},
		{offMemMapPhys, &i.MemMapPhys}, {offMemMapSize, &i.MemMapSize}, {offMemDescSize, &i.MemDescSize},
		{offRSDP, &i.RSDP},
		{offEventLogPhys, &i.EventLogPhys}, {offEventLogSize, &i.EventLogSize},
		{offManifestPhys, &i.ManifestPhys}, {offManifestSize, &i.ManifestSize},
		{offCmdlinePhys, &i.CmdlinePhys}, {offCmdlineSize, &i.CmdlineSize}, {offSlot, &i.Slot},
		{offUnixNanos, &i.UnixNanos}, {offTSCAtUnix, &i.TSCAtUnix},
		{offBootEntryTSC, &i.BootEntryTSC}, {offHandoffTSC, &i.HandoffTSC},
		{offDMAPhys, &i.DMAPhys}, {offDMASize, &i.DMASize}, {offFloor, &i.Floor},
		{offBlobCount, &i.BlobCount},
	}
}

// Encode writes the structure to b, which must hold EncodedSize bytes, and stamps magic, version and size.
func (i *Info) Encode(b []byte) error {
	if len(b) < EncodedSize {
		return fmt.Errorf("%w: buffer of %d bytes, the structure takes %d", ErrFormat, len(b), EncodedSize)
	}
	copy(i.MagicBytes[:], Magic)
	i.Version, i.Size = Version, EncodedSize
	copy(b[offMagic:], i.MagicBytes[:])
	for _, w := range i.words() {
		binary.LittleEndian.PutUint64(b[w.off:], *w.p)
	}
	copy(b[offManifestKeyID:], i.ManifestKeyID[:])
	copy(b[offSeed:], i.Seed[:])
	for n := range i.Blobs {
		at := offBlobs + n*blobSize
		copy(b[at:at+32], i.Blobs[n].Name[:])
		binary.LittleEndian.PutUint64(b[at+32:], i.Blobs[n].Phys)
		binary.LittleEndian.PutUint64(b[at+40:], i.Blobs[n].Size)
	}
	return nil
}

// Decode reads the structure and checks it. It does not touch what the addresses point to.
func Decode(b []byte) (*Info, error) {
	if len(b) < EncodedSize {
		return nil, fmt.Errorf("%w: %d bytes, the structure takes %d", ErrFormat, len(b), EncodedSize)
	}
	i := new(Info)
	copy(i.MagicBytes[:], b[offMagic:])
	for _, w := range i.words() {
		*w.p = binary.LittleEndian.Uint64(b[w.off:])
	}
	copy(i.ManifestKeyID[:], b[offManifestKeyID:])
	copy(i.Seed[:], b[offSeed:])
	for n := range i.Blobs {
		at := offBlobs + n*blobSize
		copy(i.Blobs[n].Name[:], b[at:])
		i.Blobs[n].Phys = binary.LittleEndian.Uint64(b[at+32:])
		i.Blobs[n].Size = binary.LittleEndian.Uint64(b[at+40:])
	}
	if err := i.Check(); err != nil {
		return nil, err
	}
	return i, nil
}

// Package handoff is the one structure that the UEFI stage leaves in memory for the kernel.
//
// Info has a fixed little-endian layout made of 64-bit words and byte arrays only, so that the kernel's first
// instructions can read it in place (the layout test holds the Go struct to the encoded form) before any allocator
// runs. Everything it points to lies below 4 GiB and outside the kernel's virtual window, because the page tables that
// boot builds map those addresses one to one and nothing else.
package handoff

// Version of the layout. The kernel takes exactly this one: boot and kernel come from one image.
const Version = 2

// Magic opens the structure.
const Magic = "AIOSBOOT"

// The kernel's window in virtual memory. Boot maps the image here, so identity-mapped physical memory under the same
// addresses cannot be seen and must not be handed over.
const (
	WindowStart = 0x4000_0000
	WindowEnd   = 0x4800_0000
)

// Limits of what the tables that boot builds can map.
const (
	MaxPhys   = 1 << 32 // identity mapping: the first 4 GiB
	LargePage = 2 << 20
	DMASize   = 16 << 20
)

// MaxBlobs bounds the images handed over: 32 services, 4 runtimes and 32 agents of a manifest, the policy bundle, and
// room.
const MaxBlobs = 72

// MemDescMin is the size of EFI_MEMORY_DESCRIPTOR in UEFI 2.10 section 7.2.3; firmware may use larger steps.
const MemDescMin = 40

// Blob is one verified and measured image, found by name.
type Blob struct {
	Name [32]byte // NUL padded: name of a service, runtime or agent in the manifest, or "policy"
	Phys uint64
	Size uint64
}

// Info is what boot knows and the kernel needs. Addresses are physical.
type Info struct {
	MagicBytes [8]byte
	Version    uint64
	Size       uint64 // of this structure

	KernelPhys uint64 // 2 MiB aligned
	KernelSize uint64 // span in memory, multiple of 2 MiB
	KernelVirt uint64 // where KernelPhys is mapped: WindowStart

	TablesPhys uint64 // the page tables in CR3, PML4 first
	TablesSize uint64

	MemMapPhys  uint64 // EFI memory map taken for ExitBootServices, as firmware gave it
	MemMapSize  uint64
	MemDescSize uint64

	RSDP uint64 // ACPI root pointer

	EventLogPhys uint64 // crypto-agile TCG log, Final Events Table merged
	EventLogSize uint64

	ManifestPhys  uint64 // signed payload of the system manifest
	ManifestSize  uint64
	ManifestKeyID [16]byte

	CmdlinePhys uint64
	CmdlineSize uint64 // may be 0
	Slot        uint64 // 'a' or 'b'

	Seed [64]byte // secret; the kernel clears it after use

	UnixNanos    uint64 // EFI GetTime, UTC, as nanoseconds since 1970
	TSCAtUnix    uint64 // time stamp counter when UnixNanos was read
	BootEntryTSC uint64 // first instruction of boot that looks at the clock
	HandoffTSC   uint64 // last one

	DMAPhys uint64 // 2 MiB aligned
	DMASize uint64

	Floor uint64 // TPM rollback floor that boot compared the manifest with

	BlobCount uint64
	Blobs     [MaxBlobs]Blob
}

// Blob returns the image of that name.
func (i *Info) Blob(name string) (Blob, bool) {
	for n := range min(i.BlobCount, MaxBlobs) {
		if i.Blobs[n].name() == name {
			return i.Blobs[n], true
		}
	}
	return Blob{}, false
}

// AddBlob appends an image. It reports false when the table is full or the name does not fit.
func (i *Info) AddBlob(name string, phys, size uint64) bool {
	if i.BlobCount >= MaxBlobs || !validName(name) {
		return false
	}
	b := &i.Blobs[i.BlobCount]
	copy(b.Name[:], name)
	b.Phys, b.Size = phys, size
	i.BlobCount++
	return true
}

// name is the part of Name before the padding.
func (b *Blob) name() string {
	n := 0
	for n < len(b.Name) && b.Name[n] != 0 {
		n++
	}
	return string(b.Name[:n])
}

// validName is the manifest's rule for names: [a-z0-9-]{1,32}.
func validName(s string) bool {
	if len(s) == 0 || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

package handoff

import "fmt"

// block is a stretch of physical memory that boot allocated and hands over.
type block struct {
	what       string
	phys, size uint64
	align      uint64
	empty      bool // may have size 0
}

// Check tells whether the kernel may act on the structure: the layout is this version's, every block lies in memory
// that the page tables map one to one, no two blocks overlap, and names and slot are well formed.
func (i *Info) Check() error {
	if string(i.MagicBytes[:]) != Magic {
		return fmt.Errorf("%w: magic %q, expected %q: entered by something other than AIOS boot", ErrFormat, i.MagicBytes[:], Magic)
	}
	if i.Version != Version || i.Size != EncodedSize {
		return fmt.Errorf("%w: version %d size %d, expected %d and %d: boot and kernel are from different builds",
			ErrFormat, i.Version, i.Size, Version, EncodedSize)
	}
	if i.KernelVirt != WindowStart {
		return fmt.Errorf("%w: kernel mapped at %#x, expected %#x", ErrFormat, i.KernelVirt, uint64(WindowStart))
	}
	if i.KernelSize%LargePage != 0 || i.KernelSize > WindowEnd-WindowStart {
		return fmt.Errorf("%w: kernel span %#x, expected a multiple of 2 MiB up to %#x", ErrFormat, i.KernelSize, uint64(WindowEnd-WindowStart))
	}
	if i.MemDescSize < MemDescMin || i.MemDescSize > 4096 || i.MemMapSize%i.MemDescSize != 0 {
		return fmt.Errorf("%w: memory map of %d bytes in steps of %d, expected whole descriptors of at least %d",
			ErrFormat, i.MemMapSize, i.MemDescSize, MemDescMin)
	}
	if i.DMASize != DMASize {
		return fmt.Errorf("%w: DMA region of %#x bytes, expected %#x", ErrFormat, i.DMASize, uint64(DMASize))
	}
	if i.RSDP == 0 {
		return fmt.Errorf("%w: no ACPI root pointer", ErrFormat)
	}
	if i.Slot != 'a' && i.Slot != 'b' {
		return fmt.Errorf("%w: slot %#x, expected 'a' or 'b'", ErrFormat, i.Slot)
	}
	if i.BlobCount > MaxBlobs {
		return fmt.Errorf("%w: %d images, at most %d", ErrFormat, i.BlobCount, MaxBlobs)
	}
	if err := i.checkNames(); err != nil {
		return err
	}
	return i.checkBlocks()
}

// checkNames requires well-formed names, padding of zeros, no name twice and nothing behind the last blob.
func (i *Info) checkNames() error {
	for n := range i.Blobs {
		b := &i.Blobs[n]
		name := b.name()
		if uint64(n) >= i.BlobCount {
			if *b != (Blob{}) {
				return fmt.Errorf("%w: image %d is filled, the count is %d", ErrFormat, n, i.BlobCount)
			}
			continue
		}
		padded := [32]byte{}
		copy(padded[:], name)
		if !validName(name) || padded != b.Name {
			return fmt.Errorf("%w: image %d has the name %q, expected [a-z0-9-]{1,32}", ErrFormat, n, b.Name[:])
		}
		for m := range n {
			if i.Blobs[m].Name == b.Name {
				return fmt.Errorf("%w: image %q appears twice", ErrFormat, name)
			}
		}
	}
	return nil
}

// blocks lists everything that boot allocated for the kernel.
func (i *Info) blocks() []block {
	list := make([]block, 0, 8+MaxBlobs)
	list = append(list,
		block{what: "kernel", phys: i.KernelPhys, size: i.KernelSize, align: LargePage},
		block{what: "page tables", phys: i.TablesPhys, size: i.TablesSize, align: 4096},
		block{what: "memory map", phys: i.MemMapPhys, size: i.MemMapSize, align: 8},
		block{what: "event log", phys: i.EventLogPhys, size: i.EventLogSize, align: 1},
		block{what: "manifest", phys: i.ManifestPhys, size: i.ManifestSize, align: 1},
		block{what: "command line", phys: i.CmdlinePhys, size: i.CmdlineSize, align: 1, empty: true},
		block{what: "DMA region", phys: i.DMAPhys, size: i.DMASize, align: LargePage},
	)
	for n := range i.BlobCount {
		b := &i.Blobs[n]
		list = append(list, block{what: "image " + b.name(), phys: b.Phys, size: b.Size, align: 1})
	}
	return list
}

func (i *Info) checkBlocks() error {
	list := i.blocks()
	for n, b := range list {
		if b.size == 0 {
			if b.empty {
				continue
			}
			return fmt.Errorf("%w: %s is empty", ErrFormat, b.what)
		}
		if err := CheckBlock(b.phys, b.size); err != nil {
			return fmt.Errorf("%s: %w", b.what, err)
		}
		if b.phys%b.align != 0 {
			return fmt.Errorf("%w: %s at %#x, expected a multiple of %#x", ErrFormat, b.what, b.phys, b.align)
		}
		for _, o := range list[:n] {
			if o.size != 0 && overlap(b.phys, b.phys+b.size, o.phys, o.phys+o.size) {
				return fmt.Errorf("%w: %s at %#x+%#x overlaps %s at %#x+%#x", ErrFormat, b.what, b.phys, b.size, o.what, o.phys, o.size)
			}
		}
	}
	return nil
}

// CheckBlock tells whether physical memory is usable for handing over: the kernel sees it under the same virtual
// address, so it lies below 4 GiB, above page 0, and outside the kernel's window.
func CheckBlock(phys, size uint64) error {
	if phys < 4096 || phys >= MaxPhys || size > MaxPhys-phys {
		return fmt.Errorf("%w: block %#x+%#x is not within the first 4 GiB, page 0 excepted", ErrFormat, phys, size)
	}
	if overlap(phys, phys+size, WindowStart, WindowEnd) {
		return fmt.Errorf("%w: block %#x+%#x lies under the kernel's window", ErrFormat, phys, size)
	}
	return nil
}

// overlap compares two half-open ranges.
func overlap(a0, a1, b0, b1 uint64) bool { return a0 < b1 && b0 < a1 }

package efi

import (
	"encoding/binary"
	"fmt"
)

// PageSize of AllocatePages (7.2).
const PageSize = 4096

// Arguments of AllocatePages (7.2.1).
const (
	allocateMaxAddress = 1
	memoryLoaderData   = 2
)

// Block is memory that the boot stage allocated, page aligned, below 4 GiB.
type Block struct {
	Phys uint64
	Data []byte
}

// allocatePages gives count pages that end at or below limit.
func (f *Firmware) allocatePages(count, limit uint64) (uint64, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(8)
	if err != nil {
		return 0, err
	}
	binary.LittleEndian.PutUint64(b, limit)
	if err := f.call("AllocatePages", f.boot, bootAllocatePages, allocateMaxAddress, memoryLoaderData, count, p); err != nil {
		return 0, err
	}
	at := binary.LittleEndian.Uint64(b)
	if at == 0 || at%PageSize != 0 || at > limit || count*PageSize > MaxAddress-at {
		return 0, fmt.Errorf("%w: AllocatePages gave %d pages at %#x, expected them below %#x", ErrFirmware, count, at, limit)
	}
	return at, nil
}

func (f *Firmware) freePages(at, count uint64) error {
	if count == 0 {
		return nil
	}
	return f.call("FreePages", f.boot, bootFreePages, at, count)
}

// Allocate gives size bytes in whole pages, aligned to align (a power of two), outside [avoid[0], avoid[1]). The
// memory holds whatever was there before.
func (f *Firmware) Allocate(size, align uint64, avoid [2]uint64) (Block, error) {
	pages := (size + PageSize - 1) / PageSize
	if size == 0 || size > 1<<31 || align&(align-1) != 0 || align > 1<<30 {
		return Block{}, fmt.Errorf("boot stage: cannot allocate %#x bytes aligned to %#x", size, align)
	}
	extra := max(align, PageSize)/PageSize - 1
	// From the top; when that touches the forbidden range, once more from below the range.
	for _, limit := range []uint64{MaxAddress - 1, avoid[0] - 1} {
		at, err := f.allocatePages(pages+extra, limit)
		if err != nil {
			return Block{}, err
		}
		start := (at + max(align, PageSize) - 1) &^ (max(align, PageSize) - 1)
		end := start + pages*PageSize
		if avoid[0] < avoid[1] && start < avoid[1] && avoid[0] < end {
			if err := f.freePages(at, pages+extra); err != nil {
				return Block{}, err
			}
			continue
		}
		if err := f.freePages(at, (start-at)/PageSize); err != nil {
			return Block{}, err
		}
		if err := f.freePages(end, extra-(start-at)/PageSize); err != nil {
			return Block{}, err
		}
		return Block{start, f.m.Bytes(start, int(size))}, nil
	}
	return Block{}, &Error{Call: "AllocatePages", Object: fmt.Sprintf("%d pages outside %#x", pages, avoid), Status: OutOfResources}
}

// Free gives a block back.
func (f *Firmware) Free(b Block) error {
	return f.freePages(b.Phys, (uint64(len(b.Data))+PageSize-1)/PageSize)
}

// MemoryMap is what GetMemoryMap answered last (7.2.3): raw descriptors, DescriptorSize bytes each.
type MemoryMap struct {
	Size           uint64
	DescriptorSize uint64
}

// maxExitTries bounds the attempts to leave: a timer event may change the map between the two calls.
const maxExitTries = 8

// ExitBootServices writes the memory map to buf and ends the firmware's services (7.4.6). After success only Bytes
// works, and FinalEvents, which reads memory. After a first failed attempt firmware may be partly shut down, so a
// caller cannot go back either: an error here is final.
func (f *Firmware) ExitBootServices(buf Block) (MemoryMap, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(32)
	if err != nil {
		return MemoryMap{}, err
	}
	var last error
	for range maxExitTries {
		binary.LittleEndian.PutUint64(b, uint64(len(buf.Data)))
		if err := f.call("GetMemoryMap", f.boot, bootGetMemoryMap, p, buf.Phys, p+8, p+16, p+24); err != nil {
			return MemoryMap{}, err
		}
		m := MemoryMap{Size: binary.LittleEndian.Uint64(b), DescriptorSize: binary.LittleEndian.Uint64(b[16:])}
		if m.DescriptorSize < 40 || m.Size == 0 || m.Size > uint64(len(buf.Data)) || m.Size%m.DescriptorSize != 0 {
			return MemoryMap{}, fmt.Errorf("%w: memory map of %d bytes in descriptors of %d", ErrFirmware, m.Size, m.DescriptorSize)
		}
		last = f.call("ExitBootServices", f.boot, bootExitBootServices, f.image, binary.LittleEndian.Uint64(b[8:]))
		if last == nil {
			return m, nil
		}
	}
	return MemoryMap{}, fmt.Errorf("memory map changed %d times in a row: %w", maxExitTries, last)
}

package efi

import (
	"encoding/binary"
	"fmt"
)

// Offsets in EFI_LOADED_IMAGE_PROTOCOL (9.1.1), EFI_SIMPLE_FILE_SYSTEM_PROTOCOL (13.4.1), EFI_FILE_PROTOCOL (13.5.1) and
// EFI_FILE_INFO (13.5.16).
const (
	loadedImageDevice = 0x18
	fileSystemOpen    = 0x08
	fileOpen          = 0x08
	fileClose         = 0x10
	fileRead          = 0x20
	fileGetInfo       = 0x40
	fileInfoSize      = 0x08
	fileInfoAttribute = 0x48
	fileInfoName      = 0x50
	fileAttributeDir  = 0x10
	fileModeRead      = 1
	fileInfoBuffer    = 1024
	fileReadChunk     = 16 << 20
)

// openVolume opens the root directory of the partition that the image was loaded from.
func (f *Firmware) openVolume() (uint64, error) {
	if f.volume != 0 {
		return f.volume, nil
	}
	image, err := f.handleProtocol("loaded image", f.image, guidLoadedImage)
	if err != nil {
		return 0, err
	}
	fs, err := f.handleProtocol("file system of the boot partition", f.word(image+loadedImageDevice), guidFileSystem)
	if err != nil {
		return 0, err
	}
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(8)
	if err != nil {
		return 0, err
	}
	if err := f.call("OpenVolume", fs, fileSystemOpen, fs, p); err != nil {
		return 0, err
	}
	f.volume, err = f.pointer("root directory", binary.LittleEndian.Uint64(b))
	return f.volume, err
}

// ReadFile reads a whole file of the boot partition into memory of its own. Path components are separated by "/". A file
// of more than limit bytes is refused before anything is read; so is an empty one.
func (f *Firmware) ReadFile(path string, limit uint64, avoid [2]uint64) (Block, error) {
	root, err := f.openVolume()
	if err != nil {
		return Block{}, err
	}
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(8)
	if err != nil {
		return Block{}, err
	}
	name, err := f.scratch.text(backslashes(path))
	if err != nil {
		return Block{}, err
	}
	if s := f.status(root, fileOpen, root, p, name, fileModeRead, 0); s != Success {
		return Block{}, &Error{Call: "Open", Object: path, Status: s}
	}
	file, err := f.pointer(path, binary.LittleEndian.Uint64(b))
	if err != nil {
		return Block{}, err
	}
	defer f.status(file, fileClose, file)
	size, err := f.fileSize(file, path)
	if err != nil {
		return Block{}, err
	}
	if size == 0 || size > limit {
		return Block{}, fmt.Errorf("%s: %d bytes, expected 1 to %d", path, size, limit)
	}
	block, err := f.Allocate(size, PageSize, avoid)
	if err != nil {
		return Block{}, err
	}
	if err := f.readAll(file, path, block); err != nil {
		f.Free(block)
		return Block{}, err
	}
	return block, nil
}

// readAll fills the block from the file, and checks that the file ends there.
func (f *Firmware) readAll(file uint64, path string, block Block) error {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(16)
	if err != nil {
		return err
	}
	size := uint64(len(block.Data))
	for done := uint64(0); done <= size; {
		want, to := min(size-done, fileReadChunk), block.Phys+done
		if want == 0 { // one more byte must not be there
			want, to = 1, p+8
		}
		binary.LittleEndian.PutUint64(b, want)
		if s := f.status(file, fileRead, file, p, to); s != Success {
			return &Error{Call: "Read", Object: path, Status: s}
		}
		got := binary.LittleEndian.Uint64(b)
		switch {
		case done == size && got == 0:
			return nil
		case done == size || got > want:
			return fmt.Errorf("%s: more than the %d bytes that its directory entry tells", path, size)
		case got == 0:
			return fmt.Errorf("%s: ends after %d of %d bytes", path, done, size)
		}
		done += got
	}
	return nil
}

// fileSize asks for the size and refuses directories (EFI_FILE_INFO, 13.5.16).
func (f *Firmware) fileSize(file uint64, path string) (uint64, error) {
	defer f.scratch.release(f.scratch.mark())
	p, b, err := f.scratch.alloc(8 + len(guidFileInfo) + fileInfoBuffer)
	if err != nil {
		return 0, err
	}
	info := b[24:]
	binary.LittleEndian.PutUint64(b, uint64(len(info)))
	copy(b[8:], guidFileInfo[:])
	if s := f.status(file, fileGetInfo, file, p+8, p, p+24); s != Success {
		return 0, &Error{Call: "GetInfo", Object: path, Status: s}
	}
	if n := binary.LittleEndian.Uint64(b); n < fileInfoName || n > uint64(len(info)) {
		return 0, fmt.Errorf("%w: %s: EFI_FILE_INFO of %d bytes", ErrFirmware, path, n)
	}
	if binary.LittleEndian.Uint64(info[fileInfoAttribute:])&fileAttributeDir != 0 {
		return 0, fmt.Errorf("%s: is a directory, expected a file", path)
	}
	return binary.LittleEndian.Uint64(info[fileInfoSize:]), nil
}

// backslashes turns "/aios/boot.conf" into the form that UEFI takes.
func backslashes(path string) string {
	b := []byte(path)
	for i := range b {
		if b[i] == '/' {
			b[i] = '\\'
		}
	}
	return string(b)
}

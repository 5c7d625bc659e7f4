package image

import (
	"fmt"
	"slices"

	"aios/boot/manifest"
)

// Paths on the EFI system partition.
const (
	BootPath = "/EFI/BOOT/BOOTX64.EFI" // UEFI 2.10 section 3.5.1.1
	ConfPath = "/aios/boot.conf"
)

// SlotPath is where a file of a slot lies.
func SlotPath(slot, name string) string { return "/aios/" + slot + "/" + name }

// Slot is one system to boot: an envelope of boot/manifest and the files that
// it names.
type Slot struct {
	Name     string // "a" or "b"
	Manifest []byte
	Files    map[string][]byte
}

// Content is what a disk holds.
type Content struct {
	Boot  []byte // bootx64.efi, signed
	Conf  manifest.Conf
	Slots []Slot
}

// Files lists the files of the disk.
func (c Content) Files() []File {
	files := []File{{BootPath, c.Boot}, {ConfPath, c.Conf.Encode()}}
	for _, s := range c.Slots {
		files = append(files, File{SlotPath(s.Name, "manifest"), s.Manifest})
		for name, data := range s.Files {
			files = append(files, File{SlotPath(s.Name, name), data})
		}
	}
	slices.SortFunc(files, func(a, b File) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	return files
}

// Check compares a slot with its manifest: every file that the manifest names
// is there and has its digest. It does not verify the manifest's signature.
func (s Slot) Check(m *manifest.Manifest) error {
	images := []manifest.Image{m.Kernel, m.Policy}
	for _, p := range m.Programs() {
		images = append(images, p.Image)
	}
	for _, i := range images {
		data, ok := s.Files[i.File]
		if !ok {
			return fmt.Errorf("slot %s: the manifest names %s, which is not there", s.Name, i.File)
		}
		if err := i.Check(data); err != nil {
			return fmt.Errorf("slot %s: %w", s.Name, err)
		}
	}
	return nil
}

//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"aios/boot/image"
)

// What was altered on the disk does not boot, and the refusal names it.
func TestAlteredDiskDoesNotBoot(t *testing.T) {
	s := newSite(t)
	disk := s.buildImage()
	read := func(path string) []byte { return must(image.Read(disk, path))(t) }
	manifest := read("/aios/a/manifest")
	signature := bytes.Index(manifest, []byte("\nsignature ml-dsa-65 ")) + len("\nsignature ml-dsa-65 ") + 32 + 1 + 1000
	for _, c := range []struct {
		name, path string
		data       []byte
		wants      []string
	}{
		{"a flipped byte in the kernel", "/aios/a/kernel.elf", flip(read("/aios/a/kernel.elf"), 100_000), []string{"kernel.elf", "sha256"}},
		{"a flipped byte in a service", "/aios/a/attestd.elf", flip(read("/aios/a/attestd.elf"), 100_000), []string{"attestd.elf", "sha256"}},
		{"a flipped byte in the policy", "/aios/a/policy.tar.gz", flip(read("/aios/a/policy.tar.gz"), 3), []string{"policy.tar.gz", "sha256"}},
		{"a flipped byte in the manifest", "/aios/a/manifest", flip(manifest, bytes.Index(manifest, []byte("sha256:"))+7), []string{"manifest"}},
		{"a flipped byte in the manifest's signature", "/aios/a/manifest", flip(manifest, signature), []string{"manifest", "sign"}},
		{"a kernel cut short", "/aios/a/kernel.elf", read("/aios/a/kernel.elf")[:200_000], []string{"kernel.elf"}},
		{"no manifest", "/aios/a/manifest", nil, []string{"manifest"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := newSite(t)
			altered := must(image.Replace(disk, c.path, c.data))(t)
			refused(t, one.up("--disk", one.withDisk(altered)), append(c.wants, "refused")...)
		})
	}
}

// The disk in the state folder, altered behind the program's back, is not
// quietly built again: it is booted, and the chain refuses it.
func TestDiskAlteredInPlace(t *testing.T) {
	s := newSite(t)
	disk := s.buildImage()
	kernel := must(image.Read(disk, "/aios/a/kernel.elf"))(t)
	altered := must(image.Replace(disk, "/aios/a/kernel.elf", flip(kernel, 100_000)))(t)
	if err := os.WriteFile(filepath.Join(s.state, "image", "disk.img"), altered, 0o600); err != nil {
		t.Fatal(err)
	}
	o := s.up()
	refused(t, o, "kernel.elf", "sha256", "refused")
	if i := o.last(t, "image"); i.Built || !i.Altered {
		t.Errorf("image: built %v, altered %v", i.Built, i.Altered)
	}
}

// Firmware checks the boot stage before it runs it.
func TestFirmwareRefusesBootStage(t *testing.T) {
	s := newSite(t)
	disk := s.buildImage()
	signed := must(image.Read(disk, image.BootPath))(t)
	unsigned := must(os.ReadFile(setting(t, "AIOS_TEST_TARGET") + "/bootx64.efi"))(t)
	for _, c := range []struct {
		name string
		boot []byte
	}{
		{"unsigned", unsigned},
		{"altered after signing", flip(signed, len(unsigned)/2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := newSite(t)
			altered := must(image.Replace(disk, image.BootPath, c.boot))(t)
			refused(t, one.up("--disk", one.withDisk(altered)), "firmware refused bootx64.efi")
		})
	}
}

// A manifest below the rollback floor does not boot, though it is well signed.
func TestRollbackFloor(t *testing.T) {
	s := newSite(t)
	s.buildImage("--manifest-version", "6")
	s.plain("host", "floor", "raise", "7")
	refused(t, s.up("--manifest-version", "6"), "refused", "6", "7")
}

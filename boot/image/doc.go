// Package image builds and reads the bootable disk of a host: a GPT with one
// EFI system partition (FAT32) that holds the boot stage and one or two slots,
//
//	/EFI/BOOT/BOOTX64.EFI
//	/aios/boot.conf
//	/aios/a/manifest, kernel.elf, services, policy.tar.gz
//	/aios/b/...
//
// The same content gives the same image, byte for byte.
package image

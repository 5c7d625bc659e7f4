// Package efi calls the UEFI firmware that started the boot stage: console, files of the EFI system partition, memory,
// variables, time, random numbers, the TCG2 protocol and ExitBootServices.
//
// Section numbers are those of the UEFI specification 2.10, unless "TCG EFI" (TCG EFI Protocol Specification 1.00
// revision 00.13) or "PFP" (TCG PC Client Platform Firmware Profile 1.06) stands before them.
//
// The package holds no unsafe code. It reaches the firmware's functions and memory through Machine, which
// boot/cmd/bootx64 implements on kernel/metal and the tests implement with a firmware made of Go functions, so that
// every call sequence here also runs on the host.
//
// go-boot's uefi package was not used: it jumps to firmware by assembly of its own from the goroutine's stack and passes
// pointers into Go's heap, which firmware cannot see here; it has no TCG2 protocol; and its file reader takes a device
// error for the end of the file.
//
// Firmware is trusted (it checked the boot stage, not the other way round), yet its answers are still bounded: sizes
// are checked before they are used and addresses must lie below 4 GiB, where the boot stage can see memory.
package efi

// Command bootx64 is bootx64.efi, the UEFI stage of AIOS: boot/stage on boot/efi on kernel/metal. It is built with the
// tag aios and linked to an EFI application by boot/cmd/mkmetal; in the plain tree it is an empty program.
package main

// Package secureboot makes the Secure Boot keys of an installation, enrols them
// into OVMF's variable store and signs EFI programs with them.
//
// The keys are RSA-2048 with self-signed certificates, because that is what
// firmware in the field accepts (UEFI 2.10 section 32): the one part of the
// chain below boot that is not post-quantum.
package secureboot

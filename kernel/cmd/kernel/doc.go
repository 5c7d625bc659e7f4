// Command kernel is the AIOS kernel: kernel/metal below, the drivers and the
// TPM beside, and ring-3 services above. boot/cmd/mkmetal builds it with the
// tag aios; in the plain tree it is an empty program.
package main

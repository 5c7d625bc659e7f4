// Package stage is what bootx64.efi does between firmware and kernel: it takes the slot that boot.conf names, checks the
// signature of its system manifest and the rollback floor, checks and measures every image of the manifest, and enters
// the kernel. It refuses whatever does not check out, says why, and never boots on.
//
// The order holds the chain together: nothing is used before it was measured, and nothing is measured before it was
// checked, so a good PCR value means a checked image. A refusal extends PCR 8, 9 and 11 once more, so that no later
// program can show the values of a good boot.
//
// The package runs on the host too: Firmware and Machine are all that it knows of the machine.
package stage

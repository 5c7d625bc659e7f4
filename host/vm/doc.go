// Package vm runs one virtual host: QEMU's q35 machine with OVMF in Secure
// Boot mode, and swtpm as its TPM 2.0 with an EK certificate from a CA of this
// installation.
//
// A TPM is manufactured once per host ([ManufactureTPM]) and keeps its state
// between boots; the machine around it is started anew for each boot ([Start])
// and ends with its context. Every process started here is a direct child, ends
// with this process even when that is killed, and is waited for: nothing is
// left behind, and nothing is ended by name.
package vm

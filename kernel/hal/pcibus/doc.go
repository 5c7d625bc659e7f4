// Package pcibus finds PCI devices and makes their memory reachable: tamago's
// configuration access, the sizes of base address registers (PCI Local Bus 3.0
// section 6.2.5.1) and kernel/metal's mappings.
package pcibus

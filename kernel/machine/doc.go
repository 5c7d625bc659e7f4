// Package machine gives kernel/process its hardware: address spaces and
// threads of kernel/metal, and what answers a hot call in the SYSCALL entry.
package machine

// Package ring0 is the part of the on-target suite that tests kernel/metal
// itself: the runtime's threads, memory and signals, and the entry to and exit
// from ring 3, on the booted machine. kernel/cmd/targettest runs it.
package ring0

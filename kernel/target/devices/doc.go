// Package devices is the part of the on-target suite that tests the drivers of
// kernel/hal on the devices that the machine has. kernel/cmd/targettest runs it.
package devices

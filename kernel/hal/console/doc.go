// Package console drives a virtio console (virtio 1.2 section 5.3) as a byte
// stream: the channel between the host and the verifier's machine until there
// is a network.
package console

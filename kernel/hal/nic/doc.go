// Package nic drives a virtio network device (virtio 1.2 section 5.1): Ethernet
// frames in and out, and nothing that would look into one. No offload is
// negotiated, so each frame lies whole in one buffer, behind a header of zeros.
package nic

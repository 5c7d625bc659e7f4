//go:build aios

package nic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/usbarmory/tamago/kvm/virtio"

	"aios/kernel/abi"
	"aios/kernel/hal/pcibus"
	"aios/kernel/metal"
)

const (
	vendor     = 0x1af4
	device     = 0x1040 + 1 // virtio 1.2, 4.1.2.1: network card
	version1   = 1 << 32    // VIRTIO_F_VERSION_1
	hasAddress = 1 << 5     // VIRTIO_NET_F_MAC
	receiveQ   = 0
	transmitQ  = 1

	receiveSize  = 256 // frames that wait for the reader; what comes on top stays with the device, or is lost
	transmitSize = 128
	bufferSize   = 2048
	headerSize   = 12   // struct virtio_net_hdr with num_buffers, 5.1.6
	mtu          = 1500 // without VIRTIO_NET_F_MTU
)

// Card is one network device. It implements process.Frames.
type Card struct {
	io      *virtio.PCI
	vector  uint8
	address [6]byte

	readMu sync.Mutex
	rx     virtio.VirtualQueue
	taken  uint16 // buffers taken from rx, modulo 2^16 as its index counts
	buffer [bufferSize]byte
	rest   []byte // a frame that was received and did not fit the last read

	overruns atomic.Uint64

	writeMu sync.Mutex
	tx      virtio.VirtualQueue
	sent    uint16 // buffers given to the device
	out     [headerSize + abi.MaxFrame]byte

	mu      sync.Mutex
	changed chan struct{} // closed at the next interrupt
}

// Open finds the device and starts it. tamago's dma package must have its region.
func Open() (*Card, error) {
	d, err := pcibus.Open(vendor, device)
	if err != nil {
		return nil, fmt.Errorf("virtio network card: %w (QEMU: -device virtio-net-pci,disable-legacy=on)", err)
	}
	c := &Card{io: &virtio.PCI{Device: d}, vector: metal.AllocVector(), changed: make(chan struct{})}
	if err := c.io.Init(version1); err != nil {
		return nil, fmt.Errorf("virtio network card: %w", err)
	}
	// tamago acknowledges no feature of a device's own kind. The address is in
	// the configuration if the device offers it (5.1.4), acknowledged or not.
	if c.io.DeviceFeatures()&hasAddress == 0 {
		return nil, errors.New("virtio network card: it has no address of its own (VIRTIO_NET_F_MAC); give it one")
	}
	copy(c.address[:], c.io.Config(len(c.address)))
	c.rx.Init(receiveSize, bufferSize, virtio.Write)
	c.tx.Init(transmitSize, bufferSize, 0)
	for i, q := range []struct {
		queue *virtio.VirtualQueue
		size  int
	}{receiveQ: {&c.rx, receiveSize}, transmitQ: {&c.tx, transmitSize}} {
		if n := c.io.MaxQueueSize(i); n < q.size {
			return nil, fmt.Errorf("virtio network card: queue %d takes %d buffers, want %d", i, n, q.size)
		}
		c.io.SetQueueSize(i, q.size)
		if err := c.io.EnableInterrupt(int(c.vector), i); err != nil {
			return nil, fmt.Errorf("virtio network card: queue %d: %w", i, err)
		}
		c.io.SetQueue(i, q.queue)
	}
	// SetReady takes the notification offset of the selected queue as the step
	// between queues; the transmit queue, selected last, is number one.
	c.io.SetReady()
	c.io.QueueNotify(receiveQ)
	go c.interrupts()
	return c, nil
}

// Info is the device's address and the largest payload of a frame.
func (c *Card) Info() (address [6]byte, payload uint16) { return c.address, mtu }

// Overruns counts how often the reader found every buffer full: frames may have
// been lost then.
func (c *Card) Overruns() uint64 { return c.overruns.Load() }

// interrupts turns the device's interrupts into a broadcast.
func (c *Card) interrupts() {
	for seen := uint32(0); ; {
		seen = metal.WaitIRQ(c.vector, seen)
		c.mu.Lock()
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

// Arrived is closed at the next interrupt.
func (c *Card) Arrived() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// ReadFrames takes the frames that are there and fit, each behind its length.
func (c *Card) ReadFrames(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.rx.Used.Index()-c.taken >= receiveSize {
		c.overruns.Add(1)
	}
	n, popped := 0, false
	for {
		if c.rest == nil {
			k, err := c.rx.Pop(c.buffer[:])
			if err != nil {
				return n, err
			}
			if k == 0 {
				break
			}
			c.taken++
			popped = true
			if k <= headerSize || k > headerSize+abi.MaxFrame {
				continue // not a frame
			}
			c.rest = c.buffer[headerSize:k]
		}
		if len(p)-n < 2+len(c.rest) {
			break
		}
		binary.LittleEndian.PutUint16(p[n:], uint16(len(c.rest)))
		n += 2 + copy(p[n+2:], c.rest)
		c.rest = nil
	}
	if popped {
		c.io.QueueNotify(receiveQ) // buffers are free again
	}
	return n, nil
}

// WriteFrames gives the frames in p to the device, waiting for room.
func (c *Card) WriteFrames(ctx context.Context, p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n, pushed := 0, false
	notify := func() {
		if pushed {
			c.io.QueueNotify(transmitQ)
			pushed = false
		}
	}
	defer notify()
	for n < len(p) {
		changed := c.Arrived() // before the look, so that no interrupt is missed
		if c.sent-c.tx.Used.Index() >= transmitSize {
			notify()
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return n, ctx.Err()
			}
		}
		k := int(binary.LittleEndian.Uint16(p[n:]))
		copy(c.out[headerSize:], p[n+2:n+2+k])
		c.tx.Push(c.out[:headerSize+k])
		c.sent++
		pushed = true
		n += 2 + k
	}
	return n, nil
}

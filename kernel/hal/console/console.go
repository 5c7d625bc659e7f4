//go:build aios

package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/usbarmory/tamago/kvm/virtio"

	"aios/kernel/hal/pcibus"
	"aios/kernel/metal"
)

const (
	vendor     = 0x1af4
	device     = 0x1040 + 3 // virtio 1.2, 4.1.2.1: console
	version1   = 1 << 32    // VIRTIO_F_VERSION_1
	receiveQ   = 0
	transmitQ  = 1
	queueSize  = 16
	bufferSize = 4096
)

// ErrClosed is returned once the console has been closed.
var ErrClosed = errors.New("console is closed")

// Console is port 0 of one device. One reader and one writer may work at a
// time; others wait.
type Console struct {
	io     *virtio.PCI
	vector uint8
	closed chan struct{}

	readMu sync.Mutex
	rx     virtio.VirtualQueue
	buffer [bufferSize]byte
	rest   []byte // received, not yet read

	writeMu sync.Mutex
	tx      virtio.VirtualQueue
	sent    uint16 // buffers given to the device, modulo 2^16 as its index counts

	mu      sync.Mutex
	changed chan struct{} // closed at the next interrupt
}

// Open finds the device and starts it. tamago's dma package must have its region.
func Open() (*Console, error) {
	d, err := pcibus.Open(vendor, device)
	if err != nil {
		return nil, fmt.Errorf("virtio console: %w (QEMU: -device virtio-serial-pci,max_ports=1,disable-legacy=on -device virtconsole)", err)
	}
	c := &Console{io: &virtio.PCI{Device: d}, vector: metal.AllocVector(), closed: make(chan struct{}), changed: make(chan struct{})}
	if err := c.io.Init(version1); err != nil {
		return nil, fmt.Errorf("virtio console: %w", err)
	}
	c.rx.Init(queueSize, bufferSize, virtio.Write)
	c.tx.Init(queueSize, bufferSize, 0)
	for i, q := range []*virtio.VirtualQueue{receiveQ: &c.rx, transmitQ: &c.tx} {
		if n := c.io.MaxQueueSize(i); n < queueSize {
			return nil, fmt.Errorf("virtio console: queue %d takes %d buffers, want %d", i, n, queueSize)
		}
		c.io.SetQueueSize(i, queueSize)
		if err := c.io.EnableInterrupt(int(c.vector), i); err != nil {
			return nil, fmt.Errorf("virtio console: queue %d: %w", i, err)
		}
		c.io.SetQueue(i, q)
	}
	// SetReady takes the notification offset of the selected queue as the step
	// between queues; the transmit queue, selected last, is number one.
	c.io.SetReady()
	c.io.QueueNotify(receiveQ)
	go c.interrupts()
	return c, nil
}

// interrupts turns the device's interrupts into a broadcast.
func (c *Console) interrupts() {
	for seen := uint32(0); ; {
		seen = metal.WaitIRQ(c.vector, seen)
		c.mu.Lock()
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
	}
}

// await repeats try, after each interrupt, until it is done.
func (c *Console) await(ctx context.Context, try func() (done bool, err error)) error {
	for {
		c.mu.Lock()
		changed := c.changed // before the look, so that no interrupt is missed
		c.mu.Unlock()
		if done, err := try(); done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-c.closed:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Read waits for the first byte.
func (c *Console) Read(ctx context.Context, p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	err := c.await(ctx, func() (bool, error) {
		if len(c.rest) > 0 {
			return true, nil
		}
		n, err := c.rx.Pop(c.buffer[:])
		if err != nil {
			return false, err
		}
		if n > 0 {
			c.io.QueueNotify(receiveQ) // its buffer is free again
		}
		c.rest = c.buffer[:n]
		return n > 0, nil
	})
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, err
}

// Write returns when the device has taken all of p into its queue.
func (c *Console) Write(ctx context.Context, p []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n := 0
	for n < len(p) {
		chunk := p[n:min(len(p), n+bufferSize)]
		err := c.await(ctx, func() (bool, error) {
			return c.sent-c.tx.Used.Index() < queueSize, nil
		})
		if err != nil {
			return n, err
		}
		c.tx.Push(chunk)
		c.sent++
		c.io.QueueNotify(transmitQ)
		n += len(chunk)
	}
	return n, nil
}

// Close ends readers and writers.
func (c *Console) Close() error {
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	default:
	}
	close(c.closed)
	return nil
}

//go:build aios

package devices

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"aios/kernel/hal/nic"
)

const (
	arpRequest  = 1
	arpReply    = 2
	networkWait = 10 * time.Second
	// flood is more than the transmit ring takes, and than the receive ring has.
	flood = 1000
)

var (
	guest   = [4]byte{10, 0, 2, 15} // as QEMU's user network has it
	gateway = [4]byte{10, 0, 2, 2}
)

// network asks the gateway for its address (RFC 826), once, and then more often
// than the rings have places: the writer waits for room, and answers go on to come.
func network() error {
	c, err := nic.Open()
	if err != nil {
		return err
	}
	address, mtu := c.Info()
	if address == [6]byte{} || address[0]&1 != 0 || mtu != 1500 {
		return fmt.Errorf("address %x, MTU %d", address, mtu)
	}
	if n, err := c.ReadFrames(make([]byte, 10)); n != 0 || err != nil {
		return fmt.Errorf("a read without room for a frame: %d, %v", n, err)
	}
	ask := request(address)
	ctx, cancel := context.WithTimeout(context.Background(), networkWait)
	defer cancel()
	send := func(n int) error {
		p := bytes.Repeat(append(binary.LittleEndian.AppendUint16(nil, uint16(len(ask))), ask...), n)
		if k, err := c.WriteFrames(ctx, p); k != len(p) || err != nil {
			return fmt.Errorf("%d of %d bytes of frames were taken: %v", k, len(p), err)
		}
		return nil
	}
	if err := send(1); err != nil {
		return err
	}
	if err := replies(ctx, c, address, 1); err != nil {
		return err
	}
	if err := send(flood); err != nil {
		return err
	}
	return replies(ctx, c, address, flood/10) // the others may be lost
}

func request(from [6]byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 6)
	b = append(b, from[:]...)
	b = append(b, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, arpRequest)
	b = append(append(b, from[:]...), guest[:]...)
	b = append(append(b, make([]byte, 6)...), gateway[:]...)
	return append(b, make([]byte, 60-len(b))...)
}

// replies waits for so many answers of the gateway.
func replies(ctx context.Context, c *nic.Card, to [6]byte, want int) error {
	buf := make([]byte, 64<<10)
	for n := 0; n < want; {
		arrived := c.Arrived()
		k, err := c.ReadFrames(buf)
		if err != nil {
			return err
		}
		if k == 0 {
			select {
			case <-arrived:
				continue
			case <-ctx.Done():
				return fmt.Errorf("%d of %d answers came", n, want)
			}
		}
		for p := buf[:k]; len(p) > 0; {
			size := int(binary.LittleEndian.Uint16(p))
			if len(p) < 2+size {
				return errors.New("a frame was cut")
			}
			f := p[2 : 2+size]
			p = p[2+size:]
			if size >= 42 && bytes.Equal(f[:6], to[:]) && f[12] == 0x08 && f[13] == 0x06 && f[21] == arpReply && bytes.Equal(f[28:32], gateway[:]) {
				n++
			}
		}
	}
	return nil
}

package main

import (
	"context"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// sendQueue bounds the frames that wait for the card. What comes on top is lost,
// and TCP sends it again: it holds more than the send buffers of two connections.
const sendQueue = 512

// card is the network device: aios.Frames, or what a test has for one.
type card interface {
	Read(p []byte, timeout time.Duration) (int, error)
	Write(p []byte) (int, error)
}

// link is the card as the stack's lowest layer.
type link struct {
	card  card
	queue *channel.Endpoint
	tap   func(frame []byte) bool // takes what is not for the stack
}

func newLink(c card, address [6]byte, mtu int, tap func([]byte) bool) *link {
	return &link{c, channel.New(sendQueue, uint32(mtu), tcpip.LinkAddress(address[:])), tap}
}

// endpoint is what the stack sends through.
func (l *link) endpoint() stack.LinkEndpoint { return ethernet.New(l.queue) }

// receive gives the stack what arrives, until the card fails.
func (l *link) receive() error {
	buf := make([]byte, abi.MaxTransfer)
	for {
		n, err := l.card.Read(buf, aios.Forever)
		if err != nil {
			return err
		}
		for frame, rest, ok := aios.SplitFrame(buf[:n]); ok; frame, rest, ok = aios.SplitFrame(rest) {
			if l.tap(frame) {
				continue
			}
			p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)}) // a copy
			l.queue.InjectInbound(0, p)                                                                // the frame names its protocol
			p.DecRef()
		}
	}
}

// transmit sends what the stack has queued, as many frames at a time as there
// are, until ctx is done or the card fails.
func (l *link) transmit(ctx context.Context) error {
	buf := make([]byte, 0, abi.MaxTransfer)
	for {
		p := l.queue.ReadContext(ctx)
		if p == nil {
			return ctx.Err()
		}
		for buf = buf[:0]; p != nil; p = l.queue.Read() {
			n := p.Size()
			if n <= abi.MaxFrame {
				buf = append(buf, byte(n), byte(n>>8))
				for _, part := range p.AsSlices() {
					buf = append(buf, part...)
				}
			}
			p.DecRef()
			if cap(buf)-len(buf) < 2+abi.MaxFrame {
				break
			}
		}
		if _, err := l.card.Write(buf); err != nil {
			return err
		}
	}
}

// send sends one frame past the stack.
func (l *link) send(frame []byte) error {
	_, err := l.card.Write(aios.AppendFrame(nil, frame))
	return err
}

package aios

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"aios/kernel/abi"
)

// Frames is a network device: Ethernet frames, in and out.
type Frames struct{ Handle abi.Handle }

// OpenFrames uses the capability FRAMES.
func OpenFrames() (Frames, error) {
	h, err := Cap(abi.CapFrames)
	return Frames{h}, err
}

// ErrNoCard reports that the machine has no network card.
var ErrNoCard = errors.New("this machine has no network card")

// Info tells the device's address and the largest payload of a frame.
func (f Frames) Info() (address [6]byte, mtu int, err error) {
	var b [8]byte
	if _, err := bytesCall(abi.CallFrameInfo, f.Handle, b[:]); err != nil {
		return address, 0, fmt.Errorf("ask network device %#x for its address: %w", uint64(f.Handle), err)
	}
	copy(address[:], b[:])
	if address == [6]byte{} {
		return address, 0, ErrNoCard
	}
	return address, int(binary.LittleEndian.Uint16(b[6:])), nil
}

// Read fills p, which has room for at least the largest frame, with the frames
// that are there, or waits for the first as long as timeout says. Split takes p
// apart.
func (f Frames) Read(p []byte, timeout time.Duration) (n int, err error) {
	err = again(timeout, func(timeout uint64) error {
		k, err := timedCall(abi.CallFrameRead, f.Handle, p, timeout)
		n = int(k)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read from network device %#x: %w", uint64(f.Handle), err)
	}
	return n, nil
}

// Write sends frames, each behind its length as AppendFrame writes it.
func (f Frames) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k, err := bytesCall(abi.CallFrameWrite, f.Handle, p[n:])
		if err != nil {
			return n, fmt.Errorf("send through network device %#x: %w", uint64(f.Handle), err)
		}
		n += int(k)
	}
	return n, nil
}

// AppendFrame puts a frame behind those in p.
func AppendFrame(p, frame []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(p, uint16(len(frame))), frame...)
}

// SplitFrame takes the first frame off p; ok is false when there is none.
func SplitFrame(p []byte) (frame, rest []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(p))
	if n > len(p)-2 {
		return nil, nil, false
	}
	return p[2 : 2+n : 2+n], p[2+n:], true
}

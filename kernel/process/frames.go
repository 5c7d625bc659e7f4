package process

import (
	"encoding/binary"

	"aios/kernel/abi"
)

// frameInfo tells the address and the MTU of a network device.
func (t *thread) frameInfo(f Frames, at, n uint64) (uint64, abi.Errno) {
	address, mtu := f.Info()
	b := binary.LittleEndian.AppendUint16(address[:], mtu)
	if n < uint64(len(b)) {
		return 0, abi.MessageSize
	}
	return uint64(len(b)), t.p.copyOut(at, b)
}

// frameRead takes frames. The address is checked first, so that none is lost on a
// bad one.
func (t *thread) frameRead(f Frames, at, n, timeout uint64) (uint64, abi.Errno) {
	n = min(n, abi.MaxTransfer)
	if n < 2+abi.MaxFrame {
		return 0, abi.MessageSize
	}
	if e := t.p.memoryError(t.p.mem.check(at, n, Write)); e != 0 {
		return 0, e
	}
	b := t.scratch(n)
	wait := t.park(timeout)
	for {
		arrived := f.Arrived() // before the look, so that none is missed
		k, err := f.ReadFrames(b)
		switch {
		case k > 0:
			return uint64(k), t.p.copyOut(at, b[:k])
		case err != nil:
			return 0, errno(err)
		case !wait:
			return 0, abi.Again
		}
		if e := t.wait(arrived, t.parking.left()).errno(); e != 0 {
			return 0, e
		}
	}
}

// frameWrite sends frames, once all of them are known to be well-formed.
func (t *thread) frameWrite(f Frames, at, n uint64) (uint64, abi.Errno) {
	if n > abi.MaxTransfer {
		return 0, abi.MessageSize
	}
	b := t.scratch(n)
	if e := t.p.copyIn(at, b); e != 0 {
		return 0, e
	}
	for rest := b; len(rest) > 0; {
		if len(rest) < 2 {
			return 0, abi.Invalid
		}
		k := int(binary.LittleEndian.Uint16(rest))
		if k < minFrame || k > abi.MaxFrame || k > len(rest)-2 {
			return 0, abi.Invalid
		}
		rest = rest[2+k:]
	}
	k, err := f.WriteFrames(t.p.ctx, b)
	if k == 0 && err != nil {
		return 0, errno(err)
	}
	return uint64(k), 0
}

// minFrame is an Ethernet header.
const minFrame = 14

package process

import (
	"encoding/binary"

	"aios/kernel/abi"
)

// callFrameInfo tells the address and the MTU of a network device.
func (t *thread) callFrameInfo(f Frames, to span) (uint64, abi.Errno) {
	address, mtu := f.Info()
	b := binary.LittleEndian.AppendUint16(address[:], mtu)
	return uint64(len(b)), t.p.copyOut(to.at, b)
}

// callFrameRead takes frames. The address is checked first, so that none is lost on a
// bad one.
func (t *thread) callFrameRead(f Frames, to span, timeout uint64) (uint64, abi.Errno) {
	if e := t.p.memoryError(t.p.mem.check(to.at, to.n, Write)); e != 0 {
		return 0, e
	}
	b := t.scratch(to.n)
	wait := t.park(timeout)
	for {
		arrived := f.Arrived() // before the look, so that none is missed
		k, err := f.ReadFrames(b)
		switch {
		case k > 0:
			return uint64(k), t.p.copyOut(to.at, b[:k])
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

// callFrameWrite sends frames, once all of them are known to be well-formed.
func (t *thread) callFrameWrite(f Frames, from span) (uint64, abi.Errno) {
	b := t.scratch(from.n)
	if e := t.p.copyIn(from.at, b); e != 0 {
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

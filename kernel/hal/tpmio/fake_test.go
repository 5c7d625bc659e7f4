package tpmio

import (
	"encoding/binary"
	"fmt"
	"time"
)

// fakeClock stands still but for Sleep.
type fakeClock struct{ now time.Duration }

func (c *fakeClock) Now() time.Duration    { return c.now }
func (c *fakeClock) Sleep(d time.Duration) { c.now += d }

// device is what both fakes share: when things happen, what is answered, and
// every access that the profile forbids.
type device struct {
	clock    *fakeClock
	latency  time.Duration // of each transition
	answer   func(command []byte) []byte
	hang     bool // commands never end by themselves
	broken   []string
	commands int
}

func newDevice() device {
	return device{clock: &fakeClock{}, answer: echo}
}

func (d *device) violation(format string, a ...any) {
	d.broken = append(d.broken, fmt.Sprintf(format, a...))
}

// echo answers with a response header and the command's bytes.
func echo(command []byte) []byte { return frame(command[headerSize:]) }

func frame(body []byte) []byte {
	b := []byte{0x80, 0x01}
	b = binary.BigEndian.AppendUint32(b, uint32(headerSize+len(body)))
	b = binary.BigEndian.AppendUint32(b, 0)
	return append(b, body...)
}

// The CRB interface's states (PTP 6.5.3.4, without sleep).
type crbState int

const (
	crbIdle crbState = iota
	crbReady
	crbRunning
	crbCompletion
)

// fakeCRB is a TPM with a CRB interface that takes time for each step.
type fakeCRB struct {
	device
	state      crbState
	pending    map[uint32]time.Duration // self-clearing request bits of regCtrlReq, and when they clear
	granted    bool
	deny       bool // the locality
	deafCancel bool
	fatal      bool
	cmdSize    uint32
	rspSize    uint32
	cmdAt      uint32
	rspAt      uint32
	buffer     [Size]byte
	end        time.Duration
}

func newCRB() *fakeCRB {
	return &fakeCRB{device: newDevice(), pending: map[uint32]time.Duration{}, cmdSize: Size - 0x80, rspSize: Size - 0x80, cmdAt: Base + 0x80, rspAt: Base + 0x80}
}

// step lets the time that has passed take effect.
func (f *fakeCRB) step() {
	for bit, at := range f.pending {
		if f.clock.now < at {
			continue
		}
		delete(f.pending, bit)
		if bit == reqCommandReady {
			f.state = crbReady
		} else {
			f.state = crbIdle
		}
	}
	if f.state == crbRunning && f.end >= 0 && f.clock.now >= f.end {
		f.finish()
	}
}

func (f *fakeCRB) finish() {
	off := f.cmdAt - Base
	n := binary.BigEndian.Uint32(f.buffer[off+2:])
	command := append([]byte(nil), f.buffer[off:off+min(n, f.cmdSize)]...)
	copy(f.buffer[f.rspAt-Base:], f.answer(command))
	f.state = crbCompletion
}

func (f *fakeCRB) Read32(off uint32) uint32 {
	f.step()
	switch off {
	case regInterfaceID:
		return interfaceCRB
	case regLocState:
		if f.granted {
			return locAssigned | locValid
		}
		return locValid
	case regCtrlReq:
		v := uint32(0)
		for bit := range f.pending {
			v |= bit
		}
		return v
	case regCtrlStatus:
		if f.fatal {
			return statusFatal
		}
		return 0
	case regCtrlStart:
		if f.state == crbRunning {
			return start
		}
		return 0
	case regCtrlCmdSize:
		return f.cmdSize
	case regCtrlCmdLow:
		return f.cmdAt
	case regCtrlCmdHigh:
		return 0
	case regCtrlRspSize:
		return f.rspSize
	case regCtrlRspAddr:
		return f.rspAt
	}
	f.violation("read of register %#x", off)
	return 0xffffffff
}

func (f *fakeCRB) Write32(off, v uint32) {
	f.step()
	switch off {
	case regLocCtrl:
		f.granted = v&locRequest != 0 && !f.deny
	case regCtrlReq:
		if !f.granted || f.state == crbRunning {
			f.violation("request %#x in state %d, locality granted: %v", v, f.state, f.granted)
			return
		}
		f.pending[v] = f.clock.now + f.latency
	case regCtrlStart:
		if f.state != crbReady {
			f.violation("start in state %d", f.state)
			return
		}
		f.state = crbRunning
		f.commands++
		f.end = f.clock.now + f.latency
		if f.hang {
			f.end = -1
		}
	case regCtrlCancel:
		if v != 0 && f.state == crbRunning && !f.deafCancel {
			f.answer = func([]byte) []byte { return frame(nil) }
			f.finish()
			f.answer = echo
		}
	default:
		f.violation("write of %#x to register %#x", v, off)
	}
}

func (f *fakeCRB) Read8(off uint32) uint8 {
	f.step()
	if f.state != crbCompletion || off < f.rspAt-Base || off-(f.rspAt-Base) >= f.rspSize {
		f.violation("read of buffer %#x in state %d", off, f.state)
		return 0xff
	}
	return f.buffer[off]
}

func (f *fakeCRB) Write8(off uint32, v uint8) {
	f.step()
	if f.state != crbReady || off < f.cmdAt-Base || off-(f.cmdAt-Base) >= f.cmdSize {
		f.violation("write to buffer %#x in state %d", off, f.state)
		return
	}
	f.buffer[off] = v
}

// The FIFO interface's states (PTP 6.5.2.4).
type tisState int

const (
	tisIdle tisState = iota
	tisReady
	tisReception
	tisExecution
	tisCompletion
)

// fakeTIS is a TPM with a FIFO interface.
type fakeTIS struct {
	device
	state   tisState
	granted bool
	deny    bool
	viaIdle bool // commandReady ends a command in Idle, not in Ready
	family  uint32
	id      uint32
	burst   func() int // bytes that the FIFO takes or gives now
	early   int        // bytes of a response that are withheld
	deaf    bool       // commandReady and cancel do nothing while a command runs
	short   int        // the TPM stops expecting that many bytes early
	tail    int        // further bytes behind a response
	left    int        // of the burst
	to      tisState   // where a pending commandReady leads
	at      time.Duration
	waiting bool
	in, out []byte
}

func newTIS() *fakeTIS {
	return &fakeTIS{device: newDevice(), family: stsFamily2, id: 0x00011014, burst: func() int { return 64 }}
}

func (f *fakeTIS) step() {
	if f.clock.now < f.at {
		return
	}
	if f.waiting {
		f.waiting, f.state = false, f.to
		f.in, f.out, f.left = nil, nil, 0
	}
	if f.state == tisExecution && !f.hang {
		f.out = f.answer(f.in)
		f.out = append(f.out[:len(f.out)-f.early], make([]byte, f.tail)...)
		f.state, f.left = tisCompletion, 0
	}
}

// want is how many bytes the TPM still expects, known once it has a header.
func (f *fakeTIS) want() int {
	if len(f.in) < headerSize {
		return headerSize - len(f.in)
	}
	return int(binary.BigEndian.Uint32(f.in[2:])) - f.short - len(f.in)
}

func (f *fakeTIS) Read32(off uint32) uint32 {
	f.step()
	switch off {
	case regInterfaceID:
		return interfaceFIFO
	case regDIDVID:
		return f.id
	case regSts:
		if f.left == 0 {
			f.left = f.burst()
		}
		if f.state == tisCompletion {
			f.left = min(f.left, len(f.out))
		}
		v := f.family | uint32(f.left)<<8
		if f.clock.now%(3*pollFirst) != pollFirst { // now and then not valid
			v |= stsValid
		}
		switch {
		case f.state == tisReady && !f.waiting:
			v |= stsCommandReady
		case f.state == tisReception && f.want() > 0:
			v |= stsExpect
		case f.state == tisCompletion && len(f.out) > 0:
			v |= stsDataAvail
		}
		if v&stsValid == 0 {
			v &^= stsExpect | stsDataAvail
		}
		return v
	}
	f.violation("read of register %#x", off)
	return 0xffffffff
}

func (f *fakeTIS) Write32(off, v uint32) {
	f.step()
	if off != regSts || !f.granted {
		f.violation("write of %#x to register %#x", v, off)
		return
	}
	switch v {
	case stsCommandReady:
		if f.state == tisExecution && f.deaf || f.waiting {
			return
		}
		f.to = tisReady
		if f.viaIdle && f.state != tisIdle && f.state != tisReady {
			f.to = tisIdle
		}
		if f.state != tisReady {
			f.waiting, f.at = true, f.clock.now+f.latency
		}
	case stsGo:
		if f.state != tisReception || f.want() != 0 {
			f.violation("go in state %d with %d bytes missing", f.state, f.want())
			return
		}
		f.state, f.at = tisExecution, f.clock.now+f.latency
		f.commands++
	case stsCancel:
	default:
		f.violation("write of %#x to the status register", v)
	}
}

func (f *fakeTIS) Read8(off uint32) uint8 {
	f.step()
	switch off {
	case regAccess:
		v := uint8(accessValid)
		if f.granted {
			v |= accessActive
		}
		return v
	case regDataFIFO:
		if f.state != tisCompletion || len(f.out) == 0 || f.left == 0 {
			f.violation("read of the FIFO in state %d with %d bytes there, burst %d", f.state, len(f.out), f.left)
			return 0xff
		}
		b := f.out[0]
		f.out, f.left = f.out[1:], f.left-1
		return b
	}
	f.violation("read of byte register %#x", off)
	return 0xff
}

func (f *fakeTIS) Write8(off uint32, v uint8) {
	f.step()
	switch {
	case off == regAccess && v == accessRequest:
		f.granted = !f.deny
	case off == regAccess && v == accessActive:
		f.granted = false
	case off == regDataFIFO && (f.state == tisReady || f.state == tisReception) && !f.waiting && f.left > 0 && f.want() > 0:
		f.state, f.left = tisReception, f.left-1
		f.in = append(f.in, v)
	default:
		f.violation("write of %#x to byte register %#x in state %d, burst %d", v, off, f.state, f.left)
	}
}

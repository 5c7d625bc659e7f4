package tpmio

import (
	"fmt"
)

// Registers of the CRB interface, locality 0 (PTP 6.3.3, table 19).
const (
	regLocState     = 0x00
	regLocCtrl      = 0x08
	regCtrlReq      = 0x40
	regCtrlStatus   = 0x44
	regCtrlCancel   = 0x48
	regCtrlStart    = 0x4c
	regCtrlCmdSize  = 0x58
	regCtrlCmdLow   = 0x5c
	regCtrlCmdHigh  = 0x60
	regCtrlRspSize  = 0x64
	regCtrlRspAddr  = 0x68
	locAssigned     = 1 << 1
	locValid        = 1 << 7
	locRequest      = 1 << 0
	locRelinquish   = 1 << 1
	reqCommandReady = 1 << 0
	reqGoIdle       = 1 << 1
	statusFatal     = 1 << 0
	start           = 1 << 0
)

type crb struct {
	r                  Registers
	c                  Clock
	command, response  uint32 // buffers, as offsets from Base
	commandSize, rsize int
}

func openCRB(r Registers, c Clock) (Transport, error) {
	r.Write32(regLocCtrl, locRequest)
	err := await(c, timeoutA, "TPM CRB: request locality 0", func() bool {
		return r.Read32(regLocState)&(locAssigned|locValid) == locAssigned|locValid
	})
	if err != nil {
		return nil, err
	}
	t := &crb{r: r, c: c}
	low, high := r.Read32(regCtrlCmdLow), r.Read32(regCtrlCmdHigh)
	response := r.Read32(regCtrlRspAddr)
	n, m := r.Read32(regCtrlCmdSize), r.Read32(regCtrlRspSize)
	t.command, t.response = low-Base, response-Base
	if high != 0 || t.command >= Size || n > Size-t.command || t.response >= Size || m > Size-t.response || n < headerSize || m < headerSize {
		return nil, fmt.Errorf("TPM CRB: buffers at %#x%08x (%d bytes) and %#x (%d bytes) are not in locality 0", high, low, n, response, m)
	}
	t.commandSize, t.rsize = int(n), int(min(m, maxResponse))
	return t, nil
}

func (t *crb) Interface() string { return "crb" }

// Close gives locality 0 back.
func (t *crb) Close() error {
	t.r.Write32(regLocCtrl, locRelinquish)
	return nil
}

// Send runs one command (PTP 6.5.3.5): ready, write, start, wait, read, idle.
func (t *crb) Send(command []byte) (response []byte, err error) {
	if err := checkCommand(command, t.commandSize); err != nil {
		return nil, err
	}
	if err := t.request(reqCommandReady, "command ready"); err != nil {
		return nil, err
	}
	defer func() {
		if idle := t.request(reqGoIdle, "go idle"); err == nil {
			err = idle
		}
	}()
	for i, b := range command {
		t.r.Write8(t.command+uint32(i), b)
	}
	t.r.Write32(regCtrlStart, start)
	done := func() bool { return t.r.Read32(regCtrlStart)&start == 0 }
	if err := await(t.c, longest, "TPM CRB: command", done); err != nil {
		t.r.Write32(regCtrlCancel, 1) // PTP 6.5.3.6
		cancelled := await(t.c, timeoutB, "TPM CRB: cancel", done)
		t.r.Write32(regCtrlCancel, 0)
		if cancelled != nil {
			return nil, cancelled
		}
		return nil, err
	}
	if t.r.Read32(regCtrlStatus)&statusFatal != 0 {
		return nil, fmt.Errorf("TPM CRB: the TPM reports a fatal error; power the machine off and on")
	}
	header := t.read(headerSize)
	n, err := responseSize(header, t.rsize)
	if err != nil {
		return nil, err
	}
	return t.read(n), nil
}

func (t *crb) request(bit uint32, what string) error {
	t.r.Write32(regCtrlReq, bit)
	return await(t.c, timeoutC, "TPM CRB: "+what, func() bool { return t.r.Read32(regCtrlReq)&bit == 0 })
}

func (t *crb) read(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = t.r.Read8(t.response + uint32(i))
	}
	return out
}

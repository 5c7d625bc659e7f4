package tpmio

import (
	"fmt"
)

// Registers of the FIFO interface, locality 0 (PTP 6.3.2, table 17).
const (
	regAccess   = 0x00
	regSts      = 0x18
	regDataFIFO = 0x24
	regDIDVID   = 0xf00

	accessActive  = 1 << 5
	accessRequest = 1 << 1
	accessValid   = 1 << 7

	stsValid        = 1 << 7
	stsCommandReady = 1 << 6
	stsGo           = 1 << 5
	stsDataAvail    = 1 << 4
	stsExpect       = 1 << 3
	stsCancel       = 1 << 24
	stsFamily       = 3 << 26
	stsFamily2      = 1 << 26
)

type tis struct {
	r Registers
	c Clock
}

func openTIS(r Registers, c Clock) (Transport, error) {
	if id := r.Read32(regDIDVID); id == 0 || id == 0xffffffff {
		return nil, ErrNoTPM
	}
	r.Write8(regAccess, accessRequest)
	err := await(c, timeoutA, "TPM TIS: request locality 0", func() bool {
		return r.Read8(regAccess)&(accessActive|accessValid) == accessActive|accessValid
	})
	if err != nil {
		return nil, err
	}
	t := &tis{r, c}
	if f := r.Read32(regSts) & stsFamily; f != stsFamily2 {
		t.Close()
		return nil, fmt.Errorf("%w: the TPM is of family %d, which is not 2.0", ErrNoTPM, f>>26)
	}
	return t, nil
}

func (t *tis) Interface() string { return "tis" }

// Close gives locality 0 back.
func (t *tis) Close() error {
	t.r.Write8(regAccess, accessActive)
	return nil
}

// Send runs one command (PTP 6.5.2): ready, fill the FIFO, go, wait, drain.
func (t *tis) Send(command []byte) ([]byte, error) {
	if err := checkCommand(command, maxResponse); err != nil {
		return nil, err
	}
	if err := t.ready(); err != nil {
		return nil, err
	}
	// Ends this command, also one that went wrong.
	defer t.r.Write32(regSts, stsCommandReady)
	return t.exchange(command)
}

func (t *tis) exchange(command []byte) ([]byte, error) {
	last := len(command) - 1
	if err := t.write(command[:last]); err != nil {
		return nil, err
	}
	if err := t.expect(true); err != nil {
		return nil, err
	}
	if err := t.write(command[last:]); err != nil {
		return nil, err
	}
	if err := t.expect(false); err != nil {
		return nil, err
	}
	t.r.Write32(regSts, stsGo)
	if err := t.status(stsDataAvail, stsDataAvail, "command"); err != nil {
		t.r.Write32(regSts, stsCancel)
		return nil, err
	}
	header, err := t.read(nil, headerSize)
	if err != nil {
		return nil, err
	}
	n, err := responseSize(header, maxResponse)
	if err != nil {
		return nil, err
	}
	out, err := t.read(header, n)
	if err != nil {
		return nil, err
	}
	if err := t.status(stsDataAvail, 0, "end of the response"); err != nil {
		return nil, err
	}
	return out, nil
}

// ready makes the TPM expect a command, ending what it is doing. The bit is
// written until it sticks, since the TPM may come by way of Idle.
func (t *tis) ready() error {
	return await(t.c, timeoutB, "TPM TIS: command ready", func() bool {
		if t.r.Read32(regSts)&stsCommandReady != 0 {
			return true
		}
		t.r.Write32(regSts, stsCommandReady)
		return false
	})
}

func (t *tis) status(mask, want uint32, what string) error {
	return await(t.c, longest, "TPM TIS: "+what, func() bool {
		s := t.r.Read32(regSts)
		return s&stsValid != 0 && s&mask == want
	})
}

func (t *tis) expect(more bool) error {
	want := uint32(0)
	if more {
		want = stsExpect
	}
	if err := t.status(0, 0, "status"); err != nil {
		return err
	}
	if t.r.Read32(regSts)&stsExpect != want {
		return fmt.Errorf("TPM TIS: the TPM and the driver disagree on the command's length")
	}
	return nil
}

// burst waits until the FIFO takes or gives at least one byte.
func (t *tis) burst() (int, error) {
	n := 0
	err := await(t.c, timeoutC, "TPM TIS: burst count", func() bool {
		n = int(t.r.Read32(regSts) >> 8 & 0xffff)
		return n > 0
	})
	return n, err
}

func (t *tis) write(b []byte) error {
	for len(b) > 0 {
		n, err := t.burst()
		if err != nil {
			return err
		}
		n = min(n, len(b))
		for _, v := range b[:n] {
			t.r.Write8(regDataFIFO, v)
		}
		b = b[n:]
	}
	return nil
}

// read appends to out until it holds n bytes.
func (t *tis) read(out []byte, n int) ([]byte, error) {
	for len(out) < n {
		if err := t.status(0, 0, "status"); err != nil {
			return nil, err
		}
		if t.r.Read32(regSts)&stsDataAvail == 0 {
			return nil, fmt.Errorf("TPM TIS: the response ends after %d of %d bytes", len(out), n)
		}
		k, err := t.burst()
		if err != nil {
			return nil, err
		}
		for range min(k, n-len(out)) {
			out = append(out, t.r.Read8(regDataFIFO))
		}
	}
	return out, nil
}

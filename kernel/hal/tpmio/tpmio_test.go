package tpmio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"pgregory.net/rapid"
)

func command(body []byte) []byte {
	b := frame(body)
	binary.BigEndian.PutUint32(b[6:], 0x17b) // TPM2_CC_GetRandom; the fakes do not look
	return b
}

// machine is a fake of either interface.
type machine interface {
	Registers
	dev() *device
}

func (f *fakeCRB) dev() *device { return &f.device }
func (f *fakeTIS) dev() *device { return &f.device }

func open(t interface{ Fatal(...any) }, m machine) Transport {
	tr, err := Open(m, m.dev().clock)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// settled tells what the driver did wrong.
func settled(t interface{ Errorf(string, ...any) }, m machine) {
	if f, ok := m.(*fakeCRB); ok && f.state != crbIdle {
		t.Errorf("the driver left the TPM in state %d, not idle", f.state)
	}
	for _, v := range m.dev().broken {
		t.Errorf("the driver made an access that the profile forbids: %s", v)
	}
}

// TestExchange: any command on any timing gets its answer, byte for byte, with
// no access that the interface's state forbids, and leaves a state in which
// the next command works.
func TestExchange(t *testing.T) {
	kinds := map[string]func(*rapid.T) machine{
		"crb": func(t *rapid.T) machine { return newCRB() },
		"tis": func(t *rapid.T) machine {
			f := newTIS()
			f.viaIdle = rapid.Bool().Draw(t, "via idle")
			most := rapid.IntRange(1, 100).Draw(t, "burst")
			calls := 0
			f.burst = func() int { calls++; return calls * 103 % (most + 1) }
			return f
		},
	}
	for name, kind := range kinds {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			m := kind(t)
			d := m.dev()
			tr := open(t, m)
			if tr.Interface() != name {
				t.Fatalf("interface %q, want %q", tr.Interface(), name)
			}
			n := rapid.IntRange(1, 4).Draw(t, "commands")
			for range n {
				d.latency = time.Duration(rapid.IntRange(0, 500_000).Draw(t, "latency in us")) * time.Microsecond
				body := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "body")
				got, err := tr.Send(command(body))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, frame(body)) {
					t.Fatalf("response %x, want %x", got, frame(body))
				}
			}
			if d.commands != n {
				t.Errorf("the TPM ran %d commands, want %d", d.commands, n)
			}
			settled(t, m)
		}))
	}
}

// TestLargest: commands and responses up to what the interface holds, and no further.
func TestLargest(t *testing.T) {
	for _, m := range []machine{newCRB(), newTIS()} {
		tr := open(t, m)
		most := maxResponse
		if tr.Interface() == "crb" {
			most = Size - 0x80
		}
		body := make([]byte, most-headerSize)
		if got, err := tr.Send(command(body)); err != nil || len(got) != most {
			t.Errorf("%s: %d bytes, %v", tr.Interface(), len(got), err)
		}
		if _, err := tr.Send(make([]byte, most+1)); err == nil || m.dev().commands != 1 {
			t.Errorf("%s: %d bytes: %v after %d commands, want a refusal before the TPM sees it", tr.Interface(), most+1, err, m.dev().commands)
		}
		if _, err := tr.Send(make([]byte, headerSize-1)); err == nil {
			t.Errorf("%s: a command shorter than its header was sent", tr.Interface())
		}
		settled(t, m)
	}
}

// TestRefusedInterface: what must not be opened, and what the reader learns.
func TestRefusedInterface(t *testing.T) {
	crb := func(change func(*fakeCRB)) machine { f := newCRB(); change(f); return f }
	tis := func(change func(*fakeTIS)) machine { f := newTIS(); change(f); return f }
	for _, c := range []struct {
		name string
		m    machine
		is   error
		text string
	}{
		{"crb keeps locality 0", crb(func(f *fakeCRB) { f.deny = true }), ErrTimeout, "locality 0"},
		{"crb command buffer elsewhere", crb(func(f *fakeCRB) { f.cmdAt = 0x1000 }), nil, "not in locality 0"},
		{"crb command buffer too long", crb(func(f *fakeCRB) { f.cmdSize = Size - 0x7f }), nil, "not in locality 0"},
		{"crb response buffer below", crb(func(f *fakeCRB) { f.rspAt = Base - 1 }), nil, "not in locality 0"},
		{"crb response size wraps", crb(func(f *fakeCRB) { f.rspSize = 0xffffffff }), nil, "not in locality 0"},
		{"crb buffer without room", crb(func(f *fakeCRB) { f.cmdSize = 9 }), nil, "not in locality 0"},
		{"tis keeps locality 0", tis(func(f *fakeTIS) { f.deny = true }), ErrTimeout, "locality 0"},
		{"tis without device", tis(func(f *fakeTIS) { f.id = 0 }), ErrNoTPM, "give the machine a TPM"},
		{"tis of a TPM 1.2", tis(func(f *fakeTIS) { f.family = 0 }), ErrNoTPM, "not 2.0"},
		{"nothing there", nothing{newCRB()}, ErrNoTPM, "give the machine a TPM"},
		{"unknown type", odd{newCRB()}, nil, "neither CRB nor FIFO"},
	} {
		tr, err := Open(c.m, c.m.dev().clock)
		if err == nil || tr != nil {
			t.Errorf("%s: opened", c.name)
			continue
		}
		if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// nothing reads as the empty bus does, odd as a later profile might.
type (
	nothing struct{ *fakeCRB }
	odd     struct{ *fakeCRB }
)

func (nothing) Read32(uint32) uint32 { return 0xffffffff }
func (odd) Read32(uint32) uint32     { return 7 }

// TestBadResponse: a length that cannot be is an error, not an allocation or a wild read.
func TestBadResponse(t *testing.T) {
	for _, n := range []uint32{0, 9, maxResponse + 1, 0x80000000, 0xffffffff} {
		for _, m := range []machine{newCRB(), newTIS()} {
			tr := open(t, m)
			m.dev().answer = func([]byte) []byte {
				b := frame(make([]byte, 20))
				binary.BigEndian.PutUint32(b[2:], n)
				return b
			}
			if _, err := tr.Send(command(nil)); err == nil || !strings.Contains(err.Error(), "claims") {
				t.Errorf("%s: response of claimed size %d: %v", tr.Interface(), n, err)
			}
			m.dev().answer = echo
			if got, err := tr.Send(command([]byte{1})); err != nil || !bytes.Equal(got, frame([]byte{1})) {
				t.Errorf("%s: after a bad response: %x, %v", tr.Interface(), got, err)
			}
			settled(t, m)
		}
	}
}

// TestHang: a command that does not end is given up in bounded time, and the
// TPM works again if it can be brought back.
func TestHang(t *testing.T) {
	for _, m := range []machine{newCRB(), newTIS()} {
		tr := open(t, m)
		d := m.dev()
		d.hang = true
		if _, err := tr.Send(command(nil)); !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: %v, want ErrTimeout", tr.Interface(), err)
		}
		if d.clock.now < longest || d.clock.now > longest+10*time.Second {
			t.Errorf("%s: given up after %v", tr.Interface(), d.clock.now)
		}
		d.hang = false
		if _, err := tr.Send(command(nil)); err != nil {
			t.Errorf("%s: after a cancelled command: %v", tr.Interface(), err)
		}
		settled(t, m)
	}
}

// TestDead: a TPM that cannot even be cancelled is an error each time.
func TestDead(t *testing.T) {
	crb, tis := newCRB(), newTIS()
	crb.deafCancel, tis.deaf = true, true
	crb.hang, tis.hang = true, true
	for _, m := range []machine{crb, tis} {
		tr := open(t, m)
		for range 2 {
			if _, err := tr.Send(command(nil)); !errors.Is(err, ErrTimeout) {
				t.Errorf("%s: %v, want ErrTimeout", tr.Interface(), err)
			}
		}
		if m.dev().commands != 1 {
			t.Errorf("%s: %d commands were started", tr.Interface(), m.dev().commands)
		}
	}
}

func TestFatalCRB(t *testing.T) {
	f := newCRB()
	tr := open(t, f)
	f.fatal = true
	if _, err := tr.Send(command(nil)); err == nil || !strings.Contains(err.Error(), "fatal") {
		t.Error(err)
	}
}

// TestLengthTIS: TPM and driver must agree where a command and a response end.
func TestLengthTIS(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fakeTIS)
		text   string
	}{
		{"TPM expects fewer bytes", func(f *fakeTIS) { f.short = 1 }, "disagree"},
		{"response ends early", func(f *fakeTIS) { f.early = 3 }, "ends after"},
		{"response goes on", func(f *fakeTIS) { f.tail = 1 }, "end of the response"},
	} {
		f := newTIS()
		tr := open(t, f)
		c.change(f)
		if _, err := tr.Send(command([]byte("body"))); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.name, err, c.text)
		}
		f.short, f.early, f.tail = 0, 0, 0
		if _, err := tr.Send(command([]byte("body"))); err != nil {
			t.Errorf("%s: the next command: %v", c.name, err)
		}
		settled(t, f)
	}
}

// TestClose gives the locality back.
func TestClose(t *testing.T) {
	crb, tis := newCRB(), newTIS()
	for _, m := range []machine{crb, tis} {
		if err := open(t, m).Close(); err != nil {
			t.Error(err)
		}
		settled(t, m)
	}
	if crb.granted || tis.granted {
		t.Errorf("locality still held: crb %v, tis %v", crb.granted, tis.granted)
	}
}

// TestGoTPM sends one of go-tpm's commands through each.
func TestGoTPM(t *testing.T) {
	for _, m := range []machine{newCRB(), newTIS()} {
		tr := open(t, m)
		m.dev().answer = func([]byte) []byte { return frame([]byte{0, 4, 1, 2, 3, 4}) }
		rsp, err := tpm2.GetRandom{BytesRequested: 4}.Execute(tr)
		if err != nil || !bytes.Equal(rsp.RandomBytes.Buffer, []byte{1, 2, 3, 4}) {
			t.Errorf("%s: %v, %v", tr.Interface(), rsp, err)
		}
	}
}

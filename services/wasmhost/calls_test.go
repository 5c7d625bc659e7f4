package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/tetratelabs/wazero"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// guest is the memory of a module that does nothing: one page.
func guest(t testing.TB) memory {
	t.Helper()
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	m, err := r.InstantiateWithConfig(t.Context(), assemble("nothing", 1, 1, nil), wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	return memory{m.Memory()}
}

func do(t testing.TB, name string, k kernel, m memory, a ...uint64) abi.Errno {
	t.Helper()
	for _, c := range calls {
		if c.name == name {
			if len(a) != len(c.params) {
				t.Fatalf("%s has %d parameters, found %d", name, len(c.params), len(a))
			}
			return c.do(k, m, a)
		}
	}
	t.Fatalf("no call %s", name)
	return 0
}

// Addresses of the tests in the one page.
const (
	at   = 1000
	out  = 3000
	edge = pageSize - 4 // where 8 bytes do not fit
)

func TestCalls(t *testing.T) {
	for _, c := range []struct {
		name string
		call string
		set  func(f *fake)
		args []uint64
		want abi.Errno
	}{
		{"log", "log", nil, []uint64{at, 5}, 0},
		{"log of nothing", "log", nil, []uint64{at, 0}, 0},
		{"log too long", "log", nil, []uint64{0, abi.MaxLog + 1}, abi.MessageSize},
		{"log behind the end", "log", nil, []uint64{edge, 5}, abi.Fault},
		{"log that wraps", "log", nil, []uint64{math.MaxUint32, 2}, abi.Fault},
		{"log above the quota", "log", func(f *fake) { f.logs = abi.Quota }, []uint64{at, 5}, abi.Quota},
		{"clock", "clock", nil, []uint64{out}, 0},
		{"clock nowhere", "clock", nil, []uint64{edge}, abi.Fault},
		{"clock without the right", "clock", func(f *fake) { f.refuse = abi.Denied }, []uint64{out}, abi.Denied},
		{"capability", "capability", nil, []uint64{at, 10, out}, 0},
		{"capability that there is not", "capability", nil, []uint64{at, 9, out}, abi.BadHandle},
		{"capability with a long name", "capability", nil, []uint64{0, 4096, out}, abi.BadHandle},
		{"capability nowhere", "capability", nil, []uint64{at, 10, edge}, abi.Fault},
		{"send", "send", nil, []uint64{echodHandle, at, 5, at, 0, 0, out}, 0},
		{"send to a forged handle", "send", nil, []uint64{666, at, 5, at, 0, 0, out}, abi.BadHandle},
		{"send too much", "send", nil, []uint64{echodHandle, 0, abi.MaxIPC + 1, at, 0, 0, out}, abi.MessageSize},
		{"send too many handles", "send", nil, []uint64{echodHandle, at, 5, at, abi.MaxHandles + 1, 0, out}, abi.MessageSize},
		{"send handles behind the end", "send", nil, []uint64{echodHandle, at, 5, edge, 1, 0, out}, abi.Fault},
		{"send forged handles", "send", nil, []uint64{echodHandle, at, 5, at, 1, 0, out}, abi.BadHandle},
		{"send, number nowhere", "send", nil, []uint64{echodHandle, at, 5, at, 0, 0, edge}, abi.Fault},
		{"receive", "receive", message("hi"), []uint64{at, 10, 0, out}, 0},
		{"receive with too little room", "receive", message("hello"), []uint64{at, 4, 0, out}, abi.MessageSize},
		{"receive, and the sender is gone", "receive", func(f *fake) { f.gone = 1 }, []uint64{at, 10, 0, out}, abi.Pipe},
		{"receive behind the end", "receive", message("hi"), []uint64{edge, 10, 0, out}, abi.Fault},
		{"receive with room behind the end", "receive", message("hi"), []uint64{0, pageSize + 1, 0, out}, abi.Fault},
		{"receive, block nowhere", "receive", message("hi"), []uint64{at, 10, 0, pageSize - 87}, abi.Fault},
		{"reply", "reply", nil, []uint64{out}, 0},
		{"reply nowhere", "reply", nil, []uint64{edge}, abi.Fault},
		{"derive", "derive", func(f *fake) { f.open[7] = true }, []uint64{7, uint64(abi.RightWrite), out}, 0},
		{"derive more", "derive", func(f *fake) { f.open[7] = true }, []uint64{7, uint64(abi.RightRead), out}, abi.Denied},
		{"derive from nothing", "derive", nil, []uint64{7, 0, out}, abi.BadHandle},
		{"derive to nowhere", "derive", func(f *fake) { f.open[7] = true }, []uint64{7, 0, edge}, abi.Fault},
		{"copy", "copy", func(f *fake) { f.open[7] = true }, []uint64{7, out}, 0},
		{"copy to nowhere", "copy", func(f *fake) { f.open[7] = true }, []uint64{7, edge}, abi.Fault},
		{"revoke", "revoke", func(f *fake) { f.open[7] = true }, []uint64{7, out}, 0},
		{"revoke below nothing", "revoke", nil, []uint64{7, out}, abi.BadHandle},
		{"revoke, to be told nowhere", "revoke", func(f *fake) { f.open[7] = true }, []uint64{7, edge}, abi.Fault},
		{"close what was never open", "close", nil, []uint64{123}, abi.BadHandle},
		{"quote denied", "quote", nil, []uint64{at, 32, out, 4096, at}, abi.Denied},
		{"quote", "quote", func(f *fake) { f.quote = 0 }, []uint64{at, 32, out, 4096, at}, 0},
		{"quote with too little room", "quote", func(f *fake) { f.quote = 0 }, []uint64{at, 32, out, 100, at}, abi.MessageSize},
		{"quote of a long nonce", "quote", nil, []uint64{0, abi.MaxMessage + 1, out, 4096, at}, abi.MessageSize},
		{"quote behind the end", "quote", nil, []uint64{at, 32, out, pageSize, at}, abi.Fault},
		{"quote, length nowhere", "quote", nil, []uint64{at, 32, out, 4096, pageSize - 3}, abi.Fault},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := newFake(), guest(t)
			m.Write(at, []byte("SEND_ECHOD"))
			if c.set != nil {
				c.set(f)
			}
			if got := do(t, c.call, f, m, c.args...); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if c.want != 0 && c.call == "reply" && len(f.open) != 0 {
				t.Error("an endpoint was made that nobody can name")
			}
			if c.want == abi.Fault && len(f.inbox) == 0 && c.call == "receive" {
				t.Error("the message is lost")
			}
		})
	}
}

func message(text string) func(*fake) {
	return func(f *fake) {
		f.inbox = []aios.Message{{From: 9, Number: 3, Data: []byte(text), Handles: []abi.Handle{5 << 32, 6}}}
	}
}

// What a module is told of a message is what IPCRecv tells.
func TestReceiveTellsOfTheMessage(t *testing.T) {
	f, m := newFake(), guest(t)
	message("hi")(f)
	m.Write(out, bytes.Repeat([]byte{0xff}, abi.IPCInfo))
	if e := do(t, "receive", f, m, at, 10, 0, out); e != 0 {
		t.Fatal(e)
	}
	if text, _ := m.Read(at, 2); string(text) != "hi" {
		t.Errorf("received %q", text)
	}
	want := binary.LittleEndian.AppendUint64(nil, 9)
	want = binary.LittleEndian.AppendUint64(want, 3)
	want = binary.LittleEndian.AppendUint32(want, 2)
	want = binary.LittleEndian.AppendUint32(want, 2)
	want = binary.LittleEndian.AppendUint64(want, 5<<32)
	want = append(binary.LittleEndian.AppendUint64(want, 6), make([]byte, 48)...)
	if info, _ := m.Read(out, abi.IPCInfo); !bytes.Equal(info, want) {
		t.Errorf("block %x\nwant  %x", info, want)
	}
	f.gone = 1
	m.Write(out, make([]byte, abi.IPCInfo))
	e := do(t, "receive", f, m, at, 10, 0, out)
	if info, _ := m.Read(out, 8); e != abi.Pipe || binary.LittleEndian.Uint64(info) != 9 {
		t.Errorf("%v: the sender that is gone is %x", e, info)
	}
}

// No arguments of any call make the runtime fail, and none reach beyond the memory.
func FuzzCalls(f *testing.F) {
	f.Add(uint8(0), uint64(at), uint64(5), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0))
	f.Add(uint8(3), uint64(echodHandle), uint64(at), uint64(5), uint64(edge), uint64(1), uint64(0), uint64(out))
	f.Add(uint8(4), uint64(edge), uint64(math.MaxUint32), uint64(0), uint64(out), uint64(0), uint64(0), uint64(0))
	f.Add(uint8(7), uint64(at), uint64(32), uint64(out), uint64(math.MaxUint32), uint64(at), uint64(0), uint64(0))
	m := guest(f)
	f.Fuzz(func(t *testing.T, which uint8, a, b, c, d, e, g, h uint64) {
		call := calls[int(which)%len(calls)]
		args := []uint64{a, b, c, d, e, g, h}[:len(call.params)]
		for i, p := range call.params {
			if p == i32 {
				args[i] = uint64(uint32(args[i]))
			}
		}
		k := newFake()
		k.quote = 0
		message("some text")(k)
		call.do(k, m, args)
		if m.Size() != pageSize {
			t.Errorf("memory of %d bytes", m.Size())
		}
	})
}

package main

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"aios/kernel/abi"
)

// hostModule is the name under which a module imports the calls.
const hostModule = "aios"

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// call is one function of the host module. Arguments that are addresses lead into the
// module's memory; the result is 0 or an errno of package abi.
type call struct {
	name   string
	params []api.ValueType
	do     func(k kernel, m memory, a []uint64) abi.Errno
}

// memory is the module's.
type memory struct{ api.Memory }

// bytes is the stretch of the memory that two arguments name. It is not a copy.
func (m memory) bytes(at, n uint64) ([]byte, bool) { return m.Read(uint32(at), uint32(n)) }

// calls are all there are. Addresses, lengths and counts are i32, everything else is i64.
var calls = []call{
	{"log", []api.ValueType{i32, i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		text, ok := m.bytes(a[0], a[1])
		if !ok {
			return abi.Fault
		}
		if len(text) > abi.MaxLog {
			return abi.MessageSize
		}
		return errno(k.Log(text))
	}},
	{"clock", []api.ValueType{i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		d, err := k.Clock()
		return m.result(a[0], uint64(d), err)
	}},
	{"capability", []api.ValueType{i32, i32, i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		name, ok := m.bytes(a[0], a[1])
		if !ok {
			return abi.Fault
		}
		if len(name) > maxCapability {
			return abi.BadHandle
		}
		h, err := k.Capability(string(name))
		return m.result(a[2], uint64(h), err)
	}},
	{"send", []api.ValueType{i64, i32, i32, i32, i32, i64, i32}, send},
	{"receive", []api.ValueType{i32, i32, i64, i32}, receive},
	{"reply", []api.ValueType{i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		return m.handle(a[0], k.Reply)
	}},
	{"close", []api.ValueType{i64}, func(k kernel, _ memory, a []uint64) abi.Errno {
		return errno(k.Close(abi.Handle(a[0])))
	}},
	{"derive", []api.ValueType{i64, i32, i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		return m.handle(a[2], func() (abi.Handle, error) { return k.Derive(abi.Handle(a[0]), abi.Rights(a[1])) })
	}},
	{"copy", []api.ValueType{i64, i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		return m.handle(a[1], func() (abi.Handle, error) { return k.Copy(abi.Handle(a[0])) })
	}},
	{"revoke", []api.ValueType{i64, i32}, func(k kernel, m memory, a []uint64) abi.Errno {
		if _, ok := m.bytes(a[1], 8); !ok {
			return abi.Fault
		}
		n, err := k.Revoke(abi.Handle(a[0]))
		return m.result(a[1], uint64(n), err)
	}},
	{"quote", []api.ValueType{i32, i32, i32, i32, i32}, quote},
}

// maxCapability is as long as a capability's name can be: SEND_ and a name of the manifest.
const maxCapability = len(abi.CapSend) + 32

// result stores the u64 that a call is for, if there was no error.
func (m memory) result(at, v uint64, err error) abi.Errno {
	b, ok := m.bytes(at, 8)
	if err != nil {
		return errno(err)
	}
	if !ok {
		return abi.Fault
	}
	binary.LittleEndian.PutUint64(b, v)
	return 0
}

// handle stores the handle that a call makes. It looks at the address before there is a
// handle that nobody could name.
func (m memory) handle(at uint64, make func() (abi.Handle, error)) abi.Errno {
	if _, ok := m.bytes(at, 8); !ok {
		return abi.Fault
	}
	h, err := make()
	return m.result(at, uint64(h), err)
}

// send: endpoint, data, length, handles, count, timeout, address of the number.
func send(k kernel, m memory, a []uint64) abi.Errno {
	if a[4] > abi.MaxHandles || a[2] > abi.MaxIPC {
		return abi.MessageSize
	}
	data, ok1 := m.bytes(a[1], a[2])
	list, ok2 := m.bytes(a[3], 8*a[4])
	_, ok3 := m.bytes(a[6], 8)
	if !ok1 || !ok2 || !ok3 {
		return abi.Fault
	}
	var handles []abi.Handle
	for ; len(list) > 0; list = list[8:] {
		handles = append(handles, abi.Handle(binary.LittleEndian.Uint64(list)))
	}
	number, err := k.Send(abi.Handle(a[0]), data, duration(a[5]), handles...)
	return m.result(a[6], number, err)
}

// receive: buffer, room, timeout, address of the block that tells of the message.
func receive(k kernel, m memory, a []uint64) abi.Errno {
	buf, ok1 := m.bytes(a[0], min(a[1], abi.MaxIPC))
	_, ok2 := m.bytes(a[0], a[1])
	info, ok3 := m.bytes(a[3], abi.IPCInfo)
	if !ok1 || !ok2 || !ok3 {
		return abi.Fault
	}
	msg, err := k.Receive(buf, duration(a[2]))
	putInfo(info, msg, err)
	return errno(err)
}

// quote: nonce, length, response, room, address of the response's length.
func quote(k kernel, m memory, a []uint64) abi.Errno {
	if a[1] > abi.MaxMessage {
		return abi.MessageSize
	}
	nonce, ok1 := m.bytes(a[0], a[1])
	out, ok2 := m.bytes(a[2], a[3])
	written, ok3 := m.bytes(a[4], 4)
	if !ok1 || !ok2 || !ok3 {
		return abi.Fault
	}
	q, err := k.Quote(nonce)
	if err != nil {
		return errno(err)
	}
	answer := quoteMessage(q)
	if len(answer) > len(out) {
		return abi.MessageSize
	}
	binary.LittleEndian.PutUint32(written, uint32(copy(out, answer)))
	return 0
}

// exportCalls makes the host module.
func (h *host) exportCalls(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(hostModule)
	for _, c := range calls {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
			for i, t := range c.params {
				if t == i32 {
					stack[i] = uint64(uint32(stack[i])) // the upper half is not defined
				}
			}
			e := abi.Errno(abi.Fault)
			if mem := m.Memory(); mem != nil {
				e = c.do(h.kernel, memory{mem}, stack)
			}
			stack[0] = uint64(e)
		}), c.params, []api.ValueType{i32}).Export(c.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

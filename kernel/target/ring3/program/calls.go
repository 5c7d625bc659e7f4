package main

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Calls: the AIOS calls, used as they should be and as they should not.

func init() {
	things["calls"] = goodCalls
	things["badhandles"] = badHandles
	things["badpointers"] = badPointers
	things["exitcall"] = func() error { return aios.Exit(handle(abi.CapSelf), 9) }
}

func goodCalls() error {
	if err := errors.Join(aios.Null(handle(abi.CapSelf)), aios.Yield(handle(abi.CapSelf))); err != nil {
		return err
	}
	last, err := aios.Uptime(handle(abi.CapClock))
	if err != nil {
		return err
	}
	for range 1000 {
		now, err := aios.Uptime(handle(abi.CapClock))
		if err != nil || now < last {
			return fmt.Errorf("clock went from %v to %v, %v", last, now, err)
		}
		last = now
	}
	log, err := aios.OpenLog()
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "a log line")
	b, err := aios.OpenBlob(abi.CapEventLog)
	if err != nil {
		return err
	}
	data, err := b.ReadAll(1 << 20)
	if err != nil {
		return err
	}
	if err := expect("blob", string(data), strings.Repeat("0123456789abcdef", 10000)); err != nil {
		return errors.New("the blob is not what the kernel holds")
	}
	a, err := aios.OpenAttestor()
	if err != nil {
		return err
	}
	q, err := a.Quote([]byte("nonce"))
	if err != nil {
		return err
	}
	if err := expect("quote", string(q.Attest)+"/"+string(q.Signature), "quoted nonce/signature"); err != nil {
		return err
	}
	if _, err := a.Random(8); !errors.Is(err, abi.IO) {
		return fmt.Errorf("random: %v", err)
	}
	if _, err := a.Identity(); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("identity: %v", err)
	}
	return nil
}

// granted are the capabilities of this program, by type.
var granted = map[abi.Type]string{
	abi.TypeProcess: abi.CapSelf, abi.TypeClock: abi.CapClock, abi.TypeLog: abi.CapLog,
	abi.TypeStream: abi.CapChannel, abi.TypeAttestor: abi.CapAttest, abi.TypeBlob: abi.CapEventLog,
	abi.TypeEndpoint: abi.CapSend + "SELF", abi.TypeMailbox: abi.CapMailbox,
	abi.TypeFrames: abi.CapFrames, abi.TypeAuthority: abi.CapAuthor,
}

func badHandles() error {
	for _, c := range abi.Calls {
		good := handle(abi.CapSelf)
		if name, ok := granted[c.Type]; ok {
			good = handle(name)
		}
		for _, h := range []abi.Handle{0, 1, 0xffffffff, 9 << 32, ^abi.Handle(0), good + 1<<32, good&^(1<<32-1) | 255, abi.MakeHandle(1<<31, 1)} {
			if _, err := aios.Raw(uint64(c.Number), h, 8, 8, 8, 8, 8); !errors.Is(err, abi.BadHandle) {
				return fmt.Errorf("%s with handle %#x: %v, want %v", c.Name, uint64(h), err, abi.BadHandle)
			}
		}
		for typ, name := range granted {
			if c.Type == abi.TypeNone || typ == c.Type {
				continue
			}
			if _, err := aios.Raw(uint64(c.Number), handle(name), 8, 8, 8, 8, 8); !errors.Is(err, abi.WrongType) {
				return fmt.Errorf("%s with the handle of a %v: %v, want %v", c.Name, typ, err, abi.WrongType)
			}
		}
	}
	if _, err := aios.Raw(uint64(abi.CallStreamWrite), handle("READONLY"), 8, 8); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("write to a read-only stream: %v, want %v", err, abi.Denied)
	}
	_, err := aios.Raw(uint64(abi.FirstCall+len(abi.Calls)), handle(abi.CapSelf))
	return expect("a call that does not exist", err, error(abi.NoCall))
}

// bad are addresses where a program has nothing, or nothing after eight bytes.
var bad = []uint64{0, 8, 0xfff, 0x3ffff8, 0x40001000, 0xfee00000, 0x7e5000000000, 0x7fffffffdff8, 0x7ffffffffff8,
	1 << 47, 1 << 62, 0xffff800000000000, ^uint64(0) - 7, ^uint64(63)}

// call makes an AIOS call on a capability.
func call(n abi.Number, name string, args ...uint64) (uint64, error) {
	return aios.Raw(uint64(n), handle(name), args...)
}

// badPointers gives every call that takes an address bad ones.
func badPointers() error {
	self := aios.Endpoint{Handle: handle(abi.CapSend + "SELF")}
	if _, err := self.Send(make([]byte, 64), 0); err != nil { // for IPCRecv, which must not lose it
		return err
	}
	info, buf := make([]byte, abi.IPCInfo), make([]byte, 64)
	text := uint64(reflect.ValueOf(badPointers).Pointer())
	for _, c := range abi.Calls {
		for i, a := range c.Args {
			if a.Kind == abi.Value {
				continue
			}
			addrs := bad
			if a.Kind == abi.Out {
				addrs = append([]uint64{text}, bad...)
			}
			for _, addr := range addrs {
				args := make([]uint64, len(c.Args))
				if c.Number == abi.CallAttest || c.Number == abi.CallAuthority {
					args[0] = abi.AttestQuote // an operation of both
				}
				if c.Number == abi.CallIPCRecv {
					args[1], args[2], args[3] = 64, uint64(reflect.ValueOf(info).Pointer()), abi.IPCInfo
				}
				args[i], args[i+1] = addr, 64
				if c.Number == abi.CallFrameRead {
					args[i+1] = 2 * abi.MaxFrame // with less room it takes nothing
				}
				switch a.Name {
				case "handles":
					args[i+1] = abi.MaxHandles
				case "info":
					args[i+1], args[0] = abi.IPCInfo, uint64(reflect.ValueOf(buf).Pointer())
				}
				if _, err := aios.Raw(uint64(c.Number), handle(granted[c.Type]), args...); !errors.Is(err, abi.Fault) {
					return fmt.Errorf("%s with %s=%#x: %v, want %v", c.Name, a.Name, addr, err, abi.Fault)
				}
			}
		}
	}
	runtime.KeepAlive(info)
	runtime.KeepAlive(buf)
	got, err := aios.Mailbox{Handle: handle(abi.CapMailbox)}.Receive(buf, 0)
	if err != nil {
		return err
	}
	return expect("bytes of the message", len(got.Data), 64)
}

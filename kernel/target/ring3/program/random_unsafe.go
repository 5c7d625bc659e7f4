package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Random: calls by the grammar of abi.Calls, most with good handles, some with good
// arguments, all from a seed.

func init() { things["random"] = randomCalls }

const randomCount = 100_000

// random is the state of a run.
type random struct {
	*rand.Rand
	// area is what calls read and write: addresses in its first quarter, so that no
	// call reaches beyond its end with what it moves at most.
	area      []byte
	spare     []abi.Handle // endpoints that can be passed on or closed
	good      map[abi.Type]abi.Handle
	valid     int
	succeeded map[abi.Number]int
}

func randomCalls() error {
	seed, err := strconv.ParseUint(os.Args[2], 10, 64)
	if err != nil {
		return err
	}
	r := &random{Rand: rand.New(rand.NewPCG(seed, 0)), area: make([]byte, 4*abi.MaxTransfer+abi.MaxOrder), good: map[abi.Type]abi.Handle{}, succeeded: map[abi.Number]int{}}
	for t, name := range granted {
		r.good[t] = handle(name)
	}
	for range randomCount {
		if err := r.call(); err != nil {
			return err
		}
	}
	runtime.KeepAlive(r.area)
	for _, c := range abi.Calls {
		if c.Number != abi.CallExit && r.succeeded[c.Number] == 0 { // Exit is how this ends
			return fmt.Errorf("seed %d: %s never succeeded; %v", seed, c.Name, r.succeeded)
		}
	}
	if r.valid < randomCount/2 {
		return fmt.Errorf("only %d of %d calls had a good handle", r.valid, randomCount)
	}
	fmt.Printf("%d calls, each succeeded, %d with good handles\n", randomCount, r.valid)
	return aios.Exit(handle(abi.CapSelf), 0)
}

// call makes one, and looks at what must hold of any result.
func (r *random) call() error {
	c := abi.Calls[r.IntN(len(abi.Calls))]
	number := uint64(c.Number)
	if r.IntN(50) == 0 {
		number = uint64(abi.FirstCall+len(abi.Calls)) + r.Uint64N(1<<32)
	}
	h, valid := r.handle(c)
	args := r.args(c)
	result, err := aios.Raw(number, h, args...)
	var errno abi.Errno
	switch {
	case number != uint64(c.Number):
		if err != abi.NoCall {
			return fmt.Errorf("call %#x: %v", number, err)
		}
		return nil
	case err != nil && !errors.As(err, &errno):
		return fmt.Errorf("%s: %v", c.Name, err)
	case valid && (errno == abi.BadHandle && c.Number != abi.CallIPCSend || errno == abi.WrongType):
		return fmt.Errorf("%s with a good handle %#x: %v", c.Name, h, err)
	case !valid && err == nil:
		return fmt.Errorf("%s with a bad handle %#x succeeded", c.Name, h)
	}
	if valid {
		r.valid++
	}
	if err == nil {
		r.succeeded[c.Number]++
		r.took(c.Number, h, args, result)
	}
	return nil
}

// handle is a good one, mostly: never one whose use would end the program or what it
// needs to go on.
func (r *random) handle(c abi.Call) (h abi.Handle, valid bool) {
	if c.Number == abi.CallExit || r.IntN(8) == 0 {
		return []abi.Handle{0, 1, abi.Handle(r.Uint64() | 1<<63), abi.MakeHandle(r.Uint32N(256), 1<<30), r.other(c.Type)}[r.IntN(5)], false
	}
	switch {
	case c.Number == abi.CallClose:
		if len(r.spare) == 0 {
			return 0, false
		}
		return r.spare[r.IntN(len(r.spare))], true
	case c.Type == abi.TypeNone:
		return r.good[abi.TypeProcess], true
	}
	return r.good[c.Type], true
}

// other is a handle of another type, or 0.
func (r *random) other(t abi.Type) abi.Handle {
	if t == abi.TypeNone || t == abi.TypeProcess {
		return 0
	}
	return r.good[abi.TypeProcess]
}

func (r *random) address(offset int) uint64 {
	// Safety: the area is kept alive, and Go's collector does not move it.
	return uint64(uintptr(unsafe.Pointer(&r.area[offset])))
}

// args are good for the call as often as not.
func (r *random) args(c abi.Call) []uint64 {
	args := make([]uint64, len(c.Args))
	wild := r.IntN(3) == 0
	for i, a := range c.Args {
		switch {
		case a.Kind != abi.Value:
			args[i] = r.address(r.IntN(abi.MaxTransfer))
			if wild && r.IntN(2) == 0 {
				args[i] = bad[r.IntN(len(bad))]
			}
		case a.Name == "timeout":
			args[i] = uint64(r.IntN(3)) * 500 // it never waits for long
		case a.Name == "op":
			args[i] = uint64(r.IntN(10))
		case a.Name == "offset":
			args[i] = []uint64{0, 5, 160000, 1 << 62, 1 << 63}[r.IntN(5)]
		case a.Name == "count":
			args[i] = uint64(r.IntN(3))
			if wild {
				args[i] = uint64(r.IntN(20))
			}
		default: // a length
			args[i] = uint64(r.IntN(200))
			switch {
			case wild:
				args[i] = []uint64{0, 1, abi.MaxLog + 1, abi.MaxIPC + 1, abi.MaxTransfer, 1 << 40, ^uint64(0)}[r.IntN(7)]
			case r.IntN(2) == 0:
				args[i] = abi.MaxLog
			}
		}
	}
	r.fill(c.Number, args, wild)
	return args
}

// fill makes what a call reads well-formed.
func (r *random) fill(n abi.Number, args []uint64, wild bool) {
	if wild {
		return
	}
	at := func(address uint64) []byte { return r.area[address-r.address(0):] }
	le := binary.LittleEndian
	switch n {
	case abi.CallLog:
		args[1] = min(args[1], 16) // what is logged is bounded, and the last line has to get through
	case abi.CallFrameWrite:
		le.PutUint16(at(args[0]), 60)
		args[1] = 62
	case abi.CallAttest:
		args[0], args[2] = abi.AttestQuote, uint64(copy(at(args[1]), abi.Message([]byte("nonce"))))
	case abi.CallIPCSend:
		for i := range args[3] {
			h := abi.Handle(r.Uint64())
			if len(r.spare) > 0 {
				h = r.spare[(r.IntN(len(r.spare))+int(i))%len(r.spare)]
			}
			le.PutUint64(at(args[2])[8*i:], uint64(h))
		}
	}
}

// took keeps count of the handles that a call made or used up.
func (r *random) took(n abi.Number, h abi.Handle, args []uint64, result uint64) {
	gone := func(h abi.Handle) {
		for i, s := range r.spare {
			if s == h {
				r.spare = append(r.spare[:i], r.spare[i+1:]...)
				return
			}
		}
	}
	handlesAt := func(address uint64, n uint64) (out []abi.Handle) {
		for i := range n {
			out = append(out, abi.Handle(binary.LittleEndian.Uint64(r.area[address-r.address(0)+8*i:])))
		}
		return out
	}
	switch n {
	case abi.CallIPCReply:
		r.spare = append(r.spare, abi.Handle(result))
	case abi.CallClose:
		gone(h)
	case abi.CallIPCSend:
		if args[3] > 0 {
			for _, h := range handlesAt(args[2], args[3]) {
				gone(h)
			}
		}
	case abi.CallIPCRecv:
		info := r.area[args[2]-r.address(0):]
		r.spare = append(r.spare, handlesAt(args[2]+24, uint64(binary.LittleEndian.Uint32(info[20:])))...)
	}
}

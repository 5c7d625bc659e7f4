package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Flip: one thread changes what another thread's call reads, or is told, while the kernel
// is at it. The kernel looks at a copy, which it makes once.

func init() {
	things["fliphandles"] = flipHandles
	things["fliprequests"] = flipRequests
	things["flipanswers"] = flipAnswers
}

// flipping calls f over and over beside what is done, until that is done.
func flipping(f func(r *rand.Rand), do func() error) error {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for r := rand.New(rand.NewPCG(uint64(i), 5)); !stop.Load(); runtime.Gosched() {
				for range 64 {
					f(r)
				}
			}
		})
	}
	err := do()
	stop.Store(true)
	wg.Wait()
	return err
}

// addressOf is that of a variable on the heap, which does not move.
func addressOf(p any) uint64 { return uint64(reflect.ValueOf(p).Pointer()) }

// flipHandles sends a list of handles that changes: from two blobs, itself, which must
// stay, and none. Either two different blobs have moved, or nothing has.
func flipHandles() error {
	self, box := player(0), aios.Mailbox{Handle: handle(abi.CapMailbox)}
	var list [2]atomic.Uint64
	var first, second atomic.Uint64 // the blobs' handles, by turns
	renew := func() error {
		a, err := aios.Copy(handle(movable))
		b, e := aios.Copy(handle("OTHER"))
		first.Store(uint64(a))
		second.Store(uint64(b))
		return errors.Join(err, e)
	}
	if err := renew(); err != nil {
		return err
	}
	fixed := uint64(handle(abi.CapSelf))
	flip := func(r *rand.Rand) {
		choices := []uint64{first.Load(), second.Load(), first.Load(), second.Load(), fixed, 0}
		list[r.IntN(2)].Store(choices[r.IntN(len(choices))])
	}
	moved, kept := 0, 0
	data := new([8]byte)
	err := flipping(flip, func() error {
		for i := 0; i < 200 || moved < 30 || kept < 30; i++ {
			a, b := abi.Handle(first.Load()), abi.Handle(second.Load())
			_, err := aios.Raw(uint64(abi.CallIPCSend), self.Handle, addressOf(data), 8, addressOf(&list), 2, 0)
			hasA, hasB := aios.Null(a) == nil, aios.Null(b) == nil
			if e := aios.Null(abi.Handle(fixed)); e != nil {
				return fmt.Errorf("round %d: it has moved itself: %v", i, e)
			}
			if err != nil {
				if !errors.Is(err, abi.BadHandle) && !errors.Is(err, abi.Denied) || !hasA || !hasB {
					return fmt.Errorf("round %d: %v; it has the first still: %v, the second: %v", i, err, hasA, hasB)
				}
				kept++
				continue
			}
			m, err := box.Receive(make([]byte, 64), 0)
			if err != nil || len(m.Handles) != 2 || hasA || hasB {
				return fmt.Errorf("round %d: %d handles came, %v; it has the first still: %v, the second: %v", i, len(m.Handles), err, hasA, hasB)
			}
			x, errX := text(m.Handles[0])
			y, errY := text(m.Handles[1])
			if err := errors.Join(errX, errY); err != nil || x == y || x+y != "0123zyxw" && x+y != "zyxw0123" {
				return fmt.Errorf("round %d: %q and %q came, %v", i, x, y, err)
			}
			if err := errors.Join(aios.Close(m.Handles[0]), aios.Close(m.Handles[1]), renew()); err != nil {
				return err
			}
			moved++
		}
		return errors.Join(aios.Close(abi.Handle(first.Load())), aios.Close(abi.Handle(second.Load())))
	})
	runtime.KeepAlive(&list)
	runtime.KeepAlive(data)
	return err
}

// flipRequests gives objects of the case requests, frames and lines whose lengths and
// bytes change. The objects look whether theirs do.
func flipRequests() error {
	page, err := pages(1, syscall.PROT_READ|syscall.PROT_WRITE)
	if err != nil {
		return err
	}
	at := addressOf(page)
	lengths := []byte{0, 1, 4, 12, 60, 62, 255}
	flip := func(r *rand.Rand) {
		// A field's length, a frame's length, and what would be a control character.
		page[r.IntN(4)*16] = lengths[r.IntN(len(lengths))]
		page[1+r.IntN(80)] = []byte{0, 0, 0, 'x', '\n', 0x1b}[r.IntN(6)]
	}
	calls := []struct {
		n    abi.Number
		name string
		args func() []uint64
	}{
		{abi.CallAttest, abi.CapAttest, func() []uint64 { return []uint64{abi.AttestQuote, at, 64, at + 2048, 1024} }},
		{abi.CallAuthority, abi.CapAuthor, func() []uint64 { return []uint64{abi.AuthorityToken, at, 64, at + 2048, 1024} }},
		{abi.CallFrameWrite, abi.CapFrames, func() []uint64 { return []uint64{at, 64} }},
		{abi.CallLog, abi.CapLog, func() []uint64 { return []uint64{at, 16} }},
	}
	good := map[abi.Number]int{}
	return flipping(flip, func() error {
		for i := 0; i < 150 || good[abi.CallFrameWrite] == 0 || good[abi.CallAttest] == 0; i++ {
			for _, c := range calls {
				if c.n == abi.CallLog && i > 50 {
					continue // what a process may log is bounded
				}
				switch _, err := call(c.n, c.name, c.args()...); {
				case err == nil:
					good[c.n]++
				case !errors.Is(err, abi.Invalid):
					return fmt.Errorf("call %#x: %v", uint64(c.n), err)
				}
			}
		}
		return nil
	})
}

// flipAnswers has what the kernel tells of a message overwritten while it tells it. As
// many handles arrive as were sent: the case counts what is left at the end.
func flipAnswers() error {
	const count = 100
	self, box := player(0), aios.Mailbox{Handle: handle(abi.CapMailbox)}
	info, data := new([abi.IPCInfo / 8]atomic.Uint64), new([64]byte)
	flip := func(r *rand.Rand) { info[r.IntN(len(info))].Store(r.Uint64N(1 << 33)) }
	return flipping(flip, func() error {
		for range count {
			h, err := aios.Copy(handle(movable))
			if err != nil {
				return err
			}
			if _, err := self.Send([]byte("sixteen bytes..."), 0, h); err != nil {
				return err
			}
			n, err := aios.Raw(uint64(abi.CallIPCRecv), box.Handle, addressOf(data), 64, addressOf(info), abi.IPCInfo, 0)
			if err := errors.Join(err, expect("bytes", n, 16)); err != nil {
				return err
			}
		}
		return nil
	})
}

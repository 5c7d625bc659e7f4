//go:build aios

package machine

import (
	"time"
	"unsafe"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/metal"
)

// hot answers IPCSend and IPCRecv in trap context, where they are plain: a short
// message without handles, to a program that waits for nothing else. False: nothing
// has happened, and the call goes the long way, which also says no.
//
// What is found in the table stays while this runs: see cap.Barrier.
func hot(h *metal.Hot) bool {
	switch abi.Number(h.Number()) {
	case abi.CallIPCSend:
		return hotSend(h)
	case abi.CallIPCRecv:
		return hotReceive(h)
	}
	return false
}

// table is the caller's.
//
// Safety: NewThread put the address there.
func table(h *metal.Hot) *cap.Table { return (*cap.Table)(unsafe.Pointer(h.Table())) }

// place names a mailbox to package metal. The collector does not move it, and Close
// unparks before anything else can come to lie there.
func place(b *ipc.Mailbox) uintptr { return uintptr(unsafe.Pointer(b)) }

func parked(thread uint64, b *ipc.Mailbox) bool { return metal.Parked(thread, place(b)) }

func hotSend(h *metal.Hot) bool {
	a, t, now := h.Args(), table(h), metal.SinceReset()
	at, n, count := a[1], a[2], a[4]
	if n > ipc.Short || count != 0 {
		return false
	}
	o, e := t.Lookup(abi.Handle(a[0]), abi.TypeEndpoint, abi.RightWrite, now)
	if e != 0 {
		return false
	}
	endpoint, ok := o.(*ipc.Endpoint)
	if !ok {
		return false
	}
	b, thread, id := endpoint.Offer()
	if b == nil {
		return false
	}
	if !h.Reaches(thread, place(b), at, n) || t.Gate() != nil && t.Gate().Charge(n, now) != 0 {
		b.Withdrawn()
		return false
	}
	h.Deliver(thread, at, n, uint64(id))
	b.Delivered()
	h.Return(uint64(id))
	return true
}

func hotReceive(h *metal.Hot) bool {
	a, now := h.Args(), metal.SinceReset()
	infoRoom, timeout := a[4], a[5]
	if infoRoom < ipc.InfoSize || timeout == 0 {
		return false
	}
	o, e := table(h).Lookup(abi.Handle(a[0]), abi.TypeMailbox, abi.RightRead, now)
	if e != 0 {
		return false
	}
	b, ok := o.(*ipc.Mailbox)
	if !ok || !b.TryPark(h.Thread(), parked) {
		return false
	}
	until := int64(0) // never
	if timeout <= uint64(1<<63-1-now) {
		until = int64(now + time.Duration(timeout))
	}
	h.Park(place(b), int64(now), until)
	return true
}

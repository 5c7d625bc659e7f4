package process

import (
	"context"
	"errors"
	"io"
	"runtime"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

// call serves one AIOS call. The handle is looked up before any other argument
// is looked at: who may not do a thing learns nothing from the reply.
func (t *thread) call(number uint64, a [6]uint64) uint64 {
	d := abi.Lookup(number)
	if d == nil {
		t.p.unknown.add(number)
		return abi.NoCall.Result()
	}
	object, pin, e := t.enter(d, abi.Handle(a[0]))
	if e == 0 {
		defer pin.Leave()
		e = t.charge(d.Number, a)
	}
	v := uint64(0)
	if e == 0 {
		v, e = t.invoke(d.Number, object, a)
	}
	if e != 0 {
		t.refused(d, e)
		return e.Result()
	}
	return v
}

// enter looks the handle up. A revocation waits for the calls on what it ends, so those
// that end handles, and may wait for a revocation themselves, do not keep it.
func (t *thread) enter(d *abi.Call, h abi.Handle) (any, cap.Pin, abi.Errno) {
	switch d.Number {
	case abi.CallClose, abi.CallDerive, abi.CallCopy, abi.CallRevoke:
		_, e := t.p.caps.Lookup(h, d.Type, d.Right, t.p.machine.Now())
		return nil, cap.Pin{}, e
	}
	return t.p.caps.Enter(h, d.Type, d.Right, t.p.machine.Now())
}

// charge takes a message out of the quotas of the process's token, if it has one: a
// send or a line that then fails for another reason was still asked for.
func (t *thread) charge(n abi.Number, a [6]uint64) abi.Errno {
	if g := t.p.caps.Gate(); g != nil && (n == abi.CallIPCSend || n == abi.CallLog) {
		return g.Charge(min(a[2], abi.MaxIPC), t.p.machine.Now())
	}
	return 0
}

// refused tells the Config's hook what the program may not do.
func (t *thread) refused(d *abi.Call, e abi.Errno) {
	switch e {
	case abi.BadHandle, abi.WrongType, abi.Denied, abi.Lapsed, abi.Quota:
		if t.p.cfg.Refused != nil {
			t.p.cfg.Refused(d, e)
		}
	}
}

// invoke calls the object. Its type is what the call's description says: Start
// checked it.
func (t *thread) invoke(n abi.Number, object any, a [6]uint64) (uint64, abi.Errno) {
	p := t.p
	switch n {
	case abi.CallNull:
		return 0, 0
	case abi.CallYield:
		runtime.Gosched()
		return 0, 0
	case abi.CallExit:
		code := uint32(a[1]) & 0xff
		p.end(exitReason(code), code == 0)
		return 0, 0
	case abi.CallClockRead:
		return uint64(p.machine.Now()), 0
	case abi.CallLog:
		return t.logCall(object.(*lineLog), a[1], a[2])
	case abi.CallStreamRead:
		return t.readInto(a[1], a[2], func(b []byte) (int, error) { return object.(Stream).Read(p.ctx, b) })
	case abi.CallStreamWrite:
		return t.streamWrite(object.(Stream), a[1], a[2])
	case abi.CallBlobRead:
		if int64(a[1]) < 0 {
			return 0, abi.Invalid
		}
		return t.readInto(a[2], a[3], func(b []byte) (int, error) { return object.(Blob).ReadAt(b, int64(a[1])) })
	case abi.CallAttest:
		return t.operation(a, abi.MaxMessage, abi.AttestRandom, object.(Attestor).Attest)
	case abi.CallClose:
		if !p.caps.Close(abi.Handle(a[0])) { // by another thread, meanwhile
			return 0, abi.BadHandle
		}
		return 0, 0
	case abi.CallDerive:
		return handle(p.caps.Derive(abi.Handle(a[0]), abi.Rights(min(a[1], 1<<32-1)), p.machine.Now()))
	case abi.CallCopy:
		return handle(p.caps.Copy(abi.Handle(a[0]), p.machine.Now()))
	case abi.CallRevoke:
		n, e := p.caps.Revoke(abi.Handle(a[0]), p.machine.Now())
		return uint64(n), e
	case abi.CallIPCSend:
		return t.ipcSend(object.(*ipc.Endpoint), a)
	case abi.CallIPCRecv:
		return t.ipcRecv(object.(*ipc.Mailbox), a)
	case abi.CallIPCWait:
		return t.ipcWait(object.(*ipc.Mailbox), a)
	case abi.CallIPCReply:
		return t.ipcReply()
	case abi.CallFrameInfo:
		return t.frameInfo(object.(Frames), a[1], a[2])
	case abi.CallFrameRead:
		return t.frameRead(object.(Frames), a[1], a[2], a[3])
	case abi.CallFrameWrite:
		return t.frameWrite(object.(Frames), a[1], a[2])
	case abi.CallAuthority:
		return t.operation(a, abi.MaxOrder, abi.AuthorityWatch, object.(Authority).Authority)
	}
	return 0, abi.NoCall
}

func handle(h abi.Handle, e abi.Errno) (uint64, abi.Errno) { return uint64(h), e }

func (t *thread) logCall(l *lineLog, at, n uint64) (uint64, abi.Errno) {
	if n > abi.MaxLog {
		return 0, abi.MessageSize
	}
	b := t.scratch(n)
	if e := t.p.copyIn(at, b); e != 0 {
		return 0, e
	}
	l.write(b)
	l.flush()
	return n, 0
}

// readInto fills the program's memory from read. The address is checked first,
// so that bytes taken from a stream are not lost on a bad one.
func (t *thread) readInto(at, n uint64, read func([]byte) (int, error)) (uint64, abi.Errno) {
	n = min(n, abi.MaxTransfer)
	if e := t.p.memoryError(t.p.mem.check(at, n, Write)); e != 0 || n == 0 {
		return 0, e
	}
	b := t.scratch(n)
	k, err := read(b)
	if k == 0 && err != nil {
		return 0, errno(err)
	}
	return uint64(k), t.p.copyOut(at, b[:k])
}

func (t *thread) streamWrite(s Stream, at, n uint64) (uint64, abi.Errno) {
	b := t.scratch(min(n, abi.MaxTransfer))
	if e := t.p.copyIn(at, b); e != 0 || len(b) == 0 {
		return 0, e
	}
	k, err := s.Write(t.p.ctx, b)
	if k == 0 && err != nil {
		return 0, errno(err)
	}
	return uint64(k), 0
}

// operation serves a call whose arguments are an operation (1 to last), a request
// and room for a response, each of at most limit bytes.
func (t *thread) operation(a [6]uint64, limit, last uint64, do func(ctx context.Context, op uint32, request []byte) ([]byte, error)) (uint64, abi.Errno) {
	op, reqAt, reqLen, respAt, respLen := a[1], a[2], a[3], a[4], a[5]
	if reqLen > limit || respLen > limit {
		return 0, abi.MessageSize
	}
	if op == 0 || op > last {
		return 0, abi.Invalid
	}
	if e := t.p.memoryError(t.p.mem.check(respAt, respLen, Write)); e != 0 {
		return 0, e
	}
	request := make([]byte, reqLen)
	if e := t.p.copyIn(reqAt, request); e != 0 {
		return 0, e
	}
	response, err := do(t.p.ctx, uint32(op), request)
	if err != nil {
		return 0, errno(err)
	}
	if uint64(len(response)) > respLen {
		return 0, abi.MessageSize
	}
	return uint64(len(response)), t.p.copyOut(respAt, response)
}

// errno is what a program sees of an object's error. The end of a stream is a
// result of 0.
func errno(err error) abi.Errno {
	var e abi.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, io.EOF):
		return 0
	case errors.Is(err, io.ErrClosedPipe):
		return abi.Pipe
	case errors.Is(err, context.Canceled):
		return abi.Canceled
	case errors.Is(err, abi.ErrField):
		return abi.Invalid
	}
	return abi.IO
}

package process

import (
	"context"
	"errors"
	"io"
	"runtime"

	"aios/kernel/abi"
	"aios/kernel/cap"
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
		e = t.charge(d, a)
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
	if d.Number == abi.CallClose {
		return nil, cap.Pin{}, t.p.caps.Held(h, t.p.machine.Now())
	}
	if d.Bare {
		_, e := t.p.caps.Lookup(h, d.Type, d.Right, t.p.machine.Now())
		return nil, cap.Pin{}, e
	}
	return t.p.caps.Enter(h, d.Type, d.Right, t.p.machine.Now())
}

// charge takes a message out of the quotas of the process's token, if it has
// one and the call is metered: what then fails for another reason was still asked for.
func (t *thread) charge(d *abi.Call, a [6]uint64) abi.Errno {
	if g := t.p.caps.Gate(); g != nil && d.Metered != 0 {
		return g.Charge(min(a[d.Metered], abi.MaxIPC), t.p.machine.Now())
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

// span is memory of the program, as it named it: nothing is known of it.
type span struct{ at, n uint64 }

func (t *thread) callNull(abi.Handle) (uint64, abi.Errno) { return 0, 0 }

func (t *thread) callYield() (uint64, abi.Errno) {
	runtime.Gosched()
	return 0, 0
}

func (t *thread) callExit(status uint64) (uint64, abi.Errno) {
	code := uint32(status) & 0xff
	t.p.end(exitReason(code), code == 0)
	return 0, 0
}

func (t *thread) callClockRead() (uint64, abi.Errno) { return uint64(t.p.machine.Now()), 0 }

func (t *thread) callClose(h abi.Handle) (uint64, abi.Errno) {
	if !t.p.caps.Close(h) { // by another thread, meanwhile
		return 0, abi.BadHandle
	}
	return 0, 0
}

func (t *thread) callDerive(h abi.Handle, rights uint64) (uint64, abi.Errno) {
	if rights > 1<<32-1 { // bits that nothing has, so the handle neither
		return 0, abi.Denied
	}
	return handle(t.p.caps.Derive(h, abi.Rights(rights), t.p.machine.Now()))
}

func (t *thread) callCopy(h abi.Handle) (uint64, abi.Errno) {
	return handle(t.p.caps.Copy(h, t.p.machine.Now()))
}

func (t *thread) callRevoke(h abi.Handle) (uint64, abi.Errno) {
	n, e := t.p.caps.Revoke(h, t.p.machine.Now())
	return uint64(n), e
}

func handle(h abi.Handle, e abi.Errno) (uint64, abi.Errno) { return uint64(h), e }

func (t *thread) callLog(l *lineLog, text span) (uint64, abi.Errno) {
	b := t.scratch(text.n)
	if e := t.p.copyIn(text.at, b); e != 0 {
		return 0, e
	}
	l.write(b)
	l.flush()
	return text.n, 0
}

func (t *thread) callStreamRead(s Stream, to span) (uint64, abi.Errno) {
	return t.readInto(to, func(b []byte) (int, error) { return s.Read(t.p.ctx, b) })
}

func (t *thread) callBlobRead(o Blob, offset uint64, to span) (uint64, abi.Errno) {
	if int64(offset) < 0 {
		return 0, abi.Invalid
	}
	return t.readInto(to, func(b []byte) (int, error) { return o.ReadAt(b, int64(offset)) })
}

// readInto fills the program's memory from read. The address is checked first,
// so that bytes taken from a stream are not lost on a bad one.
func (t *thread) readInto(to span, read func([]byte) (int, error)) (uint64, abi.Errno) {
	if e := t.p.memoryError(t.p.mem.check(to.at, to.n, Write)); e != 0 || to.n == 0 {
		return 0, e
	}
	b := t.scratch(to.n)
	k, err := read(b)
	if k == 0 && err != nil {
		return 0, errno(err)
	}
	return uint64(k), t.p.copyOut(to.at, b[:k])
}

func (t *thread) callStreamWrite(s Stream, from span) (uint64, abi.Errno) {
	b := t.scratch(from.n)
	if e := t.p.copyIn(from.at, b); e != 0 || len(b) == 0 {
		return 0, e
	}
	k, err := s.Write(t.p.ctx, b)
	if k == 0 && err != nil {
		return 0, errno(err)
	}
	return uint64(k), 0
}

func (t *thread) callAttest(o Attestor, op uint32, request, response span) (uint64, abi.Errno) {
	return t.operation(op, request, response, o.Attest)
}

func (t *thread) callAuthority(o Authority, op uint32, request, response span) (uint64, abi.Errno) {
	return t.operation(op, request, response, o.Authority)
}

// operation serves a call whose object has operations. The address of the response is
// checked first, so that nothing is done whose answer would be lost on a bad one.
func (t *thread) operation(op uint32, request, response span, do func(ctx context.Context, op uint32, request []byte) ([]byte, error)) (uint64, abi.Errno) {
	if e := t.p.memoryError(t.p.mem.check(response.at, response.n, Write)); e != 0 {
		return 0, e
	}
	b := make([]byte, request.n)
	if e := t.p.copyIn(request.at, b); e != 0 {
		return 0, e
	}
	answer, err := do(t.p.ctx, op, b)
	if err != nil {
		return 0, errno(err)
	}
	if uint64(len(answer)) > response.n {
		return 0, abi.MessageSize
	}
	return uint64(len(answer)), t.p.copyOut(response.at, answer)
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

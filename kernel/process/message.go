package process

import (
	"fmt"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
)

// messagePages keeps pages of messages for the next ones, at most 1 MiB: the
// kernel's own, and the same for all processes.
var messagePages = ipc.NewPool(256)

// openMailbox opens the process's mailbox, if it is to have one, and charges all
// that it may ever hold.
func (p *Process) openMailbox() error {
	if p.cfg.Port == nil {
		return nil
	}
	limits := ipc.DefaultLimits
	bytes := limits.Cost() + limits.Bytes
	if err := p.mem.chargeKernel((bytes + pageSize - 1) / pageSize); err != nil {
		return err
	}
	b, e := p.cfg.Port.Open(limits, ipc.NewQuota(bytes), messagePages)
	if e != 0 {
		return fmt.Errorf("open the mailbox: %w", e)
	}
	p.mailbox = b
	p.cfg.Grants = append(p.cfg.Grants[:len(p.cfg.Grants):len(p.cfg.Grants)],
		Grant{Name: abi.CapMailbox, Type: abi.TypeMailbox, Rights: abi.RightRead, Object: b})
	return nil
}

// closeMailbox drops what is in it and wakes who waits.
func (p *Process) closeMailbox() {
	if p.mailbox != nil {
		p.mailbox.Close()
	}
}

// userMemory is the process's memory as package ipc sees it.
type userMemory struct{ p *Process }

func (m userMemory) CopyIn(at uint64, b []byte) abi.Errno  { return m.p.copyIn(at, b) }
func (m userMemory) CopyOut(at uint64, b []byte) abi.Errno { return m.p.copyOut(at, b) }

// parking is how a thread waits in package ipc.
type parking struct {
	t     *thread
	token chan struct{} // there when it has been woken
	until time.Duration // since boot; forever: no limit
}

func (k *parking) Wait() abi.Errno { return k.t.wait(k.token, k.left()).errno() }

// left is how long the wait may still last.
func (k *parking) left() time.Duration {
	if k.until == forever {
		return forever
	}
	return max(0, k.until-k.t.p.machine.Now())
}

func (k *parking) Wake() {
	select {
	case k.token <- struct{}{}:
	default: // it is awake already
	}
}

// park prepares the thread for a call that may wait, and tells whether it may.
func (t *thread) park(timeout uint64) bool {
	t.parking.until = forever
	now := time.Duration(t.ctx.Began) // it has waited since then, in trap context
	if now == 0 {
		now = t.p.machine.Now()
	}
	if timeout <= uint64(1<<63-1-now) {
		t.parking.until = now + time.Duration(timeout)
	}
	return timeout != 0
}

func (t *thread) callIPCSend(e *ipc.Endpoint, text, handles span, timeout uint64) (uint64, abi.Errno) {
	wait := t.park(timeout)
	id, errno := e.Send(&t.caller, ipc.Outgoing{At: text.at, Size: text.n, Handles: handles.at, HandleCount: handles.n}, wait)
	return uint64(id), errno
}

func (t *thread) callIPCRecv(b *ipc.Mailbox, text, about span, timeout uint64) (uint64, abi.Errno) {
	wait := t.park(timeout)
	info, errno := b.Receive(&t.caller, ipc.Incoming{At: text.at, Room: text.n, Info: about.at, InfoRoom: about.n}, wait)
	return uint64(info.Size), errno
}

func (t *thread) callIPCWait(b *ipc.Mailbox, timeout uint64) (uint64, abi.Errno) {
	return 0, b.Wait(&t.caller, t.park(timeout))
}

// callIPCReply makes an endpoint to the process's own mailbox. A handle moves when it
// is passed on, so a process that talks to several, or again to one that was
// started anew, needs more than one.
func (t *thread) callIPCReply(*ipc.Mailbox) (uint64, abi.Errno) {
	e := t.p.cfg.Port.Endpoint(ipc.ID(t.p.cfg.PID))
	h, err := t.p.caps.Insert(e, abi.TypeEndpoint, abi.RightWrite|abi.RightTransfer)
	if err != nil {
		return 0, abi.TooManyFiles
	}
	return uint64(h), 0
}

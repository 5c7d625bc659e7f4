package process

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
)

func (u *user) derive(h uint64, r abi.Rights) uint64 {
	return u.sys(uint64(abi.CallDerive), h, uint64(r))
}
func (u *user) revoke(h uint64) uint64      { return u.sys(uint64(abi.CallRevoke), h) }
func (u *user) readBlob(h uint64) uint64    { return u.sys(uint64(abi.CallBlobRead), h, 0, textAt, 8) }
func (u *user) closeHandle(h uint64) uint64 { return u.sys(uint64(abi.CallClose), h) }

const passable = abi.RightRead | abi.RightTransfer

// none wants that nothing can be done with what was a handle.
func (u *user) none(t *testing.T, what string, mailbox, h uint64) {
	t.Helper()
	for _, c := range abi.Calls {
		is(t, what+": "+c.Name, u.sys(uint64(c.Number), h, 8, 8, 8, 8, 8), abi.BadHandle)
	}
	reply := u.sys(uint64(abi.CallIPCReply), mailbox)
	is(t, what+": passed on", u.send(reply, "x", 0, h), abi.BadHandle)
	is(t, "close the endpoint", u.closeHandle(reply), 0)
}

// What was derived is dead when Revoke returns: in the process itself, in the one that it
// was passed on to, with what that made of it, and in a message that waits there.
func TestRevokeReachesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		ready, revoked := make(chan struct{}), make(chan struct{})
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			_, r := u.recv(h["MAILBOX"], abi.Forever)
			is(t, "first message", r, 0)
			given := u.load64(infoAt + 24)
			below, beside := u.derive(given, abi.RightRead), u.sys(uint64(abi.CallCopy), given)
			for _, x := range []uint64{given, below, beside} {
				is(t, "it works", u.readBlob(x), 0)
			}
			is(t, "what others hang from is closed", u.closeHandle(given), 0)
			close(ready)
			<-revoked
			u.none(t, "derived by the receiver", h["MAILBOX"], below)
			u.none(t, "copied by the receiver", h["MAILBOX"], beside)
			text, r := u.recv(h["MAILBOX"], 0)
			is(t, "second message", r, 0)
			if text != "late" || u.load32(infoAt+20) != 1 {
				t.Errorf("%q with %d handles", text, u.load32(infoAt+20))
			}
			u.none(t, "in the message", h["MAILBOX"], u.load64(infoAt+24))
		})
		pa := a.start(t, b, func(u *user) {
			h := handles(u)
			first := u.derive(h["BLOB"], passable)
			second := u.derive(first, passable)
			late := u.derive(h["BLOB"], passable)
			is(t, "send the second", u.send(h["SEND"], "now", 0, second), 0)
			<-ready
			is(t, "send what is late", u.send(h["SEND"], "late", 0, late), 0)
			is(t, "close what it hung from", u.closeHandle(first), 0)
			if n := u.revoke(h["BLOB"]); n != 3 {
				t.Errorf("revoked %d, want 3: two of the receiver's, one in a message", n)
			}
			close(revoked)
			is(t, "the one above", u.readBlob(h["BLOB"]), 0)
			if n := u.revoke(h["BLOB"]); n != 0 {
				t.Errorf("revoked %d more", n)
			}
		})
		if e := pa.Wait(); !e.OK || e.Handles != 5 {
			t.Errorf("%+v", e)
		}
		if e := pb.Wait(); !e.OK || e.Handles != 5 {
			t.Errorf("%+v", e)
		}
	})
}

// Who waits for room through what is revoked is woken, with BadHandle; the mailbox's owner,
// who revokes, does not have to receive for that.
func TestRevokeWakesSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		var woken uint64
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			u.recv(h["MAILBOX"], abi.Forever)
			through := u.load64(infoAt + 24)
			for woken>>63 == 0 {
				woken = u.send(through, "fill", abi.Forever)
			}
		})
		pa := a.start(t, b, func(u *user) {
			h := handles(u)
			reply := u.sys(uint64(abi.CallIPCReply), h["MAILBOX"])
			is(t, "give it", u.send(h["SEND"], "x", 0, u.derive(reply, abi.RightWrite|abi.RightTransfer)), 0)
			time.Sleep(time.Minute) // all others wait
			if n := u.revoke(reply); n != 1 {
				t.Errorf("revoked %d", n)
			}
			for range 64 {
				_, r := u.recv(h["MAILBOX"], 0)
				is(t, "what was sent before", r, 0)
			}
			_, r := u.recv(h["MAILBOX"], 0)
			is(t, "and then its end", r, abi.Pipe)
		})
		pb.Wait()
		is(t, "who waited", woken, abi.BadHandle)
		pa.Wait()
	})
}

// What hung from a process's handles ends with it, and what it gave away whole does not.
func TestEndRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		gone := make(chan struct{})
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			u.recv(h["MAILBOX"], abi.Forever)
			derived, below := u.load64(infoAt+24), u.derive(u.load64(infoAt+24), abi.RightRead)
			u.recv(h["MAILBOX"], abi.Forever)
			whole := u.load64(infoAt + 24)
			is(t, "while it runs", u.readBlob(below), 0)
			<-gone
			u.none(t, "derived", h["MAILBOX"], derived)
			u.none(t, "derived from that", h["MAILBOX"], below)
			is(t, "whole", u.send(whole, "x", 0), 0) // to itself
		})
		pa := a.start(t, b, func(u *user) {
			h := handles(u)
			u.send(h["SEND"], "derived", 0, u.derive(h["BLOB"], passable))
			other := u.sys(uint64(abi.CallCopy), h["SEND"])
			u.send(h["SEND"], "whole", 0, other)
			time.Sleep(time.Second)
		})
		pa.Wait()
		close(gone)
		if e := pb.Wait(); !e.OK || e.Handles != 6 {
			t.Errorf("%+v", e)
		}
	})
}

// What an agent derived and passed on ends with its token, wherever it is; it can then be
// closed, and nothing else.
func TestLentEndsWithToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		var lease cap.Lease
		lease.Begin(24 * time.Hour)
		gate := lease.Gate(cap.Terms{Until: 24 * time.Hour, Messages: 100, Bytes: 1 << 20})
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			u.recv(h["MAILBOX"], abi.Forever)
			lent := u.load64(infoAt + 24)
			below, beside := u.derive(lent, abi.RightRead), u.sys(uint64(abi.CallCopy), lent)
			all := []uint64{lent, below, beside}
			for _, x := range all {
				is(t, "on the token", u.readBlob(x), 0)
			}
			gate.Shut()
			for _, x := range all {
				for _, c := range abi.Calls {
					if c.Number == abi.CallClose || c.Type != abi.TypeNone && c.Type != abi.TypeBlob {
						continue
					}
					is(t, c.Name+" when it has ended", u.sys(uint64(c.Number), x, 0, textAt, 8), abi.Lapsed)
				}
				is(t, "give it up", u.closeHandle(x), 0)
				is(t, "again", u.closeHandle(x), abi.BadHandle)
			}
		})
		pa := a.m.launch(t, Config{PID: a.pid, Port: a.port, Gate: gate, Grants: []Grant{
			{"SEND", abi.TypeEndpoint, abi.RightWrite, b.port},
			{"BLOB", abi.TypeBlob, passable, strings.NewReader("what the agent has")},
		}}, func(u *user) {
			h := handles(u)
			is(t, "lend it", u.send(h["SEND"], "x", 0, u.derive(h["BLOB"], passable)), 0)
			time.Sleep(time.Hour)
			is(t, "its own handle", u.closeHandle(h["BLOB"]), abi.Lapsed)
		})
		if e := pb.Wait(); !e.OK || e.Handles != 5 {
			t.Errorf("%+v", e)
		}
		pa.Wait()
	})
}

// The arguments of the calls that make handles are numbers of 64 bits.
func TestDeriveArguments(t *testing.T) {
	s := newService(11)
	e := s.start(t, s, func(u *user) {
		h := handles(u)
		for _, rights := range []uint64{1 << 63, 1<<32 | uint64(abi.RightRead), ^uint64(0), uint64(abi.RightWrite)} {
			is(t, "rights that it has not", u.sys(uint64(abi.CallDerive), h["BLOB"], rights), abi.Denied)
		}
		is(t, "a mailbox", u.derive(h["MAILBOX"], 0), abi.WrongType)
		is(t, "a copy of a mailbox", u.sys(uint64(abi.CallCopy), h["MAILBOX"]), abi.WrongType)
		end := u.derive(h["SEND"], abi.RightWrite)
		is(t, "without the right to pass it on", u.send(h["SEND"], "x", 0, end), abi.Denied)
		is(t, "send through it", u.send(end, "x", 0), 0)
		is(t, "close it", u.closeHandle(end), 0)
		is(t, "close what was closed", u.closeHandle(end), abi.BadHandle)
		is(t, "revoke what was closed", u.revoke(end), abi.BadHandle)
		if n := u.revoke(h["SEND"]); n != 0 {
			t.Errorf("revoked %d", n)
		}
	}).Wait()
	if !e.OK || e.Handles != 5 {
		t.Errorf("%+v", e)
	}
}

package process

import (
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

const (
	infoAt    = dataAt + 0x400
	handlesAt = dataAt + 0x500
	textAt    = dataAt + 0x600
)

// service is a process of a world of two: its machine, its port, what it may
// send to.
type service struct {
	m    *fakeMachine
	port *ipc.Port
	pid  int
}

func newService(pid int) *service { return &service{newFake(), &ipc.Port{}, pid} }

// start lets it run, with an endpoint to the other and a blob that may travel.
func (s *service) start(t *testing.T, other *service, main func(*user)) *Process {
	return s.m.launch(t, Config{PID: s.pid, Port: s.port, Grants: []Grant{
		{"SELF", abi.TypeProcess, abi.RightControl, nil},
		{"SEND", abi.TypeEndpoint, abi.RightWrite | abi.RightTransfer, other.port},
		{"BLOB", abi.TypeBlob, abi.RightRead | abi.RightTransfer, strings.NewReader("what the blob says")},
		{"FIXED", abi.TypeBlob, abi.RightRead, strings.NewReader("")},
	}}, main)
}

func (u *user) send(h uint64, text string, timeout uint64, handles ...uint64) uint64 {
	u.store(textAt, []byte(text))
	u.store64(handlesAt, handles...)
	return u.sys(uint64(abi.CallIPCSend), h, textAt, uint64(len(text)), handlesAt, uint64(len(handles)), timeout)
}

func (u *user) recv(h, timeout uint64) (string, uint64) {
	r := u.sys(uint64(abi.CallIPCRecv), h, textAt, 0x800, infoAt, abi.IPCInfo, timeout)
	if _, err := abi.Decode(r); err != nil {
		return "", r
	}
	return string(u.load(textAt, int(r))), r
}

func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			text, r := u.recv(h["MAILBOX"], abi.Forever)
			is(t, "request", r, 0)
			if text != "read this" || u.load64(infoAt) != 11 || u.load64(infoAt+8) != 1 || u.load32(infoAt+20) != 1 {
				t.Errorf("%q from %d, number %d, %d handles", text, u.load64(infoAt), u.load64(infoAt+8), u.load32(infoAt+20))
			}
			blob := u.load64(infoAt + 24)
			n := u.sys(uint64(abi.CallBlobRead), blob, 0, textAt, 100)
			is(t, "read the blob", n, 0)
			is(t, "answer", u.send(h["SEND"], string(u.load(textAt, int(n))), 0), 0)
			is(t, "close the blob", u.sys(uint64(abi.CallClose), blob), 0)
			is(t, "close it again", u.sys(uint64(abi.CallClose), blob), abi.BadHandle)
		})
		pa := a.start(t, b, func(u *user) {
			h := handles(u)
			is(t, "request", u.send(h["SEND"], "read this", 0, h["BLOB"]), 0)
			is(t, "the blob moved", u.sys(uint64(abi.CallBlobRead), h["BLOB"], 0, textAt, 8), abi.BadHandle)
			is(t, "wait", u.sys(uint64(abi.CallIPCWait), h["MAILBOX"], abi.Forever), 0)
			text, _ := u.recv(h["MAILBOX"], 0)
			if text != "what the blob says" || u.load64(infoAt) != 12 {
				t.Errorf("%q from %d", text, u.load64(infoAt))
			}
			_, r := u.recv(h["MAILBOX"], abi.Forever)
			is(t, "the peer ends", r, abi.Pipe)
			if u.load64(infoAt) != 12 {
				t.Errorf("gone: %d", u.load64(infoAt))
			}
			is(t, "send to nobody", u.send(h["SEND"], "x", abi.Forever), abi.Pipe)
		})
		pb.Wait()
		if e := pa.Wait(); !e.OK {
			t.Error(e.Reason)
		}
	})
}

// A mailbox's owner makes as many endpoints to it as its table takes; each can be
// passed on, and its end is told under the name of who held it last.
func TestReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			for range 2 {
				_, r := u.recv(h["MAILBOX"], abi.Forever)
				is(t, "request", r, 0)
				is(t, "answer", u.send(u.load64(infoAt+24), "answer", 0), 0)
			}
		})
		pa := a.start(t, b, func(u *user) {
			h := handles(u)
			for range 2 {
				reply := u.sys(uint64(abi.CallIPCReply), h["MAILBOX"])
				is(t, "make an endpoint", reply, 0)
				is(t, "request", u.send(h["SEND"], "x", 0, reply), 0)
				is(t, "it moved", u.send(reply, "x", 0), abi.BadHandle)
				if text, _ := u.recv(h["MAILBOX"], abi.Forever); text != "answer" || u.load64(infoAt) != 12 {
					t.Errorf("%q from %d", text, u.load64(infoAt))
				}
			}
			for range 2 {
				_, r := u.recv(h["MAILBOX"], abi.Forever)
				is(t, "its holder ends", r, abi.Pipe)
			}
			for i := 0; ; i++ {
				if r := u.sys(uint64(abi.CallIPCReply), h["MAILBOX"]); int64(r) < 0 {
					is(t, "one too many", r, abi.TooManyFiles)
					if i < cap.Capacity-16 {
						t.Errorf("only %d endpoints were made", i)
					}
					return
				}
			}
		})
		pb.Wait()
		if e := pa.Wait(); !e.OK {
			t.Error(e.Reason)
		}
	})
}

func TestMessageErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newService(11)
		e := a.start(t, a, func(u *user) { // it sends to itself
			h := handles(u)
			send := func(args ...uint64) uint64 {
				return u.sys(uint64(abi.CallIPCSend), append([]uint64{h["SEND"]}, args...)...)
			}
			recv := func(args ...uint64) uint64 {
				return u.sys(uint64(abi.CallIPCRecv), append([]uint64{h["MAILBOX"]}, args...)...)
			}
			is(t, "65,537 bytes", send(8, abi.MaxIPC+1, 0, 0, 0), abi.MessageSize)
			is(t, "nine handles", send(dataAt, 0, 8, 9, 0), abi.MessageSize)
			is(t, "bad bytes", send(8, 5, 0, 0, 0), abi.Fault)
			is(t, "bad handles", send(dataAt, 0, 8, 1, 0), abi.Fault)
			is(t, "handle that stays", u.send(h["SEND"], "x", 0, h["FIXED"]), abi.Denied)
			is(t, "mailbox", u.send(h["SEND"], "x", 0, h["MAILBOX"]), abi.Denied)
			is(t, "itself", u.send(h["SEND"], "x", 0, h["SELF"]), abi.Denied)
			is(t, "receive by an endpoint", u.sys(uint64(abi.CallIPCRecv), h["SEND"], dataAt, 8, infoAt, abi.IPCInfo, 0), abi.WrongType)
			is(t, "nothing there", recv(dataAt, 8, infoAt, abi.IPCInfo, 0), abi.Again)
			before := u.m.Now()
			is(t, "nothing comes", recv(dataAt, 8, infoAt, abi.IPCInfo, uint64(3*time.Second)), abi.TimedOut)
			is(t, "nothing to wait for", u.sys(uint64(abi.CallIPCWait), h["MAILBOX"], uint64(2*time.Second)), abi.TimedOut)
			if d := u.m.Now() - before; d != 5*time.Second {
				t.Errorf("waited %v", d)
			}
			is(t, "no room for the info", recv(dataAt, 8, infoAt, abi.IPCInfo-1, 0), abi.MessageSize)
			is(t, "send", u.send(h["SEND"], "a message", 0), 0)
			is(t, "too long for the room", recv(dataAt, 8, infoAt, abi.IPCInfo, 0), abi.MessageSize)
			if u.load32(infoAt+16) != 9 {
				t.Errorf("length %d", u.load32(infoAt+16))
			}
			is(t, "read-only memory", recv(entry, 100, infoAt, abi.IPCInfo, 0), abi.Fault)
			is(t, "info nowhere", recv(dataAt, 100, 8, abi.IPCInfo, 0), abi.Fault)
			if text, r := u.recv(h["MAILBOX"], 0); text != "a message" {
				t.Errorf("%q, %#x", text, r)
			}
			for u.send(h["SEND"], "fill", 0)>>63 == 0 {
			}
			is(t, "full", u.send(h["SEND"], "x", 0), abi.Again)
			is(t, "full for long", u.send(h["SEND"], "x", uint64(time.Second)), abi.TimedOut)
			is(t, "close the mailbox", u.sys(uint64(abi.CallClose), h["MAILBOX"]), 0)
			is(t, "send to a closed one", u.send(h["SEND"], "x", abi.Forever), abi.Pipe)
			is(t, "receive from a closed one", recv(dataAt, 8, infoAt, abi.IPCInfo, 0), abi.BadHandle)
		}).Wait()
		if !e.OK {
			t.Error(e.Reason)
		}
	})
}

// A process that is killed while it waits for a message, or for room, ends; and
// who waits for it learns that it is gone.
func TestKillWhileMessaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newService(11), newService(12)
		pb := b.start(t, a, func(u *user) {
			h := handles(u)
			u.clone(func(u *user) { u.recv(h["MAILBOX"], abi.Forever) })
			for {
				u.send(h["SEND"], "fill", abi.Forever)
			}
		})
		var woken uint64
		pa := a.start(t, b, func(u *user) {
			h := handles(u)
			u.store64(dataAt, 10, 0)
			u.sys(sysNanosleep, dataAt)
			for woken = 0; woken>>63 == 0; { // what was sent before arrives first
				_, woken = u.recv(h["MAILBOX"], abi.Forever)
			}
		})
		synctest.Wait()
		pb.Kill("enough")
		if e := pb.Wait(); e.Reason != "killed: enough" {
			t.Error(e.Reason)
		}
		pa.Wait()
		is(t, "the survivor", woken, abi.Pipe)
	})
}

// The mailbox is paid for by the process, and a second process cannot have it.
func TestMailboxIsCharged(t *testing.T) {
	limits := ipc.DefaultLimits
	cost := int64(limits.Cost()+limits.Bytes+pageSize) &^ (pageSize - 1)
	for _, c := range []struct {
		name   string
		memory int64
		taken  bool
		want   string
	}{
		{"too little", 40 * pageSize, false, "memory quota exhausted"},
		{"too little for more than the mailbox", cost + 4*pageSize, false, "memory quota exhausted"},
		{"enough", cost + 60*pageSize, false, ""},
		{"port taken", 16 << 20, true, "open the mailbox"},
	} {
		var port ipc.Port
		if c.taken {
			port.Open(limits, ipc.NewQuota(1<<20), ipc.NewPool(1))
		}
		m := newFake()
		m.setProgram(entry, func(u *user) {})
		close(m.ready)
		p, err := Start(m, Config{Name: "test", PID: 1, Image: testELF(), Memory: c.memory, Port: &port})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err == nil {
			p.Wait()
		}
		if _, e := port.Open(limits, ipc.NewQuota(1<<20), ipc.NewPool(1)); (e != 0) != c.taken {
			t.Errorf("%s: the port afterwards: %v", c.name, e)
		}
	}
}

// info decodes as the table of docs/ipc.md says.
func TestInfoLayout(t *testing.T) {
	if abi.IPCInfo != 88 || binary.Size(struct {
		From, Message uint64
		Size, Handles uint32
		Moved         [abi.MaxHandles]uint64
	}{}) != abi.IPCInfo {
		t.Errorf("the info has %d bytes", abi.IPCInfo)
	}
}

// A thread that was parked in trap context, and then sent the long way, has waited
// since then.
func TestParkedTimeCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(11)
		p := s.start(t, s, func(u *user) {
			h := handles(u)
			time.Sleep(time.Hour)
			began := s.m.Now()
			time.Sleep(40 * time.Minute)
			u.c.Began = int64(began)
			before := s.m.Now()
			_, r := u.recv(h["MAILBOX"], uint64(time.Hour))
			is(t, "parked for 40 minutes of an hour", r, abi.TimedOut)
			if d := s.m.Now() - before; d != 20*time.Minute {
				t.Errorf("waited %v more, want 20 minutes", d)
			}
			u.c.Began = 0
			before = s.m.Now()
			_, r = u.recv(h["MAILBOX"], uint64(time.Hour))
			is(t, "not parked", r, abi.TimedOut)
			if d := s.m.Now() - before; d != time.Hour {
				t.Errorf("waited %v, want an hour", d)
			}
		})
		if e := p.Wait(); !e.OK {
			t.Error(e.Reason)
		}
	})
}

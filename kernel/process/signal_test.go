package process

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"aios/kernel/abi"
)

const (
	handlerAt  = 0x401100
	restorerAt = 0x401200
	secondAt   = 0x401300
)

// catch installs h for a signal, on the alternate stack.
func (u *user) catch(t *testing.T, signal uint64, flags uint64, h func(u *user, signal int, info, uc uint64)) (stack uint64) {
	t.Helper()
	u.m.setHandler(handlerAt, h)
	at := uint64(dataAt + 0x900)
	u.store64(at, handlerAt, flags|saRestorer|4, restorerAt, 0xff)
	is(t, "rt_sigaction", u.sys(sysRtSigaction, signal, at, 0, 8), 0)
	stack = u.mmap(32<<10, Read|Write)
	u.store64(at, stack, 0, 32<<10)
	is(t, "sigaltstack", u.sys(sysSigaltstack, at, 0), 0)
	return stack
}

// A nil access becomes a handler call on the alternate stack that sees where
// and why, and what the handler writes into the frame is where it returns to:
// this is how a Go program's nil dereference becomes a panic.
func TestFaultSignal(t *testing.T) {
	e := script(t, func(u *user) {
		var stack uint64
		handled := false
		stack = u.catch(t, sigSEGV, saOnStack, func(u *user, signal int, info, uc uint64) {
			handled = true
			if signal != sigSEGV || u.load64(info) != sigSEGV || u.load64(info+8) != segvMapErr || u.load64(info+16) != 8 {
				t.Errorf("signal %d, siginfo %x", signal, u.load(info, 24))
			}
			if sp := u.c.SP; sp < stack || sp > stack+32<<10 || sp%16 != 8 {
				t.Errorf("handler runs at %#x, stack is %#x", sp, stack)
			}
			if u.load64(u.c.SP) != restorerAt {
				t.Error("return address")
			}
			m := uc + 40
			if u.load64(m+8*gregIP) != entry || u.load64(m) != 0x88 || u.load64(m+8*gregCR2) != 8 || u.load64(m+8*gregTrap) != 14 {
				t.Errorf("frame: %x", u.load(m, 24*8))
			}
			u.store64(m+8*gregIP, secondAt)
			u.store64(m, 0x99)
		})
		u.m.setProgram(secondAt, func(u *user) {
			if !handled || u.c.R8 != 0x99 || u.c.BX != 0xb0 {
				t.Errorf("came back with R8 %#x, BX %#x", u.c.R8, u.c.BX)
			}
			u.sys(sysExitGroup, 0)
		})
		u.c.R8, u.c.BX = 0x88, 0xb0
		u.load64(8)
	})
	if !e.OK {
		t.Error(e.Reason)
	}
}

// A signal to another thread that computes stops it there, with all registers
// kept: this is how Go preempts.
func TestPreempt(t *testing.T) {
	script(t, func(u *user) {
		flag := uint64(dataAt + 64)
		u.catch(t, sigURG, saOnStack, func(u *user, signal int, info, uc uint64) {
			if u.load64(info+8) != uint64(siTkill+1<<32) {
				t.Errorf("si_code %#x", u.load64(info+8))
			}
			u.c.R15, u.c.AX = 0xbad, 0xbad
			u.t.vector[600] = 0xbd
			u.store(flag, []byte{2, 0, 0, 0})
		})
		tid := u.clone(func(u *user) {
			stack := u.mmap(32<<10, Read|Write)
			u.store64(dataAt+0x980, stack, 0, 32<<10)
			u.sys(sysSigaltstack, dataAt+0x980, 0)
			u.c.R15 = 0x15
			copy(u.t.vector[160:], "xmm0 is here....")
			u.t.vector[512] = 3
			u.store(flag, []byte{1, 0, 0, 0})
			for u.load32(flag) == 1 {
				u.spin()
			}
			if u.c.R15 != 0x15 || string(u.t.vector[160:164]) != "xmm0" || u.t.vector[600] != 0 {
				t.Error("registers changed under the thread")
			}
			u.sys(sysExitGroup, 0)
		})
		for u.load32(flag) != 1 {
			u.sys(sysSchedYield)
		}
		is(t, "tgkill", u.sys(sysTgkill, 1, tid, sigURG), 0)
		u.sys(sysFutex, flag, futexWait, 2)
	})
}

func TestSignalInterruptsWait(t *testing.T) {
	e := script(t, func(u *user) {
		word, stop, stopped := uint64(dataAt+64), uint64(dataAt+68), uint64(dataAt+72)
		u.catch(t, 10, saOnStack, func(u *user, _ int, _, _ uint64) {})
		// A signal may come before the wait has begun: one after the other, until told.
		u.clone(func(u *user) {
			for u.load32(stop) == 0 {
				u.sys(sysTgkill, 1, 1, 10)
				u.sys(sysSchedYield)
			}
			u.store(stopped, []byte{1})
			u.sys(sysFutex, stopped, futexWake, 1)
		})
		is(t, "futex", u.sys(sysFutex, word, futexWait, 0), abi.Interrupted)
		u.store(stop, []byte{1})
		for u.load32(stopped) == 0 {
			u.sys(sysFutex, stopped, futexWait, 0)
		}
		// Blocked, it stays pending, and comes with the unblocking.
		u.store64(dataAt+0xa00, 1<<9)
		is(t, "block", u.sys(sysRtSigprocmask, 0, dataAt+0xa00, dataAt+0xa08, 8), 0)
		hits := 0
		u.m.setHandler(handlerAt, func(u *user, _ int, _, _ uint64) { hits++ })
		u.sys(sysTgkill, 1, 1, 10)
		if hits != 0 {
			t.Error("delivered though blocked")
		}
		is(t, "unblock", u.sys(sysRtSigprocmask, 1, dataAt+0xa00, dataAt+0xa08, 8), 0)
		if hits != 1 || u.load64(dataAt+0xa08) != 1<<9 {
			t.Errorf("%d deliveries after unblocking, old mask %#x", hits, u.load64(dataAt+0xa08))
		}
		is(t, "how", u.sys(sysRtSigprocmask, 7, dataAt+0xa00, 0, 8), abi.Invalid)
		is(t, "mask size", u.sys(sysRtSigprocmask, 1, dataAt+0xa00, 0, 4), abi.Invalid)
		is(t, "bad mask", u.sys(sysRtSigprocmask, 1, 8, 0, 8), abi.Fault)
		u.store64(dataAt+0xa00, ^uint64(0))
		u.sys(sysRtSigprocmask, 2, dataAt+0xa00, 0, 8)
		u.sys(sysTgkill, 1, 1, sigKILL) // cannot be blocked
		t.Error("survived SIGKILL")
	})
	if e.Reason != "signal 9" {
		t.Error(e.Reason)
	}
}

func TestSignalCalls(t *testing.T) {
	script(t, func(u *user) {
		at := uint64(dataAt + 0xb00)
		u.store64(at, 1<<47, saRestorer, 0, 0)
		for _, c := range []struct {
			name string
			got  uint64
			want abi.Errno
		}{
			{"signal 0", u.sys(sysRtSigaction, 0, at, 0, 8), abi.Invalid},
			{"signal 65", u.sys(sysRtSigaction, 65, 0, 0, 8), abi.Invalid},
			{"mask size", u.sys(sysRtSigaction, 1, at, 0, 16), abi.Invalid},
			{"SIGKILL", u.sys(sysRtSigaction, sigKILL, at, 0, 8), abi.Invalid},
			{"handler in the kernel", u.sys(sysRtSigaction, 1, at, 0, 8), abi.Fault},
			{"bad pointer", u.sys(sysRtSigaction, 1, 1<<60, 0, 8), abi.Fault},
			{"bad old", u.sys(sysRtSigaction, 1, 0, entry, 8), abi.Fault},
			{"query", u.sys(sysRtSigaction, 1, 0, at, 8), 0},
		} {
			is(t, c.name, c.got, c.want)
		}
		if u.load64(at) != 0 {
			t.Error("a refused handler was kept")
		}
		for _, c := range []struct {
			name              string
			base, flags, size uint64
			want              abi.Errno
		}{
			{"small", dataAt, 0, 100, abi.NoMemory},
			{"flags", dataAt, 8, 4096, abi.Invalid},
			{"in the kernel", 1 << 63, 0, 4096, abi.Fault},
			{"disable", 0, ssDisable, 0, 0},
			{"good", dataAt, 0, 4096, 0},
		} {
			u.store64(at, c.base, c.flags, c.size)
			is(t, c.name, u.sys(sysSigaltstack, at, 0), c.want)
		}
		is(t, "query", u.sys(sysSigaltstack, 0, at), 0)
		if u.load64(at) != dataAt || u.load64(at+16) != 4096 {
			t.Error("sigaltstack does not tell what is set")
		}
	})
}

// Nothing that a program writes into its frame reaches ring 0.
func TestHostileSigreturn(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(u *user, uc uint64)
		want  string
	}{
		{"kernel address", func(u *user, uc uint64) { u.store64(uc+40+8*gregIP, 0xffff800000000000) }, "returns to 0xffff800000000000"},
		{"not canonical", func(u *user, uc uint64) { u.store64(uc+40+8*gregIP, 1<<62) }, "returns to 0x4000000000000000"},
		{"end of the canonical half", func(u *user, uc uint64) { u.store64(uc+40+8*gregIP, 1<<47-1) }, "returns to 0x7fffffffffff"},
		{"vector state in the kernel", func(u *user, uc uint64) { u.store64(uc+40+8*gregVector, 1<<63) }, "vector state is not readable"},
		{"stack elsewhere", func(u *user, uc uint64) { u.c.SP = 1<<62 - 8 }, "frame is not readable"},
		{"flags, segments, vector header", func(u *user, uc uint64) {
			u.store64(uc+40+8*gregFlags, ^uint64(0))
			u.store64(uc+40+8*gregSegs, 0x0008_0008_0008_0008)
			u.store64(uc+40+256, ^uint64(0)) // mask
			v := u.load64(uc + 40 + 8*gregVector)
			u.store(v+24, bytes.Repeat([]byte{255}, 8))
			u.store(v+512, bytes.Repeat([]byte{255}, 64))
		}, "exit status 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := script(t, func(u *user) {
				u.catch(t, 10, saOnStack, func(u *user, _ int, _, uc uint64) { c.spoil(u, uc) })
				cs := u.c.CS
				u.sys(sysTgkill, 1, 1, 10)
				if u.c.Flags&^abi.FlagsUser != flagsAlways || u.c.CS != cs {
					t.Errorf("flags %#x, CS %#x", u.c.Flags, u.c.CS)
				}
				v := u.t.vector
				if mxcsr := binary.LittleEndian.Uint32(v[24:]); mxcsr != 0xffbf {
					t.Errorf("MXCSR %#x", mxcsr)
				}
				if v[512] != 3 || !bytes.Equal(v[513:576], make([]byte, 63)) {
					t.Errorf("XSAVE header %x", v[512:576])
				}
				u.sys(sysTgkill, 1, 1, sigKILL) // still not blocked
			})
			if strings.HasPrefix(c.want, "exit") {
				c.want = "signal 9"
			}
			if !strings.Contains(e.Reason, c.want) {
				t.Errorf("ended with %q, want %q", e.Reason, c.want)
			}
		})
	}
}

func TestNoSignalStack(t *testing.T) {
	for name, sp := range map[string]uint64{"nowhere": 1 << 62, "text": entry + 0x700, "zero": 0, "kernel": 1<<64 - 8} {
		e := script(t, func(u *user) {
			u.catch(t, sigSEGV, 0, func(*user, int, uint64, uint64) { t.Error("handler ran") })
			u.c.SP = sp
			u.load64(0)
		})
		if !strings.Contains(e.Reason, "no room on the stack for its handler") {
			t.Errorf("%s: %s", name, e.Reason)
		}
	}
	e := script(t, func(u *user) {
		u.store64(dataAt, handlerAt, 0, 0, 0)
		u.sys(sysRtSigaction, sigSEGV, dataAt, 0, 8)
		u.load64(0)
	})
	if !strings.Contains(e.Reason, "no restorer") {
		t.Error(e.Reason)
	}
	// A fault inside the handler, with its signal blocked, is the end.
	e = script(t, func(u *user) {
		u.catch(t, sigSEGV, saOnStack, func(u *user, _ int, _, _ uint64) { u.load64(16) })
		u.load64(8)
	})
	if !strings.HasPrefix(e.Reason, "page fault: read of 0x10") {
		t.Error(e.Reason)
	}
}

package process

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
)

func TestStartAndExit(t *testing.T) {
	var argv0, env string
	e := newFake().run(t, Config{Args: []string{"prog", "-v"}, Env: []string{"A=b"}, Grants: []Grant{{Name: "SELF", Type: abi.TypeProcess, Rights: abi.RightControl}}}, func(u *user) {
		sp := u.c.SP
		if sp%16 != 0 || u.load64(sp) != 2 {
			t.Errorf("SP %#x, argc %d", sp, u.load64(sp))
		}
		str := func(i uint64) string {
			return u.str(u.load64(sp + 8*i))
		}
		argv0 = str(1) + " " + str(2)
		env = str(4) + " " + str(5)
		if u.load64(sp+24) != 0 || u.load64(sp+48) != 0 {
			t.Error("argv and envp are not terminated")
		}
		aux := map[uint64]uint64{}
		for i := sp + 56; u.load64(i) != 0; i += 16 {
			aux[u.load64(i)] = u.load64(i + 8)
		}
		if aux[auxPageSz] != pageSize || u.load(aux[auxRandom], 16)[15] != 16 {
			t.Errorf("auxv %v", aux)
		}
		if string(u.load(dataAt, 5)) != "data\x00" || u.load64(dataAt+0x2ff8) != 0 {
			t.Error("data segment is not as in the file")
		}
		u.sys(sysExitGroup, 3)
	})
	if argv0 != "prog -v" || !strings.HasPrefix(env, "A=b AIOS_CAP_SELF=0x") {
		t.Errorf("args %q, env %q", argv0, env)
	}
	if e.Reason != "exit status 3" || e.OK {
		t.Errorf("%+v", e)
	}
	if e := script(t, func(u *user) {}); e.Reason != "exit status 0" || !e.OK {
		t.Errorf("last thread's exit: %+v", e)
	}
}

// What a program does wrong ends it, with the reason, and gives back every
// frame (launch checks that).
func TestFatal(t *testing.T) {
	for _, c := range []struct {
		name string
		main func(u *user)
		want string
	}{
		{"nil write", func(u *user) { u.store64(0, 1) }, "page fault: write to 0x0 at 0x401000"},
		{"wild read", func(u *user) { u.load64(0xffff800000000000) }, "page fault: read of 0xffff800000000000"},
		{"kernel window", func(u *user) { u.load64(0x40001000) }, "page fault: read of 0x40001000"},
		{"write to text", func(u *user) { u.store64(entry, 1) }, "page fault: write to 0x401000"},
		{"execute data", func(u *user) { u.access(dataAt, Exec, nil) }, "page fault: execution of 0x402000"},
		{"execute stack", func(u *user) { u.access(u.c.SP, Exec, nil) }, "page fault: execution of 0x7ff"},
		{"below the stack", func(u *user) { u.store64(stackStart-8, 1) }, "page fault: write to 0x7fffffdffff8"},
		{"ud2", func(u *user) { u.fault(vecInvalid, 0, 0) }, "invalid instruction at 0x401000"},
		{"privileged", func(u *user) { u.fault(vecProtection, 0, 0) }, "general protection fault at 0x401000"},
		{"divide", func(u *user) { u.fault(vecDivide, 0, 0) }, "division error at 0x401000"},
		{"int3", func(u *user) { u.fault(vecBreakpoint, 0, 0) }, "breakpoint at 0x401000"},
		{"machine check", func(u *user) { u.fault(18, 0, 0) }, "exception 18 at 0x401000"},
		{"abort", func(u *user) { u.sys(sysTgkill, 1, 1, 6) }, "signal 6"},
		{"quota", func(u *user) {
			a := u.mmap(1<<30, Read|Write)
			for i := uint64(0); ; i++ {
				u.store64(a+i*pageSize, 1)
			}
		}, "memory quota of 16777216 bytes exhausted"},
		{"quota by tables", func(u *user) {
			a := u.mmap(1<<40, Read|Write)
			for i := uint64(0); ; i++ {
				u.store64(a+i*leafSize, 1)
				u.sys(sysMadvise, a+i*leafSize, pageSize, madvDontNeed)
			}
		}, "memory quota of 16777216 bytes exhausted"},
		{"quota through the kernel", func(u *user) {
			a := u.mmap(1<<30, Read|Write)
			for i := uint64(0); ; i++ {
				u.sys(sysGetrandom, a+i<<20, 1<<20, 0)
			}
		}, "memory quota of 16777216 bytes exhausted"},
		{"bad sigreturn", func(u *user) { u.c.SP = 8; u.sys(sysRtSigreturn) }, "rt_sigreturn at 0x401000: the frame is not readable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e := script(t, c.main); !strings.HasPrefix(e.Reason, c.want) || e.OK {
				t.Errorf("ended with %q, want %q", e.Reason, c.want)
			}
		})
	}
}

func TestNoPhysicalMemory(t *testing.T) {
	m := newFake()
	m.frames = 20
	e := m.run(t, Config{}, func(u *user) {
		a := u.mmap(1<<20, Read|Write)
		for i := uint64(0); ; i++ {
			u.store64(a+i*pageSize, 1)
		}
	})
	if !strings.HasPrefix(e.Reason, "no physical memory left") {
		t.Error(e.Reason)
	}
}

func TestKill(t *testing.T) {
	block := map[string]func(u *user){
		"spinning": func(u *user) {
			for {
				u.spin()
			}
		},
		"futex": func(u *user) { u.sys(sysFutex, dataAt+16, futexWait, 0) },
		"sleep": func(u *user) { u.store64(dataAt, 1000, 0); u.sys(sysNanosleep, dataAt) },
		"epoll": func(u *user) {
			u.sys(sysEpollWait, u.sys(sysEpollCreate1, 0), dataAt, 1, ^uint64(0))
		},
		"stream": func(u *user) { u.sys(uint64(abi.CallStreamRead), uint64(abi.MakeHandle(0, 1)), dataAt, 10) },
	}
	for name, f := range block {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFake()
				p := m.launch(t, Config{Grants: []Grant{{"CHANNEL", abi.TypeStream, abi.RightRead, &pipe{in: make(chan []byte)}}}}, func(u *user) {
					for range 3 {
						u.clone(f)
					}
					f(u)
				})
				synctest.Wait() // until all of them wait
				p.Kill("enough")
				if e := p.Wait(); e.Reason != "killed: enough" {
					t.Errorf("%+v", e)
				}
				p.Kill("again")
			})
		})
	}
}

func TestThreads(t *testing.T) {
	e := newFake().run(t, Config{Threads: 3}, func(u *user) {
		for _, c := range []struct {
			name  string
			flags uint64
			tls   uint64
			want  abi.Errno
		}{
			{"fork", 17, 0, abi.Invalid},
			{"vfork", cloneVM | 0x4000, 0, abi.Invalid},
			{"new namespace", cloneNeeded | 0x20000, 0, abi.Invalid},
			{"TLS in the kernel", cloneNeeded | cloneSetTLS, 1 << 47, abi.Permission},
			{"TLS not canonical", cloneNeeded | cloneSetTLS, 1 << 63, abi.Permission},
		} {
			is(t, c.name, u.sys(sysClone, c.flags, 0, 0, 0, c.tls), c.want)
		}
		word := uint64(dataAt + 64)
		tid := u.clone(func(u *user) {
			u.store(word, []byte{7, 0, 0, 0})
			u.sys(sysFutex, word, futexWake|futexPrivate, 1)
			if u.sys(sysGettid) != 2 {
				t.Error("gettid")
			}
		})
		if tid != 2 {
			t.Errorf("tid %d", tid)
		}
		for u.load32(word) != 7 {
			u.sys(sysFutex, word, futexWait|futexPrivate, 0)
		}
		for range 10 { // no more than three at a time
			u.clone(func(u *user) { u.sys(sysFutex, dataAt+128, futexWait, 0) })
		}
		is(t, "one too many", u.sys(sysClone, cloneNeeded), abi.Again)
		u.sys(sysExitGroup, 0)
	})
	if !e.OK {
		t.Error(e.Reason)
	}
}

// clear_child_tid is how a thread library joins.
func TestClearTID(t *testing.T) {
	script(t, func(u *user) {
		word := uint64(dataAt + 64)
		stack := u.mmap(64<<10, Read|Write)
		u.m.setProgram(entry+16, func(u *user) {})
		u.c.R12 = entry + 16
		tid := u.sys(sysClone, cloneNeeded|cloneClearTID|cloneChildSetTID|cloneParentSetTID, stack+64<<10, word+8, word)
		u.c.R12 = 0
		for {
			v := u.load32(word)
			if v == 0 && u.load32(word+8) == uint32(tid) {
				return
			}
			u.sys(sysFutex, word, futexWait, uint64(v))
		}
	})
}

func TestFutexTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake()
		m.run(t, Config{}, func(u *user) {
			ts, word := uint64(dataAt), uint64(dataAt+64)
			u.store64(ts, 2, 500)
			before := m.Now()
			is(t, "relative", u.sys(sysFutex, word, futexWait, 0, ts), abi.TimedOut)
			if d := m.Now() - before; d != 2*time.Second+500 {
				t.Errorf("waited %v", d)
			}
			u.store64(ts, 5, 0)
			is(t, "absolute", u.sys(sysFutex, word, futexWaitBitset, 0, ts, 0, futexAllBits), abi.TimedOut)
			if m.Now() != 5*time.Second {
				t.Errorf("woke at %v", m.Now())
			}
			is(t, "value differs", u.sys(sysFutex, word, futexWait, 1, ts), abi.Again)
			is(t, "misaligned", u.sys(sysFutex, word+1, futexWait, 0, 0), abi.Invalid)
			is(t, "not mapped", u.sys(sysFutex, mmapStart, futexWait, 0, 0), abi.Fault)
			is(t, "kernel address", u.sys(sysFutex, 1<<63, futexWait, 0, 0), abi.Fault)
			is(t, "no bits", u.sys(sysFutex, word, futexWaitBitset, 0, 0, 0, 0), abi.Invalid)
			is(t, "requeue", u.sys(sysFutex, word, 3, 0, 0, 0, 0), abi.NoCall)
			u.store64(ts, 0, 1e9)
			is(t, "bad timespec", u.sys(sysFutex, word, futexWait, 0, ts), abi.Invalid)
			if u.sys(sysFutex, word, futexWake, 10) != 0 {
				t.Error("woke nobody, but said otherwise")
			}
			u.store64(ts, 1<<62, 0) // a sleep that must not overflow
			u.clone(func(u *user) {
				u.sys(sysNanosleep, ts)
				t.Error("the long sleep ended")
			})
			u.store64(ts+16, 1, 0)
			u.sys(sysNanosleep, ts+16)
			u.sys(sysExitGroup, 0)
		})
	})
}

// N threads take turns through a futex; a lost wake-up would hang the test.
func TestFutexPingPong(t *testing.T) {
	const rounds = 500
	script(t, func(u *user) {
		word := uint64(dataAt + 64)
		turn := func(u *user, me, next uint32) {
			for range rounds {
				for v := u.load32(word); v != me; v = u.load32(word) {
					// The word may have changed since: Again then.
					u.sys(sysFutex, word, futexWait, uint64(v))
				}
				u.store(word, binary.LittleEndian.AppendUint32(nil, next))
				u.sys(sysFutex, word, futexWake, 10)
			}
		}
		u.store(word, []byte{1, 0, 0, 0})
		u.clone(func(u *user) { turn(u, 2, 3) })
		u.clone(func(u *user) { turn(u, 3, 1) })
		turn(u, 1, 2)
	})
}

// A wake that meets a time-out is counted once: either it reports a woken
// waiter and the wait succeeds, or neither.
func TestFutexWakeAgainstTimeout(t *testing.T) {
	var f futexes
	for range 200 {
		w := f.wait(8, 1, func() bool { return true })
		var wg sync.WaitGroup
		var left bool
		var n int
		wg.Go(func() { left = !f.leave(8, w) })
		wg.Go(func() { n = f.wake(8, 1, 1) })
		wg.Wait()
		if left == (n == 1) {
			t.Fatalf("left by itself: %v, woken: %d", left, n)
		}
		if s := f.shard(8); len(s.queues) != 0 {
			t.Fatal("queue not empty")
		}
	}
	a := f.wait(8, 1, func() bool { return true })
	b := f.wait(8, 2, func() bool { return true })
	c := f.wait(8, 3, func() bool { return true })
	if f.wake(8, 1, 2) != 1 || a.woken || !b.woken || c.woken {
		t.Error("the longest waiting with a common bit goes first")
	}
	if f.wake(8, 9, 1) != 2 || f.wake(8, 9, 1) != 0 {
		t.Error("the rest")
	}
}

func TestMemoryCalls(t *testing.T) {
	script(t, func(u *user) {
		const rw = uint64(Read | Write)
		a := u.mmap(8*pageSize, Read|Write)
		u.store64(a, 42)
		for _, c := range []struct {
			name string
			got  uint64
			want abi.Errno
		}{
			{"mmap rwx", u.mmap(pageSize, Read|Write|Exec), abi.Denied},
			{"mmap rx", u.mmap(pageSize, Read|Exec), abi.Denied},
			{"mmap of a file", u.sys(sysMmap, 0, pageSize, rw, mapPrivate, 3), abi.NoDevice},
			{"shared", u.sys(sysMmap, 0, pageSize, rw, mapShared|mapAnonymous), abi.Invalid},
			{"empty", u.mmap(0, Read), abi.Invalid},
			{"huge", u.mmap(1<<63, Read), abi.Invalid},
			{"no room", u.mmap(1<<46, Read), abi.NoMemory},
			{"unknown protection", u.mmap(pageSize, 8), abi.Invalid},
			{"fixed at 0", u.sys(sysMmap, 0, pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"fixed in the kernel's window", u.sys(sysMmap, 0x40000000, pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"fixed across the image's end", u.sys(sysMmap, abi.ImageEnd-pageSize, 2*pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"fixed in the upper half", u.sys(sysMmap, 1<<63, pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"fixed at the top page", u.sys(sysMmap, abi.UserTop, pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"fixed, wrapping", u.sys(sysMmap, ^uint64(pageSize-1), 2*pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"fixed, not aligned", u.sys(sysMmap, a+1, pageSize, rw, mapPrivate|mapAnonymous|mapFixed), abi.Invalid},
			{"no replace", u.sys(sysMmap, a, pageSize, rw, mapPrivate|mapAnonymous|mapFixedNoReplace), abi.Exists},
			{"mprotect wx", u.sys(sysMprotect, a, pageSize, 7), abi.Denied},
			{"mprotect x", u.sys(sysMprotect, a, pageSize, 5), abi.Denied},
			{"mprotect of text to w", u.sys(sysMprotect, entry, pageSize, 7), abi.Denied},
			{"mprotect of a hole", u.sys(sysMprotect, mmapEnd-pageSize, pageSize, 1), abi.NoMemory},
			{"mprotect not aligned", u.sys(sysMprotect, a+1, pageSize, 1), abi.Invalid},
			{"mprotect of nothing", u.sys(sysMprotect, a, 0, 1), 0},
			{"munmap of the kernel", u.sys(sysMunmap, 1<<63, pageSize), abi.Invalid},
			{"munmap of everything", u.sys(sysMunmap, abi.UserStart, 1<<63), abi.Invalid},
			{"munmap of a hole", u.sys(sysMunmap, mmapEnd-pageSize, pageSize), 0},
			{"madvise of a hole", u.sys(sysMadvise, mmapEnd-pageSize, pageSize, madvDontNeed), abi.NoMemory},
			{"madvise huge pages", u.sys(sysMadvise, a, pageSize, madvHugePage), 0},
			{"madvise unknown", u.sys(sysMadvise, a, pageSize, 99), abi.Invalid},
			{"mincore", u.sys(sysMincore, a, 2*pageSize, dataAt), 0},
			{"mincore of a hole", u.sys(sysMincore, mmapEnd-pageSize, pageSize, dataAt), abi.NoMemory},
		} {
			is(t, c.name, c.got, c.want)
		}
		if v := u.load(dataAt, 2); v[0] != 1 || v[1] != 0 {
			t.Errorf("mincore says %v", v)
		}
		if hint := uint64(0xc000000000); u.sys(sysMmap, hint, pageSize, rw, mapPrivate|mapAnonymous) != hint {
			t.Error("a hint that is free is taken")
		}
		if u.sys(sysMmap, a, pageSize, rw, mapPrivate|mapAnonymous) == a {
			t.Error("a hint that is not free is not")
		}
		u.sys(sysMprotect, a, pageSize, 0)
		u.sys(sysMprotect, a, pageSize, 1)
		if u.load64(a) != 42 {
			t.Error("mprotect lost what the page holds")
		}
		pages := func() int {
			u.m.p.mem.mu.Lock()
			defer u.m.p.mem.mu.Unlock()
			return u.m.p.mem.pages
		}
		n := pages()
		u.sys(sysMadvise, a, 8*pageSize, madvDontNeed)
		if pages() != n-1 || u.load64(a) != 0 {
			t.Error("DONTNEED frees the page, and the next read sees zero")
		}
		u.sys(sysMunmap, a, 8*pageSize)
		if pages() != n-1 {
			t.Error("munmap frees the page")
		}
		u.load64(a) // ends the program
	})
}

func TestCodeGen(t *testing.T) {
	newFake().run(t, Config{CodeGen: true}, func(u *user) {
		a := u.mmap(pageSize, Read|Write)
		u.store64(a, 1)
		is(t, "rw to rx", u.sys(sysMprotect, a, pageSize, 5), 0)
		u.access(a, Exec, func([]byte) {})
		is(t, "rwx", u.sys(sysMprotect, a, pageSize, 7), abi.Denied)
	})
}

func TestSmallCalls(t *testing.T) {
	e := script(t, func(u *user) {
		for _, c := range []struct {
			name string
			got  uint64
			want abi.Errno
		}{
			{"getpid", u.sys(sysGetpid), 0},
			{"set_tid_address", u.sys(sysSetTidAddress, dataAt), 0},
			{"sched_yield", u.sys(sysSchedYield), 0},
			{"affinity", u.sys(sysSchedGetaffinity, 0, 8192, dataAt), 0},
			{"affinity short", u.sys(sysSchedGetaffinity, 0, 4, dataAt), abi.Invalid},
			{"affinity bad pointer", u.sys(sysSchedGetaffinity, 0, 8, 0), abi.Fault},
			{"set FS", u.sys(sysArchPrctl, archSetFS, dataAt), 0},
			{"set FS in the kernel", u.sys(sysArchPrctl, archSetFS, 1<<47), abi.Permission},
			{"set FS not canonical", u.sys(sysArchPrctl, archSetFS, 1<<62), abi.Permission},
			{"get FS", u.sys(sysArchPrctl, archGetFS, dataAt+0x800), 0},
			{"set GS", u.sys(sysArchPrctl, 0x1001, dataAt), abi.Invalid},
			{"prctl", u.sys(sysPrctl, 1), abi.Invalid},
			{"clock", u.sys(sysClockGettime, clockMonotonic, dataAt+16), 0},
			{"clock to text", u.sys(sysClockGettime, clockMonotonic, entry), abi.Fault},
			{"clock unknown", u.sys(sysClockGettime, 2, dataAt), abi.Invalid},
			{"random", u.sys(sysGetrandom, dataAt+32, 600, 0), 0},
			{"random nowhere", u.sys(sysGetrandom, 1, 1, 0), abi.Fault},
			{"random flags", u.sys(sysGetrandom, dataAt, 1, 64), abi.Invalid},
			{"open", u.sys(sysOpenat, 0, 0), abi.NoEntry},
			{"read stdin", u.sys(sysRead, 0, dataAt, 8), 0},
			{"read unknown", u.sys(sysRead, 9, dataAt, 8), abi.BadHandle},
			{"write without a log", u.sys(sysWrite, 1, dataAt, 8), abi.BadHandle},
			{"close stdin", u.sys(sysClose, 0), 0},
			{"close unknown", u.sys(sysClose, 77), abi.BadHandle},
			{"fcntl", u.sys(sysFcntl, 1, fcntlGetFL), 0},
			{"fcntl unknown fd", u.sys(sysFcntl, 44, fcntlGetFL), abi.BadHandle},
			{"fcntl unknown op", u.sys(sysFcntl, 1, 99), abi.Invalid},
			{"prlimit", u.sys(sysPrlimit64, 0, rlimitNoFile, 0, dataAt), 0},
			{"prlimit set", u.sys(sysPrlimit64, 0, rlimitNoFile, dataAt, 0), abi.Permission},
			{"prlimit other", u.sys(sysPrlimit64, 9, rlimitNoFile, 0, dataAt), abi.NoProcess},
			{"prlimit unknown", u.sys(sysPrlimit64, 0, 99, 0, dataAt), abi.Invalid},
			{"kill another", u.sys(sysKill, 2, 9), abi.NoProcess},
			{"tgkill another", u.sys(sysTgkill, 2, 1, 9), abi.NoProcess},
			{"tgkill no thread", u.sys(sysTgkill, 1, 99, 9), abi.NoProcess},
			{"tgkill no signal", u.sys(sysTgkill, 1, 1, 65), abi.Invalid},
			{"tgkill probe", u.sys(sysTgkill, 1, 1, 0), 0},
			{"tgkill ignored", u.sys(sysTgkill, 1, 1, sigURG), 0},
			{"socket", u.sys(41, 1, 1, 0), abi.NoCall},
			{"execve", u.sys(59, dataAt, 0, 0), abi.NoCall},
			{"ptrace", u.sys(101, 0, 1), abi.NoCall},
			{"mremap", u.sys(25, dataAt), abi.NoCall},
			{"number 511", u.sys(511), abi.NoCall},
			{"number 0xfff", u.sys(0xfff), abi.NoCall},
			{"beyond the last", u.sys(uint64(abi.FirstCall + len(abi.Calls))), abi.NoCall},
			{"huge number", u.sys(1 << 63), abi.NoCall},
		} {
			is(t, c.name, c.got, c.want)
		}
		if u.load64(dataAt+0x800) != dataAt {
			t.Error("FS")
		}
		// A runtime learns its quota, to be refused memory by itself instead of ended here.
		is(t, "prlimit resident", u.sys(sysPrlimit64, 0, rlimitResident, 0, dataAt), 0)
		if soft, hard := u.load64(dataAt), u.load64(dataAt+8); soft != 16<<20 || hard != 16<<20 {
			t.Errorf("quota %d, %d", soft, hard)
		}
	})
	if e.Unknown[41] != 1 || e.Unknown[1<<63] != 1 {
		t.Errorf("unknown calls: %v", e.Unknown)
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake()
		e := m.run(t, Config{}, func(u *user) {
			ep, ev := u.sys(sysEpollCreate1, efdCloexec), u.sys(sysEventfd2, 0, efdNonblock|efdCloexec)
			event, buf := uint64(dataAt), uint64(dataAt+64)
			u.store(event, append([]byte{epollIn, 0, 0, 0}, "cookie!!"...))
			is(t, "add", u.sys(sysEpollCtl, ep, epollAdd, ev, event), 0)
			is(t, "add twice", u.sys(sysEpollCtl, ep, epollAdd, ev, event), abi.Exists)
			is(t, "add the log", u.sys(sysEpollCtl, ep, epollAdd, 1, event), abi.Permission)
			is(t, "add nothing", u.sys(sysEpollCtl, ep, epollAdd, 40, event), abi.BadHandle)
			is(t, "delete unknown", u.sys(sysEpollCtl, ep, epollDel, ep, event), abi.Permission)
			is(t, "read empty", u.sys(sysRead, ev, buf, 8), abi.Again)
			is(t, "not an epoll", u.sys(sysEpollWait, ev, buf, 1, 0), abi.BadHandle)
			if n := u.sys(sysEpollWait, ep, buf, 8, 100); n != 0 || m.Now() != 100*time.Millisecond {
				t.Errorf("%d events after %v", n, m.Now())
			}
			u.clone(func(u *user) {
				u.store64(dataAt+200, 1, 0)
				u.sys(sysNanosleep, dataAt+200)
				u.store64(dataAt+200, 5)
				is(t, "write", u.sys(sysWrite, ev, dataAt+200, 8), 0)
			})
			if n := u.sys(sysEpollPwait, ep, buf, 8, ^uint64(0), 0); n != 1 || m.Now() != 1100*time.Millisecond {
				t.Errorf("%d events after %v", n, m.Now())
			}
			if string(u.load(buf+4, 8)) != "cookie!!" || u.load32(buf) != epollIn {
				t.Error("event")
			}
			if n := u.sys(sysEpollWait, ep, buf, 8, 0); n != 1 {
				t.Error("level triggered: it stays until read")
			}
			if n := u.sys(sysRead, ev, buf, 8); n != 8 || u.load64(buf) != 5 {
				t.Error("read the count")
			}
			is(t, "close", u.sys(sysClose, ev), 0)
			is(t, "close twice", u.sys(sysClose, ev), abi.BadHandle)
			for range maxFDs {
				u.sys(sysEventfd2, 0, 0)
			}
			is(t, "too many", u.sys(sysEventfd2, 0, 0), abi.TooManyFiles)
			u.sys(sysExitGroup, 0)
		})
		if !e.OK {
			t.Error(e.Reason)
		}
	})
}

// pipe is a Stream over channels.
type pipe struct {
	in  chan []byte
	out chan []byte
}

func (p *pipe) Read(ctx context.Context, b []byte) (int, error) {
	select {
	case d, ok := <-p.in:
		if !ok {
			return 0, io.EOF
		}
		return copy(b, d), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (p *pipe) Write(ctx context.Context, b []byte) (int, error) {
	if p.out == nil {
		return 0, io.ErrClosedPipe
	}
	select {
	case p.out <- bytes.Clone(b):
		return len(b), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

type attestFunc func(op uint32, request []byte) ([]byte, error)

func (f attestFunc) Attest(_ context.Context, op uint32, request []byte) ([]byte, error) {
	return f(op, request)
}

// handles reads what the kernel granted, as a program would, from its environment.
func handles(u *user) map[string]uint64 {
	h := map[string]uint64{}
	for at := u.c.SP + 8*(u.load64(u.c.SP)+2); u.load64(at) != 0; at += 8 {
		name, value, _ := strings.Cut(strings.TrimPrefix(u.str(u.load64(at)), abi.EnvPrefix), "=")
		var v uint64
		fmt.Sscanf(value, "0x%x", &v)
		h[name] = v
	}
	return h
}

func allGrants(log Log, s Stream) []Grant {
	return []Grant{
		{"SELF", abi.TypeProcess, abi.RightControl, nil},
		{"CLOCK", abi.TypeClock, abi.RightRead, nil},
		{"LOG", abi.TypeLog, abi.RightWrite, log},
		{"CHANNEL", abi.TypeStream, abi.RightRead | abi.RightWrite, s},
		{"READONLY", abi.TypeStream, abi.RightRead, s},
		{"BLOB", abi.TypeBlob, abi.RightRead, bytes.NewReader([]byte("0123456789"))},
		{"ATTEST", abi.TypeAttestor, abi.RightInvoke, attestFunc(func(op uint32, request []byte) ([]byte, error) {
			switch op {
			case abi.AttestRandom:
				return bytes.Repeat(request, 3), nil
			case abi.AttestQuote:
				return nil, fmt.Errorf("nonce: %w", abi.Denied)
			}
			return nil, errors.New("the TPM said no")
		})},
		{"SEND_NOBODY", abi.TypeEndpoint, abi.RightWrite, &ipc.Port{}},
		{"WIDE", abi.TypeBlob, abi.RightRead | abi.RightTransfer, bytes.NewReader([]byte("moves"))},
	}
}

func TestCalls(t *testing.T) {
	s := &pipe{in: make(chan []byte, 1), out: make(chan []byte, 1)}
	log := &lines{}
	m := newFake()
	e := m.run(t, Config{Grants: allGrants(log, s)}, func(u *user) {
		h := handles(u)
		call := func(n abi.Number, a ...uint64) uint64 { return u.sys(uint64(n), a...) }
		const bad, buf = ^uint64(0), uint64(dataAt + 256)
		s.in <- []byte("hello")
		for _, c := range []struct {
			name string
			got  uint64
			want abi.Errno
		}{
			{"null", call(abi.CallNull, h["BLOB"]), 0},
			{"null of nothing", call(abi.CallNull, 0), abi.BadHandle},
			{"forged generation", call(abi.CallNull, h["BLOB"]+1<<32), abi.BadHandle},
			{"yield", call(abi.CallYield, h["SELF"]), 0},
			{"clock", call(abi.CallClockRead, h["CLOCK"]), 0},
			{"clock by another handle", call(abi.CallClockRead, h["SELF"]), abi.WrongType},
			{"log", call(abi.CallLog, h["LOG"], dataAt, 4), 0},
			{"log too long", call(abi.CallLog, h["LOG"], dataAt, abi.MaxLog+1), abi.MessageSize},
			{"log bad pointer", call(abi.CallLog, h["LOG"], 8, 4), abi.Fault},
			{"log wrapping", call(abi.CallLog, h["LOG"], ^uint64(3), 4), abi.Fault},
			{"read to text", call(abi.CallStreamRead, h["CHANNEL"], entry, 5), abi.Fault},
			{"read nowhere", call(abi.CallStreamRead, h["CHANNEL"], 0, 5), abi.Fault},
			{"read nothing", call(abi.CallStreamRead, h["CHANNEL"], 0, 0), 0},
			{"write without right", call(abi.CallStreamWrite, h["READONLY"], dataAt, 4), abi.Denied},
			{"right before pointer", call(abi.CallStreamWrite, h["READONLY"], 0, 4), abi.Denied},
			{"type before pointer", call(abi.CallStreamWrite, h["LOG"], 0, 4), abi.WrongType},
			{"write nowhere", call(abi.CallStreamWrite, h["CHANNEL"], 1<<62, 4), abi.Fault},
			{"blob beyond the end", call(abi.CallBlobRead, h["BLOB"], 100, buf, 4), 0},
			{"blob before the start", call(abi.CallBlobRead, h["BLOB"], 1<<63, buf, 4), abi.Invalid},
			{"blob to text", call(abi.CallBlobRead, h["BLOB"], 0, entry, 4), abi.Fault},
			{"attest op 0", call(abi.CallAttest, h["ATTEST"], 0, 0, 0, 0, 0), abi.Invalid},
			{"attest op 5", call(abi.CallAttest, h["ATTEST"], 5, 0, 0, 0, 0), abi.Invalid},
			{"attest fails", call(abi.CallAttest, h["ATTEST"], abi.AttestIdentity, 0, 0, buf, 10), abi.IO},
			{"attest says why", call(abi.CallAttest, h["ATTEST"], abi.AttestQuote, 0, 0, buf, 10), abi.Denied},
			{"attest no room", call(abi.CallAttest, h["ATTEST"], abi.AttestRandom, dataAt, 4, buf, 11), abi.MessageSize},
			{"attest bad request", call(abi.CallAttest, h["ATTEST"], abi.AttestRandom, 0, 4, buf, 12), abi.Fault},
			{"attest bad response", call(abi.CallAttest, h["ATTEST"], abi.AttestRandom, dataAt, 4, entry, 12), abi.Fault},
			{"attest long request", call(abi.CallAttest, h["ATTEST"], abi.AttestRandom, dataAt, abi.MaxMessage+1, buf, 12), abi.MessageSize},
			{"attest long response", call(abi.CallAttest, h["ATTEST"], abi.AttestRandom, dataAt, 1, buf, bad), abi.MessageSize},
		} {
			is(t, c.name, c.got, c.want)
		}
		if n := call(abi.CallStreamRead, h["CHANNEL"], buf, 100); n != 5 || string(u.load(buf, 5)) != "hello" {
			t.Errorf("stream read %d: what bad addresses asked for must not be lost", n)
		}
		if n := call(abi.CallStreamWrite, h["CHANNEL"], dataAt, 4); n != 4 || string(<-s.out) != "data" {
			t.Errorf("stream write %d", n)
		}
		if n := call(abi.CallBlobRead, h["BLOB"], 3, buf, 4); n != 4 || string(u.load(buf, 4)) != "3456" {
			t.Errorf("blob read %d", n)
		}
		if n := call(abi.CallBlobRead, h["BLOB"], 8, buf, 1<<40); int64(n) != -int64(abi.Fault) {
			t.Errorf("blob read beyond the mapping: %d", int64(n))
		}
		if n := call(abi.CallAttest, h["ATTEST"], abi.AttestRandom, dataAt, 4, buf, 12); n != 12 || string(u.load(buf, 12)) != "datadatadata" {
			t.Errorf("attest %d", n)
		}
		close(s.in)
		s.out = nil
		is(t, "end of stream", call(abi.CallStreamRead, h["CHANNEL"], buf, 1), 0)
		is(t, "closed", call(abi.CallStreamWrite, h["CHANNEL"], dataAt, 1), abi.Pipe)
		u.store(buf, []byte("one\ntwo\x1b[2J\nunfinished"))
		u.sys(sysWrite, 2, buf, 22)
		call(abi.CallExit, h["SELF"], 5)
	})
	if e.Reason != "exit status 5" {
		t.Error(e.Reason)
	}
	want := []string{"aios test: data", "aios test: one", "aios test: two?[2J", "aios test: unfinished"}
	if !slices.Equal(log.get(), want) {
		t.Errorf("log %q", log.get())
	}
}

// Every call, with a handle of each other type, says WrongType or, with
// pointers that would fault, never gets to them.
func TestHandleFirst(t *testing.T) {
	newFake().run(t, Config{Grants: allGrants(&lines{}, &pipe{})}, func(u *user) {
		h := handles(u)
		for _, d := range abi.Calls {
			for name, v := range h {
				obj, _ := u.m.p.caps.Lookup(abi.Handle(v), abi.TypeNone, 0, 0)
				if d.Type == abi.TypeNone || fits(obj, d.Type) && d.Type != abi.TypeProcess && d.Type != abi.TypeClock {
					continue
				}
				if d.Type == abi.TypeProcess && name == "SELF" || d.Type == abi.TypeClock && name == "CLOCK" {
					continue
				}
				is(t, d.Name+" on "+name, u.sys(uint64(d.Number), v, 8, 8, 8, 8, 8), abi.WrongType)
			}
			is(t, d.Name+" on a closed handle", u.sys(uint64(d.Number), h["LOG"]|5<<40, 8, 8, 8, 8, 8), abi.BadHandle)
		}
	})
}

func TestStartRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no image", Config{Memory: 1 << 20}, "not a loadable program"},
		{"no quota", Config{Image: testELF(), Memory: 3 * pageSize}, "memory quota exhausted"},
		{"wrong object", Config{Image: testELF(), Memory: 1 << 20, Grants: []Grant{{"X", abi.TypeStream, 0, 5}}}, "grant X: a int is not a stream"},
		{"long environment", Config{Image: testELF(), Memory: 1 << 20, Env: []string{strings.Repeat("x", maxStrings)}}, "at most 65536"},
	} {
		m := newFake()
		before := m.frames
		if _, err := Start(m, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if m.frames != before {
			t.Errorf("%s: %d frames lost", c.name, before-m.frames)
		}
	}
}

func TestSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFake()
		runs := 0
		m.setProgram(entry, func(u *user) {
			if runs++; runs < 4 {
				u.sys(sysExitGroup, 2)
			}
			for {
				u.spin()
			}
		})
		close(m.ready)
		events := &lines{}
		ctx, cancel := context.WithCancel(t.Context())
		s := NewSupervisor(m, events.Line)
		var e Exit
		done := make(chan struct{})
		go func() {
			defer close(done)
			e, _ = s.Run(ctx, Config{Name: "svc", Image: testELF(), Memory: 1 << 20}, true)
		}()
		time.Sleep(time.Minute)
		cancel()
		<-done
		if e.Reason != "killed: the host is going down" || m.Now() != time.Minute {
			t.Errorf("%+v after %v", e, m.Now())
		}
		got := events.get()
		if len(got) != 8 || got[0] != "aios kernel: service start name=svc pid=1" ||
			got[1] != `aios kernel: service exit name=svc reason="exit status 2" frames_freed=11` ||
			got[6] != "aios kernel: service start name=svc pid=4" {
			t.Errorf("events %q", got)
		}
		e, err := s.Run(t.Context(), Config{Name: "bad", Memory: 1 << 20}, true)
		if !errors.Is(err, ErrImage) || e.PID != 0 {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

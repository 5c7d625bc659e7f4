package main

import (
	"bytes"
	"strings"
	"testing"

	"aios/boot/manifest"
	"aios/kernel/abi"
)

func runModule(t *testing.T, f *fake, name string, module []byte) (uint32, error) {
	t.Helper()
	return (&host{kernel: f, name: name, memory: 1024}).run(t.Context(), module)
}

// hello tells its story, and what it is refused. The test ends it where it would spin.
func TestHello(t *testing.T) {
	f := newFake()
	f.stopAt = "spin:"
	if _, err := runModule(t, f, "hello", build(t, "aios/agents/hello")); err == nil || !strings.Contains(err.Error(), errTest.Error()) {
		t.Fatalf("ended with %v", err)
	}
	text := f.log()
	for _, want := range []string{
		"ready module_bytes=", "hello from hello, 7000 ms after", `echod answered "ping"`, `echod answered "pong"`, "allocated 8 MiB, last byte 0xa5",
		"refused as it has to be: ask for a quote: the handle lacks the right for this",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if len(f.open) != 0 {
		t.Errorf("%d endpoints left open", len(f.open))
	}
}

// What an agent is told when the kernel refuses everything, it can act on: it ends with
// a status of its own.
func TestHelloIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse func(f *fake)
		want   string
	}{
		{"lapsed", func(f *fake) { f.refuse = abi.Lapsed }, "read the clock: lapsed"},
		{"the peer gives no answer", func(f *fake) { f.mute = true }, "echod: wait for an answer: process 9 is gone, or gave its endpoint up"},
		{"granted a quote", func(f *fake) { f.quote = 0 }, "got a quote, which this agent's token must not admit"},
		{"another error", func(f *fake) { f.quote = abi.IO }, "expected to be denied a quote: ask for a quote: input or output failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			c.refuse(f)
			status, err := runModule(t, f, "hello", build(t, "aios/agents/hello"))
			if status != 1 || err != nil || !strings.Contains(f.log(), c.want) {
				t.Errorf("status %d, %v, log\n%s", status, err, f.log())
			}
		})
	}
}

// An agent that does not behave ends, or goes on, without taking the runtime along.
func TestMisbehaving(t *testing.T) {
	module := build(t, "aios/agents/misbehave")
	for _, c := range []struct {
		name   string
		set    func(f *fake)
		stop   string
		status uint32 // 0: ended by a trap or by the test
		want   string // in the log or in the error
	}{
		{name: "allocate", status: 2, want: "out of memory"},
		{name: "recurse", want: "out of memory"},
		{name: "flood-ipc", set: func(f *fake) { f.refuse = abi.Quota }, status: 1, want: "the quota of messages"},
		{name: "flood-log", stop: "flood ", want: "stopped by the test"},
		{name: "nobody", status: 1, want: "no deed of the name nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.stopAt = c.stop
			if c.set != nil {
				c.set(f)
			}
			status, err := runModule(t, f, c.name, module)
			text := f.log()
			if err != nil {
				text += err.Error()
			}
			if c.status != 0 && status != c.status || status == 0 && err == nil || !strings.Contains(text, c.want) {
				t.Errorf("status %d, %v, log\n%s", status, err, text)
			}
			if f.longest > abi.MaxLog {
				t.Errorf("a line of %d bytes", f.longest)
			}
		})
	}
}

var (
	unreachable = []byte{0x00}
	selfCall    = []byte{0x10, 0x00} // call 0: itself
	nothing     = []byte{}
)

// Whatever is given to it as a module, the reason is clear and the status is not 0.
func TestBadModules(t *testing.T) {
	hello := build(t, "aios/agents/hello")
	for _, c := range []struct {
		name   string
		module []byte
		want   string
	}{
		{"empty", nil, "its image cannot be run: invalid magic number"},
		{"an ELF", []byte("\x7fELF and more"), "its image cannot be run: invalid magic number"},
		{"other version", []byte("\x00asm\x02\x00\x00\x00"), "its image cannot be run: invalid version header"},
		{"header only", []byte("\x00asm\x01\x00\x00\x00"), "its module exports no function _start"},
		{"cut in half", hello[:len(hello)/2], "its image cannot be run: "},
		{"last byte missing", hello[:len(hello)-1], "its image cannot be run: "},
		{"a byte behind", append(bytes.Clone(hello), 0), "its image cannot be run: "},
		{"no _start", assemble("main", 1, 1, nothing), "its module exports no function _start without parameters and results; build a command"},
		{"imports of nobody", assemble("_start", 1, 1, nothing, imported("env", "abort")), "its module cannot be linked: module[env] not instantiated"},
		{"imports what is not there", assemble("_start", 1, 1, nothing, imported("aios", "reboot")), `"reboot" is not exported in module "aios"`},
		{"imports with another type", assemble("_start", 1, 1, nothing, imported("aios", "log")), "its module cannot be linked: "},
		{"more memory than its quota", assemble("_start", 1025, 2000, nothing), "its image cannot be run: section memory: "},
		{"trap", assemble("_start", 1, 1, unreachable), "it was ended by a trap: wasm error: unreachable"},
		{"recursion", assemble("_start", 1, 1, selfCall), "it was ended by a trap: stack overflow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			_, err := runModule(t, f, "bad", c.module)
			if err == nil || !strings.Contains(err.Error(), "agent bad: ") || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 512 {
				t.Errorf("the reason does not fit a line: %v", err)
			}
			if _, err := runModule(t, f, "good", assemble("_start", 1, 1, nothing)); err != nil {
				t.Errorf("a good one afterwards: %v", err)
			}
		})
	}
}

// The rest of its quota is the module's, and never more than that.
func TestGuestMemory(t *testing.T) {
	for _, c := range []struct {
		quota uint64
		pages uint32
	}{
		{0, 1}, {hostMemory, 1}, {hostMemory + pageSize, 1}, {hostMemory + 10*pageSize, 10}, {hostMemory + 11*pageSize - 1, 10},
		{256 << 20, 192 << 4}, {1 << 40, 1 << 16}, {manifest.MaxMemory, 1 << 16}, {^uint64(0), 1 << 16},
	} {
		if got := guestMemory(c.quota); got != c.pages {
			t.Errorf("quota %d: %d pages, want %d", c.quota, got, c.pages)
		}
	}
}

func TestLinearMemory(t *testing.T) {
	l := reserve(0, 3*pageSize)
	a := l.Reallocate(pageSize)
	a[0], a[pageSize-1] = 1, 2
	b := l.Reallocate(3 * pageSize)
	if len(b) != 3*pageSize || &b[0] != &a[0] || b[pageSize-1] != 2 || b[pageSize] != 0 {
		t.Error("growing moved or changed the memory")
	}
	if l.Reallocate(3*pageSize+1) != nil {
		t.Error("it grew beyond its end")
	}
	l.Free()
	if len(reserve(0, 0).Reallocate(0)) != 0 {
		t.Error("a memory of nothing has something")
	}
}

func TestOutput(t *testing.T) {
	long := strings.Repeat("x", abi.MaxLog)
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"a line", []string{"one\n"}, []string{"one"}},
		{"in parts", []string{"o", "n", "e\ntw", "o\n"}, []string{"one", "two"}},
		{"no end", []string{"one"}, []string{"one"}},
		{"empty lines", []string{"\n\none\n\n"}, []string{"one"}},
		{"as long as can be", []string{long + "\n"}, []string{long}},
		{"too long", []string{long + long + "y\n"}, []string{long, long, "y"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			o := &output{log: f.Log}
			for _, w := range c.writes {
				if n, err := o.Write([]byte(w)); n != len(w) || err != nil {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			o.flush()
			if got := f.log(); got != strings.Join(c.want, "\n") {
				t.Errorf("log %q", got)
			}
		})
	}
}

// Of a log that refuses nothing piles up, and what was lost is told when it takes lines
// again. To the module it is no error.
func TestOutputRefused(t *testing.T) {
	f := newFake()
	f.logs = abi.Quota
	o := &output{log: f.Log}
	for range 100 {
		if _, err := o.Write([]byte(strings.Repeat("x", 3000) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.line) != 0 || cap(o.line) > 2*abi.MaxLog {
		t.Errorf("%d bytes kept, room for %d", len(o.line), cap(o.line))
	}
	f.logs = 0
	o.Write([]byte("again\nand again\n"))
	if got, want := f.log(), "again\n100 lines before this one were refused\nand again"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
}

// A Go program that panics while its log refuses lines ends as it would without.
func TestPanicWithoutALog(t *testing.T) {
	f := newFake()
	f.logs = abi.Quota
	if status, err := runModule(t, f, "allocate", build(t, "aios/agents/misbehave")); status != 2 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
}

// The kernel says how much a process may have; on Linux it is without a limit.
func TestMemoryQuota(t *testing.T) {
	if q, err := memoryQuota(); err != nil || q == 0 {
		t.Errorf("%d, %v", q, err)
	}
}

// Whatever bytes are taken for a module, loading them ends with a module or a reason.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Add(assemble("_start", 1, 1, unreachable))
	f.Add(assemble("_start", 1, 2, selfCall, imported("aios", "log")))
	f.Add(assemble("_start", 0, 1024, nothing, imported("wasi_snapshot_preview1", "sched_yield")))
	f.Fuzz(func(t *testing.T, module []byte) {
		if bytes.Contains(module[min(8, len(module)):], []byte{8}) {
			return // it may have a start section (id 8), and what runs may run for ever
		}
		k := newFake()
		h := &host{kernel: k, name: "fuzz", memory: 16}
		m, err := h.load(t.Context(), module, &output{log: k.Log})
		if err != nil {
			return
		}
		if m.Memory() != nil && m.Memory().Size() > 16*pageSize {
			t.Errorf("a memory of %d bytes", m.Memory().Size())
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

package table

// Personality is the grammar of the Linux calls that the personality serves, for
// the fuzzers: docs/syscall-abi.md says what each does, package process does it.
var Personality = []Call{
	{Number: 0, Name: "read", Args: []Arg{fd, {Name: "buf", Class: Out}, {Name: "count", Class: Length}}},
	{Number: 1, Name: "write", Args: []Arg{fd, {Name: "buf", Class: In}, {Name: "count", Class: Length}}},
	{Number: 3, Name: "close", Args: []Arg{fd}},
	{Number: 9, Name: "mmap", Args: []Arg{region, extent, pick("prot", 0, 1, 3, 5, 7), pick("flags", 0x22, 0x32, 0x100022, 0x4022, 0x21), pick("fd", ^uint64(0), 0), pick("offset", 0, 4096)}},
	{Number: 10, Name: "mprotect", Args: []Arg{region, extent, pick("prot", 0, 1, 3, 5, 7)}},
	{Number: 11, Name: "munmap", Args: []Arg{region, extent}},
	{Number: 13, Name: "rt_sigaction", Args: []Arg{signal, {Name: "act", Class: In}, {Name: "oldact", Class: Out}, pick("size", 8, 0)}},
	{Number: 14, Name: "rt_sigprocmask", Args: []Arg{pick("how", 0, 1, 2, 3), {Name: "set", Class: In}, {Name: "oldset", Class: Out}, pick("size", 8, 0)}},
	{Number: 15, Name: "rt_sigreturn"},
	{Number: 24, Name: "sched_yield"},
	{Number: 27, Name: "mincore", Args: []Arg{region, extent, {Name: "vec", Class: Out}}},
	{Number: 28, Name: "madvise", Args: []Arg{region, extent, pick("advice", 4, 8, 14, 15, 0)}},
	{Number: 35, Name: "nanosleep", Args: []Arg{{Name: "req", Class: In}, {Name: "rem", Class: Out}}},
	{Number: 39, Name: "getpid"},
	{Number: 56, Name: "clone", Args: []Arg{pick("flags", 0x50f00, 0x10900, 0xd0f00, 0x3d0f00, 0x1200000|0x50f00, 0x11), {Name: "stack", Class: Out}, {Name: "parent_tid", Class: Out}, {Name: "child_tid", Class: Out}, {Name: "tls", Class: Out}}},
	{Number: 60, Name: "exit", Args: []Arg{{Name: "code", Class: Code}}},
	{Number: 62, Name: "kill", Args: []Arg{thread, signal}},
	{Number: 72, Name: "fcntl", Args: []Arg{fd, pick("cmd", 1, 2, 3, 4)}},
	{Number: 131, Name: "sigaltstack", Args: []Arg{{Name: "ss", Class: In}, {Name: "old", Class: Out}}},
	{Number: 157, Name: "prctl", Args: []Arg{{Name: "option", Class: Number}}},
	{Number: 158, Name: "arch_prctl", Args: []Arg{pick("op", 0x1002, 0x1003, 0x1001), {Name: "addr", Class: Out}}},
	{Number: 186, Name: "gettid"},
	{Number: 202, Name: "futex", Args: []Arg{{Name: "uaddr", Class: In}, pick("op", 0x80, 0x81, 0x89, 0x8a, 0x189, 3), pick("val", 0, 1, 1<<31), {Name: "timeout", Class: In}, {Name: "uaddr2", Class: Number}, pick("bits", ^uint64(0), 1, 0)}},
	{Number: 204, Name: "sched_getaffinity", Args: []Arg{thread, {Name: "size", Class: Length}, {Name: "mask", Class: Out}}},
	{Number: 218, Name: "set_tid_address", Args: []Arg{{Name: "tidptr", Class: Out}}},
	{Number: 228, Name: "clock_gettime", Args: []Arg{pick("clock", 0, 1, 4, 5, 6, 7, 2), {Name: "tp", Class: Out}}},
	{Number: 231, Name: "exit_group", Args: []Arg{{Name: "code", Class: Code}}},
	{Number: 232, Name: "epoll_wait", Args: []Arg{fd, {Name: "events", Class: Out}, pick("max", 1, 16, 1025, 0), pick("timeout", 0, 5, ^uint64(0))}},
	{Number: 233, Name: "epoll_ctl", Args: []Arg{fd, pick("op", 1, 2, 3, 4), fd, {Name: "event", Class: In}}},
	{Number: 234, Name: "tgkill", Args: []Arg{thread, thread, signal}},
	{Number: 257, Name: "openat", Args: []Arg{fd, {Name: "path", Class: In}, {Name: "flags", Class: Number}}},
	{Number: 281, Name: "epoll_pwait", Args: []Arg{fd, {Name: "events", Class: Out}, pick("max", 1, 16), pick("timeout", 0, 5), pick("mask", 0, 8)}},
	{Number: 290, Name: "eventfd2", Args: []Arg{pick("count", 0, 1, 1<<32-1), pick("flags", 0x80800, 0, 1)}},
	{Number: 291, Name: "epoll_create1", Args: []Arg{pick("flags", 0x80000, 0, 1)}},
	{Number: 302, Name: "prlimit64", Args: []Arg{pick("pid", 0, 1), pick("resource", 3, 5, 7, 16), pick("new", 0, 8), {Name: "old", Class: Out}}},
	{Number: 318, Name: "getrandom", Args: []Arg{{Name: "buf", Class: Out}, {Name: "len", Class: Length}, pick("flags", 0, 1, 8)}},
}

// Arguments that several calls take.
var (
	fd     = Arg{Name: "fd", Class: FD}
	region = Arg{Name: "addr", Class: Region}
	extent = pick("length", 4096, 8192, 1<<16, 1<<21, 1<<30, 100, 0)
	signal = pick("sig", 0, 6, 9, 10, 11, 17, 19, 23, 64, 65)
	thread = pick("tid", 0, 1, 11, 12, 13, 21, 22, 23)
)

func pick(name string, values ...uint64) Arg { return Arg{Name: name, Class: Pick, Values: values} }

package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"sync"
	"syscall"

	"aios/kernel/abi"
)

// Linux: the calls of the personality, used as they should not be.

func init() {
	things["linux"] = linuxRefusals
	things["linuxpointers"] = linuxPointers
	things["memory"] = memoryCalls
	things["unmaprace"] = unmapRace
}

// raw makes one Linux call.
func raw(n uintptr, a ...uintptr) error {
	var w [6]uintptr
	copy(w[:], a)
	_, _, e := syscall.Syscall6(n, w[0], w[1], w[2], w[3], w[4], w[5])
	if e != 0 {
		return e
	}
	return nil
}

// linuxRefusals asks for what the personality does not have.
func linuxRefusals() error {
	_, openErr := os.Open("/etc/passwd")
	_, forkErr := syscall.ForkExec("/bin/sh", []string{"sh"}, nil)
	_, socketErr := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"open a file", openErr, syscall.ENOENT},
		{"fork and execute", forkErr, syscall.ENOSYS},
		{"socket", socketErr, syscall.ENOSYS},
		{"kill process 1", syscall.Kill(1, syscall.SIGKILL), syscall.ESRCH},
		{"kill everyone", syscall.Kill(-1, syscall.SIGKILL), syscall.ESRCH},
		{"ptrace", raw(syscall.SYS_PTRACE, 16, 1), syscall.ENOSYS},
		{"process_vm_readv", raw(310, 1), syscall.ENOSYS},
		{"reboot", raw(syscall.SYS_REBOOT, 0xfee1dead, 672274793, 0x4321fedc), syscall.ENOSYS},
		{"ioperm", raw(syscall.SYS_IOPERM, 0, 1, 1), syscall.ENOSYS},
		{"init_module", raw(syscall.SYS_INIT_MODULE), syscall.ENOSYS},
		{"set GS", raw(syscall.SYS_ARCH_PRCTL, 0x1001, 1<<63), syscall.EINVAL},
		{"FS not canonical", raw(syscall.SYS_ARCH_PRCTL, 0x1002, 1<<63), syscall.EPERM},
		{"FS in the kernel", raw(syscall.SYS_ARCH_PRCTL, 0x1002, 1<<47), syscall.EPERM},
		{"the runtime layer's own numbers", raw(0x2000, 1, 2, 3), syscall.ENOSYS},
		{"a huge number", raw(1<<63, 1, 2, 3), syscall.ENOSYS},
	} {
		if !errors.Is(c.err, c.want) {
			return fmt.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	return nil
}

// memoryCalls holds mmap to W^X and to the program's own addresses.
func memoryCalls() error {
	const anon = syscall.MAP_ANON | syscall.MAP_PRIVATE
	mmap := func(addr uintptr, prot, flags int) error {
		return raw(syscall.SYS_MMAP, addr, 4096, uintptr(prot), uintptr(flags), ^uintptr(0))
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"writable and executable", mmap(0, 7, anon), syscall.EACCES},
		{"executable", mmap(0, 5, anon), syscall.EACCES},
		{"at address 0", mmap(0, 3, anon|syscall.MAP_FIXED), syscall.EINVAL},
		{"in the kernel's window", mmap(0x40000000, 3, anon|syscall.MAP_FIXED), syscall.EINVAL},
		{"at the local APIC", mmap(0xfee00000, 3, anon|syscall.MAP_FIXED), syscall.EINVAL},
		{"at the top page", mmap(0x7ffffffff000, 3, anon|syscall.MAP_FIXED), syscall.EINVAL},
		{"in the upper half", mmap(1<<63, 3, anon|syscall.MAP_FIXED), syscall.EINVAL},
		{"shared", mmap(0, 3, syscall.MAP_ANON|syscall.MAP_SHARED), syscall.EINVAL},
		{"of a file", mmap(0, 3, syscall.MAP_PRIVATE), syscall.ENODEV},
		{"that grows down", mmap(0, 3, anon|syscall.MAP_GROWSDOWN), syscall.EINVAL},
	} {
		if !errors.Is(c.err, c.want) {
			return fmt.Errorf("mmap %s: %v, want %v", c.name, c.err, c.want)
		}
	}
	if err := wrapAround(); err != nil {
		return err
	}
	b, err := syscall.Mmap(-1, 0, 64<<10, 3, anon)
	if err != nil {
		return err
	}
	for i := range b {
		if b[i] != 0 {
			return fmt.Errorf("new memory holds %#x at %d", b[i], i)
		}
		b[i] = byte(i)
	}
	if err := syscall.Mprotect(b, 7); !errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("mprotect to writable and executable: %v", err)
	}
	if err := errors.Join(syscall.Mprotect(b, 0), syscall.Mprotect(b, 1)); err != nil {
		return err
	}
	for i := range b {
		if b[i] != byte(i) {
			return fmt.Errorf("mprotect lost byte %d", i)
		}
	}
	if err := errors.Join(syscall.Mprotect(b, 3), syscall.Madvise(b, syscall.MADV_DONTNEED)); err != nil {
		return err
	}
	for i := range b {
		if b[i] != 0 {
			return fmt.Errorf("byte %d is %#x after DONTNEED", i, b[i])
		}
	}
	return syscall.Munmap(b)
}

// wrapAround gives the memory calls ranges that end beyond what there is, or
// before they begin.
func wrapAround() error {
	const anon, fixed = syscall.MAP_ANON | syscall.MAP_PRIVATE, syscall.MAP_FIXED
	const page, top, hole = 4096, 0x7fffffffe000, 0x40000000
	huge := ^uintptr(0)
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"mmap of everything", raw(syscall.SYS_MMAP, 0, huge, 3, anon), syscall.EINVAL},
		{"mmap of half of everything", raw(syscall.SYS_MMAP, 0, 1<<63, 3, anon), syscall.EINVAL},
		{"mmap of more than there is room for", raw(syscall.SYS_MMAP, 0, 0x7ff000000000, 3, anon), syscall.ENOMEM},
		{"mmap of nothing", raw(syscall.SYS_MMAP, 0, 0, 3, anon), syscall.EINVAL},
		{"mmap over the top", raw(syscall.SYS_MMAP, top-page, 2*page, 3, anon|fixed), syscall.EINVAL},
		{"mmap into the kernel's window", raw(syscall.SYS_MMAP, hole-page, 2*page, 3, anon|fixed), syscall.EINVAL},
		{"mmap that ends before it begins", raw(syscall.SYS_MMAP, 1<<40, huge-page, 3, anon|fixed), syscall.EINVAL},
		{"munmap of everything", raw(syscall.SYS_MUNMAP, 1<<40, huge&^(page-1)), syscall.EINVAL},
		{"munmap over the top", raw(syscall.SYS_MUNMAP, top-page, 2*page), syscall.EINVAL},
		{"munmap of the kernel", raw(syscall.SYS_MUNMAP, hole, page), syscall.EINVAL},
		{"mprotect that wraps round", raw(syscall.SYS_MPROTECT, 1<<40, huge-(1<<40)+1+page, 3), syscall.EINVAL},
		{"mprotect of the kernel", raw(syscall.SYS_MPROTECT, hole, page, 3), syscall.EINVAL},
		{"mprotect of what is not mapped", raw(syscall.SYS_MPROTECT, 1<<40, page, 3), syscall.ENOMEM},
		{"madvise over the top", raw(syscall.SYS_MADVISE, top-page, 2*page, syscall.MADV_DONTNEED), syscall.EINVAL},
		{"madvise of the kernel", raw(syscall.SYS_MADVISE, hole, page, syscall.MADV_DONTNEED), syscall.EINVAL},
		{"mincore of everything", raw(syscall.SYS_MINCORE, 1<<40, huge&^(page-1), 1<<40), syscall.ENOMEM},
	} {
		if !errors.Is(c.err, c.want) {
			return fmt.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	return nil
}

// linuxPointers gives every call of the personality that takes an address bad
// ones. The call's own text comes first: it can be read, but not written.
func linuxPointers() error {
	text := reflect.ValueOf(linuxPointers).Pointer()
	const in, out = false, true
	ev, err := eventFD()
	if err != nil {
		return err
	}
	epoll, _, e := syscall.Syscall(syscall.SYS_EPOLL_CREATE1, 0, 0, 0)
	if e != 0 {
		return e
	}
	const tls = 0xd0f00 // a thread, with CLONE_SETTLS
	for _, c := range []struct {
		name   string
		call   func(at uintptr) error
		writes bool
		none   bool // address 0 means none
	}{
		{"read", func(at uintptr) error { return raw(syscall.SYS_READ, ev, at, 8) }, out, false},
		{"write to an eventfd", func(at uintptr) error { return raw(syscall.SYS_WRITE, ev, at, 8) }, in, false},
		{"write to standard output", func(at uintptr) error { return raw(syscall.SYS_WRITE, 1, at, 1<<40) }, in, false},
		{"rt_sigaction, new", func(at uintptr) error { return raw(syscall.SYS_RT_SIGACTION, 10, at, 0, 8) }, in, true},
		{"rt_sigaction, old", func(at uintptr) error { return raw(syscall.SYS_RT_SIGACTION, 10, 0, at, 8) }, out, true},
		{"rt_sigprocmask, new", func(at uintptr) error { return raw(syscall.SYS_RT_SIGPROCMASK, 0, at, 0, 8) }, in, true},
		{"rt_sigprocmask, old", func(at uintptr) error { return raw(syscall.SYS_RT_SIGPROCMASK, 0, 0, at, 8) }, out, true},
		{"sigaltstack, old", func(at uintptr) error { return raw(syscall.SYS_SIGALTSTACK, 0, at) }, out, true},
		{"nanosleep", func(at uintptr) error { return raw(syscall.SYS_NANOSLEEP, at, 0) }, in, false},
		{"clock_gettime", func(at uintptr) error { return raw(syscall.SYS_CLOCK_GETTIME, 1, at) }, out, false},
		{"getrandom", func(at uintptr) error { return raw(318, at, 1<<40) }, out, false},
		{"sched_getaffinity", func(at uintptr) error { return raw(syscall.SYS_SCHED_GETAFFINITY, 0, 8, at) }, out, false},
		{"prlimit64", func(at uintptr) error { return raw(syscall.SYS_PRLIMIT64, 0, 7, 0, at) }, out, true},
		{"epoll_ctl", func(at uintptr) error { return raw(syscall.SYS_EPOLL_CTL, epoll, 1, ev, at) }, in, false},
		{"arch_prctl, get FS", func(at uintptr) error { return raw(syscall.SYS_ARCH_PRCTL, 0x1003, at) }, out, false},
	} {
		addresses := bad
		if c.writes {
			addresses = append([]uint64{uint64(text)}, bad...)
		}
		for _, at := range addresses {
			if at == 0 && c.none {
				continue
			}
			if err := c.call(uintptr(at)); !errors.Is(err, syscall.EFAULT) {
				return fmt.Errorf("%s at %#x: %v, want %v", c.name, at, err, syscall.EFAULT)
			}
		}
	}
	for _, at := range bad {
		if at%4 == 0 {
			if err := raw(syscall.SYS_FUTEX, uintptr(at), 128, 0, 0); !errors.Is(err, syscall.EFAULT) {
				return fmt.Errorf("futex wait at %#x: %v, want %v", at, err, syscall.EFAULT)
			}
		}
	}
	for _, at := range []uintptr{0, 8, 1 << 30, 1 << 47, 1 << 63, 0x7fffffffe000} {
		if err := raw(syscall.SYS_CLONE, tls, 0, 0, 0, at); !errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("clone with its FS base at %#x: %v, want %v", at, err, syscall.EPERM)
		}
	}
	return nil
}

func eventFD() (uintptr, error) {
	fd, _, e := syscall.Syscall(syscall.SYS_EVENTFD2, 1, 0, 0)
	if e != 0 {
		return 0, e
	}
	return fd, nil
}

// unmapRace has threads hand addresses to the kernel while others take the
// memory away and bring it back: each call must work or fail as a whole.
func unmapRace() error {
	const at, size = 1 << 41, 16 << 12 // where the runtime has nothing
	stop := make(chan struct{})
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	loop := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil && !errors.Is(err, syscall.EFAULT) && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.ENOMEM) {
					errs <- err
					return
				}
				runtime.Gosched()
			}
		})
	}
	loop(func() error { return raw(318, at, size) })
	loop(func() error { return raw(syscall.SYS_CLOCK_GETTIME, 1, at+4090) })
	loop(func() error {
		if _, err := call(abi.CallBlobRead, abi.CapEventLog, 0, at, size); !errors.Is(err, abi.Fault) {
			return err
		}
		return nil
	})
	loop(func() error { return raw(syscall.SYS_MPROTECT, at+4096, 4*4096, 1) })
	loop(func() error { return raw(syscall.SYS_MADVISE, at, size, syscall.MADV_DONTNEED) })
	loop(func() error { return raw(syscall.SYS_MUNMAP, at+8192, 4*4096) })
	for range 300 {
		if err := raw(syscall.SYS_MMAP, at, size, 3, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_FIXED); err != nil {
			errs <- err
			break
		}
	}
	close(stop)
	wg.Wait()
	close(errs)
	return <-errs
}

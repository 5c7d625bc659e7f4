package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"syscall"
	"unsafe"
)

// pipes measures round trips over two pipes to another process: where the kernel
// puts the two, and with both on one processor.
func pipes() {
	all := uint64(1)<<runtime.NumCPU() - 1
	for _, c := range []struct {
		name  string
		bytes int
		cpus  uint64 // mask
	}{{"pipe_round_trip", 64, all}, {"pipe_4k_round_trip", 4096, all}, {"pipe_round_trip_1cpu", 64, 1}} {
		if err := pin(c.cpus); err != nil {
			fmt.Println(c.name, err)
			return
		}
		if err := pingpong(c.name, c.bytes); err != nil {
			fmt.Println(c.name, err)
			return
		}
	}
}

// pin lets this thread, and the processes that it starts, run on these processors.
func pin(cpus uint64) error {
	// Safety: the kernel reads 8 bytes at the address, which stays in place until it returns.
	if _, _, e := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, 8, uintptr(unsafe.Pointer(&cpus))); e != 0 {
		return e
	}
	return nil
}

func pingpong(name string, bytes int) error {
	theirs, there, err := os.Pipe()
	if err != nil {
		return err
	}
	back, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	c := exec.Command("/proc/self/exe", "echo")
	c.Stdin, c.Stdout, c.Stderr = theirs, ours, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	theirs.Close()
	ours.Close()
	var failed error
	w, r := int(there.Fd()), int(back.Fd()) // Fd makes them block
	m := make([]byte, bytes)
	measureLoops([]loop{{name, func(n uint64) {
		for range n {
			if transfer(syscall.SYS_WRITE, w, m) != len(m) || transfer(syscall.SYS_READ, r, m) != len(m) {
				failed = fmt.Errorf("a pipe broke")
			}
		}
	}}})
	there.Close()
	back.Close()
	if err := c.Wait(); err != nil {
		return err
	}
	return failed
}

// echo sends back what it receives, until there is no more.
func echo() {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	m := make([]byte, 4096) // a pipe gives as much as was written at once
	for {
		n := transfer(syscall.SYS_READ, 0, m)
		if n <= 0 || transfer(syscall.SYS_WRITE, 1, m[:n]) != n {
			return
		}
	}
}

// transfer reads or writes by the bare call, without the Go scheduler's knowing.
func transfer(call uintptr, fd int, b []byte) int {
	// Safety: the address is turned into uintptr in the argument list (package unsafe, rule 4).
	n, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if e != 0 {
		return -1
	}
	return int(n)
}

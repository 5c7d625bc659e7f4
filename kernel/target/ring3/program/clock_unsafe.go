package main

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"aios/kernel/abi"
)

func init() { things["clocks"] = clocks }

// clocks compares what the program computes by itself with what the kernel says
// before and after: time.Now by the vDSO, clock_gettime as a system call, and
// ClockRead tell one time.
func clocks() error {
	clock := handle(abi.CapClock)
	const realtime, monotonic = 0, 1
	ask := func(id uintptr) (time.Duration, error) {
		var ts syscall.Timespec
		if _, _, e := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
			return 0, e
		}
		return time.Duration(ts.Nano()), nil
	}
	before, err := ask(monotonic)
	if err != nil {
		return err
	}
	base := time.Now()
	after := now(clock)
	for range 2000 {
		m1, err := ask(monotonic)
		if err != nil {
			return err
		}
		d := time.Since(base)
		m2 := now(clock)
		r1, err := ask(realtime)
		if err != nil {
			return err
		}
		wall := time.Duration(time.Now().UnixNano())
		r2, err := ask(realtime)
		if err != nil {
			return err
		}
		if d < m1-after || d > m2-before {
			return fmt.Errorf("%v since the start by the program's clock, %v to %v by the kernel's", d, m1-after, m2-before)
		}
		if wall < r1 || wall > r2 {
			return fmt.Errorf("the program's wall clock says %d, the kernel's %d to %d", wall, r1, r2)
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

func init() {
	things["bench"] = bench
	things["ipcbench"] = ipcBench
	things["ipcbenchecho"] = ipcBenchEcho
}

// callLoop makes a system call with one argument n times: the call and nothing
// else. Defined in bench_amd64.s.
func callLoop(number, argument, n uint64)

// clockLoop calls clock_gettime(CLOCK_MONOTONIC) n times. Defined in
// bench_amd64.s.
func clockLoop(n uint64)

// timeLoop reads the time as Go programs do.
func timeLoop(n uint64) {
	for range n {
		time.Now()
	}
}

const linuxGetpid = 39

// bench measures system calls as test/bench/peer does on Linux, and reports the
// same way: "B <name> <value> <unit>". A batch of about 50 ms is measured 21
// times.
func bench() error {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	self, clock := handle(abi.CapSelf), handle(abi.CapClock)
	call := func(number, argument uint64) func(uint64) {
		return func(n uint64) { callLoop(number, argument, n) }
	}
	return measure([]timed{
		{"null", call(uint64(abi.CallNull), uint64(self))},
		{"clock_read", call(uint64(abi.CallClockRead), uint64(clock))},
		{"getpid", call(linuxGetpid, 0)},
		{"clock_gettime", clockLoop},
		{"time_now", timeLoop},
	})
}

// ipcBench measures round trips to ipcBenchEcho and back: of a short message and
// of one that goes the long way.
func ipcBench() error {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	to, box := ends()
	var failed error
	roundTrip := func(m []byte) func(n uint64) {
		return func(n uint64) {
			for range n {
				err := sendOne(to.Handle, m)
				if err == nil {
					_, err = receiveOne(box.Handle, m)
				}
				if err != nil {
					failed = err
					return
				}
			}
		}
	}
	err := measure([]timed{
		{"ipc_round_trip", roundTrip(make([]byte, 64))},
		{"ipc_4k_round_trip", roundTrip(make([]byte, 4096))},
	})
	return errors.Join(err, failed)
}

// ipcBenchEcho sends back what it receives, until its peer is gone.
func ipcBenchEcho() error {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	to, box := ends()
	m := make([]byte, 4096)
	for {
		n, err := receiveOne(box.Handle, m)
		if err == nil {
			err = sendOne(to.Handle, m[:n])
		}
		if errors.Is(err, abi.Pipe) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

type timed struct {
	name string
	loop func(n uint64)
}

func measure(loops []timed) error {
	clock := handle(abi.CapClock)
	for _, b := range loops {
		n := uint64(1 << 6)
		for ; ; n *= 2 {
			t := now(clock)
			b.loop(n)
			if now(clock)-t > 50*time.Millisecond {
				break
			}
		}
		for range 21 {
			t := now(clock)
			b.loop(n)
			fmt.Printf("B %s %.1f ns\n", b.name, float64(now(clock)-t)/float64(n))
		}
	}
	return nil
}

func now(clock abi.Handle) time.Duration {
	d, err := aios.Uptime(clock)
	if err != nil {
		panic(err)
	}
	return d
}

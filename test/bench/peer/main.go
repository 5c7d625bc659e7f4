// Command peer is the only program of the Linux peer that `make bench` compares
// AIOS with: it is /init of Debian's own kernel in the same virtual machine. It
// says when it came up, measures what is compared, and switches off.
//
// Every result is one line on the console: "B <name> <value> <unit>".
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// getpidLoop calls getpid n times, in assembly: the system call and nothing
// else. Defined in loop_amd64.s.
func getpidLoop(n uint64)

// clockLoop calls clock_gettime(CLOCK_MONOTONIC) as a system call n times.
// Defined in loop_amd64.s.
func clockLoop(n uint64)

// timeLoop reads the time as Go programs do: by the vDSO, where there is one.
func timeLoop(n uint64) {
	for range n {
		time.Now()
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "echo" {
		echo()
		return
	}
	fmt.Println("INIT")
	if os.Getpid() != 1 {
		measure() // for a look at it on any Linux machine
		return
	}
	syscall.Mount("proc", "/proc", "proc", 0, "")
	cmdline, _ := os.ReadFile("/proc/cmdline")
	version, _ := os.ReadFile("/proc/version")
	fmt.Println("F", strings.TrimSpace(string(version)))
	if !strings.Contains(string(cmdline), "bootonly") {
		measure()
	}
	fmt.Println("OFF")
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func measure() {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	measureLoops([]loop{{"getpid", getpidLoop}, {"clock_gettime", clockLoop}, {"time_now", timeLoop}})
	pipes()
}

type loop struct {
	name string
	loop func(uint64)
}

func measureLoops(loops []loop) {
	// A batch of about 50 ms is measured 21 times: the median is what counts, the
	// fastest shows how much the machine was disturbed.
	for _, b := range loops {
		n := uint64(1 << 6)
		for ; ; n *= 2 {
			t := time.Now()
			b.loop(n)
			if time.Since(t) > 50*time.Millisecond {
				break
			}
		}
		for range 21 {
			t := time.Now()
			b.loop(n)
			fmt.Printf("B %s %.1f ns\n", b.name, float64(time.Since(t))/float64(n))
		}
	}
}

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Work: what a healthy program does.

func exit(code int) { os.Exit(code) }

func init() {
	things["hello"] = func() error {
		fmt.Println("hello from", runtime.Version(), runtime.NumCPU() >= 1)
		fmt.Println("aios kernel: service exit name=forged")
		os.Stderr.WriteString("aios test: no prefix twice\nescape \x1b[2J\n")
		return nil
	}
	things["goroutines"] = goroutines
	things["preempt"] = preempt
	things["floats"] = floats
	things["timers"] = timers
	things["signal"] = signals
	things["forkbomb"] = forkBomb
	things["linux"] = linuxRefusals
	things["memory"] = memoryCalls
	things["echo"] = func() error {
		channel, err := aios.OpenStream(abi.CapChannel)
		if err != nil {
			return err
		}
		_, err = io.Copy(struct{ io.Writer }{channel}, struct{ io.Reader }{channel})
		return err
	}
	things["wait"] = func() error {
		channel, err := aios.OpenStream(abi.CapChannel)
		if err != nil {
			return err
		}
		fmt.Println("waiting")
		_, err = channel.Read(make([]byte, 1))
		return err
	}
}

// goroutines allocates, collects and synchronises.
func goroutines() error {
	var wg sync.WaitGroup
	var sum atomic.Int64
	work := make(chan int)
	for range 50 {
		wg.Go(func() {
			for i := range work {
				b := bytes.Repeat([]byte{byte(i)}, 10000+i)
				h := sha256.Sum256(b)
				m := map[int]string{}
				for j := range 20 {
					m[j] = fmt.Sprint(h[j], i)
				}
				sum.Add(int64(len(m)))
			}
		})
	}
	for i := range 2000 {
		work <- i
		if i%500 == 0 {
			runtime.GC()
		}
	}
	close(work)
	wg.Wait()
	debug.FreeOSMemory()
	return expect("sum", sum.Load(), 40000)
}

// preempt needs signals: a loop without calls holds the only P.
func preempt() error {
	runtime.GOMAXPROCS(1)
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
		}
	}()
	for range 5 {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	stop.Store(true)
	return nil
}

func floats() error {
	results := make(chan float64, 8)
	for range cap(results) {
		go func() {
			x := 1.0
			for range 1_000_000 {
				x = x*1.0000001 + 1e-9
			}
			results <- x
		}()
	}
	first := <-results
	for range cap(results) - 1 {
		if x := <-results; x != first {
			return fmt.Errorf("equal computations gave %v and %v: vector state leaks between threads", first, x)
		}
	}
	return nil
}

func timers() error {
	began := time.Now()
	var order [3]int
	var n atomic.Int32
	var wg sync.WaitGroup
	for _, d := range []int{60, 20, 40} {
		wg.Add(1)
		time.AfterFunc(time.Duration(d)*time.Millisecond, func() {
			order[n.Add(1)-1] = d
			wg.Done()
		})
	}
	wg.Wait()
	if d := time.Since(began); d < 60*time.Millisecond {
		return fmt.Errorf("a timer of 60 ms fired after %v", d)
	}
	up, err := aios.Uptime(handle(abi.CapClock))
	if err != nil || up <= 0 {
		return fmt.Errorf("uptime %v, %v", up, err)
	}
	return expect("order", order, [3]int{20, 40, 60})
}

func signals() error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	for range 20 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			return err
		}
		<-c
	}
	return nil
}

func forkBomb() error {
	// Each goroutine holds a thread: locked, and waiting in a system call.
	for range 10000 {
		go func() {
			runtime.LockOSThread()
			syscall.Nanosleep(&syscall.Timespec{Sec: 1000}, nil)
		}()
		time.Sleep(10 * time.Microsecond)
	}
	time.Sleep(time.Hour)
	return nil
}

// linuxRefusals asks for what the personality does not have.
func linuxRefusals() error {
	_, openErr := os.Open("/etc/passwd")
	_, forkErr := syscall.ForkExec("/bin/sh", []string{"sh"}, nil)
	_, socketErr := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	raw := func(n uintptr, a ...uintptr) error {
		var w [6]uintptr
		copy(w[:], a)
		_, _, e := syscall.Syscall6(n, w[0], w[1], w[2], w[3], w[4], w[5])
		return e
	}
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
		_, _, e := syscall.Syscall6(syscall.SYS_MMAP, addr, 4096, uintptr(prot), uintptr(flags), ^uintptr(0), 0)
		if e != 0 {
			return e
		}
		return nil
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
	} {
		if !errors.Is(c.err, c.want) {
			return fmt.Errorf("mmap %s: %v, want %v", c.name, c.err, c.want)
		}
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

package main

import (
	"bytes"
	"crypto/sha256"
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
	var wg sync.WaitGroup
	early := make(chan error, 3)
	for _, d := range []time.Duration{60 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond} {
		began := time.Now()
		wg.Add(1)
		time.AfterFunc(d, func() {
			if took := time.Since(began); took < d {
				early <- fmt.Errorf("a timer of %v fired after %v", d, took)
			}
			wg.Done()
		})
	}
	wg.Wait()
	up, err := aios.Uptime(handle(abi.CapClock))
	if err != nil || up <= 0 {
		return fmt.Errorf("uptime %v, %v", up, err)
	}
	close(early)
	return <-early
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

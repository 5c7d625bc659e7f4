//go:build aios

package ring0

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"aios/kernel/metal"
)

func runtimeCases() []Case {
	return []Case{
		{"runtime: every CPU is used", everyCPU},
		{"runtime: endless loops do not hold up others", preemption},
		{"runtime: nil pointer becomes a panic", nilPointer},
		{"runtime: division by zero becomes a panic", divideByZero},
		{"runtime: floating point survives preemption", floats},
		{"runtime: threads come and go", threads},
		{"runtime: timers fire, and not too early", timers},
	}
}

// everyCPU has as many goroutines as there are CPUs meet, without yielding, and
// note where they are: at some meeting each is on a CPU of its own.
func everyCPU() error {
	n := metal.CPUs()
	if err := expect("GOMAXPROCS", runtime.GOMAXPROCS(0), n); err != nil {
		return err
	}
	for range 1000 {
		var arrived, noted atomic.Int32
		where := make([]uint32, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				arrived.Add(1)
				for arrived.Load() < int32(n) {
				}
				where[i] = metal.ReadControl().APIC
				noted.Add(1)
				for noted.Load() < int32(n) {
				}
			})
		}
		wg.Wait()
		slices.Sort(where)
		if len(slices.Compact(where)) == n {
			return nil
		}
	}
	return fmt.Errorf("%d goroutines never were on %d CPUs at once", n, n)
}

func preemption() error {
	stop := make(chan bool)
	for range runtime.GOMAXPROCS(0) + 1 {
		go func() {
			for i := 0; ; i++ {
				if i&(1<<20-1) == 0 {
					select {
					case <-stop:
						return
					default:
					}
				}
			}
		}()
	}
	defer close(stop)
	for range 10 {
		time.Sleep(2 * time.Millisecond)
	}
	runtime.GC() // stops the world, loops and all
	return nil
}

func recovered(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	f()
	return errors.New("no panic")
}

var nothing *[4]int
var zero int

func nilPointer() error {
	err := recovered(func() { nothing[1] = 3 })
	return expect("panic", err.Error(), "runtime error: invalid memory address or nil pointer dereference")
}

func divideByZero() error {
	err := recovered(func() { zero = 1 / zero })
	return expect("panic", err.Error(), "runtime error: integer divide by zero")
}

func floats() error {
	results := make(chan float64, 6)
	for range cap(results) {
		go func() {
			x := 1.0
			for range 2_000_000 {
				x = x*1.0000001 + 1e-9
			}
			results <- x
		}()
	}
	first := <-results
	for range cap(results) - 1 {
		if x := <-results; x != first {
			return fmt.Errorf("two equal computations gave %v and %v", first, x)
		}
	}
	return nil
}

func threads() error {
	for range 50 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // the thread ends with its goroutine
			time.Sleep(time.Microsecond)
			close(done)
		}()
		<-done
	}
	return nil
}

func timers() error {
	var wg sync.WaitGroup
	early := make(chan error, 3)
	for _, d := range []time.Duration{30 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
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
	close(early)
	return <-early
}

func memoryCases() []Case {
	return []Case{
		{"memory: text is not writable", func() error { return faults(func() { poke(pcOf(memoryCases)) }) }},
		{"memory: read-only data is not writable", func() error { return faults(func() { poke(constantAddr()) }) }},
		{"memory: the heap is not executable", heapNotExecutable},
		{"memory: page zero is not mapped", func() error { return faults(func() { poke(16) }) }},
		{"memory: the physmap does not alias the kernel's text", noTextAlias},
		{"memory: programs can have every frame of the machine but the kernel's reserve", exhaustion},
		{"memory: collection keeps live data and gives frames back", collection},
	}
}

var constant = "constant text of the image"

func faults(f func()) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	err := recovered(f)
	if err.Error() == "no panic" {
		return errors.New("the access went through")
	}
	return nil
}

func noTextAlias() error {
	b := metal.Boot()
	return faults(func() { metal.Bytes(uintptr(b.KernelPhys)+0x2000, 1)[0] = 0xcc })
}

func collection() error {
	debug.FreeOSMemory()
	_, before := metal.Frames()
	live := make([][]byte, 256)
	for i := range 4096 {
		b := make([]byte, 16384)
		b[0], b[16383] = byte(i), byte(i)
		live[i%len(live)] = b
	}
	for i, b := range live {
		if b[0] != b[16383] {
			return fmt.Errorf("block %d was overwritten", i)
		}
	}
	live = nil
	debug.FreeOSMemory()
	if _, after := metal.Frames(); after > before+1024 {
		return fmt.Errorf("%d frames before, %d after everything was freed", before, after)
	}
	return nil
}

//go:build aios

package ring0

import (
	"fmt"
	"runtime"

	"aios/kernel/metal"
)

// End makes the kernel fail, in the way that its name says, while every CPU has
// work: goroutines in ring 0 and programs in ring 3. It does not return.
func End(how string) error {
	fail := map[string]func(){"panic": func() { fall(nil) }, "trap": brokenContext}[how]
	if fail == nil {
		return fmt.Errorf("no such end: %q", how)
	}
	for range metal.CPUs() {
		go func() {
			for {
			}
		}()
		p, err := newProgram(0xeb, 0xfe)
		if err != nil {
			return err
		}
		go p.run()
	}
	go fail()
	for {
		runtime.Gosched()
	}
}

// fall dereferences nil: the trace on the console must name it.
//
//go:noinline
func fall(p *[2]int) { p[1] = 1 }

// brokenContext has the kernel load vector state from where no memory is, with
// interrupts off, on the way to ring 3.
func brokenContext() {
	p, err := newProgram(0xeb, 0xfe)
	if err != nil {
		panic(err)
	}
	p.ctx.BP, p.ctx.FX = frame(), 1<<45
	p.run()
}

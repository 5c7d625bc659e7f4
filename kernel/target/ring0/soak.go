//go:build aios

package ring0

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"aios/kernel/metal"
)

// soak does everything at once for a few seconds: what it finds is a register,
// a vector register or a page that one activity lost to another.
func soak() error {
	end := time.Now().Add(5 * time.Second)
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	loop := func(f func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(end) {
				if err := f(); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	want := sha256.Sum256(make([]byte, 1<<16))
	for range 2 {
		loop(func() error {
			if sha256.Sum256(make([]byte, 1<<16)) != want {
				return errors.New("a hash came out wrong")
			}
			return nil
		})
		loop(vectorProgram)
		loop(func() error { time.Sleep(rand.N(2 * time.Millisecond)); return nil })
		loop(func() error {
			runtime.LockOSThread()
			time.Sleep(time.Millisecond)
			runtime.UnlockOSThread()
			return nil
		})
	}
	loop(threads)
	loop(func() error { debug.FreeOSMemory(); time.Sleep(50 * time.Millisecond); return nil })
	wg.Wait()
	close(errs)
	return <-errs
}

// vectorProgram checks in ring 3 that XMM0 keeps its value, while it is
// preempted, kicked, and pages come and go.
func vectorProgram() error {
	// movq xmm0,rbx; l: movq rax,xmm0; cmp rax,rbx; jne bad; dec rcx; jnz l; mov eax,0x3000; syscall; bad: ud2
	p, err := newProgram(0x66, 0x48, 0x0f, 0x6e, 0xc3, 0x66, 0x48, 0x0f, 0x7e, 0xc0, 0x48, 0x39, 0xd8, 0x75, 0x0c,
		0x48, 0xff, 0xc9, 0x75, 0xf1, 0xb8, 0, 0x30, 0, 0, 0x0f, 5, 0x0f, 0x0b)
	if err != nil {
		return err
	}
	var kicker sync.WaitGroup
	defer p.close()
	defer kicker.Wait()
	p.ctx.BX, p.ctx.CX = rand.Uint64(), 1+rand.Uint64N(500_000)
	p.ctx.Quota = int64(rand.N(5 * time.Millisecond))
	kicker.Go(func() { time.Sleep(rand.N(3 * time.Millisecond)); metal.Kick(p.ctx) })
	for {
		pages := uintptr(rand.N(20))
		for i := range pages {
			if _, err := p.space.Map(1<<40+i*4096, 3); err != nil {
				return err
			}
		}
		switch x := metal.RunUser(p.ctx); x {
		case metal.ExitSyscall:
			return nil
		case metal.ExitFault:
			return fmt.Errorf("vector %d at %#x: rbx %#x, xmm0 %#x", p.ctx.Vec, p.ctx.RIP, p.ctx.BX, p.ctx.AX)
		}
		p.space.Unmap(1<<40, pages*4096)
	}
}

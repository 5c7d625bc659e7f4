//go:build aios

package ring0

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"aios/kernel/metal"
)

func userCases() []Case {
	return []Case{
		{"ring 3: system call gets there and back", roundTrip},
		{"ring 3: endless loop ends with its quantum", endlessLoop},
		{"ring 3: kick ends an endless loop", kickLoop},
		{"ring 3: a kick before the run is not lost", kickEarly},
		{"ring 3: GS of the program does not reach the kernel", userGS},
		{"ring 3: flags of the program do not reach the kernel", userFlags},
		{"ring 3: programs share the CPUs", sharing},
		{"ring 3: sixty endless loops do not hold the kernel up", crowd},
		{"space: kernel addresses cannot be mapped", mapKernel},
		{"space: writable and executable is refused", mapWX},
		{"space: unmapped pages are gone at once", unmapped},
		{"space: new pages are zero", scrubbed},
		{"space: destroy gives every frame back", destroy},
	}
}

func roundTrip() error {
	p, err := newProgram(0xb8, 0x42, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 5, 0x89, 0xc7, 0x0f, 5)
	if err != nil {
		return err
	}
	defer p.close()
	if x := p.run(); x != metal.ExitSyscall || p.ctx.AX != 0x42 || p.ctx.DI != 7 {
		return fmt.Errorf("first call: %v number %#x argument %d", x, p.ctx.AX, p.ctx.DI)
	}
	p.ctx.AX = 1234
	if x := p.run(); x != metal.ExitSyscall || p.ctx.DI != 1234 {
		return fmt.Errorf("second call: %v argument %d, want the first one's result 1234", x, p.ctx.DI)
	}
	return nil
}

func endlessLoop() error {
	p, err := newProgram(0xeb, 0xfe)
	if err != nil {
		return err
	}
	defer p.close()
	return expect("exit", metal.RunUser(p.ctx), metal.ExitQuantum)
}

func kickLoop() error {
	p, err := newProgram(0xeb, 0xfe)
	if err != nil {
		return err
	}
	defer p.close()
	p.ctx.Quota = int64(time.Hour)
	exit := make(chan metal.Exit)
	go func() { exit <- metal.RunUser(p.ctx) }()
	metal.Kick(p.ctx)
	return expect("exit", <-exit, metal.ExitKick)
}

func kickEarly() error {
	p, err := newProgram(0xeb, 0xfe)
	if err != nil {
		return err
	}
	defer p.close()
	p.ctx.Quota = int64(time.Hour)
	metal.Kick(p.ctx)
	return expect("exit", metal.RunUser(p.ctx), metal.ExitKick)
}

func userGS() error {
	p, err := newProgram(0x31, 0xc0, 0x8e, 0xe8, 0xb8, 0x42, 0, 0, 0, 0x0f, 5) // mov gs, 0; syscall
	if err != nil {
		return err
	}
	defer p.close()
	return expect("exit", p.run(), metal.ExitSyscall)
}

func userFlags() error {
	// push DF|AC|NT; popf; syscall: the kernel runs with none of them
	p, err := newProgram(0x68, 0x00, 0x44, 0x04, 0x00, 0x9d, 0xb8, 0x42, 0, 0, 0, 0x0f, 5)
	if err != nil {
		return err
	}
	defer p.close()
	return expect("exit", p.run(), metal.ExitSyscall)
}

func sharing() error {
	var wg sync.WaitGroup
	errs := make(chan error, 6)
	for range cap(errs) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p, err := newProgram(0xeb, 0xfe)
			if err != nil {
				errs <- err
				return
			}
			defer p.close()
			for range 3 {
				if x := metal.RunUser(p.ctx); x != metal.ExitQuantum {
					errs <- fmt.Errorf("ended by %v", x)
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// crowd has two threads of the kernel hand a token to and fro, through the
// scheduler each time, while sixty programs want the CPUs for themselves. How
// long that takes is on the case's line.
func crowd() error {
	var programs []*program
	var wg sync.WaitGroup
	defer func() {
		for _, p := range programs {
			metal.Kick(p.ctx)
		}
		wg.Wait()
		for _, p := range programs {
			p.close()
		}
	}()
	for range 60 {
		p, err := newProgram(0xeb, 0xfe)
		if err != nil {
			return err
		}
		p.ctx.Quota = int64(time.Hour)
		programs = append(programs, p)
		wg.Go(func() { metal.RunUser(p.ctx) })
	}
	there, back := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for n := range there {
			back <- n + 1
		}
		close(back)
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(there)
	for n := range 100 {
		there <- n
		if err := expect("token", <-back, n+1); err != nil {
			return err
		}
	}
	return nil
}

func withSpace(f func(s *metal.Space) error) error {
	s, err := metal.NewSpace()
	if err != nil {
		return err
	}
	defer s.Destroy()
	return f(s)
}

func mapKernel() error {
	return withSpace(func(s *metal.Space) error {
		for _, va := range []uintptr{0, 0x1000, 0x3ff000, 0x40000000, 0x40001000, 0xfee00000, 1<<39 - 4096, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, 0xffffc00000000000} {
			if _, err := s.Map(va, 3); !errors.Is(err, syscall.EINVAL) {
				return fmt.Errorf("address %#x: %v, want EINVAL", va, err)
			}
		}
		return nil
	})
}

func mapWX() error {
	return withSpace(func(s *metal.Space) error {
		if _, err := s.Map(codeAt, 7); !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("map: %v, want EINVAL", err)
		}
		if err := s.Protect(codeAt, 4096, 7); !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("protect: %v, want EINVAL", err)
		}
		return nil
	})
}

func unmapped() error {
	// mov eax,[0x420000]; syscall; mov eax,[0x420000]; syscall
	load := []byte{0x8b, 0x04, 0x25, 0, 0, 0x42, 0, 0x0f, 5}
	p, err := newProgram(append(load, load...)...)
	if err != nil {
		return err
	}
	defer p.close()
	if _, err := p.space.Map(0x420000, 1); err != nil {
		return err
	}
	if x := p.run(); x != metal.ExitSyscall {
		return fmt.Errorf("with the page: %v", x)
	}
	if n := p.space.Unmap(0x420000, 4096); n != 1 {
		return fmt.Errorf("unmapped %d pages, want 1", n)
	}
	if x := p.run(); x != metal.ExitFault || p.ctx.Vec != vecPF || p.ctx.CR2 != 0x420000 {
		return fmt.Errorf("without the page: %v, vector %d at %#x", x, p.ctx.Vec, p.ctx.CR2)
	}
	return nil
}

func scrubbed() error {
	return withSpace(func(s *metal.Space) error {
		for i := range uintptr(64) {
			b, err := s.Map(1<<40+i*4096, 3)
			if err != nil {
				return err
			}
			for j, v := range b {
				if v != 0 {
					return fmt.Errorf("new page %d has %#x at %d", i, v, j)
				}
				b[j] = 0xa5
			}
			if i%2 == 1 {
				s.Unmap(1<<40+i*4096, 4096) // its frame comes back with the next page
			}
		}
		return nil
	})
}

func destroy() error {
	s, err := metal.NewSpace()
	if err != nil {
		return err
	}
	for i := range uintptr(100) {
		if _, err := s.Map(1<<40+i*4096, 3); err != nil {
			return err
		}
	}
	// 100 pages; PML4, two PDPTs, PD, PT
	return expect("frames freed", s.Destroy(), 105)
}

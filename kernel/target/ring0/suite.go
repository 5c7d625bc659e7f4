//go:build aios

package ring0

import (
	"fmt"

	"aios/kernel/abi"
	"aios/kernel/metal"
)

// Case is one named test; it returns what went wrong.
type Case struct {
	Name string
	Run  func() error
}

// Cases is the suite, in the order in which it runs.
func Cases() []Case {
	var c []Case
	c = append(c, runtimeCases()...)
	c = append(c, memoryCases()...)
	c = append(c, faultCases()...)
	c = append(c, userCases()...)
	c = append(c, entryCases()...)
	return append(c, Case{"soak: threads, GC, signals, ring 3 together", soak})
}

const (
	codeAt  = 0x400000
	stackAt = 0x410000
)

// program is a few bytes of machine code in a space of its own.
type program struct {
	space *metal.Space
	ctx   *abi.UserContext
}

func newProgram(code ...byte) (*program, error) {
	s, err := metal.NewSpace()
	if err != nil {
		return nil, err
	}
	text, err := s.Map(codeAt, 5)
	if err != nil {
		return nil, err
	}
	copy(text, code)
	if _, err := s.Map(stackAt, 3); err != nil {
		return nil, err
	}
	fx, _, err := metal.NewVectorState()
	if err != nil {
		return nil, err
	}
	return &program{s, &abi.UserContext{
		RIP: codeAt, SP: stackAt + 0x1000, FX: fx, CR3: s.Root(), Quota: 10e6,
	}}, nil
}

// run goes on over ends of the quantum.
func (p *program) run() metal.Exit {
	for {
		if x := metal.RunUser(p.ctx); x != metal.ExitQuantum {
			return x
		}
	}
}

func (p *program) close() int {
	metal.FreeVectorState(p.ctx.FX)
	return p.space.Destroy()
}

func expect[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

package ring3

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"aios/kernel/abi"
	"aios/kernel/process"
)

// randomCalls runs a program that makes calls by the grammar of abi.Calls, with objects
// of every type that never make it wait. The program counts, and fails if a call never
// succeeded; here it is seen that the kernel took it.
func (s *Suite) randomCalls() error {
	r := run{args: []string{"random", "1"}}
	said := &memoryLog{}
	cfg := s.config(&r)
	for i := range cfg.Grants {
		g := &cfg.Grants[i]
		switch g.Name {
		case abi.CapLog:
			g.Object = lineFunc(func(line string) {
				if strings.Contains(line, "FAIL") || strings.Contains(line, "each succeeded") {
					said.Line(line)
				}
			})
		case abi.CapChannel:
			g.Object = endless{}
		case abi.CapSend + "SELF":
			g.Rights |= abi.RightTransfer
		}
	}
	p, err := process.Start(s.Machine, cfg)
	if err != nil {
		return err
	}
	timer := time.AfterFunc(patience, func() { p.Kill("the case took too long") })
	defer timer.Stop()
	e := p.Wait()
	if !e.OK || e.Lost != 0 || !strings.Contains(said.text(), "100000 calls, each succeeded") {
		return fmt.Errorf("ended with %q, %d frames lost; it said %q", e.Reason, e.Lost, said.text())
	}
	return nil
}

// endless is a stream, a network device and an authority that always has what is asked for.
type endless struct{}

func (endless) Read(_ context.Context, p []byte) (int, error)  { return len(p), nil }
func (endless) Write(_ context.Context, p []byte) (int, error) { return len(p), nil }
func (endless) Info() ([6]byte, uint16)                        { return [6]byte{2, 0, 0, 0, 0, 1}, 1500 }
func (endless) ReadFrames(p []byte) (int, error)               { return copy(p, "\x03\x00abc"), nil }
func (endless) Arrived() <-chan struct{}                       { return nil }
func (endless) WriteFrames(_ context.Context, p []byte) (int, error) {
	return len(p), nil
}
func (endless) Authority(_ context.Context, op uint32, request []byte) ([]byte, error) {
	if op%2 == 0 {
		return nil, io.ErrClosedPipe
	}
	return abi.Message(nil, []byte(strings.Repeat("x", min(len(request), 64)))), nil
}

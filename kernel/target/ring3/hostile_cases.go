package ring3

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// hostileCases have programs try what they have no right to: all of it is refused, and
// nothing is left of them.
func (s *Suite) hostileCases() []Case {
	cases := []Case{
		{"hostile: forged handles, and those of another program, are none", func() error {
			return s.play(nil, player{thing: "forger"}, player{thing: "victim"})
		}},
		{"hostile: closed handles stay closed when their slots are used again", func() error {
			return s.play(nil, player{thing: "stale"})
		}},
		{"hostile: a service acts for others by what they gave it, and by nothing else", s.confusedDeputy},
		{"hostile: a mailbox and a table take what fits, and lose nothing", s.hoard},
		{"hostile: a quota is not passed by many handles or threads", func() error {
			return s.play(nil, player{thing: "spender", gate: openGate(50)})
		}},
		{"hostile: a list of handles that changes while it is read moves each once, or none", func() error {
			return s.play(nil, player{thing: "fliphandles"})
		}},
		{"hostile: requests, frames and lines that change while they are read are read once", s.flipRequests},
		{"hostile: leases, lists, orders and receipts from before, of others, or of nobody", s.replays},
		{"hostile: what the kernel tells is not read back", func() error {
			return s.play(nil, player{thing: "flipanswers", extra: 100})
		}},
	}
	for i, c := range cases {
		cases[i].Run = func() error { return s.balanced(c.Run) }
	}
	return cases
}

// openGate is a token's that admits so many messages a second, for as long as a case takes.
func openGate(messages uint64) *cap.Gate {
	const far = 1000 * time.Hour
	var lease cap.Lease
	lease.Begin(far)
	return lease.Gate(cap.Terms{Until: far, Messages: messages, Bytes: 1 << 40})
}

// confusedDeputy has an agent whose token does not admit the third program.
func (s *Suite) confusedDeputy() error {
	limit := func(ports []ipc.Port) cap.Limit {
		return func(c cap.Capability) abi.Rights {
			if e, ok := c.Object.(*ipc.Endpoint); ok && e.Port() == &ports[2] {
				return 0
			}
			return abi.AllRights
		}
	}
	return s.play(nil, player{thing: "deputy"}, player{thing: "schemer", gate: openGate(1 << 30), limit: limit}, player{thing: "ipcsilent", end: over})
}

func (s *Suite) hoard() error {
	channel := newDuplex()
	line := []process.Grant{{Name: abi.CapChannel, Type: abi.TypeStream, Rights: abi.RightRead | abi.RightWrite, Object: channel}}
	return s.play(func(p []*process.Process) error {
		select {
		case b := <-channel.fromProgram:
			channel.toProgram <- b
		case <-p[0].Done():
		}
		return nil
	}, player{thing: "hoarder", grants: line}, player{thing: "stuffed", grants: line})
}

// flipRequests has objects that look for a while whether what they were given changes.
func (s *Suite) flipRequests() error {
	w := &watcher{failed: make(chan error, 1)}
	err := s.play(nil, player{thing: "fliprequests", grants: []process.Grant{
		{Name: abi.CapAttest, Type: abi.TypeAttestor, Rights: abi.RightInvoke, Object: w},
		{Name: abi.CapAuthor, Type: abi.TypeAuthority, Rights: abi.RightInvoke, Object: w},
		{Name: abi.CapFrames, Type: abi.TypeFrames, Rights: abi.RightRead | abi.RightWrite, Object: w},
		{Name: abi.CapLog, Type: abi.TypeLog, Rights: abi.RightWrite, Object: w},
	}})
	select {
	case bad := <-w.failed:
		return bad
	default:
		return err
	}
}

// watcher is every object that is given bytes.
type watcher struct {
	endless
	failed chan error // the first thing that was wrong
}

func (w *watcher) fail(format string, a ...any) error {
	err := fmt.Errorf(format, a...)
	select {
	case w.failed <- err:
	default:
	}
	return err
}

// steady wants bytes that stay what they are.
func (w *watcher) steady(what string, b []byte) error {
	was := slices.Clone(b)
	for range 5 {
		runtime.Gosched()
	}
	if !bytes.Equal(was, b) {
		return w.fail("%s changed while it was looked at", what)
	}
	return nil
}

func (w *watcher) fields(what string, request []byte) ([]byte, error) {
	if err := w.steady(what, request); err != nil {
		return nil, err
	}
	f, _, err := abi.NextField(request)
	if err != nil {
		return nil, abi.Invalid
	}
	return abi.Message(f), nil
}

func (w *watcher) Attest(_ context.Context, _ uint32, request []byte) ([]byte, error) {
	return w.fields("a request to attest", request)
}

func (w *watcher) Authority(_ context.Context, _ uint32, request []byte) ([]byte, error) {
	return w.fields("a request to the authority", request)
}

// WriteFrames is promised frames that are whole.
func (w *watcher) WriteFrames(_ context.Context, p []byte) (int, error) {
	if err := w.steady("a frame", p); err != nil {
		return 0, err
	}
	for rest := p; len(rest) > 0; {
		if len(rest) < 2 {
			return 0, w.fail("frames %x end in the middle", p)
		}
		n := int(rest[0]) | int(rest[1])<<8
		if n == 0 || n > abi.MaxFrame || n > len(rest)-2 {
			return 0, w.fail("a frame of %d bytes, with %d left, in %x", n, len(rest)-2, p)
		}
		rest = rest[2+n:]
	}
	return len(p), nil
}

// Line is promised text that can be printed.
func (w *watcher) Line(text string) {
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			w.fail("a line with %q", text)
		}
	}
}

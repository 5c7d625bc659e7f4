package ring3

import (
	"errors"
	"fmt"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// borrowed has an agent lend a service what it derived, and ends the agent's token in each
// way that there is.
func (s *Suite) borrowed() error {
	const far = 1000 * time.Hour
	var lease cap.Lease
	lease.Begin(far)
	terms := cap.Terms{Until: far, Epoch: 1, Messages: 1 << 30, Bytes: 1 << 40}
	gate := lease.Gate(terms)
	channel := newDuplex()
	ask := func(order, want string) error {
		channel.toProgram <- []byte(order)
		select {
		case b := <-channel.fromProgram:
			if string(b) != want {
				return fmt.Errorf("%s: %q, want %q", order, b, want)
			}
			return nil
		case <-time.After(patience):
			return fmt.Errorf("%s: no answer", order)
		}
	}
	lapsed := abi.Lapsed.Error()
	during := func(p []*process.Process) error {
		for _, way := range []struct {
			name      string
			end, back func() // nil: there is no way back for what was lent
		}{
			{"it may be more than the token admits by now", gate.Recall, nil},
			{"the epoch is raised", func() { lease.Epoch(2) }, func() { terms.Epoch = 2; gate.Move(terms) }},
			{"the token expires", func() { gate.Move(cap.Terms{Epoch: 2}) }, func() { gate.Move(terms) }},
			{"the lease ends", lease.End, func() { lease.Renew(far) }},
			{"the token is revoked", gate.Shut, nil},
		} {
			err := errors.Join(ask("borrow", "borrowed"), ask("use", "works"))
			way.end()
			err = errors.Join(err, ask("use", lapsed))
			if way.back != nil {
				way.back()
				err = errors.Join(err, ask("use", "works"))
			}
			if err = errors.Join(err, ask("close", "closed")); err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
		}
		channel.toProgram <- []byte("end")
		return nil
	}
	return s.play(during, player{thing: "lender", gate: gate, end: over}, player{thing: "borrower", grants: []process.Grant{
		{Name: abi.CapChannel, Type: abi.TypeStream, Rights: abi.RightRead | abi.RightWrite, Object: channel},
	}})
}

// slowBlob holds its one call up until the program says that the handle is dead, and a
// little longer. left tells whether the call is over.
type slowBlob struct {
	channel *duplex
	left    chan struct{}
}

func (b slowBlob) ReadAt(p []byte, _ int64) (int, error) {
	b.channel.toProgram <- []byte("!")
	select {
	case <-b.channel.fromProgram:
		time.Sleep(20 * time.Millisecond) // a revocation that does not wait for this has returned by then
		close(b.left)
	case <-time.After(patience):
	}
	return len(p), nil
}

// leftBlob says whether the slow call is over.
type leftBlob struct{ left chan struct{} }

func (b leftBlob) ReadAt(p []byte, _ int64) (int, error) {
	select {
	case <-b.left:
		return copy(p, "yes."), nil
	default:
		return copy(p, "no. "), nil
	}
}

func (s *Suite) revokeWaits() error {
	channel, full := newDuplex(), new(ipc.Port)
	box, e := full.Open(ipc.DefaultLimits, ipc.NewQuota(ipc.DefaultLimits.Cost()+ipc.DefaultLimits.Bytes), ipc.NewPool(1))
	if e != 0 {
		return e
	}
	defer box.Close()
	left := make(chan struct{})
	return s.play(nil, player{thing: "revokewaits", grants: []process.Grant{
		{Name: abi.CapChannel, Type: abi.TypeStream, Rights: abi.RightRead | abi.RightWrite, Object: channel},
		{Name: "SLOW", Type: abi.TypeBlob, Rights: abi.RightRead, Object: slowBlob{channel, left}},
		{Name: "LEFT", Type: abi.TypeBlob, Rights: abi.RightRead, Object: leftBlob{left}},
		{Name: abi.CapSend + "FULL", Type: abi.TypeEndpoint, Rights: abi.RightWrite, Object: full},
	}})
}

package agent

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
)

// Authority serves the system call: fields in, a reason and fields out.
func (a *Authority) Authority(ctx context.Context, op uint32, request []byte) ([]byte, error) {
	var fields [][]byte
	var err error // a refusal
	switch op {
	case abi.AuthorityRequest:
		if _, e := abi.Fields(request, 0); e != nil {
			return nil, e
		}
		fields, err = a.Request()
	case abi.AuthorityLease:
		f, e := abi.Fields(request, 1)
		if e != nil {
			return nil, e
		}
		err = a.TakeLease(ctx, f[0])
	case abi.AuthorityToken:
		f, e := abi.Fields(request, 2)
		if e != nil {
			return nil, e
		}
		err = a.TakeToken(captoken.Token(f[0]), f[1])
	case abi.AuthorityNonce:
		if _, e := abi.Fields(request, 0); e != nil {
			return nil, e
		}
		nonce := a.Nonce()
		fields = [][]byte{nonce[:]}
	case abi.AuthorityOrders:
		o, e := parseOrders(request)
		if e != nil {
			return nil, e
		}
		err = a.TakeOrders(ctx, o)
	case abi.AuthorityRevocations:
		f, e := abi.Fields(request, 1)
		if e != nil {
			return nil, e
		}
		err = a.TakeRevocations(ctx, f[0])
	case abi.AuthorityStart:
		f, e := abi.Fields(request, 1)
		if e != nil {
			return nil, e
		}
		var instance uint64
		instance, err = a.Start(string(f[0]))
		fields = [][]byte{number(instance)}
	case abi.AuthorityKill:
		f, e := abi.Fields(request, 2)
		if e != nil {
			return nil, e
		}
		if len(f[0]) != len(captoken.ID{}) {
			return nil, abi.Invalid
		}
		fields, err = a.Kill(ctx, captoken.ID(f[0]), string(f[1]))
	case abi.AuthorityQuote:
		f, e := abi.Fields(request, 2)
		if e != nil {
			return nil, e
		}
		if len(f[0]) != captoken.NonceSize {
			return nil, abi.Invalid
		}
		fields, err = a.Quote([captoken.NonceSize]byte(f[0]), f[1])
	case abi.AuthorityWatch:
		f, e := abi.Fields(request, 2)
		if e != nil {
			return nil, e
		}
		if len(f[0]) != 8 || len(f[1]) != 8 {
			return nil, abi.Invalid
		}
		fields, err = a.Watch(ctx, binary.LittleEndian.Uint64(f[0]), binary.LittleEndian.Uint64(f[1]))
	default:
		return nil, abi.Invalid
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return abi.Message([]byte(err.Error())), nil
	}
	return abi.Message(append([][]byte{nil}, fields...)...), nil
}

// Orders are what the verifier orders. They are complete, and replace those before.
// Nobody signs them: they can only stop.
type Orders struct {
	Sequence uint64
	All      bool     // no agent may run
	Agents   []string // that may not
}

// maxNames bounds the agents that orders name: the host knows fewer.
const maxNames = 1024

func parseOrders(request []byte) (o Orders, err error) {
	f, err := abi.Fields(request, 3)
	if err != nil {
		return o, err
	}
	if len(f[0]) != 8 || len(f[1]) != 1 || f[1][0] > 1 {
		return o, abi.Invalid
	}
	o.Sequence, o.All = binary.LittleEndian.Uint64(f[0]), f[1][0] == 1
	names, ends := strings.CutSuffix(string(f[2]), "\n")
	if len(f[2]) > 0 {
		o.Agents = strings.Split(names, "\n")
	}
	if len(f[2]) > 0 && !ends || len(o.Agents) > maxNames {
		return o, abi.Invalid
	}
	return o, nil
}

func number(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// Request asks for a lease: nonce, boot id, TPM reset count, the lease that is held,
// the highest revocation sequence, the tokens that are held, and the sequence of the
// revocation list that is.
func (a *Authority) Request() ([][]byte, error) {
	now, err := a.lockIdentified()
	if err != nil {
		return nil, a.refuse("lease request refused", err)
	}
	defer a.unlock()
	var nonce [captoken.NonceSize]byte
	a.c.Random(nonce[:])
	a.state.Sent(nonce, now)
	var held captoken.ID
	if p := a.phase(now); p == captoken.LeaseHeld || p == captoken.LeaseGrace {
		held = a.state.ID(now)
	}
	var tokens []byte
	for _, g := range a.order {
		if g.token != nil {
			tokens = append(tokens, g.token.grant.Chain[0][:]...)
		}
	}
	return [][]byte{nonce[:], a.boot.ID[:], number(uint64(a.boot.ResetCount)), held[:], number(a.seen()), tokens, number(a.listed())}, nil
}

// refuse puts a refusal on the log. Preconditions: mu is free.
func (a *Authority) refuse(what string, err error) error {
	a.c.Log("aios kernel: " + what + " reason=" + quoted(err.Error()))
	return err
}

// Watch tells of events of a higher number than after. It waits for one, for so many
// nanoseconds (abi.Forever: as long as it takes).
func (a *Authority) Watch(ctx context.Context, after, nanoseconds uint64) ([][]byte, error) {
	var timeout <-chan time.Time
	if nanoseconds <= 1<<63-1 {
		t := time.NewTimer(time.Duration(nanoseconds))
		defer t.Stop()
		timeout = t.C
	}
	for {
		a.mu.Lock()
		found, changed := a.events.after(after), a.events.changed
		a.mu.Unlock()
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-changed:
		case <-timeout:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

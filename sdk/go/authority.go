package aios

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"aios/kernel/abi"
)

// ErrRefused is wrapped by what the kernel refuses; nothing was changed then.
var ErrRefused = errors.New("the kernel refuses")

// Authority tells the kernel what the verifier grants and orders.
type Authority struct{ Handle abi.Handle }

// OpenAuthority uses the capability AUTHORITY.
func OpenAuthority() (Authority, error) {
	h, err := Cap(abi.CapAuthor)
	return Authority{h}, err
}

// LeaseRequest is what the kernel asks of the token authority.
type LeaseRequest struct {
	Nonce  [32]byte // the lease that answers counts from when this was made
	Boot   [16]byte
	Resets uint32 // of the TPM
	Held   [16]byte
	Seen   uint64 // highest revocation sequence
	Tokens [][16]byte
	List   uint64 // sequence of the revocation list that is held
}

// Orders are what the verifier orders; docs/evidence-protocol.md says more.
type Orders struct {
	Sequence uint64
	All      bool     // no agent may run
	Agents   []string // that may not
}

// AgentEvent is something that happened to an agent or to the lease.
type AgentEvent struct {
	Number   uint64
	At       time.Duration // since boot
	Instance uint64
	Kind     string // start, denied, gone, lease
	Agent    string
	Text     string
	Receipt  []byte
}

// ask makes the call and splits the answer; a reason in it is an error.
func (a Authority) ask(op uint64, what string, request ...[]byte) ([][]byte, error) {
	response := make([]byte, abi.MaxOrder)
	k, err := authorityCall(a.Handle, op, abi.Message(request...), response)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var fields [][]byte
	for rest := response[:k]; len(rest) > 0 || len(fields) == 0; {
		var f []byte
		if f, rest, err = abi.NextField(rest); err != nil {
			return nil, fmt.Errorf("%s: the kernel's answer: %w", what, err)
		}
		fields = append(fields, f)
	}
	if len(fields[0]) > 0 {
		return nil, fmt.Errorf("%s: %w: %s", what, ErrRefused, fields[0])
	}
	return fields[1:], nil
}

// number reads a u64.
func number(f []byte) uint64 {
	if len(f) != 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(f)
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func ids(f []byte) (out [][16]byte) {
	for ; len(f) >= 16; f = f[16:] {
		out = append(out, [16]byte(f))
	}
	return out
}

// Request has the kernel ask for a lease.
func (a Authority) Request() (*LeaseRequest, error) {
	f, err := a.ask(abi.AuthorityRequest, "make a lease request")
	if err != nil {
		return nil, err
	}
	if len(f) != 7 || len(f[0]) != 32 || len(f[1]) != 16 || len(f[3]) != 16 {
		return nil, fmt.Errorf("make a lease request: the kernel's answer: %w", abi.ErrField)
	}
	return &LeaseRequest{[32]byte(f[0]), [16]byte(f[1]), uint32(number(f[2])), [16]byte(f[3]), number(f[4]), ids(f[5]), number(f[6])}, nil
}

// Lease brings a signed lease.
func (a Authority) Lease(signed []byte) error {
	_, err := a.ask(abi.AuthorityLease, "take the lease", signed)
	return err
}

// Nonce has the kernel make one up for the proof of possession of one token.
func (a Authority) Nonce() (nonce [32]byte, err error) {
	f, err := a.ask(abi.AuthorityNonce, "make a nonce for a token")
	if err == nil && (len(f) != 1 || len(f[0]) != len(nonce)) {
		err = fmt.Errorf("make a nonce for a token: the kernel's answer: %w", abi.ErrField)
	}
	if err != nil {
		return nonce, err
	}
	return [32]byte(f[0]), nil
}

// Token brings a signed token, and its holder's proof over the nonce (captoken.Prove).
func (a Authority) Token(signed, proof []byte) error {
	_, err := a.ask(abi.AuthorityToken, "take a token", signed, proof)
	return err
}

// Revocations brings the verifier's signed list of what it revoked. What hangs from that
// is gone when it returns.
func (a Authority) Revocations(list []byte) error {
	_, err := a.ask(abi.AuthorityRevocations, "take the revocation list", list)
	return err
}

// Orders brings orders. What they forbid is gone when it returns.
func (a Authority) Orders(o Orders) error {
	all := []byte{0}
	if o.All {
		all[0] = 1
	}
	var names strings.Builder
	for _, n := range o.Agents {
		names.WriteString(n + "\n")
	}
	_, err := a.ask(abi.AuthorityOrders, "take the orders", u64(o.Sequence), all, []byte(names.String()))
	return err
}

// Start starts an agent of the manifest.
func (a Authority) Start(agent string) (instance uint64, err error) {
	f, err := a.ask(abi.AuthorityStart, "start agent "+agent, []byte(agent))
	if err != nil || len(f) != 1 {
		return 0, err
	}
	return number(f[0]), nil
}

// Kill ends an agent, or all if agent is empty, for an operator's command. The
// receipts say what is gone.
func (a Authority) Kill(command [16]byte, agent string) (receipts [][]byte, err error) {
	return a.ask(abi.AuthorityKill, "kill "+agent, command[:], []byte(agent))
}

// Quote has the kernel prove a receipt of its own.
func (a Authority) Quote(nonce [32]byte, receipt []byte) (*Quote, error) {
	f, err := a.ask(abi.AuthorityQuote, "quote a receipt", nonce[:], receipt)
	if err != nil {
		return nil, err
	}
	if len(f) != 3 {
		return nil, fmt.Errorf("quote a receipt: the kernel's answer: %w", abi.ErrField)
	}
	return splitQuote(f)
}

// Watch waits for events of a higher number than after; none came if there are none.
func (a Authority) Watch(after uint64, timeout time.Duration) (events []AgentEvent, err error) {
	f, err := a.ask(abi.AuthorityWatch, "watch the agents", u64(after), u64(uint64(timeout)))
	if err != nil {
		return nil, err
	}
	for _, field := range f {
		e, err := abi.Fields(field, 7)
		if err != nil {
			return nil, fmt.Errorf("watch the agents: the kernel's answer: %w", err)
		}
		events = append(events, AgentEvent{number(e[0]), time.Duration(number(e[1])), number(e[2]), string(e[3]), string(e[4]), string(e[5]), e[6]})
	}
	return events, nil
}

package ring3

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/agent"
	"aios/kernel/agent/agenttest"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// agents is a host with an authority over agents, and a verifier that signs for it: all
// of it real but the TPM. The runtime of each agent is the Go program, and the agent's
// name is what it does.
type agents struct {
	s         *Suite
	v         *agenttest.Verifier
	authority *agent.Authority
	log       *memoryLog    // of the kernel and of the agents
	news      chan struct{} // there when the log has grown
	loops     chan struct{} // there when an agent has said that it loops
	seen      uint64        // number of the last event that was looked at
	sequence  uint64        // of the last orders or revocation list
}

// Line takes a line of the log.
func (a *agents) Line(text string) {
	a.log.Line(text)
	tell := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default: // nobody has looked since
		}
	}
	tell(a.news)
	if strings.HasSuffix(text, ": looping") {
		tell(a.loops)
	}
}

// agentLease and agentGrace are so short that a case can await their ends.
const (
	agentLease = 2 * time.Second
	agentGrace = time.Second
)

func (s *Suite) agents(lease time.Duration, names ...string) *agents {
	a := &agents{s: s, v: agenttest.New(s.Machine.Now), log: &memoryLog{}, news: make(chan struct{}, 1), loops: make(chan struct{}, 1)}
	a.v.Duration = lease
	peers := map[*ipc.Port]string{}
	var specs []agent.Spec
	elsewhere := new(ipc.Port)
	peers[elsewhere] = "elsewhere"
	for _, name := range names {
		port := new(ipc.Port)
		peers[port] = name
		specs = append(specs, agent.Spec{
			Name: name, Runtime: "test", Image: s.Program, Module: strings.NewReader("module"), Memory: quota, Port: port,
			Grants: []process.Grant{
				{Name: abi.CapClock, Type: abi.TypeClock, Rights: abi.RightRead},
				{Name: abi.CapLog, Type: abi.TypeLog, Rights: abi.RightWrite, Object: a},
				{Name: abi.CapAttest, Type: abi.TypeAttestor, Rights: abi.RightInvoke, Object: attestor{}},
				{Name: abi.CapReply, Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: port},
				{Name: abi.CapSend + "ELSEWHERE", Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: elsewhere},
			},
		})
	}
	var pids atomic.Int64
	pids.Store(300)
	c := agent.Config{
		Agents: specs, Issuer: a.v.Key.Public(), Grace: agentGrace,
		Host:   func() (string, error) { return a.v.Host, nil },
		Resets: func() (uint32, error) { return 1, nil },
		Prove: func(nonce [captoken.NonceSize]byte, receipt []byte) ([]byte, []byte, []byte, error) {
			d := captoken.ReceiptQuote(nonce, captoken.ReceiptHash(receipt))
			return d[:], nil, nil, nil
		},
		Now: s.Machine.Now, Random: s.Machine.Random, NewPID: func() int { return int(pids.Add(1)) }, Peers: peers,
		Start: func(c process.Config) (agent.Process, error) {
			p, err := process.Start(s.Machine, c)
			if err != nil {
				return nil, err
			}
			return p, nil
		},
		Log: a.Line,
	}
	s.Machine.Random(c.Boot[:])
	a.authority = agent.New(c)
	return a
}

// call makes the system call's kernel side.
func (a *agents) call(op uint32, fields ...[]byte) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return agenttest.Answer(a.authority.Authority(ctx, op, abi.Message(fields...)))
}

// attest has the host hold a lease.
func (a *agents) attest() error {
	request, err := a.call(abi.AuthorityRequest)
	if err != nil {
		return err
	}
	_, err = a.call(abi.AuthorityLease, a.v.Lease(request, nil))
	return err
}

// token brings a token with its holder's proof.
func (a *agents) token(t captoken.Token) error {
	nonce, err := a.call(abi.AuthorityNonce)
	if err != nil {
		return err
	}
	_, err = a.call(abi.AuthorityToken, t, a.v.Proof(t, nonce[0]))
	return err
}

// run has an agent run on a token.
func (a *agents) run(name string, change func(*captoken.Claims)) error {
	if err := a.token(a.v.Token(name, change)); err != nil {
		return err
	}
	_, err := a.call(abi.AuthorityStart, []byte(name))
	return err
}

// orders sends orders of the next sequence number.
func (a *agents) orders(names ...string) error {
	text := ""
	for _, n := range names {
		text += n + "\n"
	}
	a.sequence++
	_, err := a.call(abi.AuthorityOrders, binary.LittleEndian.AppendUint64(nil, a.sequence), []byte{0}, []byte(text))
	return err
}

// revoke brings a revocation list of the next sequence number.
func (a *agents) revoke(change func(*captoken.RevocationList)) error {
	a.sequence++
	a.v.Sequence = a.sequence
	_, err := a.call(abi.AuthorityRevocations, a.v.Revocations(change))
	return err
}

// kill ends an agent for a command, and gives its receipt.
func (a *agents) kill(name string, command captoken.ID) (*captoken.Receipt, error) {
	f, err := a.call(abi.AuthorityKill, command[:], []byte(name))
	if err != nil {
		return nil, err
	}
	if len(f) != 1 {
		return nil, fmt.Errorf("%d receipts", len(f))
	}
	quoted, err := a.call(abi.AuthorityQuote, make([]byte, 32), f[0])
	if err != nil {
		return nil, err
	}
	if want := captoken.ReceiptQuote([32]byte{}, captoken.ReceiptHash(f[0])); string(quoted[0]) != string(want[:]) {
		return nil, errors.New("the quote is over something else than the receipt")
	}
	return captoken.ParseReceipt(f[0])
}

// gone waits for the end of an agent, also on the log, which is told after who watches,
// and gives its receipt.
func (a *agents) gone(name string) (*captoken.Receipt, error) {
	u64 := func(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
	for {
		f, err := a.call(abi.AuthorityWatch, u64(a.seen), u64(abi.Forever))
		if err != nil {
			return nil, fmt.Errorf("agent %s goes on: %w; log:\n%s", name, err, a.log.text())
		}
		for _, e := range f {
			e, err := abi.Fields(e, 7)
			if err != nil {
				return nil, err
			}
			a.seen = binary.LittleEndian.Uint64(e[0])
			if string(e[3]) == "gone" && string(e[4]) == name {
				r, err := captoken.ParseReceipt(e[6])
				if err != nil {
					return nil, err
				}
				return r, a.until(fmt.Sprintf("agent gone agent=%s instance=%d ", name, r.Instance))
			}
		}
	}
}

// until waits for a part of a line in the log.
func (a *agents) until(part string) error {
	late := time.After(patience)
	for !strings.Contains(a.log.text(), part) {
		select {
		case <-a.news:
		case <-late:
			return fmt.Errorf("nobody said %q, but:\n%s", part, a.log.text())
		}
	}
	return nil
}

// says wants a part of a line in the log.
func (a *agents) says(parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(a.log.text(), p) {
			return fmt.Errorf("the log lacks %q:\n%s", p, a.log.text())
		}
	}
	return nil
}

// BenchKill measures how long it takes from a kill's entry until nothing of a spinning
// agent is left: "aios test: B kill_spinning <ns> ns", for each of so many kills.
func (s *Suite) BenchKill(kills int, line func(string)) error {
	a := s.agents(time.Hour, "loop")
	if err := a.attest(); err != nil {
		return err
	}
	for i := range kills {
		if err := a.orders(); err != nil { // lifts what the last command stopped
			return err
		}
		if err := a.run("loop", nil); err != nil {
			return err
		}
		select {
		case <-a.loops:
		case <-time.After(patience):
			return fmt.Errorf("the agent does not spin; log:\n%s", a.log.text())
		}
		time.Sleep(time.Duration(i%25) * 500 * time.Microsecond) // in any phase of its quantum
		began := s.Machine.Now()
		command := captoken.ID{1, byte(i), byte(i >> 8)}
		if _, err := a.call(abi.AuthorityKill, command[:], []byte("loop")); err != nil {
			return err
		}
		line(fmt.Sprintf("B kill_spinning %d ns", s.Machine.Now()-began))
	}
	return nil
}

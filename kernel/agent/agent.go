package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"aios/captoken"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// Config is what an Authority works with. All of it is needed unless it says so.
type Config struct {
	Agents []Spec // of the system manifest
	Issuer *captoken.PublicKey
	Grace  time.Duration // how long agents go on after a lease

	// Host and Resets ask the TPM; they are called once, when they are first needed.
	Host   func() (string, error)
	Resets func() (uint32, error)
	Boot   captoken.ID // of this boot, random
	// Prove quotes a receipt: TPMS_ATTEST, TPMT_SIGNATURE, PCR values.
	Prove func(nonce [captoken.NonceSize]byte, receipt []byte) (attest, signature, values []byte, err error)

	Now    func() time.Duration // since boot, monotonic
	Random func([]byte)
	NewPID func() int
	Start  func(process.Config) (Process, error)
	Peers  map[*ipc.Port]string // names of all who have a mailbox
	Log    func(line string)
}

// Process is a process.Process.
type Process interface {
	Kill(reason string)
	Wait() process.Exit
	Restrict(cap.Limit)
}

// Spec is an agent as the manifest has it.
type Spec struct {
	Name    string
	Runtime string
	Image   []byte // of the runtime
	Module  process.Blob
	Memory  int64           // quota in bytes, which the token can only lower
	Grants  []process.Grant // what it wants, with all rights that it could have
	Port    *ipc.Port       // nil: it wants no mailbox
	CodeGen bool            // its runtime compiles
}

// Authority implements process.Authority.
type Authority struct {
	c     Config
	lease cap.Lease // as the checks of handles see it

	identity sync.Mutex // held while the TPM is asked who the host is

	mu       sync.Mutex
	host     string               // empty until the TPM said it
	state    *captoken.LeaseState // nil until then
	boot     captoken.Boot
	told     captoken.Phase // the phase that was last told of
	timer    *time.Timer
	agents   map[string]*agent
	order    []*agent // as in the manifest
	runs     uint64   // instances that there were
	list     *captoken.RevocationState
	ended    captoken.ID              // lease that was held and revoked
	ordered  uint64                   // sequence of the newest orders
	nonce    [captoken.NonceSize]byte // for the next token's proof of possession, zeros: none is open
	stopAll  bool                     // orders say that no agent may run
	receipts receipts
	events   events
	lines    []string // for the log, once mu is free
}

// agent is one of the manifest, and how things stand with it.
type agent struct {
	Spec
	token   *token    // nil: none is installed
	run     *instance // nil: it does not run
	stopped bool      // orders name it
	killed  *kill     // a command stopped it
	last    ending
	denials denials
}

// kill is a command that an agent is stopped by, until later orders do not name it.
type kill struct {
	command  captoken.ID
	sequence uint64 // that was known then
}

// New makes one without a lease.
func New(c Config) *Authority {
	a := &Authority{c: c, agents: map[string]*agent{}, list: captoken.NewRevocationState(c.Issuer)}
	for _, s := range c.Agents {
		g := &agent{Spec: s}
		a.agents[s.Name] = g
		a.order = append(a.order, g)
	}
	a.events.changed = make(chan struct{})
	return a
}

// lock takes mu with the time and the identity known. It asks the TPM if nobody has.
func (a *Authority) lockIdentified() (now time.Duration, err error) {
	a.identity.Lock()
	defer a.identity.Unlock()
	a.mu.Lock()
	if a.state != nil {
		return a.notice(), nil
	}
	a.mu.Unlock()
	host, err := a.c.Host()
	if err != nil {
		return 0, fmt.Errorf("the TPM does not tell who this host is: %w", err)
	}
	resets, err := a.c.Resets()
	if err != nil {
		return 0, fmt.Errorf("the TPM does not tell which boot this is: %w", err)
	}
	a.mu.Lock()
	a.host, a.boot = host, captoken.Boot{ID: a.c.Boot, ResetCount: resets}
	a.state = captoken.NewLeaseState([]*captoken.PublicKey{a.c.Issuer}, host, a.boot, a.c.Grace, 0)
	return a.notice(), nil
}

// unlock frees mu and puts on the log what there is to say: that may take its time.
func (a *Authority) unlock() {
	lines := a.lines
	a.lines = nil
	a.mu.Unlock()
	for _, l := range lines {
		a.c.Log("aios kernel: " + l)
	}
}

func (a *Authority) say(format string, v ...any) {
	a.lines = append(a.lines, fmt.Sprintf(format, v...))
}

// gone waits until instances are gone, or ctx is done.
func gone(ctx context.Context, runs []*instance) error {
	for _, i := range runs {
		select {
		case <-i.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

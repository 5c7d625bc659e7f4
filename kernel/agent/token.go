package agent

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"aios/captoken"
	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
)

// token is what is installed for an agent.
type token struct {
	grant    *captoken.Grant
	subjects []string      // agents, of the token and each delegation
	until    time.Duration // since boot, when it expires
	admits   admits
}

// admits is what a token admits of what this host has. What runs can only lose of it.
type admits struct {
	rights   captoken.Rights
	peers    map[string]bool // that it may send to
	messages uint64          // a second
	bytes    uint64          // a second
}

func (a *Authority) admits(g *captoken.Grant) admits {
	d := admits{g.Rights, map[string]bool{}, g.Quotas.MessagesPerSecond, g.Quotas.BytesPerSecond}
	for _, name := range a.c.Peers {
		if g.Scopes.Peers.Allow(name) {
			d.peers[name] = true
		}
	}
	return d
}

// both is what is admitted by both.
func (d admits) both(o admits) admits {
	out := admits{d.rights & o.rights, map[string]bool{}, min(d.messages, o.messages), min(d.bytes, o.bytes)}
	for name := range d.peers {
		if o.peers[name] {
			out.peers[name] = true
		}
	}
	return out
}

func (d admits) has(r captoken.Rights) bool { return d.rights&r == r }

// limit says which rights an agent's table may hold on what. It goes by the object, not
// by how the agent came by it: a handle that comes in a message is bounded too.
func (d admits) limit(own *ipc.Port, peers map[*ipc.Port]string) cap.Limit {
	return func(c cap.Capability) (r abi.Rights) {
		switch c.Type {
		case abi.TypeProcess: // itself
			return abi.RightControl
		case abi.TypeBlob: // its module, or what a service chose to show it
			r = abi.RightRead
		case abi.TypeLog:
			r = given(d.has(captoken.RightLog), abi.RightWrite)
		case abi.TypeClock:
			r = given(d.has(captoken.RightClock), abi.RightRead)
		case abi.TypeAttestor:
			r = given(d.has(captoken.RightAttest), abi.RightInvoke)
		case abi.TypeMailbox:
			return given(d.has(captoken.RightReceive), abi.RightRead)
		case abi.TypeEndpoint:
			e, ok := c.Object.(*ipc.Endpoint)
			switch {
			case !ok:
				return 0
			case own != nil && e.Port() == own: // an address to answer to: worth nothing unless it is passed on
				return given(d.has(captoken.RightReceive), abi.RightWrite|abi.RightTransfer)
			}
			r = given(d.has(captoken.RightSend) && d.peers[peers[e.Port()]], abi.RightWrite)
		}
		if d.has(captoken.RightTransfer) && r != 0 {
			r |= abi.RightTransfer
		}
		return r
	}
}

func given(ok bool, r abi.Rights) abi.Rights {
	if ok {
		return r
	}
	return 0
}

// needed are the rights without which no agent can run: its process needs memory.
const needed = captoken.RightMemory

// Nonce makes one up for the proof of possession of the next token. There is one at a
// time: it takes the place of the one before, and one attempt spends it.
func (a *Authority) Nonce() [captoken.NonceSize]byte {
	a.mu.Lock()
	defer a.unlock()
	a.c.Random(a.nonce[:])
	return a.nonce
}

// spend is the nonce that is open, for one attempt, whatever comes of it.
func (a *Authority) spend() (nonce [captoken.NonceSize]byte) {
	a.mu.Lock()
	defer a.unlock()
	nonce, a.nonce = a.nonce, nonce
	return nonce
}

// TakeToken verifies a token, once, and installs it. proof says that whoever brings it
// has the key of its holder: of the last delegation's, if there are some. For an agent
// that runs the token takes the place of the one before: what that admitted and it does
// not is lost, nothing is won, and the end moves.
func (a *Authority) TakeToken(raw captoken.Token, proof []byte) error {
	nonce := a.spend()
	now, err := a.lockIdentified()
	if err != nil {
		return a.refuse("token refused", err)
	}
	err = a.takeToken(raw, proof, nonce, now)
	a.unlock()
	if err != nil {
		return a.refuse("token refused", err)
	}
	return nil
}

func (a *Authority) takeToken(raw captoken.Token, proof []byte, nonce [captoken.NonceSize]byte, now time.Duration) error {
	if err := a.held(now); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	links, left, err := captoken.Read(raw)
	if err != nil {
		return err
	}
	at, _ := a.state.Time(now)
	grant, err := captoken.Verify(raw, captoken.Want{
		Trusted: []captoken.Issuer{{Key: a.c.Issuer, Revoked: a.list.List()}}, Host: a.host, Agent: left.Subject, Now: at,
		Lease: a.state.ID(now), Rights: needed, Revoked: stopped{a},
	})
	if err != nil {
		return err
	}
	if err := captoken.VerifyProof(proof, raw, grant, nonce); err != nil {
		return err
	}
	g := a.agents[grant.Subject]
	if g == nil {
		return fmt.Errorf("token: agent %s is none of this host's system manifest; assign it to a host that has it", quoted(grant.Subject))
	}
	if t := g.token; t != nil && grant.NotBefore.Before(t.grant.NotBefore) {
		return fmt.Errorf("token: valid from %s on, and the one that is installed is newer, from %s on; present the newest", stamp(grant.NotBefore), stamp(t.grant.NotBefore))
	}
	until, _ := a.state.When(grant.Expires)
	t := &token{grant: grant, until: until, admits: a.admits(grant)}
	for i := range links {
		t.subjects = append(t.subjects, links[i].Subject)
	}
	g.token = t
	if g.run != nil {
		g.run.narrow(t, a.c.Peers)
	}
	a.say("token installed agent=%s id=%v rights=%v expires=%s", g.Name, grant.Chain[0], grant.Rights, stamp(grant.Expires))
	a.notice()
	return nil
}

// held says why nothing new may begin.
func (a *Authority) held(now time.Duration) error {
	if a.listed() < a.state.Sequence() {
		return a.listError()
	}
	switch p := a.phase(now); p {
	case captoken.LeaseHeld:
		return nil
	case captoken.LeaseGrace:
		return fmt.Errorf("the lease is in its grace: what runs goes on, and nothing new starts; have the host attest")
	case captoken.LeaseLapsed:
		return fmt.Errorf("the lease has lapsed; have the host attest")
	}
	return fmt.Errorf("no lease is held; have the host attest")
}

// stopped is what captoken.Verify asks beside the revocation list: what orders and
// commands keep from running.
type stopped struct{ a *Authority }

func (stopped) RevokedToken(captoken.ID) bool { return false }

func (s stopped) RevokedSubject(name string) bool {
	g := s.a.agents[name]
	return s.a.stopAll || g != nil && (g.stopped || g.killed != nil)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// quoted makes text fit for a console line.
func quoted(s string) string {
	const most = 400
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.QuoteToASCII(s)
}

// label is a name as a line of the log has it: quoted if it could be mistaken.
func label(name string) string {
	if q := strconv.QuoteToASCII(name); name == "" || len(q) != len(name)+2 || strings.ContainsAny(name, " =") {
		return quoted(name)
	}
	return name
}

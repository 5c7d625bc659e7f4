package dhcp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"net/netip"
	"time"
)

// Times of RFC 2131 section 4.1 and 4.4.5.
const (
	firstRetry   = time.Second // doubled up to lastRetry, give or take a tenth
	lastRetry    = 32 * time.Second
	renewRetry   = time.Minute // at least, while the lease holds
	defaultLease = time.Hour   // for a server that names none
	shortLease   = 10 * time.Second
	requestTries = 4 // before beginning anew
)

// Lease is what a server granted.
type Lease struct {
	Address  netip.Prefix
	Router   netip.Addr // zero: none
	DNS      []netip.Addr
	Server   netip.Addr
	Duration time.Duration

	renew, rebind time.Duration // since it was asked for
	ether         [6]byte       // where the server's answers come from
}

// Client gets a lease and keeps it.
type Client struct {
	Ether [6]byte
	Send  func(frame []byte) error
	Apply func(*Lease) // nil: the address may not be used any more
	Log   func(format string, a ...any)

	answers chan answer
	xid     uint32
}

type answer struct {
	*Message
	from end
}

// New makes a client of the card with that address.
func New(ether [6]byte) *Client { return &Client{Ether: ether, answers: make(chan answer, 8)} }

// Deliver takes a frame, and tells whether it was for the client. It does not wait.
func (c *Client) Deliver(b []byte) bool {
	from, payload, ok := open(b)
	if !ok {
		return false
	}
	m, err := Decode(payload)
	if err != nil || !m.Reply || m.Client != c.Ether || from.port != serverPort {
		return true // to our port, and nobody else listens there
	}
	select {
	case c.answers <- answer{m, from}:
	default: // a flood: the next retry asks again
	}
	return true
}

// Run goes on until ctx is done.
func (c *Client) Run(ctx context.Context) {
	retry := firstRetry
	for ctx.Err() == nil {
		l := c.acquire(ctx)
		if l == nil {
			c.Log("no lease reason=%q retry_ms=%d", "no DHCP server answers", retry.Milliseconds())
			c.sleep(ctx, jitter(retry))
			retry = min(2*retry, lastRetry)
			continue
		}
		retry = firstRetry
		c.keep(ctx, l)
	}
}

// acquire asks whoever is there (RFC 2131 section 4.4.1).
func (c *Client) acquire(ctx context.Context) *Lease {
	c.begin()
	offer := c.exchange(ctx, firstRetry, func() { c.send(&Message{Type: Discover}, nil) }, func(a answer) bool {
		return a.Type == Offer && a.Yours.IsValid() && a.Server.IsValid()
	})
	if offer == nil {
		return nil
	}
	wait := firstRetry
	for range requestTries {
		asked := time.Now()
		a := c.exchange(ctx, wait, func() { c.send(&Message{Type: Request, Requested: offer.Yours, Server: offer.Server}, nil) }, func(a answer) bool {
			return a.Server == offer.Server && (a.Type == Nak || a.Type == Ack && a.Yours.IsValid())
		})
		if a != nil {
			if a.Type == Nak {
				c.Log("lease refused server=%v address=%v", offer.Server, offer.Yours)
				return nil
			}
			return c.granted(a, asked)
		}
		if ctx.Err() != nil {
			return nil
		}
		wait *= 2
	}
	return nil
}

// keep uses the lease, renews it with its server, then with any, and gives it up
// when it is over (RFC 2131 section 4.4.5).
func (c *Client) keep(ctx context.Context, l *Lease) {
	asked := time.Now()
	for {
		c.Apply(l)
		next := c.extend(ctx, l, asked)
		if next == nil {
			c.Apply(nil)
			return
		}
		l, asked = next, time.Now()
	}
}

// extend waits until it is time and gets the lease again; nil: it is over.
func (c *Client) extend(ctx context.Context, l *Lease, asked time.Time) *Lease {
	if !c.sleep(ctx, l.renew) {
		return nil
	}
	c.begin()
	for {
		since := time.Since(asked)
		limit, to := l.rebind, &end{l.ether, l.Server, serverPort}
		if since >= l.rebind {
			limit, to = l.Duration, nil // whoever is there
		}
		if since >= l.Duration {
			c.Log("lease over address=%v", l.Address)
			return nil
		}
		left := limit - since
		wait := min(left, max(left/2, renewRetry))
		began := time.Now()
		a := c.exchange(ctx, wait, func() { c.send(&Message{Type: Request, Has: l.Address.Addr()}, to) }, func(a answer) bool {
			return a.Type == Nak || a.Type == Ack && a.Yours == l.Address.Addr()
		})
		switch {
		case a != nil && a.Type == Ack:
			next := c.granted(a, began)
			if !next.Server.IsValid() {
				next.Server = l.Server
			}
			return next
		case a != nil:
			c.Log("lease refused server=%v address=%v", a.Server, l.Address)
			return nil
		case ctx.Err() != nil:
			return nil
		}
	}
}

// begin makes a new transaction: older answers are not for it.
func (c *Client) begin() {
	var b [4]byte
	rand.Read(b[:])
	c.xid = binary.BigEndian.Uint32(b[:])
}

func (c *Client) send(m *Message, to *end) {
	m.XID, m.Client = c.xid, c.Ether
	from := end{c.Ether, nobody, clientPort}
	if m.Has.IsValid() {
		from.ip = m.Has
	}
	if to == nil {
		to = &end{anyone, broadcast, serverPort}
	}
	if err := c.Send(frame(from, *to, m.Encode())); err != nil {
		c.Log("send failed reason=%q", err)
	}
}

// exchange asks once and waits for an answer that will do.
func (c *Client) exchange(ctx context.Context, wait time.Duration, ask func(), will func(answer) bool) *answer {
	ask()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case a := <-c.answers:
			if a.XID == c.xid && will(a) {
				return &a
			}
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// granted is the lease of an answer, whose times count from when it was asked for.
func (c *Client) granted(a *answer, asked time.Time) *Lease {
	l := &Lease{Router: a.Router, DNS: a.DNS, Server: a.Server, Duration: a.Lease, ether: a.from.ether}
	bits := a.Bits
	if bits == 0 {
		bits = 24
	}
	l.Address = netip.PrefixFrom(a.Yours, bits)
	if l.Duration == 0 {
		l.Duration = defaultLease
	}
	l.Duration = max(l.Duration, shortLease)
	l.renew, l.rebind = a.Renew, a.Rebind
	if l.rebind <= 0 || l.rebind >= l.Duration {
		l.rebind = l.Duration / 8 * 7
	}
	if l.renew <= 0 || l.renew >= l.rebind {
		l.renew = l.Duration / 2
	}
	late := time.Since(asked)
	l.renew, l.rebind, l.Duration = max(0, l.renew-late), max(0, l.rebind-late), max(0, l.Duration-late)
	return l
}

// sleep tells whether ctx is still not done.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func jitter(d time.Duration) time.Duration {
	return d*9/10 + mathrand.N(d/5)
}

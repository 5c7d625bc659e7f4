package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"aios/sdk/go/net/wire"
	"aios/services/netd/dhcp"
)

const (
	nicID = 1

	// TCP's own buffers for each connection; what the protocol with the clients
	// holds comes on top (window, maxWindow). The stack keeps what arrives out of
	// order only up to a quarter of the receive buffer: with one of 128 KiB,
	// connections stood still at 1% loss (docs/RATIONALE.md).
	sendBuffer    = 256 << 10
	receiveBuffer = 1 << 20

	// leaseWait is how long a client waits for an address before it is told that
	// there is none.
	leaseWait = 20 * time.Second
	// lingerLimit is how long a connection that netd has closed waits for the
	// peer's end of it, and timeWait how long its ports rest (RFC 9293).
	lingerLimit = 20 * time.Second
	timeWait    = 5 * time.Second
	// synRetries bounds an attempt to connect: about 60 s.
	synRetries = 5
)

// host is the TCP/IP stack with the address that DHCP gave it.
type host struct {
	stack *stack.Stack
	link  *link
	log   func(format string, a ...any)

	mu      sync.Mutex
	lease   *dhcp.Lease
	changed chan struct{} // closed at the next change of lease
}

// failed is an error that a client can tell from others.
type failed struct {
	code wire.Code
	text string
}

func (f *failed) Error() string   { return f.text }
func (f *failed) Code() wire.Code { return f.code }

func newHost(l *link, log func(string, ...any)) (*host, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	h := &host{stack: s, link: l, log: log, changed: make(chan struct{})}
	// Not "cubic": that one stands still once a few frames were lost.
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(false)
	control, linger, wait, retries := tcpip.CongestionControlOption("reno"), tcpip.TCPLingerTimeoutOption(lingerLimit), tcpip.TCPTimeWaitTimeoutOption(timeWait), tcpip.TCPSynRetriesOption(synRetries)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate, &control, &linger, &wait, &retries,
		&tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: sendBuffer, Max: sendBuffer},
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: receiveBuffer, Max: receiveBuffer},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("set %T of the stack: %s", o, err)
		}
	}
	if err := s.CreateNICWithOptions(nicID, l.endpoint(), stack.NICOptions{}); err != nil {
		return nil, fmt.Errorf("give the stack the network card: %s", err)
	}
	return h, nil
}

// apply takes a new lease, or that there is none. An address that stays is not
// touched: connections go on.
func (h *host) apply(l *dhcp.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.lease
	h.lease = l
	close(h.changed)
	h.changed = make(chan struct{})
	if old != nil && (l == nil || l.Address != old.Address) {
		h.stack.RemoveAddress(nicID, tcpip.AddrFromSlice(old.Address.Addr().AsSlice()))
		h.stack.SetRouteTable(nil)
	}
	if l == nil {
		h.log("no address")
		return
	}
	if old == nil || l.Address != old.Address {
		a := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(l.Address.Addr().AsSlice()), PrefixLen: l.Address.Bits()}}
		if err := h.stack.AddProtocolAddress(nicID, a, stack.AddressProperties{}); err != nil {
			h.log("FAILED reason=%q", fmt.Sprintf("use the address %v: %s", l.Address, err))
		}
	}
	local := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(l.Address.Masked().Addr().AsSlice()), PrefixLen: l.Address.Bits()}
	table := []tcpip.Route{{Destination: local.Subnet(), NIC: nicID}}
	if l.Router.IsValid() {
		table = append(table, tcpip.Route{Destination: header.IPv4EmptySubnet, Gateway: tcpip.AddrFromSlice(l.Router.AsSlice()), NIC: nicID})
	}
	h.stack.SetRouteTable(table)
	h.log("lease address=%v router=%v dns=%v seconds=%d", l.Address, l.Router, join(l.DNS), int(l.Duration/time.Second))
}

func join(list []netip.Addr) string {
	var s []string
	for _, a := range list {
		s = append(s, a.String())
	}
	return strings.Join(s, ",")
}

// ready waits for a lease.
func (h *host) ready(ctx context.Context) (*dhcp.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	for {
		h.mu.Lock()
		l, changed := h.lease, h.changed
		h.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &failed{wire.NoNetwork, "the host has no address: no DHCP server answers; is the cable in, and a server on the network?"}
		}
	}
}

// Dial connects to host:port, trying the addresses of a name in turn.
func (h *host) Dial(ctx context.Context, address string) (net.Conn, error) {
	name, service, err := net.SplitHostPort(address)
	port, errPort := strconv.ParseUint(service, 10, 16)
	if err != nil || errPort != nil || name == "" || port == 0 {
		return nil, &failed{wire.Malformed, fmt.Sprintf("address %q: expected host:port with a port of 1 to 65535", address)}
	}
	list, err := h.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		var c net.Conn
		if c, err = h.connect(ctx, netip.AddrPortFrom(a, uint16(port))); err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (h *host) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if _, err := h.ready(ctx); err != nil {
		return nil, err
	}
	c, err := gonet.DialContextTCP(ctx, h.stack, full(to), ipv4.ProtocolNumber)
	if err != nil {
		return nil, dialError(to, err)
	}
	return c, nil
}

func full(to netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()}
}

// dialError gives an error of the stack its code. gonet hands on the text alone.
func dialError(to netip.AddrPort, err error) error {
	var op *net.OpError
	text := err.Error()
	if errors.As(err, &op) {
		text = op.Err.Error()
	}
	code := wire.Other
	switch {
	case errors.Is(err, context.DeadlineExceeded), text == (&tcpip.ErrTimeout{}).String():
		code = wire.TimedOut
	case text == (&tcpip.ErrConnectionRefused{}).String():
		code = wire.Refused
	case text == (&tcpip.ErrHostUnreachable{}).String(), text == (&tcpip.ErrNetworkUnreachable{}).String(), text == (&tcpip.ErrHostDown{}).String():
		code = wire.Unreachable
	case text == (&tcpip.ErrConnectionReset{}).String():
		code = wire.Reset
	}
	return &failed{code, fmt.Sprintf("connect to %v: %s", to, text)}
}

// Lookup resolves a name with the servers of the lease; an address is itself.
func (h *host) Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		if !a.Unmap().Is4() {
			return nil, &failed{wire.Unreachable, fmt.Sprintf("%v: the host speaks IPv4 alone", a)}
		}
		return []netip.Addr{a.Unmap()}, nil
	}
	l, err := h.ready(ctx)
	if err != nil {
		return nil, err
	}
	if len(l.DNS) == 0 {
		return nil, &failed{wire.NoHost, fmt.Sprintf("resolve %q: the DHCP server named no DNS server; use an address", name)}
	}
	// The resolver believes in the servers of a resolv.conf, whose default is two
	// addresses of its own host; each stands for one of the lease's.
	turn := 0
	var mu sync.Mutex
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		mu.Lock()
		to := netip.AddrPortFrom(l.DNS[turn%len(l.DNS)], 53)
		turn++
		mu.Unlock()
		if strings.HasPrefix(network, "udp") {
			remote := full(to)
			return gonet.DialUDP(h.stack, nil, &remote, ipv4.ProtocolNumber)
		}
		return h.connect(ctx, to)
	}}
	list, err := r.LookupNetIP(ctx, "ip4", strings.TrimSuffix(name, ".")+".") // no search domain
	if err != nil {
		code, reason := wire.Other, err.Error()
		var d *net.DNSError
		if errors.As(err, &d) {
			reason = d.Err // without the server that the resolver believes in
			switch {
			case d.IsNotFound:
				code = wire.NoHost
			case d.IsTimeout:
				code, reason = wire.TimedOut, "it does not answer"
			}
		}
		return nil, &failed{code, fmt.Sprintf("resolve %q with DNS server %s: %s", name, join(l.DNS), reason)}
	}
	for i, a := range list {
		list[i] = a.Unmap()
	}
	return list, nil
}

// noNetwork is the network of a machine without a card.
type noNetwork struct{ why error }

func (n noNetwork) Dial(context.Context, string) (net.Conn, error) {
	return nil, &failed{wire.NoNetwork, n.why.Error()}
}

func (n noNetwork) Lookup(context.Context, string) ([]netip.Addr, error) {
	return nil, &failed{wire.NoNetwork, n.why.Error()}
}

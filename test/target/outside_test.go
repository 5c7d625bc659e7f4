//go:build e2e

package target

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"aios/host/vm"
	"aios/services/netd/dhcp"
)

// outside is a network of the test's own at the other end of a machine's cable: what
// QEMU's user network would take from the machine that runs the test, such as its
// DNS server, is the test's here. It has one host, which is router, DHCP and DNS server.
type outside struct {
	t     *testing.T
	stack *stack.Stack
	dir   string

	mu    sync.Mutex
	asked []string // names, "udp " or "tcp " before each
}

var (
	outsideHost  = [4]byte{10, 9, 0, 1}
	outsideGuest = [4]byte{10, 9, 0, 7}
)

func newOutside(t *testing.T) *outside {
	t.Helper()
	dir, err := os.MkdirTemp("", "out") // short: it holds sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cable, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "test"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	o := &outside{t: t, dir: dir, stack: stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})}
	queue := channel.New(512, 1500, "\x02\x00\x00\x00\x09\x01")
	must := func(what string, err tcpip.Error) {
		if err != nil {
			t.Fatalf("%s: %s", what, err)
		}
	}
	must("card", o.stack.CreateNIC(1, ethernet.New(queue)))
	must("address", o.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(outsideHost), PrefixLen: 24}}, stack.AddressProperties{}))
	subnet, errSubnet := tcpip.NewSubnet(tcpip.AddrFrom4([4]byte{}), tcpip.MaskFromBytes(make([]byte, 4)))
	if errSubnet != nil {
		t.Fatal(errSubnet)
	}
	o.stack.SetRouteTable([]tcpip.Route{{Destination: subnet, NIC: 1}})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { // a datagram is a frame
		buf := make([]byte, 1<<16)
		for {
			n, err := cable.Read(buf)
			if err != nil {
				return
			}
			p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(buf[:n])})
			queue.InjectInbound(0, p)
			p.DecRef()
		}
	})
	done.Go(func() {
		qemu := &net.UnixAddr{Name: filepath.Join(dir, "qemu"), Net: "unixgram"}
		for p := queue.ReadContext(ctx); p != nil; p = queue.ReadContext(ctx) {
			b := p.ToView()
			cable.WriteTo(b.AsSlice(), qemu) // what does not arrive is lost, as on any cable
			b.Release()
			p.DecRef()
		}
	})
	t.Cleanup(func() {
		cancel()
		cable.Close()
		done.Wait()
		o.stack.Destroy()
	})
	go o.dhcp(o.packets(67))
	go o.dns(o.packets(53))
	go o.dnsTCP(o.listen(53))
	return o
}

// plug puts the machine's cable in.
func (o *outside) plug(c *vm.Config) {
	c.NoNetwork = true // QEMU's
	c.Extra = append(c.Extra, "-netdev", fmt.Sprintf("dgram,id=outside,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s",
		filepath.Join(o.dir, "qemu"), filepath.Join(o.dir, "test")),
		"-device", "virtio-net-pci,disable-legacy=on,romfile=,netdev=outside")
}

func (o *outside) listen(port uint16) net.Listener {
	o.t.Helper()
	l, err := gonet.ListenTCP(o.stack, tcpip.FullAddress{Addr: tcpip.AddrFrom4(outsideHost), Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { l.Close() })
	return l
}

// packets receives UDP, broadcasts too.
func (o *outside) packets(port uint16) net.PacketConn {
	o.t.Helper()
	var wq waiter.Queue
	e, err := o.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if err != nil {
		o.t.Fatal(err)
	}
	e.SocketOptions().SetBroadcast(true)
	if err := e.Bind(tcpip.FullAddress{NIC: 1, Port: port}); err != nil {
		o.t.Fatal(err)
	}
	c := gonet.NewUDPConn(&wq, e)
	o.t.Cleanup(func() { c.Close() })
	return c
}

// dhcp gives everyone the same address.
func (o *outside) dhcp(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		q, err := dhcp.Decode(buf[:n])
		if err != nil {
			o.t.Errorf("DHCP: %v", err)
			continue
		}
		own := netip.AddrFrom4(outsideHost)
		a := dhcp.Message{Reply: true, XID: q.XID, Type: dhcp.Offer, Client: q.Client, Yours: netip.AddrFrom4(outsideGuest),
			Server: own, Router: own, DNS: []netip.Addr{own}, Bits: 24, Lease: time.Hour}
		if q.Type == dhcp.Request {
			a.Type = dhcp.Ack
		}
		c.WriteTo(a.Encode(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
	}
}

func (o *outside) dns(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if a := o.resolve("udp", buf[:n]); a != nil {
			c.WriteTo(a, from)
		}
	}
}

// dnsTCP serves what did not fit a datagram (RFC 1035, 4.2.2).
func (o *outside) dnsTCP(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 2+1500)
			n, err := c.Read(buf)
			if err != nil || n < 2 || n != 2+int(buf[0])<<8+int(buf[1]) {
				o.t.Errorf("DNS by TCP: %d bytes, %v", n, err)
				return
			}
			a := o.resolve("tcp", buf[2:n])
			c.Write(append([]byte{byte(len(a) >> 8), byte(len(a))}, a...))
		}()
	}
}

// resolve answers a query; nil is silence. There are the names verifier.test and
// orders.test, many.test, whose answer does not fit a datagram, and silent.test.
func (o *outside) resolve(by string, query []byte) []byte {
	var q dnsmessage.Message
	if err := q.Unpack(query); err != nil || len(q.Questions) != 1 {
		o.t.Errorf("DNS query %x: %v", query, err)
		return nil
	}
	name := q.Questions[0].Name.String()
	o.mu.Lock()
	o.asked = append(o.asked, by+" "+name)
	o.mu.Unlock()
	a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}, Questions: q.Questions}
	count := map[string]int{"verifier.test.": 1, "orders.test.": 1, "many.test.": 12, "silent.test.": 0}
	n, known := count[name]
	switch {
	case name == "silent.test.":
		return nil
	case !known:
		a.RCode = dnsmessage.RCodeNameError
	case n > 1 && by == "udp":
		a.Truncated = true
	case q.Questions[0].Type == dnsmessage.TypeA:
		for i := range n {
			a.Answers = append(a.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 60},
				Body: &dnsmessage.AResource{A: [4]byte{10, 9, 0, byte(1 + i)}}})
		}
	}
	b, err := a.Pack()
	if err != nil {
		o.t.Errorf("DNS answer: %v", err)
	}
	return b
}

// questions is what was asked for a name.
func (o *outside) questions(name string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []string
	for _, a := range o.asked {
		if strings.HasSuffix(a, " "+name) {
			found = append(found, a)
		}
	}
	return strings.Join(found, ", ")
}

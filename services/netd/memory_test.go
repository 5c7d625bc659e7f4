package main

import (
	"net/netip"
	"runtime"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// BenchmarkIdleConnection tells what a connection takes that is open and silent:
// the client's end, netd's, and both ends of TCP, since the peer is in the same
// process. The time is that of opening one.
func BenchmarkIdleConnection(b *testing.B) {
	h, peer, _ := connected(b, 0, 0)
	l, err := gonet.ListenTCP(peer.stack, full(netip.MustParseAddrPort("10.9.0.2:7")), ipv4.ProtocolNumber)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	w := newWorld(b, h)
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	for b.Loop() {
		before := heap()
		for range maxConns {
			c, err := w.stack.DialContext(b.Context(), "tcp", "10.9.0.2:7")
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
		}
		b.ReportMetric((heap()-before)/maxConns, "B/connection")
		w.client.end()
		w = newWorld(b, h)
	}
}

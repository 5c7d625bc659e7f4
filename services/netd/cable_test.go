package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	aios "aios/sdk/go"
	"aios/services/netd/dhcp"
)

// cable carries frames one way, and is a bad one: it loses frames and lets others
// overtake them.
type cable struct {
	frames chan []byte
	ended  chan struct{}

	mu      sync.Mutex
	loss    float64
	reorder float64
	random  *rand.Rand
	late    []byte // goes after the next one
	passed  int
	lost    int
}

func newCable(loss, reorder float64, seed uint64, ended chan struct{}) *cable {
	return &cable{frames: make(chan []byte, 256), ended: ended, loss: loss, reorder: reorder, random: rand.New(rand.NewPCG(seed, 1))}
}

func (c *cable) put(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.random.Float64() < c.loss {
		c.lost++
		return
	}
	c.passed++
	frame = append([]byte(nil), frame...)
	if c.late == nil && c.random.Float64() < c.reorder {
		c.late = frame
		return
	}
	for _, f := range [][]byte{frame, c.late} {
		if f == nil {
			continue
		}
		select {
		case c.frames <- f:
		default: // the receiver's buffers are full
			c.lost++
		}
	}
	c.late = nil
}

// plug is a card at one end of two cables.
type plug struct {
	out, in *cable
	rest    []byte
}

var errUnplugged = errors.New("unplugged")

func (p *plug) Write(b []byte) (int, error) {
	for frame, rest, ok := aios.SplitFrame(b); ok; frame, rest, ok = aios.SplitFrame(rest) {
		p.out.put(frame)
	}
	return len(b), nil
}

func (p *plug) Read(b []byte, _ time.Duration) (int, error) {
	if p.rest == nil {
		select {
		case p.rest = <-p.in.frames:
		case <-p.in.ended:
			return 0, errUnplugged
		}
	}
	out := b[:0]
	for p.rest != nil && len(out)+2+len(p.rest) <= cap(b) {
		out = aios.AppendFrame(out, p.rest)
		select {
		case p.rest = <-p.in.frames:
		default:
			p.rest = nil
		}
	}
	return len(out), nil
}

// connected makes two hosts, 10.9.0.1 and 10.9.0.2, at the ends of bad cables.
func connected(t testing.TB, loss, reorder float64) (a, b *host, cables [2]*cable) {
	t.Helper()
	ended := make(chan struct{})
	ab, ba := newCable(loss, reorder, 1, ended), newCable(loss, reorder, 2, ended)
	var hosts [2]*host
	var done sync.WaitGroup
	for i, p := range []*plug{{out: ab, in: ba}, {out: ba, in: ab}} {
		l := newLink(p, [6]byte{2, 0, 0, 0, 0, byte(i + 1)}, 1500, func([]byte) bool { return false })
		h, err := newHost(l, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		done.Go(func() { l.receive() })
		done.Go(func() { l.transmit(t.Context()) })
		h.apply(&dhcp.Lease{Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), 24)})
		hosts[i] = h
	}
	t.Cleanup(func() {
		close(ended)
		done.Wait()
		for _, h := range hosts {
			h.stack.Destroy()
		}
	})
	return hosts[0], hosts[1], [2]*cable{ab, ba}
}

// TestBadCables sends through everything: a client's messages, netd, TCP, a cable
// that loses and reorders frames, and back.
func TestBadCables(t *testing.T) {
	for _, c := range []struct{ loss, reorder float64 }{{0, 0}, {0.001, 0.001}, {0.01, 0.01}, {0.05, 0.05}} {
		t.Run(fmt.Sprintf("loss %v and reorder %v", c.loss, c.reorder), func(t *testing.T) {
			h, peer, cables := connected(t, c.loss, c.reorder)
			l, err := gonet.ListenTCP(peer.stack, full(netip.MustParseAddrPort("10.9.0.2:7")), ipv4.ProtocolNumber)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go echo(l)
			w := newWorld(t, h)
			conn, err := w.stack.DialContext(t.Context(), "tcp", "10.9.0.2:7")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			size := 4 << 20
			if s := os.Getenv("NETD_ECHO_BYTES"); s != "" {
				size, _ = strconv.Atoi(s)
			}
			began := time.Now()
			if err := pour(conn, size); err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			lost, passed := cables[0].lost+cables[1].lost, cables[0].passed+cables[1].passed
			t.Logf("%.1f MB/s; %d of %d frames lost", float64(size)/1e6/took.Seconds(), lost, lost+passed)
			if c.loss > 0 && lost == 0 {
				t.Error("the cable is a good one")
			}
		})
	}
}

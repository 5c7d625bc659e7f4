package dhcp

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	ours   = [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	theirs = [6]byte{0x52, 0x55, 10, 0, 2, 2}
)

func offer() *Message {
	return &Message{Reply: true, XID: 7, Type: Ack, Client: ours, Yours: addr("10.0.2.15"), Server: addr("10.0.2.2"), Router: addr("10.0.2.2"),
		DNS: []netip.Addr{addr("10.0.2.3"), addr("10.0.2.4")}, Bits: 24, Lease: time.Hour, Renew: 20 * time.Minute, Rebind: 40 * time.Minute}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestRoundTrip(t *testing.T) {
	want := offer()
	if got, err := Decode(want.Encode()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	ask := &Message{XID: 9, Type: Request, Client: ours, Requested: addr("10.0.2.15"), Server: addr("10.0.2.2")}
	if got, err := Decode(ask.Encode()); err != nil || !reflect.DeepEqual(got, ask) {
		t.Errorf("%+v, %v; want %+v", got, err, ask)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := offer().Encode()
	at := fixedSize + 4
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"short", func(b []byte) []byte { return b[:at-1] }},
		{"no cookie", func(b []byte) []byte { b[fixedSize] = 0; return b }},
		{"not Ethernet", func(b []byte) []byte { b[2] = 8; return b }},
		{"neither request nor reply", func(b []byte) []byte { b[0] = 3; return b }},
		{"no type", func(b []byte) []byte { b[at] = optEnd; return b }},
		{"option beyond the end", func(b []byte) []byte { return append(b[:at+3], optServer, 200, 1) }},
		{"option without length", func(b []byte) []byte { return append(b[:at+3], optServer) }},
		{"address of three bytes", func(b []byte) []byte { return append(b[:at+3], optServer, 3, 10, 0, 2, optEnd) }},
		{"no address in a list", func(b []byte) []byte { return append(b[:at+3], optDNS, 0, optEnd) }},
		{"mask with a hole", func(b []byte) []byte { return append(b[:at+3], optMask, 4, 255, 0, 255, 0, optEnd) }},
		{"type twice", func(b []byte) []byte { return append(b[:at+3], optType, 1, 5, optEnd) }},
		{"bad overload", func(b []byte) []byte {
			b[fileOffset], b[fileOffset+1] = optServer, 250
			return append(b[:at+3], optOverload, 1, 1, optEnd)
		}},
	} {
		if m, err := Decode(c.change(bytes.Clone(good))); err == nil {
			t.Errorf("%s: %+v", c.name, m)
		}
	}
}

// Options may lie in the fields for names too (option overload).
func TestOverload(t *testing.T) {
	b := offer().Encode()
	at := fixedSize + 4
	b = append(b[:at+3], optOverload, 1, 3, optEnd)
	copy(b[fileOffset:], []byte{optServer, 4, 10, 0, 2, 9, optEnd})
	copy(b[nameOffset:], []byte{optRouter, 4, 10, 0, 2, 8, optEnd})
	m, err := Decode(b)
	if err != nil || m.Server != addr("10.0.2.9") || m.Router != addr("10.0.2.8") {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestFrame(t *testing.T) {
	from := end{theirs, addr("10.0.2.2"), serverPort}
	b := frame(from, end{ours, addr("10.0.2.15"), clientPort}, []byte("payload!!"))
	if got, payload, ok := open(b); !ok || got != from || string(payload) != "payload!!" {
		t.Fatalf("%+v %q %v", got, payload, ok)
	}
	// Each bit of the headers and the payload is covered, but for the Ethernet
	// addresses, IP's options and what lies in the fragment flags and the identification.
	for i := etherSize; i < len(b); i++ {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			if _, _, ok := open(c); ok {
				t.Errorf("bit %d of byte %d does not matter", bit, i)
			}
		}
	}
	for n := range b {
		if _, _, ok := open(b[:n]); ok {
			t.Errorf("the first %d bytes are taken for the frame", n)
		}
	}
	if _, _, ok := open(append(bytes.Clone(b), 0, 0, 0)); !ok {
		t.Error("padding behind the datagram makes it another")
	}
}

// server answers as it is told, on the other end of a cable.
type server struct {
	t      *testing.T
	client *Client
	asked  []string // what came, and when
	began  time.Time
	answer func(m *Message, to end) *Message
	leases []string // what was applied
}

func (s *server) run(d time.Duration) {
	s.began = time.Now()
	c := New(ours)
	s.client = c
	c.Log = func(format string, a ...any) { s.t.Logf(format, a...) }
	c.Apply = func(l *Lease) {
		text := "none"
		if l != nil {
			text = fmt.Sprint(l.Address)
		}
		s.leases = append(s.leases, fmt.Sprintf("%v %s", time.Since(s.began).Round(time.Second), text))
	}
	c.Send = func(b []byte) error {
		be := s.receive(b)
		if be != nil {
			be.Reply, be.Client = true, ours
			c.Deliver(frame(end{theirs, addr("10.0.2.2"), serverPort}, end{anyone, broadcast, clientPort}, be.Encode()))
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	c.Run(ctx)
}

// receive takes the frame apart as the server's machine would.
func (s *server) receive(b []byte) *Message {
	b = bytes.Clone(b)
	to := end{[6]byte(b[0:]), netip.AddrFrom4([4]byte(b[etherSize+16:])), serverPort}
	m, err := Decode(b[etherSize+ipSize+udpSize:])
	if err != nil {
		s.t.Fatal(err)
	}
	how := "broadcast"
	if to.ether != anyone {
		how = "unicast"
	}
	s.asked = append(s.asked, fmt.Sprintf("%v %d %s", time.Since(s.began).Round(time.Second), m.Type, how))
	a := s.answer(m, to)
	if a != nil && a.XID == 0 {
		a.XID = m.XID
	}
	return a
}

// grant is what a good server says.
func grant(m *Message, lease time.Duration) *Message {
	a := offer()
	a.XID, a.Lease, a.Renew, a.Rebind = 0, lease, 0, 0
	a.Type = Ack
	if m.Type == Discover {
		a.Type = Offer
	}
	return a
}

func TestLease(t *testing.T) {
	for _, c := range []struct {
		name   string
		run    time.Duration
		answer func(n int, m *Message) *Message // to the n-th request
		asked  []string
		leases []string
	}{
		{
			"granted and renewed at half of it, from the server alone", 100 * time.Minute,
			func(_ int, m *Message) *Message { return grant(m, time.Hour) },
			[]string{"0s 1 broadcast", "0s 3 broadcast", "30m0s 3 unicast", "1h0m0s 3 unicast", "1h30m0s 3 unicast"},
			[]string{"0s 10.0.2.15/24", "30m0s 10.0.2.15/24", "1h0m0s 10.0.2.15/24", "1h30m0s 10.0.2.15/24", "1h40m0s none"},
		}, {
			"refused at renewal: anew at once", 31 * time.Minute,
			func(n int, m *Message) *Message {
				if n == 3 {
					return &Message{Type: Nak, Server: addr("10.0.2.2")}
				}
				return grant(m, time.Hour)
			},
			[]string{"0s 1 broadcast", "0s 3 broadcast", "30m0s 3 unicast", "30m0s 1 broadcast", "30m0s 3 broadcast"},
			[]string{"0s 10.0.2.15/24", "30m0s none", "30m0s 10.0.2.15/24", "31m0s none"},
		}, {
			"the server is gone: from any, and over at its end", 20*time.Minute + 500*time.Millisecond,
			func(n int, m *Message) *Message {
				if n > 2 {
					return nil
				}
				return grant(m, 20*time.Minute)
			},
			[]string{"0s 1 broadcast", "0s 3 broadcast", "10m0s 3 unicast", "13m45s 3 unicast", "15m38s 3 unicast", "16m38s 3 unicast",
				"17m30s 3 broadcast", "18m45s 3 broadcast", "19m45s 3 broadcast", "20m0s 1 broadcast"},
			[]string{"0s 10.0.2.15/24", "20m0s none"},
		}, {
			"answers to others, and those of another kind, are none", 900 * time.Millisecond,
			func(n int, m *Message) *Message {
				a := grant(m, time.Hour)
				a.XID = m.XID + 1
				return a
			},
			[]string{"0s 1 broadcast"}, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				s := &server{t: t, answer: func(m *Message, _ end) *Message { n++; return c.answer(n, m) }}
				s.run(c.run)
				if !slices.Equal(s.asked, c.asked) {
					t.Errorf("asked\n%s\nwant\n%s", strings.Join(s.asked, "\n"), strings.Join(c.asked, "\n"))
				}
				if !slices.Equal(s.leases, c.leases) {
					t.Errorf("leases\n%s\nwant\n%s", strings.Join(s.leases, "\n"), strings.Join(c.leases, "\n"))
				}
			})
		})
	}
}

// Without a server it asks ever more seldom, but for ever.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, answer: func(*Message, end) *Message { return nil }}
		s.run(time.Hour)
		// 1+1, 1+2, 1+4, ... 1+32 s, give or take a tenth.
		if n := len(s.asked); n < 100 || n > 130 {
			t.Errorf("asked %d times in an hour", n)
		}
	})
}

// Frames that are not for the client are the stack's.
func TestDeliver(t *testing.T) {
	c := New(ours)
	from := end{theirs, addr("10.0.2.2"), serverPort}
	other := offer()
	other.Client = theirs
	for _, f := range []struct {
		name   string
		b      []byte
		tapped bool
	}{
		{"to another port", frame(from, end{ours, addr("10.0.2.15"), 5000}, offer().Encode()), false},
		{"nothing", nil, false},
		{"not a message", frame(from, end{ours, broadcast, clientPort}, []byte("hello")), true},
		{"for another", frame(from, end{ours, broadcast, clientPort}, other.Encode()), true},
		{"not from a server's port", frame(end{theirs, addr("10.0.2.2"), 9}, end{ours, broadcast, clientPort}, offer().Encode()), true},
	} {
		if c.Deliver(f.b) != f.tapped || len(c.answers) != 0 {
			t.Errorf("%s: want tapped %v; %d answers", f.name, f.tapped, len(c.answers))
		}
	}
	good := frame(from, end{ours, broadcast, clientPort}, offer().Encode())
	for range 20 { // a flood costs nothing
		c.Deliver(good)
	}
	if len(c.answers) != cap(c.answers) {
		t.Errorf("%d answers", len(c.answers))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(offer().Encode())
	f.Add((&Message{Type: Discover, Client: ours}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		if _, err := Decode(m.Encode()); err != nil {
			t.Fatalf("%+v cannot be read again: %v", m, err)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(frame(end{theirs, addr("10.0.2.2"), serverPort}, end{ours, broadcast, clientPort}, offer().Encode()))
	f.Fuzz(func(t *testing.T, b []byte) { New(ours).Deliver(b) })
}

// Package wire is what netd and its clients say to each other, in messages of
// kernel/ipc. docs/network.md describes the protocol.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"aios/kernel/abi"
)

// Version of the protocol. A service answers only clients of its own.
const Version = 1

// Bounds.
const (
	headerSize   = 8
	MaxData      = 32<<10 - headerSize // bytes of one Data: with the header it fills pages
	MaxText      = 512                 // bytes of a name, an address or a reason
	MaxAddresses = 16                  // of one answer
	CookieSize   = 16
)

// Kind says what a message is.
type Kind uint8

const (
	Attach     Kind = iota + 1 // client: begins; carries an endpoint to the client
	Attached                   // netd: the answer to it
	Dial                       // client: open connection Conn
	Lookup                     // client: query Conn, what are the addresses of a name
	Opened                     // netd: the connection is there
	Addresses                  // netd: the answer to Lookup
	Data                       // both
	Credit                     // both: so many more bytes may be sent
	CloseWrite                 // both: no more data will come
	Close                      // client: wants no more of this connection or query
	Failed                     // netd: the connection or query has ended
	Ping                       // client: nothing; tells it whether netd is there
	kindEnd
)

// Code says why something failed.
type Code uint8

const (
	Other       Code = iota + 1
	Refused          // by the peer
	Unreachable      // no route, or nobody answers for the address
	TimedOut         // the peer did not answer
	Reset            // by the peer
	NoHost           // no such name
	NoNetwork        // the host has no card, no link or no address
	Limit            // too many connections
	Malformed        // the client broke the protocol, or named no address
	codeEnd
)

// Message is one of any kind; the comments say which kinds have a field.
type Message struct {
	Kind        Kind
	Conn        uint32           // all but Attach, Attached and Ping; never 0
	Version     uint16           // Attach, Attached
	Cookie      [CookieSize]byte // Attach, Attached: the client's, given back
	Window      uint32           // Attached: what a client may send on a new connection; Dial: what netd may
	Connections uint32           // Attached: how many a client may have
	Count       uint32           // Credit
	Code        Code             // Failed
	Text        string           // Dial: host:port; Lookup: name; Failed: reason
	Local       netip.AddrPort   // Opened
	Remote      netip.AddrPort   // Opened
	Addresses   []netip.Addr     // Addresses
	Data        []byte           // Data; aliases what was decoded
}

// ErrMalformed reports bytes that are no message.
var ErrMalformed = errors.New("not a message between netd and a client")

// Append encodes m behind b.
func (m *Message) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(m.Kind))
	b = le.AppendUint32(b, m.Conn)
	switch m.Kind {
	case Attach:
		b = append(le.AppendUint16(b, m.Version), m.Cookie[:]...)
	case Attached:
		b = append(le.AppendUint16(b, m.Version), m.Cookie[:]...)
		b = le.AppendUint32(le.AppendUint32(b, m.Window), m.Connections)
	case Dial:
		b = append(le.AppendUint32(b, m.Window), m.Text...)
	case Lookup:
		b = append(b, m.Text...)
	case Opened:
		b = appendAddrPort(appendAddrPort(b, m.Local), m.Remote)
	case Addresses:
		for _, a := range m.Addresses {
			b = appendAddr(b, a)
		}
	case Data:
		b = append(b, m.Data...)
	case Credit:
		b = le.AppendUint32(b, m.Count)
	case Failed:
		b = append(append(b, byte(m.Code)), m.Text[:min(len(m.Text), MaxText)]...)
	}
	return b
}

// appendAddr writes an address behind its length, 4 or 16.
func appendAddr(b []byte, a netip.Addr) []byte {
	s := a.AsSlice()
	return append(append(b, byte(len(s))), s...)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	return binary.LittleEndian.AppendUint16(appendAddr(b, a.Addr()), a.Port())
}

// Decode is the way back. What it accepts, Append encodes to the same bytes.
func Decode(b []byte) (Message, error) {
	d := decoder{b: b}
	m := Message{Kind: Kind(min(d.u32(), uint32(kindEnd))), Conn: d.u32()}
	named := true
	switch m.Kind {
	case Attach, Attached:
		named = false
		m.Version = d.u16()
		copy(m.Cookie[:], d.take(CookieSize))
		if m.Kind == Attached {
			m.Window, m.Connections = d.u32(), d.u32()
		}
	case Dial:
		m.Window, m.Text = d.u32(), d.text()
	case Lookup:
		m.Text = d.text()
	case Opened:
		m.Local, m.Remote = d.addrPort(), d.addrPort()
	case Addresses:
		for len(d.b) > 0 && !d.bad {
			m.Addresses = append(m.Addresses, d.addr())
		}
		d.bad = d.bad || len(m.Addresses) == 0 || len(m.Addresses) > MaxAddresses
	case Data:
		m.Data = d.take(len(d.b))
		d.bad = d.bad || len(m.Data) == 0 || len(m.Data) > MaxData
	case Credit:
		m.Count = d.u32()
		d.bad = d.bad || m.Count == 0
	case Failed:
		if c := d.take(1); c != nil {
			m.Code = Code(c[0])
		}
		m.Text = d.text()
		d.bad = d.bad || m.Code == 0 || m.Code >= codeEnd
	case CloseWrite, Close:
	case Ping:
		named = false
	default:
		d.bad = true
	}
	if d.bad || len(d.b) > 0 || named != (m.Conn != 0) {
		return Message{}, fmt.Errorf("%w: %d bytes that begin with % x", ErrMalformed, len(b), b[:min(len(b), 12)])
	}
	return m, nil
}

// decoder takes bytes off b; once it is bad, all that it takes is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	t := d.b[:n:n]
	d.b = d.b[n:]
	return t
}

func (d *decoder) u16() uint16 {
	if t := d.take(2); t != nil {
		return binary.LittleEndian.Uint16(t)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if t := d.take(4); t != nil {
		return binary.LittleEndian.Uint32(t)
	}
	return 0
}

// text is the rest: printable ASCII, so that it can be logged and shown.
func (d *decoder) text() string {
	t := d.take(len(d.b))
	if len(t) > MaxText || slices.ContainsFunc(t, func(c byte) bool { return c < ' ' || c > '~' }) {
		d.bad = true
	}
	return string(t)
}

func (d *decoder) addr() netip.Addr {
	var a netip.Addr
	if n := d.take(1); n != nil && (n[0] == 4 || n[0] == 16) {
		a, _ = netip.AddrFromSlice(d.take(int(n[0])))
	}
	d.bad = d.bad || !a.IsValid()
	return a
}

func (d *decoder) addrPort() netip.AddrPort {
	a := d.addr()
	return netip.AddrPortFrom(a, d.u16())
}

// A Data must fit a message.
var _ [abi.MaxIPC - headerSize - MaxData]struct{}

// Package dhcp gets a host its address (RFC 2131, options of RFC 2132): a client
// that speaks in Ethernet frames, since it has no address yet to speak from.
package dhcp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// Type is what a message is (option 53).
type Type uint8

const (
	Discover Type = 1
	Offer    Type = 2
	Request  Type = 3
	Ack      Type = 5
	Nak      Type = 6
)

// Options that are sent or understood.
const (
	optMask      = 1
	optRouter    = 3
	optDNS       = 6
	optRequested = 50
	optLease     = 51
	optOverload  = 52
	optType      = 53
	optServer    = 54
	optWanted    = 55
	optMaxSize   = 57
	optRenew     = 58
	optRebind    = 59
	optEnd       = 255
)

const (
	bootRequest = 1
	bootReply   = 2
	fixedSize   = 236        // RFC 2131 figure 1, without options
	cookie      = 0x63825363 // RFC 2131 section 3
	minMessage  = 300        // as BOOTP has it: some servers drop what is shorter
	maxDNS      = 3
	fileOffset  = 108 // of the fields that option overload reuses
	nameOffset  = 44
)

// Message is one, with what this client looks at.
type Message struct {
	Reply     bool
	XID       uint32
	Type      Type
	Client    [6]byte    // Ethernet address
	Has       netip.Addr // ciaddr: the client's own, when it renews
	Yours     netip.Addr // yiaddr
	Requested netip.Addr
	Server    netip.Addr
	Router    netip.Addr
	DNS       []netip.Addr
	Bits      int           // of the network's prefix
	Lease     time.Duration // and when to renew and rebind; 0: not told
	Renew     time.Duration
	Rebind    time.Duration
}

// ErrMalformed reports what is no DHCP message, or one that no server sends.
var ErrMalformed = errors.New("not a DHCP message")

// Encode writes a request.
func (m *Message) Encode() []byte {
	be := binary.BigEndian
	b := make([]byte, fixedSize, minMessage)
	b[0], b[1], b[2] = bootRequest, 1, 6 // Ethernet
	if m.Reply {
		b[0] = bootReply
	}
	be.PutUint32(b[4:], m.XID)
	put := func(at int, a netip.Addr) {
		if a.Is4() {
			copy(b[at:], a.AsSlice())
		}
	}
	put(12, m.Has)
	put(16, m.Yours)
	copy(b[28:], m.Client[:])
	b = be.AppendUint32(b, cookie)
	option := func(code byte, value ...byte) { b = append(append(b, code, byte(len(value))), value...) }
	address := func(code byte, list ...netip.Addr) {
		var v []byte
		for _, a := range list {
			if a.Is4() {
				v = append(v, a.AsSlice()...)
			}
		}
		if len(v) > 0 {
			option(code, v...)
		}
	}
	duration := func(code byte, d time.Duration) {
		if d > 0 {
			option(code, be.AppendUint32(nil, uint32(d/time.Second))...)
		}
	}
	option(optType, byte(m.Type))
	address(optRequested, m.Requested)
	address(optServer, m.Server)
	if m.Reply {
		if m.Bits > 0 {
			option(optMask, be.AppendUint32(nil, ^uint32(0)<<(32-m.Bits))...)
		}
		address(optRouter, m.Router)
		address(optDNS, m.DNS...)
		duration(optLease, m.Lease)
		duration(optRenew, m.Renew)
		duration(optRebind, m.Rebind)
	} else {
		option(optWanted, optMask, optRouter, optDNS, optLease, optRenew, optRebind)
		option(optMaxSize, be.AppendUint16(nil, 1500)...)
	}
	b = append(b, optEnd)
	for len(b) < minMessage {
		b = append(b, 0)
	}
	return b
}

// Decode reads a message. What an option says twice, or in a length that it
// cannot have, makes it malformed: a client that guessed would be one that can
// be talked into things.
func Decode(b []byte) (*Message, error) {
	be := binary.BigEndian
	if len(b) < fixedSize+4 || b[0] != bootRequest && b[0] != bootReply || b[1] != 1 || b[2] != 6 || be.Uint32(b[fixedSize:]) != cookie {
		return nil, ErrMalformed
	}
	m := &Message{Reply: b[0] == bootReply, XID: be.Uint32(b[4:]), Client: [6]byte(b[28:])}
	m.Has, m.Yours = address(b[12:]), address(b[16:])
	options, err := split(b[fixedSize+4:])
	if err != nil {
		return nil, err
	}
	if o := options[optOverload]; len(o) == 1 { // file, name, or both hold options too
		for i, part := range [][]byte{b[fileOffset:fixedSize], b[nameOffset:fileOffset]} {
			if o[0]&(1<<i) == 0 {
				continue
			}
			more, err := split(part)
			if err != nil {
				return nil, err
			}
			for code, v := range more {
				options[code] = append(options[code], v...)
			}
		}
	}
	for code, v := range options {
		size := map[byte]int{optMask: 4, optRequested: 4, optLease: 4, optType: 1, optServer: 4, optRenew: 4, optRebind: 4}[code]
		if size != 0 && len(v) != size || (code == optRouter || code == optDNS) && (len(v) == 0 || len(v)%4 != 0) {
			return nil, ErrMalformed
		}
		switch code {
		case optType:
			m.Type = Type(v[0])
		case optMask:
			ones := 0
			for mask := be.Uint32(v); mask&(1<<31) != 0; mask <<= 1 {
				ones++
			}
			if ones == 0 || be.Uint32(v) != ^uint32(0)<<(32-ones) {
				return nil, ErrMalformed
			}
			m.Bits = ones
		case optRouter:
			m.Router = address(v)
		case optDNS:
			for ; len(v) > 0 && len(m.DNS) < maxDNS; v = v[4:] {
				m.DNS = append(m.DNS, address(v))
			}
		case optRequested:
			m.Requested = address(v)
		case optServer:
			m.Server = address(v)
		case optLease:
			m.Lease = seconds(v)
		case optRenew:
			m.Renew = seconds(v)
		case optRebind:
			m.Rebind = seconds(v)
		}
	}
	if m.Type == 0 {
		return nil, ErrMalformed
	}
	return m, nil
}

// address is the one at the start of b, the zero value for 0.0.0.0.
func address(b []byte) netip.Addr {
	a := netip.AddrFrom4([4]byte(b))
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func seconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}

// split takes options apart; parts of a long one are joined (RFC 3396).
func split(b []byte) (map[byte][]byte, error) {
	options := map[byte][]byte{}
	for len(b) > 0 {
		code := b[0]
		b = b[1:]
		switch {
		case code == optEnd:
			return options, nil
		case code == 0: // padding
		case len(b) == 0 || int(b[0]) > len(b)-1:
			return nil, ErrMalformed
		default:
			n := 1 + int(b[0])
			options[code] = append(options[code], b[1:n]...)
			b = b[n:]
		}
	}
	return options, nil
}

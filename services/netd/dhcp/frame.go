package dhcp

import (
	"encoding/binary"
	"net/netip"
)

const (
	etherSize  = 14
	ipSize     = 20
	udpSize    = 8
	typeIPv4   = 0x0800
	protoUDP   = 17
	clientPort = 68
	serverPort = 67
)

var (
	anyone    = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	nobody    = netip.AddrFrom4([4]byte{})
)

// end is one end of a frame's way.
type end struct {
	ether [6]byte
	ip    netip.Addr
	port  uint16
}

// frame puts payload into UDP, IPv4 and Ethernet.
func frame(from, to end, payload []byte) []byte {
	be := binary.BigEndian
	b := make([]byte, etherSize+ipSize+udpSize, etherSize+ipSize+udpSize+len(payload))
	copy(b[0:], to.ether[:])
	copy(b[6:], from.ether[:])
	be.PutUint16(b[12:], typeIPv4)
	ip := b[etherSize:]
	ip[0], ip[8], ip[9] = 0x45, 64, protoUDP
	be.PutUint16(ip[2:], uint16(ipSize+udpSize+len(payload)))
	copy(ip[12:], from.ip.AsSlice())
	copy(ip[16:], to.ip.AsSlice())
	be.PutUint16(ip[10:], ^sum(0, ip[:ipSize]))
	udp := ip[ipSize:]
	be.PutUint16(udp[0:], from.port)
	be.PutUint16(udp[2:], to.port)
	be.PutUint16(udp[4:], uint16(udpSize+len(payload)))
	b = append(b, payload...)
	udp = b[etherSize+ipSize:]
	c := ^sum(pseudo(b[etherSize:], len(udp)), udp)
	if c == 0 {
		c = 0xffff // RFC 768: zero means none
	}
	be.PutUint16(udp[6:], c)
	return b
}

// open is the way back: the payload of a whole UDP datagram to the client's
// port, and who sent it.
func open(b []byte) (from end, payload []byte, ok bool) {
	be := binary.BigEndian
	if len(b) < etherSize+ipSize+udpSize || be.Uint16(b[12:]) != typeIPv4 {
		return end{}, nil, false
	}
	ip := b[etherSize:]
	header, total := int(ip[0]&0xf)*4, int(be.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || header < ipSize || ip[9] != protoUDP || be.Uint16(ip[6:])&0x3fff != 0 || // a fragment
		total < header+udpSize || total > len(ip) || sum(0, ip[:header]) != 0xffff {
		return end{}, nil, false
	}
	udp := ip[header:total]
	n := int(be.Uint16(udp[4:]))
	if be.Uint16(udp[2:]) != clientPort || n < udpSize || n > len(udp) {
		return end{}, nil, false
	}
	udp = udp[:n]
	if be.Uint16(udp[6:]) != 0 && sum(pseudo(ip, n), udp) != 0xffff {
		return end{}, nil, false
	}
	return end{[6]byte(b[6:]), netip.AddrFrom4([4]byte(ip[12:])), be.Uint16(udp)}, udp[udpSize:], true
}

// pseudo begins UDP's checksum (RFC 768).
func pseudo(ip []byte, length int) uint32 {
	return uint32(sum(0, ip[12:20])) + protoUDP + uint32(length)
}

// sum is the ones' complement sum of RFC 1071.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

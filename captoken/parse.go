package captoken

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ParseDestination reads a destination as people write it: tcp://HOST:PORT or
// udp://HOST:PORT, a range of ports as PORT-PORT. A single address is a range of one.
// Whether it can stand in a token is for Mint to say.
func ParseDestination(text string) (d Destination, ok bool) {
	protocol, rest, ok := strings.Cut(text, "://")
	colon := strings.LastIndexByte(rest, ':')
	if !ok || colon < 0 {
		return d, false
	}
	switch protocol {
	case "tcp":
		d.Protocol = TCP
	case "udp":
		d.Protocol = UDP
	default:
		return d, false
	}
	d.Host = rest[:colon]
	if a, err := netip.ParseAddr(d.Host); err == nil {
		d.Host = netip.PrefixFrom(a, a.BitLen()).String()
	}
	first, last, ranged := strings.Cut(rest[colon+1:], "-")
	if !ranged {
		last = first
	}
	a, err := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	d.First, d.Last = uint16(a), uint16(b)
	return d, err == nil && err2 == nil
}

// SortPatterns returns names in the order of the format, each once.
func SortPatterns(names []string) Patterns {
	return Patterns(slices.Compact(slices.Sorted(slices.Values(names))))
}

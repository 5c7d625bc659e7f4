package captoken

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"aios/captoken/cbor"
)

// Protocol is a transport protocol, by its IP protocol number.
type Protocol uint8

// The protocols.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// Destination is a set of places in the network. Host is a DNS name, the names below
// one ("*.example.org"), addresses ("192.0.2.0/24", "2001:db8::1/128") or every host
// ("*"). A name admits what the host's resolver says that it stands for; addresses
// admit what is dialled by number.
type Destination struct {
	Protocol    Protocol
	Host        string
	First, Last uint16 // ports, both included
}

const hostRule = `a DNS name in lower case, "*." and one, an address range such as 192.0.2.0/24 or "*"`

func validHost(s string) bool {
	switch {
	case s == "*":
		return true
	case strings.IndexByte(s, '/') >= 0:
		_, ok := hostPrefix(s)
		return ok
	}
	return validDNS(strings.TrimPrefix(s, "*."))
}

// hostPrefix reads an address range in its one spelling.
func hostPrefix(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	return p, err == nil && p == p.Masked() && !p.Addr().Is4In6() && p.String() == s
}

// validDNS asks for labels of letters, digits and hyphens, the last of which is no
// number: an address is not a name.
func validDNS(s string) bool {
	if len(s) < 1 || len(s) > MaxName {
		return false
	}
	digits := false
	for label := range strings.SplitSeq(s, ".") {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = true
		for i := range len(label) {
			switch c := label[i]; {
			case '0' <= c && c <= '9':
			case 'a' <= c && c <= 'z', c == '-':
				digits = false
			default:
				return false
			}
		}
	}
	return !digits
}

// coversHost tells whether every host of q is one of p.
func coversHost(p, q string) bool {
	if p == "*" || p == q {
		return true
	}
	if suffix, ok := strings.CutPrefix(p, "*"); ok { // ".example.org"
		return strings.HasSuffix(strings.TrimPrefix(q, "*"), suffix)
	}
	a, ok := hostPrefix(p)
	b, too := hostPrefix(q)
	return ok && too && a.Bits() <= b.Bits() && a.Contains(b.Addr())
}

// Network is a set of destinations. An empty one holds nothing.
type Network []Destination

// AllowName tells whether the set holds a host by its name.
func (n Network) AllowName(p Protocol, name string, port uint16) bool {
	return validDNS(name) && n.allow(p, name, port)
}

// AllowAddr tells whether the set holds a host by its address.
func (n Network) AllowAddr(p Protocol, addr netip.Addr, port uint16) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	return n.allow(p, netip.PrefixFrom(addr, addr.BitLen()).String(), port)
}

func (n Network) allow(p Protocol, host string, port uint16) bool {
	for _, d := range n {
		if d.Protocol == p && d.First <= port && port <= d.Last && coversHost(d.Host, host) {
			return true
		}
	}
	return false
}

// intersect returns what is in both sets.
func (n Network) intersect(o Network) Network {
	var out Network
	for _, a := range n {
		for _, b := range o {
			d := Destination{a.Protocol, a.Host, max(a.First, b.First), min(a.Last, b.Last)}
			switch {
			case a.Protocol != b.Protocol || d.First > d.Last:
				continue
			case coversHost(a.Host, b.Host):
				d.Host = b.Host
			case !coversHost(b.Host, a.Host):
				continue
			}
			out = append(out, d)
		}
	}
	return SortNetwork(out)
}

// SortNetwork puts destinations into the order of the format, each once.
func SortNetwork(n Network) Network {
	slices.SortFunc(n, compareDestination)
	return slices.Compact(n)
}

func compareDestination(a, b Destination) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Host, b.Host), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
}

func (n Network) validate(what string) error {
	if len(n) > MaxList {
		return claimError(what, "expected at most "+strconv.Itoa(MaxList)+" destinations, found "+strconv.Itoa(len(n)))
	}
	for i, d := range n {
		switch {
		case d.Protocol != TCP && d.Protocol != UDP:
			return claimError(what, "protocol expected 6 (tcp) or 17 (udp), found "+strconv.Itoa(int(d.Protocol)))
		case !validHost(d.Host):
			return claimError(what, "host "+quote(d.Host)+": expected "+hostRule)
		case d.First > d.Last:
			return claimError(what, "ports "+strconv.Itoa(int(d.First))+" to "+strconv.Itoa(int(d.Last))+": expected the lower one first")
		case i > 0 && compareDestination(n[i-1], d) >= 0:
			return claimError(what, "expected ascending order by protocol, host and ports, each once; found "+quote(d.Host)+" out of place")
		}
	}
	return nil
}

func (n Network) append(b []byte) []byte {
	b = cbor.AppendArray(b, len(n))
	for _, d := range n {
		b = cbor.AppendUint(cbor.AppendArray(b, 4), uint64(d.Protocol))
		b = cbor.AppendText(b, d.Host)
		b = cbor.AppendUint(cbor.AppendUint(b, uint64(d.First)), uint64(d.Last))
	}
	return b
}

func readNetwork(r *cbor.Reader) Network {
	n := r.Array(1, MaxList)
	var out Network
	for range n {
		r.Array(4, 4)
		d := Destination{Protocol: Protocol(readBounded(r, 255)), Host: string(r.Text(1, MaxName))}
		d.First, d.Last = uint16(readBounded(r, 65535)), uint16(readBounded(r, 65535))
		if r.Err() != nil {
			return nil
		}
		out = append(out, d)
	}
	return out
}

// readBounded reads a number of at most max.
func readBounded(r *cbor.Reader, max uint64) uint64 {
	at := r.Offset()
	v := r.Uint()
	if v > max {
		r.Fail(at, "expected at most "+count(max)+", found "+count(v))
		return 0
	}
	return v
}

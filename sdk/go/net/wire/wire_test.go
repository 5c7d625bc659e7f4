package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var some = []Message{
	{Kind: Attach, Version: Version, Cookie: [16]byte{1, 2, 3}},
	{Kind: Attached, Version: Version, Cookie: [16]byte{1, 2, 3}, Window: 1 << 17, Connections: 32},
	{Kind: Dial, Conn: 1, Window: 1 << 17, Text: "verifier.example:8470"},
	{Kind: Lookup, Conn: 2, Text: "verifier.example"},
	{Kind: Opened, Conn: 1, Local: netip.MustParseAddrPort("10.0.2.15:1025"), Remote: netip.MustParseAddrPort("[2001:db8::1]:8470")},
	{Kind: Addresses, Conn: 2, Addresses: []netip.Addr{netip.MustParseAddr("10.0.2.2"), netip.MustParseAddr("2001:db8::1")}},
	{Kind: Data, Conn: 1, Data: []byte("data")},
	{Kind: Credit, Conn: 1, Count: 1 << 16},
	{Kind: CloseWrite, Conn: 1},
	{Kind: Close, Conn: 1},
	{Kind: Failed, Conn: 1, Code: Refused, Text: "10.0.2.2:1 refused the connection"},
	{Kind: Ping},
}

func TestRoundTrip(t *testing.T) {
	seen := map[Kind]bool{}
	for _, m := range some {
		seen[m.Kind] = true
		got, err := Decode(m.Append(nil))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	}
	if len(seen) != int(kindEnd)-1 {
		t.Errorf("%d kinds tried of %d", len(seen), kindEnd-1)
	}
}

func TestDecodeRefuses(t *testing.T) {
	with := func(m Message, more string) []byte { return append(m.Append(nil), more...) }
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"half a header", []byte{1, 0, 0}},
		{"kind 0", make([]byte, 8)},
		{"unknown kind", Message{Kind: kindEnd, Conn: 1}.bytes()},
		{"kind beyond a byte", []byte{byte(Ping), 1, 0, 0, 0, 0, 0, 0}},
		{"no connection", Message{Kind: Close}.bytes()},
		{"a connection where none belongs", Message{Kind: Ping, Conn: 1}.bytes()},
		{"bytes at the end", with(Message{Kind: Close, Conn: 1}, "x")},
		{"empty data", Message{Kind: Data, Conn: 1}.bytes()},
		{"too much data", Message{Kind: Data, Conn: 1, Data: make([]byte, MaxData+1)}.bytes()},
		{"no credit", Message{Kind: Credit, Conn: 1}.bytes()},
		{"short credit", with(Message{Kind: Close, Conn: 1}, "")[:7]},
		{"long name", Message{Kind: Lookup, Conn: 1, Text: strings.Repeat("x", MaxText+1)}.bytes()},
		{"control character in a name", Message{Kind: Lookup, Conn: 1, Text: "a\x1b[2J"}.bytes()},
		{"code 0", Message{Kind: Failed, Conn: 1}.bytes()},
		{"unknown code", Message{Kind: Failed, Conn: 1, Code: codeEnd}.bytes()},
		{"no address", Message{Kind: Addresses, Conn: 1}.bytes()},
		{"address of 5 bytes", append(Message{Kind: Addresses, Conn: 1}.bytes(), 5, 1, 2, 3, 4, 5)},
		{"too many addresses", Message{Kind: Addresses, Conn: 1, Addresses: make17()}.bytes()},
	} {
		if m, err := Decode(c.b); err == nil {
			t.Errorf("%s: decoded as %+v", c.name, m)
		}
	}
}

func (m Message) bytes() []byte { return m.Append(nil) }

func make17() []netip.Addr {
	a := make([]netip.Addr, MaxAddresses+1)
	for i := range a {
		a[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	}
	return a
}

// Whatever is accepted has one encoding: a peer cannot say one thing in two ways.
func FuzzDecode(f *testing.F) {
	for _, m := range some {
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		if got := m.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("% x decodes to %+v, which is % x", b, m, got)
		}
	})
}

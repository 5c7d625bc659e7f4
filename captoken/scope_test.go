package captoken

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns Patterns
		name     string
		want     bool
	}{
		{Patterns{"a"}, "a", true}, {Patterns{"a"}, "ab", false}, {Patterns{"a*"}, "a", true}, {Patterns{"a*"}, "ab", true},
		{Patterns{"a*"}, "b", false}, {Patterns{"*"}, "anything", true}, {nil, "a", false}, {Patterns{"b", "c"}, "c", true},
		{Patterns{"*"}, "", false}, {Patterns{"a*"}, "a*", false}, {Patterns{"*"}, "*", false}, {Patterns{"*"}, "a b", false},
	} {
		if got := c.patterns.Allow(c.name); got != c.want {
			t.Errorf("%v allows %q: %v", c.patterns, c.name, got)
		}
	}
}

func TestServices(t *testing.T) {
	s := Scopes{Services: []Service{{"journald", Patterns{"append"}}, {"memoryd", Patterns{"*"}}}}
	for _, c := range []struct {
		name, operation string
		want            bool
	}{
		{"journald", "append", true}, {"journald", "read", false}, {"memoryd", "read", true}, {"netd", "read", false}, {"*", "read", false}, {"memoryd", "", false},
	} {
		if got := s.AllowService(c.name, c.operation); got != c.want {
			t.Errorf("%s of %s: %v", c.operation, c.name, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	n := Network{{TCP, "*.example.org", 443, 443}, {TCP, "192.0.2.0/24", 8000, 8999}, {TCP, "api.test", 1, 2}, {UDP, "*", 53, 53}, {TCP, "2001:db8::/32", 1, 1}}
	for _, c := range []struct {
		protocol Protocol
		host     string
		port     uint16
		want     bool
	}{
		{TCP, "www.example.org", 443, true}, {TCP, "a.b.example.org", 443, true}, {TCP, "example.org", 443, false}, {TCP, "badexample.org", 443, false},
		{TCP, "www.example.org", 80, false}, {UDP, "www.example.org", 443, false}, {UDP, "www.example.org", 53, true}, {TCP, "api.test", 2, true},
		{TCP, "*.example.org", 443, false}, {UDP, "*", 53, false}, {TCP, "WWW.example.org", 443, false}, {TCP, "", 443, false},
	} {
		if got := n.AllowName(c.protocol, c.host, c.port); got != c.want {
			t.Errorf("%s %s:%d: %v", c.protocol, c.host, c.port, got)
		}
	}
	for _, c := range []struct {
		protocol Protocol
		addr     string
		port     uint16
		want     bool
	}{
		{TCP, "192.0.2.7", 8000, true}, {TCP, "192.0.2.7", 8999, true}, {TCP, "192.0.2.7", 9000, false}, {TCP, "192.0.3.7", 8000, false},
		{TCP, "::ffff:192.0.2.7", 8000, true}, {TCP, "2001:db8::5", 1, true}, {TCP, "2001:db9::5", 1, false}, {TCP, "fe80::1%eth0", 1, false}, {UDP, "203.0.113.9", 53, true},
	} {
		if got := n.AllowAddr(c.protocol, netip.MustParseAddr(c.addr), c.port); got != c.want {
			t.Errorf("%s %s port %d: %v", c.protocol, c.addr, c.port, got)
		}
	}
	if n.AllowAddr(TCP, netip.Addr{}, 1) {
		t.Error("no address at all is allowed")
	}
}

func drawPatterns(t *rapid.T, label string) Patterns {
	p := Patterns(rapid.SliceOfNDistinct(rapid.StringMatching(`[ab]{1,3}\*?|\*`), 0, 6, rapid.ID[string]).Draw(t, label))
	slices.Sort(p)
	if len(p) == 0 {
		return nil
	}
	return p
}

var hosts = []string{"*", "*.a.test", "*.b.a.test", "a.test", "b.a.test", "c.b.a.test", "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "10.1.2.3/32", "11.0.0.0/8", "2001:db8::/32"}

func drawNetwork(t *rapid.T, label string) Network {
	one := rapid.Custom(func(t *rapid.T) Destination {
		first := rapid.Uint16Range(0, 8).Draw(t, "first")
		return Destination{rapid.SampledFrom([]Protocol{TCP, UDP}).Draw(t, "protocol"), rapid.SampledFrom(hosts).Draw(t, "host"), first, rapid.Uint16Range(first, 9).Draw(t, "last")}
	})
	n := Network(rapid.SliceOfNDistinct(one, 0, 5, rapid.ID[Destination]).Draw(t, label))
	slices.SortFunc(n, compareDestination)
	if len(n) == 0 {
		return nil
	}
	return n
}

func drawScopes(t *rapid.T, label string) Scopes {
	s := Scopes{Peers: drawPatterns(t, label+" peers"), Memory: drawPatterns(t, label+" memory"), Devices: drawPatterns(t, label+" devices"), Network: drawNetwork(t, label+" network")}
	for _, name := range []string{"s1", "s2"} {
		if ops := drawPatterns(t, label+" operations of "+name); len(ops) > 0 {
			s.Services = append(s.Services, Service{name, ops})
		}
	}
	return s
}

// reach lists what scopes admit of a small world.
func reach(s *Scopes) (out []string) {
	var names []string
	for _, a := range []string{"", "a", "b"} {
		for _, b := range []string{"a", "b"} {
			for _, c := range []string{"", "a", "b", "aa", "bb"} {
				names = append(names, a+b+c)
			}
		}
	}
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		for kind, p := range map[string]Patterns{"peer": s.Peers, "memory": s.Memory, "device": s.Devices} {
			if p.Allow(n) {
				out = append(out, kind+" "+n)
			}
		}
		for _, service := range []string{"s1", "s2"} {
			if s.AllowService(service, n) {
				out = append(out, service+" "+n)
			}
		}
	}
	for _, p := range []Protocol{TCP, UDP} {
		for port := range uint16(11) {
			for _, h := range []string{"a.test", "b.a.test", "c.b.a.test", "d.c.b.a.test", "other.test"} {
				if s.Network.AllowName(p, h, port) {
					out = append(out, fmt.Sprint(p, h, port))
				}
			}
			for _, a := range []string{"10.0.0.1", "10.5.0.1", "10.1.9.9", "10.1.2.3", "11.1.1.1", "2001:db8::1", "2001:db9::1"} {
				if s.Network.AllowAddr(p, netip.MustParseAddr(a), port) {
					out = append(out, fmt.Sprint(p, a, port))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// The intersection holds exactly what both sides hold.
func TestIntersection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawScopes(t, "a"), drawScopes(t, "b")
		if err := a.validate("a"); err != nil {
			t.Fatal(err)
		}
		both := a.intersect(&b)
		inB := map[string]bool{}
		for _, x := range reach(&b) {
			inB[x] = true
		}
		var want []string
		for _, x := range reach(&a) {
			if inB[x] {
				want = append(want, x)
			}
		}
		if got := reach(&both); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if again := b.intersect(&a); !equal(again, both) {
			t.Fatalf("the other way round: %+v, want %+v", again, both)
		}
	})
}

func TestRights(t *testing.T) {
	for _, name := range RightNames() {
		r, ok := ParseRight(name)
		if !ok || r.String() != name {
			t.Errorf("%s became %v", name, r)
		}
	}
	if _, ok := ParseRight("root"); ok {
		t.Error("there is a right called root")
	}
	if s := (RightLog | RightAttest | 1<<63).String(); s != "log,attest,bit63" {
		t.Errorf("got %s", s)
	}
	if len(RightNames()) != endOfRights || RightAttest != 1<<16 {
		t.Error("the bits have moved: they keep their meaning for good")
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"*", "10.0.0.0/8", true}, {"10.0.0.0/8", "*", false}, {"10.0.0.0/8", "10.0.0.0/16", true}, {"10.0.0.0/16", "10.0.0.0/8", false},
		{"10.0.0.0/8", "10.0.0.0/8", true}, {"10.0.0.0/8", "11.0.0.0/16", false}, {"0.0.0.0/0", "::/0", false}, {"::/0", "2001:db8::/32", true},
		{"*.a.test", "a.test", false}, {"*.a.test", "*.b.a.test", true}, {"*.b.a.test", "*.a.test", false}, {"*.a.test", "*.a.test", true},
		{"*.a.test", "ba.test", false}, {"a.test", "b.a.test", false}, {"*.a.test", "*", false}, {"a.test", "10.0.0.0/8", false},
	} {
		if got := coversHost(c.p, c.q); got != c.want {
			t.Errorf("%s covers %s: %v", c.p, c.q, got)
		}
	}
}

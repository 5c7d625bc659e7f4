package main

import (
	"strings"
	"testing"

	"aios/boot/manifest"
	"aios/kernel/abi"
)

func TestPorts(t *testing.T) {
	p := newPorts(&manifest.Manifest{Services: []manifest.Service{
		{Name: "attestd", Caps: []string{"log", "send-net-d"}},
		{Name: "net-d", Caps: []string{"log", "mailbox"}},
	}})
	if len(p) != 1 || p["net-d"] == nil {
		t.Fatalf("ports %v", p)
	}
	g, ok, err := p.grant("send-net-d")
	if !ok || err != nil || g.Name != "SEND_NET_D" || g.Type != abi.TypeEndpoint || g.Rights != abi.RightWrite|abi.RightTransfer || g.Object != p["net-d"] {
		t.Errorf("%+v, %v, %v", g, ok, err)
	}
	for _, c := range []struct {
		name string
		ok   bool
		want string
	}{
		{"log", false, ""},
		{"mailbox", false, ""},
		{"send", false, ""},
		{"send-attestd", true, "no service attestd with the capability mailbox"}, // it has no mailbox
		{"send-nobody", true, "no service nobody"},
		{"send-", true, "no service "},
	} {
		_, ok, err := p.grant(c.name)
		if ok != c.ok || (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %v, %q", c.name, ok, err, c.ok, c.want)
		}
	}
}

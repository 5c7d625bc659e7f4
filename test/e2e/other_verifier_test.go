//go:build e2e

package e2e

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/host/state"
)

// A host whose image names another verifier than the one that answers tells it nothing.
func TestOtherVerifier(t *testing.T) {
	s := newSite(t)
	impostor := must(mldsa.GenerateKey())(t)
	l := must(evidence.NewListener(impostor))(t)
	tcp := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer tcp.Close()
	heard := make(chan string, 64)
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			c, err := l.Accept(t.Context(), conn)
			if err != nil {
				continue
			}
			what := ""
			if id, err := c.Identity(t.Context()); err == nil {
				what = string(id.EKPublic)
			}
			c.Close()
			select {
			case heard <- what:
			default:
			}
		}
	}()
	_, port, err := net.SplitHostPort(tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	host := s.start("--verifier", "10.0.2.2:"+port)
	away := host.told(t, func(e event) bool {
		return e.Event == "console" && strings.Contains(e.Text, "not the verifier that this host trusts")
	})
	for _, want := range []string{"identity key expected", "nothing was told to it"} {
		if !strings.Contains(away.Text, want) {
			t.Errorf("it must say %q: %s", want, away.Text)
		}
	}
	if what := <-heard; what != "" {
		t.Errorf("the impostor was told %x", what)
	}
	d := must(state.Open(s.state))(t)
	if names := must(filepath.Glob(filepath.Join(d.Hosts(), "*")))(t); len(names) > 0 {
		t.Errorf("somebody was enrolled: %v", names)
	}
}

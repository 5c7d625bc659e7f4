//go:build e2e

package target

import (
	"fmt"
	"strings"
	"testing"
)

// TestNames: a service of a booted host reaches a server by its name, with the address
// and the DNS server that DHCP gave.
func TestNames(t *testing.T) {
	o := newOutside(t)
	go serveEcho(secure(t, o.listen(443)), func(int) {})
	h := startNetwork(t, o.plug)
	t.Run("dial by name", func(t *testing.T) {
		if answer := h.order(t, fmt.Sprintf("echo verifier.test:443 %d", 1<<20)); !strings.HasPrefix(answer, "ok bytes=1048576 ") {
			t.Error(answer)
		}
	})
	for _, c := range []struct{ name, answer, questions string }{
		{"verifier.test", "ok 10.9.0.1", ""},
		{"verifier.test.", "ok 10.9.0.1", ""},
		{"many.test", "ok 10.9.0.1 10.9.0.2 10.9.0.3 10.9.0.4 10.9.0.5 10.9.0.6 10.9.0.7 10.9.0.8 10.9.0.9 10.9.0.10 10.9.0.11 10.9.0.12", "udp many.test., tcp many.test."},
		{"10.9.0.200", "ok 10.9.0.200", ""},
		{"none.test", `error lookup none.test: resolve "none.test" with DNS server 10.9.0.1: no such host`, "udp none.test."},
		{"silent.test", `error lookup silent.test: resolve "silent.test" with DNS server 10.9.0.1: it does not answer`, ""},
	} {
		t.Run("look up "+c.name, func(t *testing.T) {
			answer := h.order(t, "lookup "+c.name)
			t.Log(answer)
			if failing := strings.HasPrefix(c.answer, "error "); !failing && answer != c.answer || failing && !strings.HasPrefix(answer, c.answer) {
				t.Errorf("%s; want %s", answer, c.answer)
			}
			if q := o.questions(c.name + "."); c.questions != "" && q != c.questions {
				t.Errorf("it asked %q, want %q", q, c.questions)
			}
		})
	}
}

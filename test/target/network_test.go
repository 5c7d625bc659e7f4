//go:build e2e

package target

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"aios/boot/manifest"
	"aios/host/install"
	"aios/host/vm"
)

// gateway is how a guest reaches the loopback of the machine that runs it.
const gateway = "10.0.2.2"

// networkPrograms are netd and a client of it, which takes orders.
func networkPrograms() *install.Programs {
	return &install.Programs{Services: []manifest.Service{
		{Name: "netd", Restart: manifest.RestartAlways, Memory: install.NetdMemory, Caps: []string{"frames", "log", "mailbox"}},
		{Name: "probe", Restart: manifest.RestartAlways, Memory: 256 << 20, Caps: []string{"channel", "log", "mailbox", "send-netd"}},
	}}
}

// networkHost is a booted machine with them.
type networkHost struct {
	*vm.Machine
	lines   *vm.Follower
	channel net.Conn
	answers *bufio.Reader
}

func startNetwork(t *testing.T, cfg func(*vm.Config)) *networkHost {
	t.Helper()
	return startNetworkOf(t, networkPrograms(), cfg)
}

// startNetworkOf has further clients, whose names begin with that of the first.
func startNetworkOf(t *testing.T, programs *install.Programs, cfg func(*vm.Config)) *networkHost {
	t.Helper()
	target := build(t)
	for _, a := range [][]string{
		{"-kind", "kernel", "-pkg", "./kernel/cmd/kernel", "-o", filepath.Join(target, "kernel.elf")},
		{"-kind", "service", "-pkg", "./services/netd", "-o", filepath.Join(target, "netd.elf")},
		{"-kind", "service", "-pkg", "./services/netd/probe", "-o", filepath.Join(target, "probe.elf")},
	} {
		c := exec.Command("go", append([]string{"run", "./boot/cmd/mkmetal"}, a...)...)
		c.Dir = root
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("mkmetal %s: %v\n%s", strings.Join(a, " "), err, out)
		}
	}
	for _, s := range programs.Services[2:] {
		if err := os.Link(filepath.Join(target, "probe.elf"), filepath.Join(target, s.Name+".elf")); err != nil {
			t.Fatal(err)
		}
	}
	c := hostOf(t, install.Source{Target: target, Policy: []byte("no policy"), Version: 1, Programs: programs})
	c.Accelerator, _ = vm.ChooseAccelerator(t.Context(), c.Programs)
	if cfg != nil {
		cfg(&c)
	}
	m, err := vm.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	h := &networkHost{Machine: m, lines: m.Console.Follow()}
	h.expect(t, bootLimit, `^aios probe: ready$`)
	if h.channel, err = m.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.channel.Close() })
	h.answers = bufio.NewReader(h.channel)
	return h
}

// expect reads the console up to a line that matches.
func (h *networkHost) expect(t *testing.T, limit time.Duration, pattern string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for want := regexp.MustCompile(pattern); ; {
		l, err := h.lines.Next(ctx)
		if err != nil {
			t.Fatalf("the console does not say %q: %v; its last lines:\n%s", pattern, err, tail(h.Machine))
		}
		if want.MatchString(l.Text) {
			return
		}
	}
}

// order has the probe do something.
func (h *networkHost) order(t *testing.T, text string) string {
	t.Helper()
	h.channel.SetDeadline(time.Now().Add(caseLimit))
	fmt.Fprintf(h.channel, "%s\n", text)
	answer, err := h.answers.ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v; the console's last lines:\n%s", text, err, tail(h.Machine))
	}
	return strings.TrimSpace(answer)
}

// echoServer gives back what it gets over TLS, and counts what it took.
func echoServer(t *testing.T, took func(n int)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go serveEcho(secure(t, l), took)
	return l.Addr().(*net.TCPAddr).Port
}

// secure puts TLS on a listener, with a certificate that proves nothing.
func secure(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}})
}

// serveEcho serves until the listener is closed.
func serveEcho(l net.Listener, took func(n int)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, io.TeeReader(c, counter(took)))
		}()
	}
}

type counter func(int)

func (c counter) Write(p []byte) (int, error) { c(len(p)); return len(p), nil }

// A service of a booted host reaches a server outside through netd.
func TestNetwork(t *testing.T) {
	h := startNetwork(t, nil)
	cut := make(chan struct{})
	var total int
	port := echoServer(t, func(n int) {
		if before := total; before < 3<<20 && before+n >= 3<<20 {
			close(cut)
		}
		total += n
	})
	closed, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	t.Run("TLS 1.3 with X25519MLKEM768 and 1 MiB back", func(t *testing.T) {
		answer := h.order(t, fmt.Sprintf("echo %s:%d %d", gateway, port, 1<<20))
		if !strings.HasPrefix(answer, "ok bytes=1048576 ") || !strings.HasSuffix(answer, " version=304 curve=X25519MLKEM768") {
			t.Error(answer)
		}
		t.Log(answer)
	})
	t.Run("nobody listens", func(t *testing.T) {
		if answer := h.order(t, fmt.Sprintf("echo %s:%d 1", gateway, closed.Addr().(*net.TCPAddr).Port)); !strings.Contains(answer, "refused") && !strings.Contains(answer, "reset") {
			t.Error(answer)
		}
	})
	t.Run("a connection survives a short cut of the link", func(t *testing.T) {
		answer := make(chan string, 1)
		go func() { answer <- h.order(t, fmt.Sprintf("echo %s:%d %d", gateway, port, 8<<20)) }()
		select {
		case <-cut:
		case a := <-answer:
			t.Fatal(a)
		}
		if err := h.SetLink(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		select {
		case a := <-answer:
			t.Fatalf("with the link cut: %s", a)
		case <-time.After(3 * time.Second): // how long the cut lasts
		}
		if err := h.SetLink(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if a := <-answer; !strings.HasPrefix(a, "ok bytes=8388608 ") {
			t.Error(a)
		}
	})
}

// A host without a card boots, and says why nothing can be reached.
func TestNoNetworkCard(t *testing.T) {
	h := startNetwork(t, func(c *vm.Config) { c.NoNetwork = true })
	if answer := h.order(t, "echo "+gateway+":1 1"); !strings.HasPrefix(answer, "error ") || !strings.Contains(answer, "this machine has no network card") {
		t.Error(answer)
	}
}

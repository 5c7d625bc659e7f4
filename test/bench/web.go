package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"aios/boot/manifest"
	"aios/host/install"
	"aios/host/vm"
)

const (
	webSize  = 16 << 20 // bytes of the page
	webTimes = 3        // that it is taken in one boot

	// Of QEMU's user network: the host's loopback as guests reach it, and the
	// address that its DHCP gives the guest.
	webGateway, webGuest = "10.0.2.2", "10.0.2.15"
)

// webServer serves one page on the loopback of this machine, for all the bench.
type webServer struct{ port int }

func serveWeb() (*webServer, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	page := make([]byte, webSize)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // until the bench ends
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		w.Write(page) // if it fails the client says so
	}))
	return &webServer{l.Addr().(*net.TCPAddr).Port}, nil
}

func (s *webServer) address() string { return fmt.Sprintf("%s:%d", webGateway, s.port) }

// cmdline tells the peer's init what to do.
func (s *webServer) cmdline() string {
	return fmt.Sprintf("web=%s/%s/%d", s.address(), webGuest, webTimes)
}

// webPrograms are netd and a client of it, which takes orders from the channel.
func webPrograms() *install.Programs {
	return &install.Programs{Services: []manifest.Service{
		{Name: "netd", Restart: manifest.RestartAlways, Memory: install.NetdMemory, Caps: []string{"frames", "log", "mailbox"}},
		{Name: "probe", Restart: manifest.RestartAlways, Memory: 256 << 20, Caps: []string{"channel", "log", "mailbox", "send-netd"}},
	}}
}

// bootWeb boots AIOS with netd, whose client takes the page.
func (m *machines) bootWeb(ctx context.Context, b *boots) error {
	got := batches{}
	err := boot(ctx, m.web, func(vm *vm.Machine, l vm.Line) (bool, error) {
		if strings.Contains(l.Text, " FAILED ") {
			return false, errors.New(l.Text)
		}
		if l.Text != "aios probe: ready" {
			return false, nil
		}
		return true, askProbe(ctx, vm, "get "+m.server.address(), got)
	})
	if err == nil {
		b.web = append(b.web, got)
	}
	return err
}

// askProbe has the client take the page.
func askProbe(ctx context.Context, m *vm.Machine, order string, got batches) error {
	c, err := m.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(bootLimit))
	answers := bufio.NewReader(c)
	for range webTimes {
		fmt.Fprintln(c, order)
		answer, err := answers.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", order, err)
		}
		ns, err := webTime(answer)
		if err != nil {
			return fmt.Errorf("%s: %w", order, err)
		}
		got["http_get"] = append(got["http_get"], ns)
	}
	return nil
}

// webTime reads the client's answer.
func webTime(answer string) (ns float64, err error) {
	var bytes, us int64
	if n, _ := fmt.Sscanf(answer, "ok bytes=%d us=%d", &bytes, &us); n != 2 || us <= 0 {
		return 0, fmt.Errorf("the client says %q", strings.TrimSpace(answer))
	}
	if bytes != webSize {
		return 0, fmt.Errorf("%d bytes came, want %d", bytes, webSize)
	}
	return float64(us) * 1000, nil
}

// bootPeerWeb boots Debian's kernel to the same client.
func (m *machines) bootPeerWeb(ctx context.Context, b *boots) error {
	got := batches{}
	whole := 0
	err := boot(ctx, m.peerWeb, func(_ *vm.Machine, l vm.Line) (bool, error) {
		if why, failed := strings.CutPrefix(l.Text, "FAILED "); failed {
			return false, errors.New(why)
		}
		if l.Text == fmt.Sprintf("G %d bytes", webSize) {
			whole++
		}
		got.add(l.Text)
		return l.Text == "OFF", nil
	})
	if err == nil && (whole != webTimes || len(got["http_get"]) != webTimes) {
		err = fmt.Errorf("it took the whole page %d times and told %d times, want %d", whole, len(got["http_get"]), webTimes)
	}
	if err == nil {
		b.peerWeb = append(b.peerWeb, got)
	}
	return err
}

// webRow compares.
func (b *boots) webRow() (row, error) {
	ours, err := each(b.web, "http_get", median)
	if err != nil {
		return row{}, fmt.Errorf("AIOS: %w", err)
	}
	peer, err := each(b.peerWeb, "http_get", median)
	if err != nil {
		return row{}, fmt.Errorf("Debian's kernel: %w", err)
	}
	rate := func(ns []float64) string { return digits(webSize * 1e3 / median(ns)) } // bytes per ns is GB/s
	return compare("http_get", fmt.Sprintf("HTTP GET of %d MiB by netd / by Debian's kernel (%s and %s MB/s)", webSize>>20, rate(ours), rate(peer)), ours, peer)
}

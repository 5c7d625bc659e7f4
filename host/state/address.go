package state

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sockets names those of the running virtual host: its control socket and its console
// channel, a line each.
func (d *Dir) Sockets() string { return filepath.Join(d.Host(), "sockets") }

// hostsAddress keeps where the verifier awaits hosts.
func (d *Dir) hostsAddress() string { return filepath.Join(d.Root, "verifier", "hosts-address") }

// HostsAddress is where the installation's own verifier awaits its hosts: a port of
// the loopback interface, chosen once. It is in the signed image, so it stays.
func (d *Dir) HostsAddress() (string, error) {
	name := d.hostsAddress()
	b, err := os.ReadFile(name)
	if err == nil {
		address := strings.TrimSpace(string(b))
		if host, port, err := net.SplitHostPort(address); err != nil || net.ParseIP(host) == nil || badPort(port) {
			return "", fmt.Errorf("%s: expected an address such as 127.0.0.1:8470, found %q; remove the file to have one chosen", name, address)
		}
		return address, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("choose a port for hosts: %w", err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return "", err
	}
	return address, WriteFile(name, []byte(address+"\n"), 0o600)
}

func badPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err != nil || n == 0
}

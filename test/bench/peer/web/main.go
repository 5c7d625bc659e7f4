// Command web is /init of Debian's own kernel where `make bench` measures the
// network: it loads the drivers of the card, takes a page by HTTP several times,
// and switches off. It is not command peer, whose size counts in a comparison.
//
// Every result is one line on the console: "B <name> <value> <unit>".
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aios/services/netd/probe/fetch"
)

// limit bounds the whole.
const limit = 2 * time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Println("FAILED", err)
	}
	fmt.Println("OFF")
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func run() error {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	o, err := parse(string(cmdline))
	if err != nil {
		return err
	}
	modules, err := filepath.Glob("/modules/*") // in the order of their names
	if err != nil {
		return err
	}
	for _, m := range modules {
		if err := load(m); err != nil {
			return fmt.Errorf("load %s: %w", m, err)
		}
	}
	if err := up("eth0", o.address, 24); err != nil {
		return fmt.Errorf("give eth0 the address %v: %w", o.address, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var d net.Dialer
	for range o.times {
		n, took, err := fetch.Get(ctx, d.DialContext, "http://"+o.server+"/")
		if err != nil {
			return err
		}
		fmt.Printf("G %d bytes\nB http_get %d ns\n", n, took)
	}
	return nil
}

// orders are what the kernel's command line says.
type orders struct {
	server  string // host:port
	address [4]byte
	times   int
}

func parse(cmdline string) (o orders, err error) {
	for _, f := range strings.Fields(cmdline) {
		if v, ok := strings.CutPrefix(f, "web="); ok { // server/own address/times
			var a [4]byte
			if n, _ := fmt.Sscanf(strings.ReplaceAll(v, "/", " "), "%s %d.%d.%d.%d %d", &o.server, &a[0], &a[1], &a[2], &a[3], &o.times); n != 6 {
				return o, fmt.Errorf("%q: expected web=HOST:PORT/ADDRESS/TIMES", f)
			}
			o.address = a
			return o, nil
		}
	}
	return o, errors.New("the kernel's command line has no web=HOST:PORT/ADDRESS/TIMES")
}

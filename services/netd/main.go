// Command netd is the service that owns the network card: TCP/IP, DHCP and DNS,
// in ring 3, with gVisor's netstack. Other services reach it by messages
// (sdk/go/net, docs/network.md). It sees what its clients send and receive, so they
// encrypt: it is trusted for nothing but to carry bytes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
	"aios/services/netd/dhcp"
)

// heapLimit makes the collector work harder before the quota of the manifest ends
// the process.
const heapLimit = 96 << 20

// version is set by the build.
var version = "dev"

func main() {
	log, err := aios.OpenLog()
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
	debug.SetMemoryLimit(heapLimit)
	err = run(func(format string, a ...any) { fmt.Fprintf(log, format, a...) })
	// The kernel starts the service again if the manifest says so.
	fmt.Fprintf(log, "FAILED reason=%q", err)
	os.Exit(1)
}

// run returns when something failed that a new start may mend.
func run(log func(string, ...any)) error {
	box, err := aios.OpenMailbox()
	if err != nil {
		return err
	}
	frames, err := aios.OpenFrames()
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	var n network
	address, mtu, err := frames.Info()
	switch {
	case errors.Is(err, aios.ErrNoCard):
		log("ready version=%s network=none", version)
		n = noNetwork{err}
	case err != nil:
		return err
	default:
		client := dhcp.New(address)
		l := newLink(frames, address, mtu, client.Deliver)
		h, err := newHost(l, log)
		if err != nil {
			return err
		}
		client.Send, client.Apply, client.Log = l.send, h.apply, log
		go func() { failed <- l.receive() }()
		go func() { failed <- l.transmit(context.Background()) }()
		go client.Run(context.Background())
		log("ready version=%s address=%x mtu=%d", version, address, mtu)
		n = h
	}
	go func() { failed <- newServer(n, kernelMailbox{box}, log).serve() }()
	return <-failed
}

// kernelMailbox is the mailbox that the kernel gives.
type kernelMailbox struct{ box aios.Mailbox }

func (k kernelMailbox) Receive(buf []byte) (aios.Message, error) {
	return k.box.Receive(buf, aios.Forever)
}

func (kernelMailbox) Send(to abi.Handle, p []byte, timeout time.Duration) error {
	_, err := aios.Endpoint{Handle: to}.Send(p, timeout)
	return err
}

func (kernelMailbox) Close(h abi.Handle) { aios.Close(h) } // fails only if it is closed already

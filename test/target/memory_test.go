//go:build e2e

package target

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// maxConnections is what netd allows of all its clients together, maxOfOne of one of
// them (services/netd).
const maxConnections, maxOfOne = 48, 32

// stalled is how long a connection takes nothing before it counts as full.
const stalled = 5 * time.Second

// TestNetworkMemory: netd stays within its quota with as many connections as it allows,
// whose buffers are full both ways, since neither end reads.
func TestNetworkMemory(t *testing.T) {
	o := newOutside(t)
	server, orders := o.listen(9), o.listen(7000)
	full := make(chan int, maxConnections)
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go fill(c, full)
		}
	}()
	programs := networkPrograms()
	if s := os.Getenv("NETD_QUOTA"); s != "" { // for a look at how much it is
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		programs.Services[0].Memory = n
	}
	second := programs.Services[1]
	second.Name, second.Caps = "probe-2", []string{"log", "mailbox", "send-netd"}
	programs.Services = append(programs.Services, second)
	h := startNetworkOf(t, programs, o.plug)

	clerk, err := orders.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	const size = 1 << 20 // more than there is room for on its way out
	if answer := h.order(t, fmt.Sprintf("hold verifier.test:9 %d %d", maxOfOne, size)); answer != fmt.Sprintf("ok connections=%d", maxOfOne) {
		t.Fatal(answer)
	}
	rest := maxConnections - maxOfOne - 1 // one is that of the orders
	fmt.Fprintf(clerk, "hold verifier.test:9 %d %d\n", rest, size)
	clerk.SetReadDeadline(time.Now().Add(caseLimit))
	answers := bufio.NewReader(clerk)
	if answer, err := answers.ReadString('\n'); err != nil || answer != fmt.Sprintf("ok connections=%d\n", rest) {
		t.Fatalf("%q, %v", answer, err)
	}
	total := 0
	for range maxOfOne + rest {
		select {
		case n := <-full:
			total += n
		case <-time.After(caseLimit):
			t.Fatalf("no connection is full; the console's last lines:\n%s", tail(h.Machine))
		}
	}
	t.Logf("%d KiB to %d connections that do not read", total>>10, maxOfOne+rest)
	// It lives, and it says no to what is too much.
	if answer := h.order(t, "echo verifier.test:9 1"); !strings.HasPrefix(answer, "error ") || !strings.Contains(answer, "48") {
		t.Error(answer)
	}
	fmt.Fprintln(clerk, "lookup verifier.test")
	clerk.SetReadDeadline(time.Now().Add(caseLimit))
	if answer, err := answers.ReadString('\n'); err != nil || !strings.Contains(answer, "48") {
		t.Errorf("%q, %v", answer, err)
	}
	for _, l := range h.Console.Tail(10_000) {
		if strings.HasPrefix(l.Text, "aios kernel: service exit ") {
			t.Error(l.Text)
		}
	}
}

// fill writes until the other end takes no more, and never reads.
func fill(c net.Conn, full chan<- int) {
	b := make([]byte, 64<<10)
	for total := 0; ; {
		c.SetWriteDeadline(time.Now().Add(stalled))
		n, err := c.Write(b)
		if total += n; err != nil {
			full <- total
			return
		}
	}
}

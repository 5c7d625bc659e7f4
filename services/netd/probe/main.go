// Command probe is a client of netd for tests and measurements on a booted host.
// It takes orders from the channel, or without that capability from whom it finds at
// orders.test:7000, one a line, and answers each with a line:
//
//	echo ADDRESS BYTES     TLS 1.3 to a server that gives back what it gets
//	get ADDRESS            HTTP GET / and how fast the body came
//	lookup NAME
//	hold ADDRESS N BYTES   open N connections, write BYTES on each, read nothing and keep them
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
	"aios/sdk/go/net"
	"aios/services/netd/probe/fetch"
)

// limit bounds one order.
const limit = 2 * time.Minute

func main() {
	log, err := aios.OpenLog()
	if err == nil {
		err = serve(log)
	}
	fmt.Fprintf(log, "FAILED reason=%q", err)
	os.Exit(1)
}

func serve(log io.Writer) error {
	stack, err := net.Open()
	if err != nil {
		return err
	}
	var channel io.ReadWriter
	if channel, err = aios.OpenStream(abi.CapChannel); err != nil {
		if channel, err = stack.DialContext(context.Background(), "tcp", "orders.test:7000"); err != nil {
			return err
		}
	}
	fmt.Fprintf(log, "ready")
	in := bufio.NewReader(channel)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		answer, err := order(ctx, stack, strings.Fields(line))
		cancel()
		if err != nil {
			answer = "error " + err.Error()
		}
		fmt.Fprintf(log, "did order=%q answer=%q", strings.TrimSpace(line), answer)
		if _, err := fmt.Fprintf(channel, "%s\n", answer); err != nil {
			return err
		}
	}
}

func order(ctx context.Context, stack *net.Stack, words []string) (string, error) {
	switch {
	case len(words) == 3 && words[0] == "echo":
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		return echo(ctx, stack, words[1], n)
	case len(words) == 2 && words[0] == "get":
		return get(ctx, stack, words[1])
	case len(words) == 4 && words[0] == "hold":
		n, err := strconv.Atoi(words[2])
		size, err2 := strconv.Atoi(words[3])
		if err = errors.Join(err, err2); err != nil {
			return "", err
		}
		return hold(ctx, stack, words[1], n, size)
	case len(words) == 2 && words[0] == "lookup":
		a, err := stack.LookupHost(ctx, words[1])
		return "ok " + strings.Join(a, " "), err
	}
	return "", fmt.Errorf("unknown order %q", words)
}

// echo sends n bytes and wants them back. The server's certificate proves
// nothing: it is a test's.
func echo(ctx context.Context, stack *net.Stack, address string, n int) (string, error) {
	raw, err := stack.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := c.HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("handshake: %w", err)
	}
	sent := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(sent)
	began := time.Now()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- err
	}()
	got := make([]byte, n)
	k, err := io.ReadFull(c, got)
	if err == nil {
		err = <-wrote
	}
	if err != nil {
		return "", fmt.Errorf("%d of %d bytes came back: %w", k, n, err)
	}
	if !bytes.Equal(sent, got) {
		return "", fmt.Errorf("other bytes came back than were sent")
	}
	s := c.ConnectionState()
	return fmt.Sprintf("ok bytes=%d ms=%d version=%x curve=%v", n, time.Since(began).Milliseconds(), s.Version, s.CurveID), nil
}

func get(ctx context.Context, stack *net.Stack, address string) (string, error) {
	n, took, err := fetch.Get(ctx, stack.DialContext, "http://"+address+"/")
	return fmt.Sprintf("ok bytes=%d us=%d", n, took.Microseconds()), err
}

// hold opens connections and never reads from them. Each writes a while, which
// nobody waits for: the peer need not read.
func hold(ctx context.Context, stack *net.Stack, address string, n, size int) (string, error) {
	for i := range n {
		c, err := stack.DialContext(ctx, "tcp", address)
		if err != nil {
			return "", fmt.Errorf("after %d connections: %w", i, err)
		}
		held = append(held, c)
		go c.Write(make([]byte, size))
	}
	return fmt.Sprintf("ok connections=%d", n), nil
}

// held are the connections of hold, until the program ends.
var held []io.Closer

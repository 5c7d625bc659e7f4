// Command probe is a client of netd for tests and measurements on a booted host.
// It takes orders from the channel, one a line, and answers each with a line:
//
//	echo ADDRESS BYTES     TLS 1.3 to a server that gives back what it gets
//	get ADDRESS            HTTP GET / and how fast the body came
//	lookup NAME
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
	"aios/sdk/go/net"
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
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	stack, err := net.Open()
	if err != nil {
		return err
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
	client := &http.Client{Transport: &http.Transport{DialContext: stack.DialContext, DisableKeepAlives: true}}
	q, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/", nil)
	if err != nil {
		return "", err
	}
	began := time.Now()
	r, err := client.Do(q)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	n, err := io.Copy(io.Discard, r.Body)
	return fmt.Sprintf("ok bytes=%d us=%d", n, time.Since(began).Microseconds()), err
}

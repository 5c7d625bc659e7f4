//go:build wasip1

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"aios/kernel/abi"
	"aios/sdk/go/agent"
)

// patience is how long it waits for an answer. It is long because a host may be emulated.
const patience = 30 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Printf("FAILED reason=%q", err)
		os.Exit(1)
	}
	fmt.Println("spin: from here on only the kernel ends this agent")
	for {
	}
}

func run() error {
	up, err := agent.Uptime()
	if err != nil {
		return err
	}
	fmt.Printf("hello from %s, %d ms after the host's boot\n", os.Args[0], up.Milliseconds())
	for _, text := range []string{"ping", "pong"} {
		if err := echo(text); err != nil {
			return err
		}
	}
	allocate(8 << 20)
	return forbidden()
}

// echo has a service say something back.
func echo(text string) error {
	echod, err := agent.Peer("echod")
	if err != nil {
		return err
	}
	answer, err := agent.Ask(echod, []byte(text), make([]byte, 64), patience)
	if err != nil {
		return fmt.Errorf("echod: %w", err)
	}
	if string(answer) != text {
		return fmt.Errorf("echod answered %q, expected %q", answer, text)
	}
	fmt.Printf("echod answered %q\n", answer)
	return nil
}

// allocate makes memory and writes all of it.
func allocate(n int) {
	b := bytes.Repeat([]byte{0xa5}, n)
	fmt.Printf("allocated %d MiB, last byte %#x\n", len(b)>>20, b[len(b)-1])
}

// forbidden asks for what the agent's token does not admit.
func forbidden() error {
	_, err := agent.AskQuote(make([]byte, 32))
	if err == nil {
		return errors.New("got a quote, which this agent's token must not admit")
	}
	if !errors.Is(err, abi.Denied) {
		return fmt.Errorf("expected to be denied a quote: %w", err)
	}
	fmt.Printf("refused as it has to be: %v\n", err)
	return nil
}

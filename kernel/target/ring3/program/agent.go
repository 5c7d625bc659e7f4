package main

import (
	"errors"
	"fmt"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Agents: what one does whose token does not admit everything.

func init() {
	things["agentcalls"] = agentCalls
	things["agentflood"] = agentFlood
}

// agentCalls does what its token admits, and tries what it does not: to attest, and to
// send elsewhere than to itself.
func agentCalls() error {
	log, err := aios.OpenLog()
	if err != nil {
		return err
	}
	fmt.Fprintln(log, "an agent's line")
	if up, err := aios.Uptime(handle(abi.CapClock)); err != nil || up <= 0 {
		return fmt.Errorf("uptime %v, %v", up, err)
	}
	module, err := aios.OpenBlob(abi.CapModule)
	if err != nil {
		return err
	}
	if text, err := module.ReadAll(100); err != nil || string(text) != "module" {
		return fmt.Errorf("module %q, %v", text, err)
	}
	if err := echoToSelf(); err != nil {
		return err
	}
	sum := 0
	for i := range 64 { // memory
		b := make([]byte, 64<<10)
		b[i] = byte(i)
		sum += int(b[i])
	}
	if err := expect("sum", sum, 63*64/2); err != nil {
		return err
	}
	a, err := aios.OpenAttestor()
	if err != nil {
		return err
	}
	if _, err := a.Quote([]byte("nonce")); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("a quote: %v, want %v", err, abi.Denied)
	}
	elsewhere := aios.Endpoint{Handle: handle(abi.CapSend + "ELSEWHERE")}
	if _, err := elsewhere.Send([]byte("x"), 0); !errors.Is(err, abi.Denied) && !errors.Is(err, abi.Pipe) { // by the token's scope, nobody listens
		return fmt.Errorf("a message to elsewhere: %v", err)
	}
	return nil
}

// echoToSelf sends to its own mailbox, and receives.
func echoToSelf() error {
	box := aios.Mailbox{Handle: handle(abi.CapMailbox)}
	if _, err := (aios.Endpoint{Handle: handle(abi.CapReply)}).Send([]byte("to me"), 0); err != nil {
		return err
	}
	m, err := box.Receive(make([]byte, 64), time.Second)
	if err != nil {
		return err
	}
	return expect("message", string(m.Data), "to me")
}

// agentFlood sends and logs as fast as it can: most of it is refused.
func agentFlood() error {
	log, err := aios.OpenLog()
	if err != nil {
		return err
	}
	box := aios.Mailbox{Handle: handle(abi.CapMailbox)}
	self := aios.Endpoint{Handle: handle(abi.CapReply)}
	buf := make([]byte, 64)
	refused, passed := 0, 0
	for i := range 3000 {
		var err error
		if i%2 == 0 {
			_, err = self.Send([]byte("flood"), 0)
		} else {
			_, err = log.Write([]byte("flood\n"))
		}
		switch {
		case err == nil:
			passed++
		case errors.Is(err, abi.Quota):
			refused++
		default:
			return err
		}
		if i%2 == 0 && err == nil {
			if _, err := box.Receive(buf, 0); err != nil {
				return err
			}
		}
	}
	if passed == 0 || refused < passed {
		return fmt.Errorf("%d passed, %d were refused", passed, refused)
	}
	return nil
}

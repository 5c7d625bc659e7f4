package main

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Borrowed: what an agent derives and gives to a service, and what becomes of it there
// when the agent's token ends.

func init() {
	things["lender"] = lender
	things["borrower"] = borrower
}

// lender is the agent: it gives the borrower, whenever that asks, a blob and an endpoint
// of its own, each derived, and a second blob that it copied. It is ended by the case.
func lender() error {
	for {
		if _, err := received(patience); err != nil {
			if errors.Is(err, abi.Lapsed) { // until the token is good again
				time.Sleep(time.Millisecond)
				continue
			}
			return err
		}
		derived, err := aios.Derive(handle(movable), everything)
		if err != nil {
			return err
		}
		copied, err := aios.Copy(derived)
		if err != nil {
			return err
		}
		end, err := aios.Derive(player(1).Handle, abi.RightWrite|abi.RightTransfer)
		if err != nil {
			return err
		}
		if _, err := player(1).Send([]byte("lent"), patience, derived, copied, end); err != nil {
			return err
		}
	}
}

// borrower is a service. The case tells it by the channel what to do, and takes the answer.
func borrower() error {
	b := &borrowed{lent: make(chan []abi.Handle, 1)}
	go b.receive()
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	buf := make([]byte, 16)
	for {
		n, err := channel.Read(buf)
		if err != nil {
			return err
		}
		answer := "unknown"
		switch string(buf[:n]) {
		case "borrow":
			answer = b.borrow()
		case "use":
			answer = b.use()
		case "close":
			answer = b.close()
		case "end":
			return nil
		}
		if _, err := channel.Write([]byte(answer)); err != nil {
			return err
		}
	}
}

// borrowed is what the borrower has of the lender, and what it made of that.
type borrowed struct {
	lent chan []abi.Handle
	blob []abi.Handle
	ends []abi.Handle
	used atomic.Int64 // messages that came through the endpoints
}

// receive is always parked for a message, so that those to it go the short way.
func (b *borrowed) receive() {
	for {
		m, err := received(time.Hour)
		switch {
		case err != nil:
			return
		case string(m.Data) == "used":
			b.used.Add(1)
		case len(m.Handles) > 0:
			b.lent <- m.Handles
		}
	}
}

// borrow asks for more, and derives from it, copies it and sends it round.
func (b *borrowed) borrow() string {
	if _, err := player(0).Send([]byte("please"), patience); err != nil {
		return err.Error()
	}
	h := <-b.lent
	made := func(what func(h abi.Handle) (abi.Handle, error), of abi.Handle) abi.Handle {
		n, err := what(of)
		if err != nil {
			panic(err)
		}
		return n
	}
	narrow := func(h abi.Handle) (abi.Handle, error) { return aios.Derive(h, abi.RightRead) }
	b.blob = append(b.blob, h[0], h[1], made(aios.Copy, h[0]), made(narrow, h[1]))
	b.ends = append(b.ends, h[2], made(aios.Copy, h[2]))
	if _, err := player(1).Send(nil, patience, made(aios.Copy, h[0])); err != nil { // to itself
		return err.Error()
	}
	b.blob = append(b.blob, <-b.lent...)
	return "borrowed"
}

// use tries everything with all of it, and says how that ended: in one word, if all ended alike.
func (b *borrowed) use() string {
	ends := map[string]bool{}
	note := func(what string, err error) {
		text := "works"
		var errno abi.Errno
		switch {
		case errors.As(err, &errno):
			text = errno.Error()
		case err != nil:
			text = what + ": " + err.Error()
		}
		ends[text] = true
	}
	grown := func(what string, h abi.Handle, err error) {
		note(what, err)
		if err == nil {
			note("close", aios.Close(h))
		}
	}
	for _, h := range append(b.blob[:len(b.blob):len(b.blob)], b.ends...) {
		err := aios.Null(h)
		note("null", err)
		if err != nil { // else it would end the others
			_, err = aios.Revoke(h)
			note("revoke", err)
		}
		d, err := aios.Derive(h, 0)
		grown("derive", d, err)
		c, err := aios.Copy(h)
		grown("copy", c, err)
	}
	for _, h := range b.blob {
		_, err := text(h)
		note("read", err)
	}
	before, sent := b.used.Load(), int64(0)
	for range 50 {
		for _, h := range b.ends {
			_, err := aios.Endpoint{Handle: h}.Send([]byte("used"), patience)
			note("send", err)
			if err == nil {
				sent++
			}
		}
	}
	for began := time.Now(); b.used.Load()-before < sent; { // what was sent arrives
		if time.Since(began) > patience {
			note("", fmt.Errorf("%d of %d messages came", b.used.Load()-before, sent))
			break
		}
		time.Sleep(time.Millisecond)
	}
	var all []string
	for text := range ends {
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// close gives everything up: that is never refused.
func (b *borrowed) close() string {
	for _, h := range append(b.blob, b.ends...) {
		if err := aios.Close(h); err != nil {
			return err.Error()
		}
	}
	b.blob, b.ends = nil, nil
	return "closed"
}

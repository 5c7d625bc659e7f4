package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Revoked: handles that are used, derived from and passed on by many threads while
// somebody revokes them.

func init() {
	things["revokewaits"] = revokeWaits
	things["revoker"] = revoker
	things["clinger"] = clinger
}

// revokeWaits has a call under way on the blob SLOW, which the case holds up until it
// hears that the handle is dead, and calls that wait for room behind FULL.
func revokeWaits() error {
	slow, err := aios.Derive(handle("SLOW"), abi.RightRead)
	if err != nil {
		return err
	}
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	read, revoked := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := text(slow)
		read <- err
	}()
	if _, err := channel.Read(make([]byte, 1)); err != nil { // the case has the call
		return err
	}
	go func() {
		n, err := aios.Revoke(handle("SLOW"))
		err = errors.Join(err, expect("revoked", n, 1))
		if s, e := text(handle("LEFT")); e != nil || s != "yes." {
			err = errors.Join(err, fmt.Errorf("the revocation returned, and the call is under way: %q, %v", s, e))
		}
		revoked <- err
	}()
	if err := untilDead(slow); err != nil {
		return err
	}
	if _, err := channel.Write([]byte("dead")); err != nil {
		return err
	}
	if err := errors.Join(<-revoked, <-read); err != nil {
		return err
	}
	for range 5 {
		if err := revokeWaiting(); err != nil {
			return err
		}
	}
	return nil
}

// revokeWaiting revokes that through which four threads wait for room.
func revokeWaiting() error {
	full := handle(abi.CapSend + "FULL")
	d, err := aios.Derive(full, abi.RightWrite)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = aios.Endpoint{Handle: d}.Send([]byte("more"), 0)
	}
	if err := refused("the last one", err, abi.Again); err != nil {
		return err
	}
	sent := make(chan error, 4)
	for range cap(sent) {
		go func() {
			_, err := aios.Endpoint{Handle: d}.Send([]byte("one too many"), aios.Forever)
			sent <- err
		}()
	}
	time.Sleep(2 * time.Millisecond) // most of them are there; who comes later finds it dead
	n, err := aios.Revoke(full)
	err = errors.Join(err, expect("revoked", n, 1))
	for range cap(sent) {
		err = errors.Join(err, refused("who waited", <-sent, abi.BadHandle))
	}
	return err
}

// revokeRounds is how often the handle is passed on and revoked.
const revokeRounds = 24

// note is a short message: what it is about, and of which round.
func note(what byte, round int) []byte {
	return binary.LittleEndian.AppendUint32([]byte{what}, uint32(round))
}

// revoker gives the clinger an endpoint to its own mailbox, waits until that was used so
// many times, and revokes it. Behind that it sends itself a mark: no use comes after it.
func revoker() error {
	root := handle(abi.CapSend + "P0")
	own := aios.Endpoint{Handle: handle(abi.CapSend + "SELF")} // of another family
	var want, over, returned atomic.Int64                      // of the round: uses to await, the last mark, revoked
	enough, marked, done, failed := make(chan bool, 1), make(chan bool, 1), make(chan bool, 1), make(chan error, 1)
	go func() {
		for {
			m, err := received(patience)
			if err != nil {
				failed <- err
				return
			}
			round := int64(binary.LittleEndian.Uint32(m.Data[1:]))
			switch m.Data[0] {
			case 'u':
				if round <= over.Load() {
					failed <- fmt.Errorf("message %d of %d: a use of round %d after its mark", m.Number, m.From, round)
					return
				}
				if want.Add(-1) == 0 {
					enough <- true
				}
			case 'm':
				over.Store(round)
				marked <- true
			case 'd':
				done <- true
			}
		}
	}()
	await := func(c chan bool) error {
		select {
		case <-c:
			return nil
		case err := <-failed:
			return err
		}
	}
	for round := 1; round <= revokeRounds; round++ {
		child, err := aios.Derive(root, abi.RightWrite|abi.RightTransfer)
		if err != nil {
			return err
		}
		mine, err := aios.Derive(child, abi.RightWrite)
		if err != nil {
			return err
		}
		want.Store(int64(1 + round*7%40))
		if _, err := player(1).Send(note('r', round), patience, child); err != nil {
			return err
		}
		used := make(chan error, 1)
		go func() { // it knows when the call has returned
			for {
				late := returned.Load() == int64(round)
				_, err := aios.Endpoint{Handle: mine}.Send(note('u', round), 0)
				if late && err == nil {
					used <- fmt.Errorf("round %d: it was sent after the revocation had returned", round)
					return
				}
				if err != nil && !errors.Is(err, abi.Again) {
					used <- refused("the last use", err, abi.BadHandle)
					return
				}
			}
		}()
		if err := await(enough); err != nil {
			return err
		}
		n, err := aios.Revoke(root)
		returned.Store(int64(round))
		if err != nil || n < 2 {
			return fmt.Errorf("revoked %d, %v", n, err)
		}
		if _, err := own.Send(note('m', round), patience); err != nil {
			return err
		}
		if _, err := player(1).Send(note('o', round), patience); err != nil {
			return err
		}
		if err := errors.Join(<-used, await(marked), await(done)); err != nil {
			return err
		}
	}
	_, err := player(1).Send(note('e', 0), patience)
	return err
}

// clinger uses what it is given in every way, until it is dead, and looks whether any of
// what it had in a round still is a handle when that is over.
func clinger() error {
	for {
		m, err := received(patience)
		if err != nil {
			return err
		}
		if m.Data[0] == 'e' {
			return nil
		}
		round := int(binary.LittleEndian.Uint32(m.Data[1:]))
		c := &cling{round: round, h: m.Handles[0], had: m.Handles}
		ways := []func() error{c.send, c.spaced, c.child, c.pass}
		errs := make([]error, len(ways))
		var wg sync.WaitGroup
		for i, way := range ways {
			wg.Go(func() {
				for errs[i] == nil {
					errs[i] = way()
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err := refused(fmt.Sprintf("round %d, its end", round), err, abi.BadHandle); err != nil {
				return err
			}
		}
		for !c.over { // what is in the mailbox was passed on before
			m, err := received(patience)
			if err != nil {
				return err
			}
			c.over = m.Data[0] == 'o'
			c.had = append(c.had, m.Handles...)
		}
		for _, h := range c.had {
			if err := refused(fmt.Sprintf("round %d, when the revocation has returned", round), aios.Null(h), abi.BadHandle); err != nil {
				return err
			}
		}
		if _, err := player(0).Send(note('d', round), patience); err != nil {
			return err
		}
	}
}

// cling is what it has in a round.
type cling struct {
	round int
	h     abi.Handle
	over  bool // the owner's revocation has returned
	mu    sync.Mutex
	had   []abi.Handle
}

// use sends through an endpoint. Where there is no room nothing is lost.
func (c *cling) use(h abi.Handle) error {
	_, err := aios.Endpoint{Handle: h}.Send(note('u', c.round), 0)
	if errors.Is(err, abi.Again) {
		return nil
	}
	return err
}

func (c *cling) send() error { return c.use(c.h) }

// spaced sends now and then, mostly to who is parked for it.
func (c *cling) spaced() error {
	time.Sleep(100 * time.Microsecond)
	return c.use(c.h)
}

// derived is one more handle; a full table is none of this case's business.
func (c *cling) derived() (abi.Handle, error) {
	d, err := aios.Derive(c.h, abi.RightWrite|abi.RightTransfer)
	if err == nil {
		c.mu.Lock()
		c.had = append(c.had, d)
		c.mu.Unlock()
	}
	return d, err
}

// child uses what it derives, and what it derives from that. While that is being ended it
// cannot be derived from.
func (c *cling) child() error {
	d, err := c.derived()
	if err != nil {
		return err
	}
	for h := d; err == nil; {
		if err = c.use(h); err == nil {
			h, err = aios.Derive(h, abi.RightWrite)
		}
	}
	if errors.Is(err, abi.TooDeep) || errors.Is(err, abi.TooManyFiles) {
		err = nil
	}
	if n, e := aios.Revoke(d); err == nil && e == nil && n < 1 {
		return fmt.Errorf("revoked %d of its own", n)
	}
	aios.Close(d) // or it is dead
	return err
}

// pass sends what it derives to its own mailbox, and uses what arrives. It may come upon
// the message that the round is over.
func (c *cling) pass() error {
	d, err := c.derived()
	if err != nil {
		return err
	}
	if _, err := player(1).Send(note('p', c.round), 0, d); err != nil {
		return err
	}
	m, err := received(0)
	if err != nil {
		return err
	}
	c.over = c.over || m.Data[0] == 'o'
	for _, h := range m.Handles {
		c.mu.Lock()
		c.had = append(c.had, h)
		c.mu.Unlock()
		if err := errors.Join(c.use(h), aios.Close(h)); err != nil {
			return err
		}
	}
	return nil
}

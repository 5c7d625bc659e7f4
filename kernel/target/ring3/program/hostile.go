package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Hostile: what a program tries that has no right to it.

func init() {
	things["victim"] = victim
	things["forger"] = forger
	things["stale"] = stale
	things["deputy"] = deputy
	things["schemer"] = schemer
	things["hoarder"] = hoarder
	things["stuffed"] = stuffed
	things["spender"] = spender
}

// owned are all handles that the program was granted.
func owned() map[abi.Handle]bool {
	own := map[abi.Handle]bool{}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, abi.EnvPrefix) {
			continue
		}
		h, err := strconv.ParseUint(value, 0, 64)
		if err != nil {
			panic(err)
		}
		own[abi.Handle(h)] = true
	}
	return own
}

// victim makes handles in slots and of generations that the forger has none of, tells it
// their values, and looks whether they still are what they were.
func victim() error {
	var values []byte
	var mine []abi.Handle
	for i := range 40 {
		h, err := aios.Copy(handle(movable))
		if err != nil {
			return err
		}
		if i%2 == 0 {
			if err := aios.Close(h); err != nil {
				return err
			}
			continue
		}
		mine = append(mine, h)
		values = binary.LittleEndian.AppendUint64(values, uint64(h))
	}
	if _, err := player(0).Send(values, patience); err != nil {
		return err
	}
	if _, err := given("tried", 0); err != nil {
		return err
	}
	for _, h := range mine {
		if s, err := text(h); err != nil || s != "0123" {
			return fmt.Errorf("handle %#x: %q, %v", uint64(h), s, err)
		}
		if err := aios.Close(h); err != nil {
			return err
		}
	}
	return nil
}

// forger uses handles that it never got: the victim's, those near its own, and others at
// random.
func forger() error {
	m, err := received(patience)
	if err != nil {
		return err
	}
	own := owned()
	for b := m.Data; len(b) > 0; b = b[8:] {
		if h := abi.Handle(binary.LittleEndian.Uint64(b)); !own[h] {
			if err := dead("the victim's handle", h); err != nil {
				return err
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	var near []abi.Handle
	for index := range uint32(300) {
		for generation := range uint32(4) {
			near = append(near, abi.MakeHandle(index, generation))
		}
	}
	for range 1000 {
		near = append(near, abi.Handle(r.Uint64()), abi.MakeHandle(r.Uint32N(256), r.Uint32()))
	}
	for h := range own {
		for bit := range 64 {
			near = append(near, h^1<<bit)
		}
	}
	for _, h := range near {
		if (aios.Null(h) == nil) != own[h] {
			return fmt.Errorf("handle %#x: %v; it is its own: %v", uint64(h), aios.Null(h), own[h])
		}
		c := abi.Calls[r.IntN(len(abi.Calls))]
		if !own[h] {
			if err := refused(fmt.Sprintf("%s with %#x", c.Name, uint64(h)), try(c, h), abi.BadHandle); err != nil {
				return err
			}
		}
	}
	_, err = player(1).Send([]byte("tried"), patience)
	return err
}

// stale uses handles that it closed, when their slots are other handles', and beside a
// thread that closes them.
func stale() error {
	var old []abi.Handle
	for i := range 150 {
		h, err := aios.Copy(handle(movable))
		if err != nil {
			return err
		}
		if err := aios.Close(h); err != nil {
			return err
		}
		now, err := aios.Copy(handle("OTHER"))
		if err != nil {
			return err
		}
		if now.Index() != h.Index() || now == h {
			return fmt.Errorf("round %d: handle %#x after %#x was closed: the slot is not used again, or not told apart", i, uint64(now), uint64(h))
		}
		old = append(old, h)
		for _, o := range old[max(0, len(old)-5):] {
			if _, err := text(o); !errors.Is(err, abi.BadHandle) {
				return fmt.Errorf("a read by %#x: %v", uint64(o), err)
			}
			if err := aios.Close(o); !errors.Is(err, abi.BadHandle) {
				return fmt.Errorf("closed again, %#x: %v", uint64(o), err)
			}
		}
		if err := aios.Close(now); err != nil {
			return err
		}
	}
	for _, h := range old {
		if err := refused("an old one", aios.Null(h), abi.BadHandle); err != nil {
			return err
		}
	}
	return staleBeside()
}

// staleBeside reads by a handle that another thread closes, whose slot then is another
// blob's: what is read is the first blob, or nothing.
func staleBeside() error {
	var published atomic.Uint64
	var stop atomic.Bool
	var read, refusals atomic.Int64
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() {
			for !stop.Load() {
				h := abi.Handle(published.Load())
				s, err := text(h)
				switch {
				case err == nil && s == "0123":
					read.Add(1)
				case errors.Is(err, abi.BadHandle):
					refusals.Add(1)
				default:
					errs <- fmt.Errorf("by handle %#x: %q, %v", uint64(h), s, err)
					return
				}
			}
			errs <- nil
		}()
	}
	var err error
	for i := 0; err == nil && (i < 200 || read.Load() < 50 || refusals.Load() < 50); i++ {
		var first, second abi.Handle
		first, err = aios.Copy(handle(movable))
		published.Store(uint64(first))
		for range i % 50 * 20 {
		}
		err = errors.Join(err, aios.Close(first))
		if err == nil {
			second, err = aios.Copy(handle("OTHER"))
			err = errors.Join(err, aios.Close(second))
		}
	}
	stop.Store(true)
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	return err
}

// deputy reads for others what they give it, and answers by the endpoint that comes with
// it. It has a secret of its own, OTHER. It uses what moved to it and nothing that is
// named in a message's bytes, and gives up what it got.
func deputy() error {
	for {
		m, err := received(patience)
		if err != nil {
			return err
		}
		if string(m.Data) == "end" {
			return nil
		}
		if len(m.Handles) >= 2 {
			s, err := text(m.Handles[1])
			var errno abi.Errno
			if errors.As(err, &errno) {
				s = errno.Error()
			}
			aios.Endpoint{Handle: m.Handles[0]}.Send([]byte(s), 0) // where it cannot be sent is the sender's business
		}
		for _, h := range m.Handles {
			aios.Close(h) // or it was revoked
		}
	}
}

// schemer wants the deputy to do what it may not: to read the deputy's secret, to read by
// a handle without the right, to write to whom it may not.
func schemer() error {
	box := aios.Mailbox{Handle: handle(abi.CapMailbox)}
	ask := func(what abi.Handle) (string, error) {
		reply, err := box.Reply()
		if err != nil {
			return "", err
		}
		if _, err := player(0).Send(binary.LittleEndian.AppendUint64(nil, uint64(what)), patience, reply.Handle, what); err != nil {
			return "", errors.Join(err, aios.Close(reply.Handle))
		}
		m, err := received(patience)
		return string(m.Data), err
	}
	good, err := aios.Derive(handle(movable), everything)
	if err != nil {
		return err
	}
	if s, err := ask(good); err != nil || s != "0123" {
		return fmt.Errorf("what it may: %q, %v", s, err)
	}
	own := owned()
	for index := range uint32(64) { // the deputy's, whichever those are
		for generation := range uint32(3) {
			if h := abi.MakeHandle(index, generation); !own[h] && aios.Null(h) != nil {
				if _, err := ask(h); !errors.Is(err, abi.BadHandle) {
					return fmt.Errorf("handle %#x of the deputy's: %v", uint64(h), err)
				}
			}
		}
	}
	blind, err := aios.Derive(handle(movable), abi.RightTransfer)
	if err != nil {
		return err
	}
	if s, err := ask(blind); err != nil || s != abi.Denied.Error() {
		return fmt.Errorf("what it may not read itself: %q, %v", s, err)
	}
	rigid, err := aios.Derive(handle(movable), abi.RightRead)
	if err != nil {
		return err
	}
	if _, err := ask(rigid); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("what it may not pass on: %v", err)
	}
	// An endpoint that the token's scope does not admit: neither to be used nor to be lent.
	if _, err := player(2).Send([]byte("x"), 0); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("a message to whom it may not write: %v", err)
	}
	if _, err := ask(player(2).Handle); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("the endpoint to whom it may not write, lent: %v", err)
	}
	for range 30 { // as many handles as go, not all of them good any more: the deputy keeps none
		var lent []abi.Handle
		for range abi.MaxHandles {
			h, err := aios.Derive(handle(movable), everything)
			if err != nil {
				return err
			}
			lent = append(lent, h)
		}
		if _, err := player(0).Send(nil, patience, lent...); err != nil {
			return err
		}
		if _, err := aios.Revoke(handle(movable)); err != nil {
			return err
		}
	}
	last, err := aios.Copy(handle(movable))
	if err != nil {
		return err
	}
	if s, err := ask(last); err != nil || s != "0123" {
		return fmt.Errorf("after that: %q, %v", s, err)
	}
	_, err = player(0).Send([]byte("end"), patience)
	return err
}

// hoarder sends all the handles that it can to who does not receive: messages, with as
// many handles as fit each, until there is no room.
func hoarder() error {
	sent := 0
	for {
		var lot []abi.Handle
		for range abi.MaxHandles {
			h, err := aios.Derive(handle(movable), everything)
			if err != nil {
				return err
			}
			lot = append(lot, h)
		}
		_, err := player(1).Send(bytes.Repeat([]byte("x"), 64), 0, lot...)
		if errors.Is(err, abi.Again) {
			for _, h := range lot { // they are its own still
				if err := aios.Close(h); err != nil {
					return err
				}
			}
			break
		}
		if err != nil {
			return err
		}
		sent++
	}
	if sent == 0 || sent > 64 {
		return fmt.Errorf("%d messages were taken", sent)
	}
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	if _, err := channel.Write([]byte("full")); err != nil {
		return err
	}
	if _, err := given("stuffed", 0); err != nil {
		return err
	}
	n, err := aios.Revoke(handle(movable)) // in a table and in messages
	if err := errors.Join(err, expect("revoked", n, sent*abi.MaxHandles)); err != nil {
		return err
	}
	_, err = player(1).Send([]byte("revoked"), patience)
	return err
}

// stuffed takes messages until its table is full: the next one stays.
func stuffed() error {
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	if _, err := channel.Read(make([]byte, 1)); err != nil { // the mailbox is full
		return err
	}
	n := 0
	var had []abi.Handle
	for {
		m, err := received(0)
		if err != nil {
			if err := refused("with a full table", err, abi.TooManyFiles); err != nil {
				return err
			}
			break
		}
		n += len(m.Handles)
		had = append(had, m.Handles...)
	}
	if n < 100 {
		return fmt.Errorf("only %d handles came", n)
	}
	var rest []abi.Handle
	for {
		e, err := aios.Mailbox{Handle: handle(abi.CapMailbox)}.Reply()
		if err != nil {
			if err := refused("one more", err, abi.TooManyFiles); err != nil {
				return err
			}
			break
		}
		rest = append(rest, e.Handle)
	}
	if _, err := player(0).Send([]byte("stuffed"), patience); err != nil {
		return err
	}
	for _, h := range had {
		if err := untilDead(h); err != nil {
			return err
		}
	}
	for { // the others are in messages yet
		m, err := received(patience)
		if err != nil {
			return err
		}
		if string(m.Data) == "revoked" {
			break
		}
		had = append(had, m.Handles...)
	}
	for _, h := range had {
		if err := refused("revoked", aios.Null(h), abi.BadHandle); err != nil {
			return err
		}
	}
	for _, h := range rest {
		if err := aios.Close(h); err != nil {
			return err
		}
	}
	return nil
}

// spender wants to get round its token's quota of 50 messages a second by many handles,
// and by many threads.
func spender() error {
	began, err := aios.Uptime(handle(abi.CapClock))
	if err != nil {
		return err
	}
	var passed, refusals atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			for range 150 {
				h, err := aios.Derive(player(0).Handle, abi.RightWrite)
				if err == nil {
					_, err = aios.Endpoint{Handle: h}.Send([]byte("x"), 0)
					if errors.Is(err, abi.Quota) {
						refusals.Add(1)
						err = nil
					} else if err == nil || errors.Is(err, abi.Again) {
						passed.Add(1)
						err = nil
					}
					err = errors.Join(err, aios.Close(h))
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	now, err := aios.Uptime(handle(abi.CapClock))
	if err = errors.Join(append(errs, err)...); err != nil {
		return err
	}
	// A second's worth at once, what has come since, and one for each that raced.
	if most := 50 + 50*int64(now-began)/int64(time.Second) + int64(len(errs)) + 1; passed.Load() > most || refusals.Load() == 0 {
		return fmt.Errorf("%d messages passed in %v, at most %d may; %d were refused", passed.Load(), now-began, most, refusals.Load())
	}
	return nil
}

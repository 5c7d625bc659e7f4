package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Messages: two of these run at once, each with an endpoint to the other.

const (
	peer    = abi.CapSend + "PEER"
	movable = "MOVABLE" // a blob that may be passed on

	patience = 30 * time.Second
)

func init() {
	things["ipcecho"] = ipcEcho
	things["ipcclient"] = ipcClient
	things["ipcsilent"] = func() error { time.Sleep(time.Hour); return nil }
	things["ipccrash"] = ipcCrash
	things["ipccall"] = ipcCall
	things["ipcwait"] = ipcWait
	things["ipcfull"] = ipcFull
	things["ipcflood"] = ipcFlood
	things["ipchandles"] = ipcHandles
	things["ipcreader"] = ipcReader
	things["ipcrestart"] = ipcRestart
}

func ends() (aios.Endpoint, aios.Mailbox) {
	return aios.Endpoint{Handle: handle(peer)}, aios.Mailbox{Handle: handle(abi.CapMailbox)}
}

// ipcEcho sends back what it receives, until its peer is gone.
func ipcEcho() error {
	to, box := ends()
	buf := make([]byte, abi.MaxIPC)
	for {
		m, err := box.Receive(buf, patience)
		if gone := new(aios.GoneError); errors.As(err, &gone) {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := to.Send(m.Data, patience, m.Handles...); err != nil && !errors.Is(err, abi.Pipe) {
			return err
		}
	}
}

// ipcClient sends messages of every kind of size and expects them back in order.
func ipcClient() error {
	to, box := ends()
	sizes := []int{0, 1, 63, 64, 65, 4095, 4096, 4097, 20000, abi.MaxIPC - 1, abi.MaxIPC}
	const rounds = 20
	text := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)]) }
	sent := make(chan error, 1)
	go func() {
		for i := range rounds * len(sizes) {
			if _, err := to.Send(text(i), patience); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	buf := make([]byte, abi.MaxIPC)
	var from uint64
	for i := range rounds * len(sizes) {
		m, err := box.Receive(buf, patience)
		if err != nil {
			return err
		}
		if !bytes.Equal(m.Data, text(i)) || m.Number != uint64(i+1) || i > 0 && m.From != from {
			return fmt.Errorf("message %d: number %d of %d, %d bytes, want %d", i, m.Number, m.From, len(m.Data), len(text(i)))
		}
		from = m.From
	}
	if err := <-sent; err != nil {
		return err
	}
	fmt.Println("the peer is", from)
	if _, err := to.Send(make([]byte, abi.MaxIPC+1), patience); !errors.Is(err, abi.MessageSize) {
		return fmt.Errorf("65,537 bytes: %v", err)
	}
	if _, err := box.Receive(buf, 0); !errors.Is(err, abi.Again) {
		return fmt.Errorf("nothing is there: %v", err)
	}
	began := time.Now()
	if _, err := box.Receive(buf, 50*time.Millisecond); !errors.Is(err, abi.TimedOut) || time.Since(began) < 50*time.Millisecond {
		return fmt.Errorf("nothing comes: %v after %v", err, time.Since(began))
	}
	return nil
}

// ipcWait waits for a message that never comes: its peer ends instead.
func ipcWait() error {
	box := aios.Mailbox{Handle: handle(abi.CapMailbox)}
	_, err := box.Receive(make([]byte, 64), aios.Forever)
	gone := new(aios.GoneError)
	if !errors.As(err, &gone) {
		return fmt.Errorf("the peer ended: %v", err)
	}
	fmt.Println("gone is", gone.From)
	return nil
}

// ipcCall asks and waits for the answer of a peer that dies of the question.
func ipcCall() error {
	to, _ := ends()
	if _, err := to.Send([]byte("die"), patience); err != nil {
		return err
	}
	return ipcWait()
}

func ipcCrash() error {
	_, box := ends()
	if _, err := box.Receive(make([]byte, 64), patience); err != nil {
		return err
	}
	return things["nil"]()
}

// ipcFull waits, in several threads, for room with a peer that never receives:
// it ends instead.
func ipcFull() error {
	to, _ := ends()
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			for errs[i] == nil {
				_, errs[i] = to.Send([]byte("more"), aios.Forever)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, abi.Pipe) {
			return fmt.Errorf("the peer ended: %v", err)
		}
	}
	return nil
}

// ipcFlood sends without end to a peer that never receives. What is taken is bounded.
func ipcFlood() error {
	to, _ := ends()
	for _, c := range []struct {
		size, most int
	}{{abi.MaxIPC, 4}, {64, 64}} {
		taken := 0
		b := make([]byte, c.size)
		for range 20000 {
			switch _, err := to.Send(b, 0); {
			case err == nil:
				taken++
			case !errors.Is(err, abi.Again):
				return err
			}
		}
		if taken == 0 || taken > c.most {
			return fmt.Errorf("%d messages of %d bytes were taken, at most %d fit", taken, c.size, c.most)
		}
	}
	if _, err := to.Send([]byte("x"), 20*time.Millisecond); !errors.Is(err, abi.TimedOut) {
		return fmt.Errorf("no room: %v", err)
	}
	return nil
}

// ipcHandles gives a blob away, and reads what its peer read in it.
func ipcHandles() error {
	to, box := ends()
	h := handle(movable)
	if _, err := to.Send([]byte("x"), 0, h, handle(abi.CapSelf)); !errors.Is(err, abi.Denied) {
		return fmt.Errorf("the process itself: %v", err)
	}
	if _, err := to.Send([]byte("x"), 0, h, h); !errors.Is(err, abi.BadHandle) {
		return fmt.Errorf("a handle twice: %v", err)
	}
	if _, err := to.Send([]byte("x"), 0, make([]abi.Handle, 9)...); !errors.Is(err, abi.MessageSize) {
		return fmt.Errorf("nine handles: %v", err)
	}
	if err := aios.Null(h); err != nil {
		return fmt.Errorf("after sends that failed: %w", err)
	}
	if _, err := to.Send([]byte("read this"), patience, h); err != nil {
		return err
	}
	if err := aios.Null(h); !errors.Is(err, abi.BadHandle) {
		return fmt.Errorf("after it was sent: %v", err)
	}
	buf := make([]byte, 64)
	m, err := box.Receive(buf, patience)
	if err != nil {
		return err
	}
	if err := expect("read by the peer", string(m.Data), "0123456789abcdef"); err != nil {
		return err
	}
	if len(m.Handles) != 1 {
		return fmt.Errorf("%d handles came back", len(m.Handles))
	}
	b := make([]byte, 4)
	if _, err := (aios.Blob{Handle: m.Handles[0]}).ReadAt(b, 10); err != nil || string(b) != "abcd" {
		return fmt.Errorf("the blob that came back: %q, %v", b, err)
	}
	return errors.Join(aios.Close(m.Handles[0]), expect("closed twice", errors.Is(aios.Close(m.Handles[0]), abi.BadHandle), true))
}

// ipcReader reads the blob that it is given, and gives it back.
func ipcReader() error {
	to, box := ends()
	m, err := box.Receive(make([]byte, 64), patience)
	if err != nil {
		return err
	}
	if len(m.Handles) != 1 {
		return fmt.Errorf("%d handles came", len(m.Handles))
	}
	b := make([]byte, 16)
	if _, err := (aios.Blob{Handle: m.Handles[0]}).ReadAt(b, 0); err != nil {
		return err
	}
	_, err = to.Send(b, patience, m.Handles[0])
	return err
}

// ipcRestart talks to a peer that is started again: one send tells of that.
func ipcRestart() error {
	to, box := ends()
	buf := make([]byte, 64)
	ask := func() (uint64, error) {
		if _, err := to.Send([]byte("who are you?"), patience); err != nil {
			return 0, err
		}
		m, err := box.Receive(buf, patience)
		return m.From, err
	}
	first, err := ask()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = box.Receive(buf, patience) // the test ends the peer now
	if gone := new(aios.GoneError); !errors.As(err, &gone) || gone.From != first {
		return fmt.Errorf("the peer %d ended: %v", first, err)
	}
	var second uint64
	told := 0
	for began := time.Now(); time.Since(began) < patience; {
		if second, err = ask(); err == nil {
			break
		}
		if !errors.Is(err, abi.Pipe) {
			return err
		}
		told++
	}
	if err != nil || second == first || told == 0 {
		return fmt.Errorf("the second peer is %d, the first was %d; told %d times: %v", second, first, told, err)
	}
	fmt.Println("the peers were", strings.Join([]string{fmt.Sprint(first), fmt.Sprint(second)}, " and "))
	return nil
}

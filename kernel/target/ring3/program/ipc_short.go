package main

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"

	"aios/kernel/abi"
)

// Short messages to who waits for them go from memory to memory in trap context,
// where every page has to be there: here they are not, or not all, or not to be
// written.

func init() {
	things["ipcshort"] = ipcShort
	things["ipcshortecho"] = ipcShortEcho
}

const shortRounds = 3000

// shortText is what is sent in a round; 65 bytes are not short. In those in which
// the echo has no place for it, it is not empty.
func shortText(i int) []byte {
	if i%10 == 0 {
		return bytes.Repeat([]byte{byte(i)}, 64)
	}
	return bytes.Repeat([]byte{byte(i)}, i%66)
}

// ipcShort sends, from pages that it has not touched yet too, and compares.
func ipcShort() error {
	to, box := ends()
	buf := make([]byte, abi.MaxIPC)
	for i := range shortRounds {
		text := shortText(i)
		if i%100 == 50 {
			fresh, err := pages(1, syscall.PROT_READ)
			if err != nil {
				return err
			}
			text = fresh[:64] // zeros
			defer syscall.Munmap(fresh)
		}
		n, err := to.Send(text, patience)
		if err != nil {
			return err
		}
		m, err := box.Receive(buf, patience)
		if err != nil {
			return err
		}
		if !bytes.Equal(m.Data, text) || n != uint64(i+1) || m.Number != n {
			return fmt.Errorf("round %d: sent as %d, %q came back as %d", i, n, m.Data, m.Number)
		}
	}
	if _, err := to.Send([]byte("end"), patience); err != nil {
		return err
	}
	return nil
}

// ipcShortEcho receives across the ends of pages, into pages that it has not touched,
// and now and then where it must not.
func ipcShortEcho() error {
	to, box := ends()
	readOnly, err := pages(1, syscall.PROT_READ)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		fresh, err := pages(2, syscall.PROT_READ|syscall.PROT_WRITE)
		if err != nil {
			return err
		}
		if i%2 == 0 { // the first of the two is there, the second is not
			fresh[0] = 1
		}
		at := len(fresh)/2 - i%70
		switch i % 50 {
		case 10:
			if _, err := box.Receive(readOnly, patience); !errors.Is(err, abi.Fault) {
				return fmt.Errorf("round %d, into memory that is only read: %v", i, err)
			}
		case 20:
			if _, err := box.Receive(fresh[:len(shortText(i))-1], patience); !errors.Is(err, abi.MessageSize) {
				return fmt.Errorf("round %d, too little room: %v", i, err)
			}
		}
		m, err := box.Receive(fresh[at:][:70], patience)
		if err != nil {
			return err
		}
		if string(m.Data) == "end" {
			return nil
		}
		if _, err := to.Send(m.Data, patience); err != nil {
			return err
		}
		if err := syscall.Munmap(fresh); err != nil {
			return err
		}
	}
}

func pages(n, prot int) ([]byte, error) {
	return syscall.Mmap(-1, 0, n*4096, prot, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

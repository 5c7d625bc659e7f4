package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// States: a thread in each of those that the program names, in which it is killed.

func init() { things["states"] = states }

// states has a thread of its own for each, and says so just before it gets there.
func states() error {
	for _, name := range os.Args[2:] {
		enter := stateOf[name]
		if enter == nil {
			return fmt.Errorf("there is no state %q", name)
		}
		go func() {
			runtime.LockOSThread()
			fmt.Println("enters", name)
			fmt.Println("left", name, enter())
		}()
	}
	select {}
}

// stateOf is how a thread comes to where it is until the process ends.
var stateOf = map[string]func() error{
	"program": func() error { loop(); return nil },
	"memory": func() error {
		for {
			fresh, err := pages(64, syscall.PROT_READ|syscall.PROT_WRITE)
			if err != nil {
				return err
			}
			for i := 0; i < len(fresh); i += 4096 {
				fresh[i] = 1
			}
			if err := syscall.Munmap(fresh); err != nil {
				return err
			}
		}
	},
	"calls": func() error {
		b, err := aios.OpenBlob(abi.CapEventLog)
		if err != nil {
			return err
		}
		for buf := make([]byte, 100); err == nil; {
			_, err = b.ReadAt(buf, 0)
		}
		return err
	},
	"futex": func() error {
		var word uint32
		for { // the runtime signals its threads now and then
			// Safety: word escapes to the heap, which does not move.
			if _, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&word)), 0, 0, 0, 0, 0); e != 0 && e != syscall.EINTR {
				return e
			}
		}
	},
	"sleep": func() error {
		for {
			if err := syscall.Nanosleep(&syscall.Timespec{Sec: 1 << 30}, nil); err != nil && err != syscall.EINTR {
				return err
			}
		}
	},
	"poll": func() error {
		fd, err := syscall.EpollCreate1(0)
		if err != nil {
			return err
		}
		for {
			if _, err := syscall.EpollWait(fd, make([]syscall.EpollEvent, 1), -1); err != nil && err != syscall.EINTR {
				return err
			}
		}
	},
	"receive": receiveForever,
	"second":  receiveForever, // of two, one waits the long way
	"mailbox": func() error { return aios.Mailbox{Handle: handle(abi.CapMailbox)}.Wait(aios.Forever) },
	"send": func() error {
		to := aios.Endpoint{Handle: handle(peer)}
		for {
			if _, err := to.Send(make([]byte, abi.MaxIPC), aios.Forever); err != nil {
				return err
			}
		}
	},
	"read": func() error {
		channel, err := aios.OpenStream(abi.CapChannel)
		if err != nil {
			return err
		}
		_, err = channel.Read(make([]byte, 1))
		return err
	},
	"write": func() error {
		channel, err := aios.OpenStream(abi.CapChannel)
		if err != nil {
			return err
		}
		_, err = channel.Write(make([]byte, 1))
		return err
	},
	"frame read": func() error {
		f, err := aios.OpenFrames()
		if err != nil {
			return err
		}
		_, err = f.Read(make([]byte, 2*abi.MaxFrame), aios.Forever)
		return err
	},
	"frame write": func() error {
		f, err := aios.OpenFrames()
		if err != nil {
			return err
		}
		_, err = f.Write(aios.AppendFrame(nil, make([]byte, 64)))
		return err
	},
	"attest": func() error {
		a, err := aios.OpenAttestor()
		if err != nil {
			return err
		}
		_, err = a.Quote([]byte("nonce"))
		return err
	},
	"authority": func() error {
		a, err := aios.OpenAuthority()
		if err != nil {
			return err
		}
		_, err = a.Watch(0, aios.Forever)
		return err
	},
}

func receiveForever() error {
	_, err := aios.Mailbox{Handle: handle(abi.CapMailbox)}.Receive(make([]byte, 64), aios.Forever)
	return err
}

package main

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"
)

const finitModule = 313 // system call

// load loads a kernel module.
func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var none [1]byte // no parameters
	// Safety: the kernel reads a string that ends with zero at the address, which stays in place until it returns.
	if _, _, e := syscall.Syscall(finitModule, f.Fd(), uintptr(unsafe.Pointer(&none[0])), 0); e != 0 {
		return e
	}
	return nil
}

// up gives an interface its address and switches it on (netdevice(7)).
func up(name string, address [4]byte, bits int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	request := func(call uintptr, value []byte) error {
		var r [40]byte // struct ifreq
		copy(r[:15], name)
		copy(r[16:], value)
		// Safety: the kernel reads and writes the 40 bytes at the address, which stay in place until it returns.
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), call, uintptr(unsafe.Pointer(&r[0]))); e != 0 {
			return e
		}
		return nil
	}
	inet := func(a [4]byte) []byte { return append([]byte{syscall.AF_INET, 0, 0, 0}, a[:]...) }
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], ^uint32(0)<<(32-bits))
	if err := request(syscall.SIOCSIFADDR, inet(address)); err != nil {
		return err
	}
	if err := request(syscall.SIOCSIFNETMASK, inet(mask)); err != nil {
		return err
	}
	return request(syscall.SIOCSIFFLAGS, []byte{syscall.IFF_UP | syscall.IFF_RUNNING, 0})
}

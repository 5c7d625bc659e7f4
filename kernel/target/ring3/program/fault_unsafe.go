package main

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"
)

// Faults: what a broken or hostile program does to itself.

func init() {
	things["panic"] = func() error { panic("on purpose") }
	things["exit7"] = func() error { exit(7); return nil }
	things["nil"] = func() error { poke(0); return nil }
	things["recover"] = recoverFaults
	things["wild"] = func() error { poke(0x7e5000000000); return nil }
	things["kernel"] = kernelAddresses
	things["text"] = func() error { poke(reflect.ValueOf(recoverFaults).Pointer()); return nil }
	things["execute"] = func() error { execute(); return nil }
	things["overflow"] = func() error { debug.SetMaxStack(1 << 20); return fmt.Errorf("depth %d", deeper(0)) }
	things["eat"] = eat
	things["tables"] = tables
	things["loop"] = func() error { fmt.Println("looping"); loop(); return nil }
	things["loops"] = func() error {
		for range 8 {
			go loop()
		}
		fmt.Println("looping")
		loop()
		return nil
	}
}

// poke writes to an address.
// Safety: the address is meant to be a bad one; the page fault is the test.
//
//go:noinline
func poke(a uintptr) { **(**byte)(unsafe.Pointer(&a)) = 1 }

// faultAt tells the fault that a write to a causes, as a recovered panic.
func faultAt(a uintptr) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	poke(a)
	return errors.New("the write went through")
}

var zero int

func recoverFaults() error {
	for i := range 200 { // again and again: signal state must not wear out
		if err := faultAt(0); err.Error() != "runtime error: invalid memory address or nil pointer dereference" {
			return fmt.Errorf("nil, time %d: %v", i, err)
		}
	}
	err := func() (err error) {
		defer func() { err = recover().(error) }()
		zero = 1 / zero
		return nil
	}()
	return expect("division", err.Error(), "runtime error: integer divide by zero")
}

// kernelAddresses tries what is not the program's.
func kernelAddresses() error {
	for _, a := range []uintptr{
		0x1000, 0x3ff000, 0x40000000, 0x40001000, 0xfee00000, 0xfec00000, 0x7fffffffe000, 0x7ffffffff000,
		0xffff800000000000, 0xffffffff80000000, 0xfffffffffffff000,
	} {
		if err := faultAt(a); err.Error() == "the write went through" {
			return fmt.Errorf("address %#x: %v", a, err)
		}
	}
	return nil
}

// execute jumps to data.
// Safety: a func value is a pointer to a code pointer; this one points at bytes
// that may not be executed.
func execute() {
	code := []byte{0xc3}
	pc := unsafe.Pointer(&code[0])
	p := unsafe.Pointer(&pc)
	(*(*func())(unsafe.Pointer(&p)))()
}

//go:noinline
func deeper(n int) int {
	var pad [256]byte
	pad[n%256] = byte(n)
	return deeper(n+1) + int(pad[0])
}

func eat() error {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 40)
	var all [][]byte
	for {
		all = append(all, []byte(strings.Repeat("x", 1<<20)))
	}
}

// tables touches one page of each 2 MiB and gives it back: what stays is page tables.
func tables() error {
	const step = 2 << 20
	b, err := syscall.Mmap(-1, 0, 64<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return err
	}
	for i := 0; i < len(b); i += step {
		b[i] = 1
		if err := syscall.Madvise(b[i:i+4096], syscall.MADV_DONTNEED); err != nil {
			return err
		}
	}
	return errors.New("all of it fitted")
}

//go:noinline
func loop() {
	for {
	}
}

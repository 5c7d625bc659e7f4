package main

import (
	"encoding/binary"
	"errors"
	"runtime"

	"aios/kernel/abi"
	aios "aios/sdk/go"
)

// Clerk: in attestd's place, it brings the authority whatever the case tells it to.

func init() { things["clerk"] = clerk }

func clerk() error {
	channel, err := aios.OpenStream(abi.CapChannel)
	if err != nil {
		return err
	}
	request, response := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := channel.Read(request)
		if err != nil {
			return err
		}
		if string(request[:n]) == "end" {
			return nil
		}
		op := binary.LittleEndian.Uint32(request)
		k, err := call(abi.CallAuthority, abi.CapAuthor, uint64(op), addressOf(request)+4, uint64(n-4), addressOf(response), uint64(len(response)))
		answer := response[:k]
		if errors.Is(err, abi.Invalid) || errors.Is(err, abi.MessageSize) { // it was no request at all
			answer = abi.Message([]byte(err.Error()))
		} else if err != nil {
			return err
		}
		if _, err := channel.Write(answer); err != nil {
			return err
		}
		runtime.KeepAlive(request)
	}
}

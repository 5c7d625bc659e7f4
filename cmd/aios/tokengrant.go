package main

import (
	"slices"
	"strings"

	"aios/captoken"
)

// grantFlags say what a token grants.
type grantFlags struct {
	Right      []string `help:"What it may do: log, clock, send, memory, ... (may be given several times, or separated by commas)."`
	Peer       []string `help:"Agent or service to exchange messages with; NAME* for all that begin so." placeholder:"NAME"`
	Pool       []string `help:"Shared memory pool." placeholder:"NAME"`
	Device     []string `help:"Device." placeholder:"NAME"`
	Service    []string `help:"Service and the operations that may be called; * for all." placeholder:"NAME=OP,..." sep:"none"`
	Connect    []string `help:"Network destination: a DNS name, *.NAME, an address range, or *." placeholder:"tcp://HOST:PORT[-PORT]" sep:"none"`
	Memory     uint64   `help:"Most memory, in bytes."`
	CPU        uint64   `help:"Most CPU time, in thousandths of a processor." name:"cpu"`
	Messages   uint64   `help:"Most messages a second."`
	Bytes      uint64   `help:"Most bytes a second."`
	DeviceTime uint64   `help:"Most device time a second, in milliseconds."`
	Holder     string   `help:"Public key of the agent that holds it." required:"" placeholder:"FILE" type:"path"`
	Out        string   `help:"Write the token's bytes to a new file (default: text on standard output)." placeholder:"FILE" type:"path"`
}

func (f grantFlags) rights() (r captoken.Rights, err error) {
	for _, name := range f.Right {
		bit, ok := captoken.ParseRight(name)
		if !ok {
			return 0, usageError("--right %s: expected one of %s", name, strings.Join(captoken.RightNames(), ", "))
		}
		r |= bit
	}
	return r, nil
}

func (f grantFlags) scopes() (captoken.Scopes, error) {
	s := captoken.Scopes{Peers: captoken.SortPatterns(f.Peer), Memory: captoken.SortPatterns(f.Pool), Devices: captoken.SortPatterns(f.Device)}
	for _, text := range f.Service {
		name, ops, ok := strings.Cut(text, "=")
		if !ok {
			return s, usageError("--service %s: expected NAME=OPERATION,...", text)
		}
		s.Services = append(s.Services, captoken.Service{Name: name, Operations: captoken.SortPatterns(strings.Split(ops, ","))})
	}
	slices.SortFunc(s.Services, func(a, b captoken.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, text := range f.Connect {
		d, ok := captoken.ParseDestination(text)
		if !ok {
			return s, usageError("--connect %s: expected tcp://HOST:PORT, udp://HOST:PORT or a range of ports as PORT-PORT", text)
		}
		s.Network = append(s.Network, d)
	}
	s.Network = captoken.SortNetwork(s.Network)
	return s, nil
}

func (f grantFlags) quotas() captoken.Quotas {
	return captoken.Quotas{MemoryBytes: f.Memory, CPUMillis: f.CPU, MessagesPerSecond: f.Messages, BytesPerSecond: f.Bytes, DeviceMillis: f.DeviceTime}
}

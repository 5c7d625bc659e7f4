package main

import (
	"fmt"
	"time"

	"aios/captoken"
)

type tokenAttenuateCmd struct {
	File  string        `arg:"" help:"Token, or - for standard input." type:"path"`
	Key   string        `help:"Private key of the present holder." required:"" placeholder:"FILE" type:"path"`
	Agent string        `help:"The agent that receives it." required:""`
	Valid time.Duration `help:"For how long it is valid from now on (default: as long as before)."`
	Depth int           `help:"How often it may still be passed on (default: as often as before, less one)." default:"-1"`
	grantFlags
}

func (c tokenAttenuateCmd) Run(e *env) error {
	holder, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	_, left, err := captoken.Read(token)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	d := captoken.Delegation{Subject: c.Agent, Rights: left.Rights, Scopes: left.Scopes, Quotas: left.Quotas, NotBefore: left.NotBefore, Expires: left.Expires}
	if c.Depth > captoken.MaxDelegations {
		return usageError("--depth: expected at most %d, found %d", captoken.MaxDelegations, c.Depth)
	}
	if d.Depth = uint8(max(c.Depth, 0)); c.Depth < 0 && left.Depth > 0 {
		d.Depth = left.Depth - 1
	}
	if c.Valid > 0 {
		d.Expires = time.Now().UTC().Add(c.Valid).Truncate(time.Second)
	}
	if err := c.narrow(&d); err != nil {
		return err
	}
	if d.Holder, err = readThumbprint(c.Holder); err != nil {
		return err
	}
	longer, err := captoken.Delegate(holder, token, d)
	if err != nil {
		return err
	}
	return writeToken(e, c.Out, longer)
}

// narrow puts what the flags state in the place of what was there.
func (c tokenAttenuateCmd) narrow(d *captoken.Delegation) error {
	rights, err := c.rights()
	if err != nil {
		return err
	}
	if len(c.Right) > 0 {
		d.Rights = rights
	}
	s, err := c.scopes()
	if err != nil {
		return err
	}
	if len(c.Peer) > 0 {
		d.Scopes.Peers = s.Peers
	}
	if len(c.Pool) > 0 {
		d.Scopes.Memory = s.Memory
	}
	if len(c.Device) > 0 {
		d.Scopes.Devices = s.Devices
	}
	if len(c.Service) > 0 {
		d.Scopes.Services = s.Services
	}
	if len(c.Connect) > 0 {
		d.Scopes.Network = s.Network
	}
	for _, q := range [...]struct {
		flag uint64
		to   *uint64
	}{{c.Memory, &d.Quotas.MemoryBytes}, {c.CPU, &d.Quotas.CPUMillis}, {c.Messages, &d.Quotas.MessagesPerSecond}, {c.Bytes, &d.Quotas.BytesPerSecond}, {c.DeviceTime, &d.Quotas.DeviceMillis}} {
		if q.flag > 0 {
			*q.to = q.flag
		}
	}
	return nil
}

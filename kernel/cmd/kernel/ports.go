package main

import (
	"fmt"
	"slices"
	"strings"

	"aios/boot/manifest"
	"aios/kernel/abi"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// capMailbox and capSend are how the manifest lets services talk: one that has a
// mailbox can be sent to by each that has "send-" and its name.
const (
	capMailbox = "mailbox"
	capSend    = "send-"
)

// ports are the addresses of the services and agents that have a mailbox, by name.
// They stay the same when one is started again.
type ports map[string]*ipc.Port

func newPorts(m *manifest.Manifest) ports {
	p := ports{}
	for _, s := range m.Services {
		if slices.Contains(s.Caps, capMailbox) {
			p[s.Name] = &ipc.Port{}
		}
	}
	for _, a := range m.Agents {
		if slices.Contains(a.Caps, capMailbox) {
			p[a.Name] = &ipc.Port{}
		}
	}
	return p
}

// grant is the endpoint that a capability names; ok tells whether it names one.
func (p ports) grant(name string) (g process.Grant, ok bool, err error) {
	to, ok := strings.CutPrefix(name, capSend)
	if !ok {
		return process.Grant{}, false, nil
	}
	port := p[to]
	if port == nil {
		return process.Grant{}, true, fmt.Errorf("capability %s: no service %s with the capability %s is in the manifest; name one, or leave %s out", name, to, capMailbox, name)
	}
	return process.Grant{
		Name: abi.CapSend + strings.ToUpper(strings.ReplaceAll(to, "-", "_")),
		Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: port,
	}, true, nil
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"aios/boot/manifest"
	"aios/kernel/abi"
	"aios/kernel/agent"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// agentCaps are what an agent can want beside its mailbox and endpoints: a token has a
// right for each.
var agentCaps = []string{"attest", "clock", "log"}

// specs are the manifest's agents. image finds and checks what boot handed over; grant is
// the object behind a capability's name.
func specs(m *manifest.Manifest, p ports, image func(manifest.Program) ([]byte, error), grant func(name string) (process.Grant, error)) ([]agent.Spec, error) {
	runtimes := map[string][]byte{}
	for _, r := range m.Runtimes {
		b, err := image(manifest.Program{Kind: "runtime", Name: r.Name, Image: r.Image})
		if err != nil {
			return nil, err
		}
		runtimes[r.Name] = b
	}
	var list []agent.Spec
	for _, a := range m.Agents {
		module, err := image(manifest.Program{Kind: "agent", Name: a.Name, Image: a.Image})
		if err != nil {
			return nil, err
		}
		// A runtime compiles what it runs; it is still never writable and executable at once.
		s := agent.Spec{Name: a.Name, Runtime: a.Runtime, Image: runtimes[a.Runtime], Module: bytes.NewReader(module), Memory: a.Memory, Port: p[a.Name], CodeGen: true}
		for _, name := range a.Caps {
			switch {
			case name == capMailbox:
				s.Grants = append(s.Grants, p.reply(a.Name))
				continue
			case !strings.HasPrefix(name, capSend) && !slices.Contains(agentCaps, name):
				return nil, fmt.Errorf("agent %s: capability %q: an agent can want %s, %s and %s<service>", a.Name, name, strings.Join(agentCaps, ", "), capMailbox, capSend)
			}
			g, err := grant(name)
			if err != nil {
				return nil, fmt.Errorf("agent %s: %w", a.Name, err)
			}
			s.Grants = append(s.Grants, g)
		}
		list = append(list, s)
	}
	return list, nil
}

// names are whom the ports belong to, as the scopes of tokens call them.
func (p ports) names() map[*ipc.Port]string {
	n := map[*ipc.Port]string{}
	for name, port := range p {
		n[port] = name
	}
	return n
}

// reply is an endpoint to a process's own mailbox, to be passed on.
func (p ports) reply(owner string) process.Grant {
	return process.Grant{Name: abi.CapReply, Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: p[owner]}
}

// unled is the authority of a host whose manifest names no verifier: nobody could grant
// it anything.
type unled struct{}

func (unled) Authority(context.Context, uint32, []byte) ([]byte, error) {
	return abi.Message([]byte("the system manifest names no verifier; build the image with one")), nil
}

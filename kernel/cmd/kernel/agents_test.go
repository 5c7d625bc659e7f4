package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"aios/boot/manifest"
	"aios/kernel/abi"
	"aios/kernel/process"
)

func TestSpecs(t *testing.T) {
	m := &manifest.Manifest{
		Services: []manifest.Service{{Name: "echod", Caps: []string{"mailbox"}}},
		Runtimes: []manifest.Runtime{{Name: "wasmhost", Image: manifest.Image{File: "w"}}},
		Agents:   []manifest.Agent{{Name: "hello", Runtime: "wasmhost", Memory: 1 << 20, Caps: []string{"clock", "mailbox", "send-echod"}, Image: manifest.Image{File: "h"}}},
	}
	p := newPorts(m)
	image := func(q manifest.Program) ([]byte, error) { return []byte(q.Kind + " " + q.Name), nil }
	grant := func(name string) (process.Grant, error) {
		if g, ok, err := p.grant(name); ok {
			return g, err
		}
		return process.Grant{Name: strings.ToUpper(name)}, nil
	}
	list, err := specs(m, p, image, grant)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d agents, %v", len(list), err)
	}
	s := list[0]
	module, _ := io.ReadAll(io.NewSectionReader(s.Module, 0, 100))
	if s.Name != "hello" || s.Runtime != "wasmhost" || string(s.Image) != "runtime wasmhost" || string(module) != "agent hello" || s.Memory != 1<<20 || !s.CodeGen {
		t.Errorf("%+v", s)
	}
	if s.Port == nil || s.Port == p["echod"] || s.Port != p["hello"] || p.names()[s.Port] != "hello" || p.names()[p["echod"]] != "echod" {
		t.Error("the ports are not told apart")
	}
	var names []string
	for _, g := range s.Grants {
		names = append(names, g.Name)
	}
	if got := strings.Join(names, " "); got != "CLOCK REPLY SEND_ECHOD" || s.Grants[1].Object != s.Port || s.Grants[1].Rights != abi.RightWrite|abi.RightTransfer {
		t.Errorf("grants %s", got)
	}
	for _, c := range []struct {
		caps  []string
		image error
		want  string
	}{
		{[]string{"authority"}, nil, `agent hello: capability "authority": an agent can want attest, clock, log, mailbox and send-<service>`},
		{[]string{"frames"}, nil, "an agent can want"},
		{[]string{"send-nobody"}, nil, "agent hello: capability send-nobody: no service nobody"},
		{nil, errors.New("altered"), "altered"},
	} {
		m.Agents[0].Caps = c.caps
		_, err := specs(m, p, func(q manifest.Program) ([]byte, error) { return nil, c.image }, grant)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.caps, err, c.want)
		}
	}
}

func TestUnled(t *testing.T) {
	answer, err := unled{}.Authority(t.Context(), abi.AuthorityRequest, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := abi.Fields(answer, 1); err != nil || !strings.Contains(string(f[0]), "names no verifier") {
		t.Errorf("%q, %v", f, err)
	}
}

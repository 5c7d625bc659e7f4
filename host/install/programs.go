package install

import "aios/boot/manifest"

// Programs are what a host can run beside its kernel, without their images: that of a
// service or runtime is target/<name>.elf, that of an agent target/<name>.wasm.
type Programs struct {
	Services []manifest.Service // in start order
	Runtimes []string
	Agents   []manifest.Agent
}

func elf(name string) string  { return name + ".elf" }
func wasm(name string) string { return name + ".wasm" }

// files lists the images.
func (p *Programs) files() (names []string) {
	for _, s := range p.Services {
		names = append(names, elf(s.Name))
	}
	for _, r := range p.Runtimes {
		names = append(names, elf(r))
	}
	for _, a := range p.Agents {
		names = append(names, wasm(a.Name))
	}
	return names
}

// wasmhost is the runtime of all agents so far.
const wasmhost = "wasmhost"

// NetdMemory is netd's quota: what it takes with all the connections that it allows, all
// of them full (93 MiB, docs/network.md), and a third more.
const NetdMemory = 128 << 20

// DefaultPrograms are those of the image that users get. What a token can admit of
// an agent's capabilities is for the verifier to say; these are what the agent asks for.
func DefaultPrograms() *Programs {
	return &Programs{
		Services: []manifest.Service{
			{Name: "netd", Restart: manifest.RestartAlways, Memory: NetdMemory, Caps: []string{"frames", "log", "mailbox"}},
			{Name: "attestd", Restart: manifest.RestartAlways, Memory: 256 << 20,
				Caps: []string{"attest", "authority", "channel", "clock", "eventlog", "log", "mailbox", "manifest", "send-netd"}},
			{Name: "echod", Restart: manifest.RestartAlways, Memory: 32 << 20, Caps: []string{"log", "mailbox"}},
		},
		Runtimes: []string{wasmhost},
		Agents: []manifest.Agent{
			{Name: "hello", Runtime: wasmhost, Memory: 256 << 20, Caps: []string{"attest", "clock", "log", "mailbox", "send-echod"}},
		},
	}
}

// Misbehaving names the agents that do one thing wrong each (agents/misbehave).
func Misbehaving() []string {
	return []string{"allocate", "flood-ipc", "flood-log", "loop-forever", "recurse"}
}

// TestPrograms are the default ones and agents that misbehave, for tests of what
// becomes of them.
func TestPrograms() *Programs {
	p := DefaultPrograms()
	for _, name := range Misbehaving() {
		p.Agents = append(p.Agents, manifest.Agent{Name: name, Runtime: wasmhost, Memory: 256 << 20, Caps: []string{"clock", "log", "mailbox", "send-echod"}})
	}
	return p
}

// OneService is a single program under the name attestd, for tests that put a program of
// their own there.
func OneService() *Programs {
	return &Programs{Services: []manifest.Service{{Name: "attestd", Restart: manifest.RestartAlways, Memory: 256 << 20,
		Caps: []string{"attest", "authority", "channel", "clock", "eventlog", "log", "manifest"}}}}
}

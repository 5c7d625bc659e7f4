package service

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"aios/captoken"
	"aios/verifier/authority"
)

// Assignment says where an agent runs and what it may do there.
type Assignment struct {
	Agent  string   `json:"agent" doc:"Name of the agent in the hosts' system manifest" minLength:"1" maxLength:"64"`
	Hosts  []string `json:"hosts,omitempty" doc:"Host ids; * stands for every host"`
	Labels []string `json:"labels,omitempty" doc:"It runs on each host that has one of them"`
	Rights []string `json:"rights" doc:"log, clock, random, send, receive, transfer, memory, share, service, connect, listen, device, spawn, lifecycle, kill, crypto, attest"`
	Scopes *Scopes  `json:"scopes,omitempty" doc:"What the rights reach; nothing that is not listed"`
	Quotas *Quotas  `json:"quotas,omitempty" doc:"Zero is none"`
	Holder string   `json:"holder,omitempty" doc:"SHA-256 thumbprint of the COSE key that holds the token, 64 hex digits; without it the host's own. A host takes a token that another key holds only once that key has delegated it to the host's"`
	Depth  uint8    `json:"depth,omitempty" doc:"How many delegations may follow; needs a holder" maximum:"8"`
}

// Scopes are captoken.Scopes as people write them.
type Scopes struct {
	Peers    []string            `json:"peers,omitempty" doc:"Agents and services to exchange messages with; NAME* for all that begin so"`
	Memory   []string            `json:"memory,omitempty" doc:"Shared memory pools"`
	Devices  []string            `json:"devices,omitempty"`
	Services map[string][]string `json:"services,omitempty" doc:"Service and its operations that may be called"`
	Network  []string            `json:"network,omitempty" doc:"Destinations: tcp://HOST:PORT or udp://HOST:PORT, a range of ports as PORT-PORT"`
}

// Quotas are captoken.Quotas.
type Quotas struct {
	MemoryBytes       uint64 `json:"memory_bytes,omitempty"`
	CPUMillis         uint64 `json:"cpu_millis,omitempty" doc:"Thousandths of a processor"`
	MessagesPerSecond uint64 `json:"messages_per_second,omitempty"`
	BytesPerSecond    uint64 `json:"bytes_per_second,omitempty"`
	DeviceMillis      uint64 `json:"device_millis,omitempty" doc:"Milliseconds a second"`
}

// Reasons why something that was entered is refused.
var (
	ErrInvalid  = errors.New("is not valid")
	ErrNotFound = errors.New("there is none")
)

var (
	validDocument = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	validLabel    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/=-]{0,62}$`)
	validHost     = regexp.MustCompile(`^host-[0-9a-f]{16}$`)
)

// maxAssignments bounds what is kept and what a host is sent at once.
const maxAssignments = 1024

// grant is what the authority is asked for. key signs a trial token: what can be signed
// is valid, and nothing else.
func (a *Assignment) grant(key captoken.Signer) (authority.Assignment, error) {
	out := authority.Assignment{Agent: a.Agent, Depth: a.Depth}
	refuse := func(format string, args ...any) (authority.Assignment, error) {
		return out, fmt.Errorf("assignment of agent %q: %w: %s", a.Agent, ErrInvalid, fmt.Sprintf(format, args...))
	}
	for _, name := range a.Rights {
		bit, ok := captoken.ParseRight(name)
		if !ok {
			return refuse("right %q: expected one of %s", name, strings.Join(captoken.RightNames(), ", "))
		}
		out.Rights |= bit
	}
	if a.Holder != "" {
		b, err := hex.DecodeString(a.Holder)
		if err != nil || len(b) != len(out.Holder) {
			return refuse("holder %q: expected a thumbprint as 64 hex digits", a.Holder)
		}
		out.Holder = captoken.Thumbprint(b)
	} else if a.Depth > 0 {
		return refuse("depth expected 0, found %d: the host's key passes nothing on; name a holder", a.Depth)
	}
	for _, h := range a.Hosts {
		if h != "*" && !validHost.MatchString(h) {
			return refuse("host %q: expected a host id as `aios verifier hosts` prints it, or *", h)
		}
	}
	for _, l := range a.Labels {
		if !validLabel.MatchString(l) {
			return refuse("label %q: expected %s", l, labelRule)
		}
	}
	if len(a.Hosts)+len(a.Labels) == 0 {
		return refuse("expected hosts or labels, found neither; * stands for every host")
	}
	if a.Scopes != nil {
		var err error
		if out.Scopes, err = a.Scopes.parse(); err != nil {
			return refuse("%v", err)
		}
	}
	if q := a.Quotas; q != nil {
		out.Quotas = captoken.Quotas{MemoryBytes: q.MemoryBytes, CPUMillis: q.CPUMillis, MessagesPerSecond: q.MessagesPerSecond,
			BytesPerSecond: q.BytesPerSecond, DeviceMillis: q.DeviceMillis}
	}
	holder := out.Holder
	if a.Holder == "" {
		holder = key.Public().Thumbprint() // in the place of a host's
	}
	_, err := captoken.Mint(key, captoken.Claims{Subject: a.Agent, Audience: "host-0000000000000000", Rights: out.Rights, Scopes: out.Scopes,
		Quotas: out.Quotas, Holder: holder, Depth: out.Depth, NotBefore: time.Unix(0, 0), Expires: time.Unix(1, 0), Lease: captoken.ID{1}})
	if err != nil {
		return refuse("%v", err)
	}
	return out, nil
}

func (s *Scopes) parse() (out captoken.Scopes, err error) {
	out = captoken.Scopes{Peers: captoken.SortPatterns(s.Peers), Memory: captoken.SortPatterns(s.Memory), Devices: captoken.SortPatterns(s.Devices)}
	for _, name := range slices.Sorted(maps.Keys(s.Services)) {
		out.Services = append(out.Services, captoken.Service{Name: name, Operations: captoken.SortPatterns(s.Services[name])})
	}
	for _, text := range s.Network {
		d, ok := captoken.ParseDestination(text)
		if !ok {
			return out, fmt.Errorf("network %q: expected tcp://HOST:PORT, udp://HOST:PORT or a range of ports as PORT-PORT", text)
		}
		out.Network = append(out.Network, d)
	}
	out.Network = captoken.SortNetwork(out.Network)
	return out, nil
}

// assignments keeps them in one document.
type assignments struct {
	file document
	key  captoken.Signer

	mu     sync.Mutex
	byName map[string]Assignment
	grants map[string]authority.Assignment
}

func openAssignments(file document, key captoken.Signer) (*assignments, error) {
	a := &assignments{file: file, key: key, byName: map[string]Assignment{}, grants: map[string]authority.Assignment{}}
	if err := file.read(&a.byName); err != nil {
		return nil, fmt.Errorf("assignments: %w", err)
	}
	for name, v := range a.byName {
		g, err := v.grant(key)
		if err != nil {
			return nil, fmt.Errorf("assignments: %s, %q: %w; correct it", file, name, err)
		}
		a.grants[name] = g
	}
	return a, nil
}

func (a *assignments) put(name string, v Assignment) error {
	if !validDocument.MatchString(name) {
		return fmt.Errorf("assignment %q: %w: expected a name of 1 to 64 of a-z 0-9 . _ -, the first a letter or a digit", name, ErrInvalid)
	}
	g, err := v.grant(a.key)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next := maps.Clone(a.byName)
	next[name] = v
	if len(next) > maxAssignments {
		return fmt.Errorf("assignment %q: %w: there are %d already: delete some", name, ErrInvalid, len(a.byName))
	}
	if err := a.file.write(next); err != nil {
		return err
	}
	a.byName, a.grants[name] = next, g
	return nil
}

func (a *assignments) remove(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.byName[name]; !ok {
		return fmt.Errorf("assignment %q: %w", name, ErrNotFound)
	}
	next := maps.Clone(a.byName)
	delete(next, name)
	if err := a.file.write(next); err != nil {
		return err
	}
	a.byName = next
	delete(a.grants, name)
	return nil
}

func (a *assignments) all() map[string]Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.byName)
}

// of lists what a host with these labels is assigned. Of two assignments of one agent
// the first by name counts, as the API's description says.
func (a *assignments) of(host string, labels []string) (out []authority.Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(a.byName)) {
		v := a.byName[name]
		here := slices.Contains(v.Hosts, "*") || slices.Contains(v.Hosts, host) ||
			slices.ContainsFunc(v.Labels, func(l string) bool { return slices.Contains(labels, l) })
		if here && !seen[v.Agent] {
			seen[v.Agent] = true
			out = append(out, a.grants[name])
		}
	}
	return out
}

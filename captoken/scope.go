package captoken

import (
	"strconv"

	"aios/captoken/cbor"
)

// Scopes are the resources that the rights of a token reach. What is not listed is out
// of reach.
type Scopes struct {
	Peers    Patterns // agents and services to exchange messages with
	Memory   Patterns // shared memory pools
	Devices  Patterns
	Services []Service // ascending by name
	Network  Network
}

// Service is a service and the operations of it that may be called.
type Service struct {
	Name       string
	Operations Patterns // at least one
}

// AllowService tells whether an operation of a service is in reach.
func (s *Scopes) AllowService(name, operation string) bool {
	for i := range s.Services {
		if s.Services[i].Name == name {
			return s.Services[i].Operations.Allow(operation)
		}
	}
	return false
}

// IsZero reports whether nothing is in reach.
func (s *Scopes) IsZero() bool { return s.len() == 0 }

func (s *Scopes) len() (n int) {
	for _, filled := range [...]bool{len(s.Peers) > 0, len(s.Memory) > 0, len(s.Devices) > 0, len(s.Services) > 0, len(s.Network) > 0} {
		if filled {
			n++
		}
	}
	return n
}

// intersect returns what is in reach of both.
func (s *Scopes) intersect(o *Scopes) Scopes {
	out := Scopes{Peers: s.Peers.intersect(o.Peers), Memory: s.Memory.intersect(o.Memory),
		Devices: s.Devices.intersect(o.Devices), Network: s.Network.intersect(o.Network)}
	for _, a := range s.Services {
		for _, b := range o.Services {
			if a.Name != b.Name {
				continue
			}
			if ops := a.Operations.intersect(b.Operations); len(ops) > 0 {
				out.Services = append(out.Services, Service{a.Name, ops})
			}
		}
	}
	return out
}

func (s *Scopes) validate(object string) error {
	if err := s.Peers.validate(object + ", peers"); err != nil {
		return err
	}
	if err := s.Memory.validate(object + ", memory"); err != nil {
		return err
	}
	if err := s.Devices.validate(object + ", devices"); err != nil {
		return err
	}
	what := object + ", services"
	if len(s.Services) > MaxList {
		return claimError(what, "expected at most "+strconv.Itoa(MaxList)+", found "+strconv.Itoa(len(s.Services)))
	}
	for i, v := range s.Services {
		if !validName(v.Name) {
			return claimError(what, quote(v.Name)+": expected "+nameRule)
		}
		if i > 0 && s.Services[i-1].Name >= v.Name {
			return claimError(what, "expected ascending order, each once; found "+quote(v.Name)+" after "+quote(s.Services[i-1].Name))
		}
		if len(v.Operations) == 0 {
			return claimError(what, v.Name+": expected at least one operation, or * for all")
		}
		if err := v.Operations.validate(what + ", operations of " + v.Name); err != nil {
			return err
		}
	}
	return s.Network.validate(object + ", network")
}

// Keys of the scopes.
const (
	scopePeers    = 1 // array of patterns
	scopeMemory   = 2 // array of patterns
	scopeDevices  = 3 // array of patterns
	scopeServices = 4 // array of [name, array of patterns]
	scopeNetwork  = 5 // array of [protocol, host, first port, last port]
)

func (s *Scopes) append(b []byte) []byte {
	b = cbor.AppendMap(b, s.len())
	if len(s.Peers) > 0 {
		b = s.Peers.append(cbor.AppendInt(b, scopePeers))
	}
	if len(s.Memory) > 0 {
		b = s.Memory.append(cbor.AppendInt(b, scopeMemory))
	}
	if len(s.Devices) > 0 {
		b = s.Devices.append(cbor.AppendInt(b, scopeDevices))
	}
	if len(s.Services) > 0 {
		b = cbor.AppendArray(cbor.AppendInt(b, scopeServices), len(s.Services))
		for _, v := range s.Services {
			b = v.Operations.append(cbor.AppendText(cbor.AppendArray(b, 2), v.Name))
		}
	}
	if len(s.Network) > 0 {
		b = s.Network.append(cbor.AppendInt(b, scopeNetwork))
	}
	return b
}

// readScopes reads scopes that are not empty: empty ones are left out.
func readScopes(r *cbor.Reader) (s Scopes) {
	m := r.Map(1, 5)
	for key, ok := m.Next(); ok; key, ok = m.Next() {
		switch key {
		case scopePeers:
			s.Peers = readPatterns(r)
		case scopeMemory:
			s.Memory = readPatterns(r)
		case scopeDevices:
			s.Devices = readPatterns(r)
		case scopeServices:
			n := r.Array(1, MaxList)
			for range n {
				r.Array(2, 2)
				s.Services = append(s.Services, Service{string(r.Text(1, MaxName)), readPatterns(r)})
				if r.Err() != nil {
					return s
				}
			}
		case scopeNetwork:
			s.Network = readNetwork(r)
		default:
			r.Fail(r.Offset(), "scope "+strconv.FormatInt(key, 10)+" is unknown")
		}
	}
	return s
}

package eventlog

import (
	"encoding/hex"
	"strconv"
)

// Exit statuses of `aios verifier replay`.
const (
	ExitComplete = 0 // the log parsed to its end
	ExitNothing  = 1 // nothing could be read
	ExitPartial  = 3 // the report holds what was read
)

// Report is a log as `aios verifier replay --json` prints it.
type Report struct {
	Format          string                       `json:"format"`           // "legacy" or "crypto-agile"
	Banks           []string                     `json:"banks"`            // in the log's order
	StartupLocality byte                         `json:"startup_locality"` // with which PCR 0 starts
	PCRs            map[string]map[string]string `json:"pcrs"`             // bank, index, hex; PCRs that were extended
	SecureBoot      SecureBoot                   `json:"secure_boot"`      // state, reason, authorities
	Events          []ReportEvent                `json:"events"`           // in the log's order
	Warnings        []string                     `json:"warnings"`         // oddities; mismatched digests among them
	Error           string                       `json:"error,omitempty"`  // why reading stopped
}

// ReportEvent is one event.
type ReportEvent struct {
	Index       int               `json:"index"` // from 0
	PCR         uint32            `json:"pcr"`
	Type        string            `json:"type"`         // name in the profile
	Digests     map[string]string `json:"digests"`      // bank, hex
	DigestCheck string            `json:"digest_check"` // is the digest that of the data
	DigestRule  string            `json:"digest_rule"`  // what it is the hash of
	Description string            `json:"description"`  // what the data says
}

// ReplayReport parses and replays a log, and gives the command's exit status.
func ReplayReport(b []byte) (Report, int) {
	l, err := Parse(b)
	r := Report{
		Format: "legacy", StartupLocality: l.StartupLocality(), SecureBoot: l.SecureBoot(),
		PCRs: map[string]map[string]string{}, Warnings: append([]string{}, l.Warnings...), Events: []ReportEvent{}, Banks: []string{},
	}
	if l.Agile {
		r.Format = "crypto-agile"
	}
	for _, bank := range l.Banks {
		r.Banks = append(r.Banks, bank.Algorithm.String())
		if _, ok := bank.Algorithm.appendHash(nil, nil); !ok && len(l.Events) > 0 {
			r.Warnings = append(r.Warnings, "bank "+bank.Algorithm.String()+" cannot be replayed here")
		}
	}
	for a, pcrs := range l.Replay() {
		for i, v := range pcrs {
			if v == nil {
				continue
			}
			if r.PCRs[a.String()] == nil {
				r.PCRs[a.String()] = map[string]string{}
			}
			r.PCRs[a.String()][strconv.Itoa(i)] = hex.EncodeToString(v)
		}
	}
	for i := range l.Events {
		e := &l.Events[i]
		c := e.CheckDigest()
		out := ReportEvent{
			Index: e.Index, PCR: e.PCR, Type: e.Type.String(), Digests: map[string]string{},
			DigestCheck: c.State.String(), DigestRule: c.Rule, Description: e.Describe(),
		}
		for _, d := range e.Digests {
			out.Digests[d.Algorithm.String()] = hex.EncodeToString(d.Bytes)
		}
		if c.State == Mismatched {
			r.Warnings = append(r.Warnings, "event "+strconv.Itoa(i)+" ("+out.Type+", PCR "+strconv.Itoa(int(e.PCR))+"): the digest is not that of the event's data")
		}
		r.Events = append(r.Events, out)
	}
	switch {
	case err == nil:
		return r, ExitComplete
	case len(l.Events) == 0:
		r.Error = err.Error()
		return r, ExitNothing
	}
	r.Error = err.Error()
	r.Warnings = append(r.Warnings, err.Error())
	return r, ExitPartial
}

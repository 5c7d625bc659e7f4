package ring3

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"aios/kernel/abi"
	"aios/kernel/cap"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// capabilityCases derive, pass on, close and revoke, between programs.
func (s *Suite) capabilityCases() []Case {
	cases := []Case{
		{"capabilities: each type is derived from or not, with fewer rights and never more, to a depth and a number", func() error {
			return s.play(nil, player{thing: "derive"})
		}},
		{"capabilities: a subtree over three programs is revoked, one of it in a message, one closed in between", func() error {
			return s.play(nil, player{thing: "treeowner"}, player{thing: "treemiddle"}, player{thing: "treeleaf"})
		}},
		{"capabilities: what was derived from a program's handles ends with it", func() error {
			return s.play(nil, player{thing: "leaver", extra: -1}, player{thing: "heir", extra: 1})
		}},
		{"capabilities: a revocation wakes who waits, and waits for calls that are under way", s.revokeWaits},
		{"capabilities: nothing revoked has an effect any more, with threads that use it on every CPU", func() error {
			return s.play(nil, player{thing: "revoker"}, player{thing: "clinger"})
		}},
		{"capabilities: what an agent passed on ends with its token, its lease, its epoch and its end", s.borrowed},
	}
	for i, c := range cases {
		cases[i].Run = func() error { return s.balanced(c.Run) }
	}
	return cases
}

// player is one program of a case.
type player struct {
	thing  string
	end    string          // how it must end; "": by itself, and well
	extra  int             // handles that it has at its end, beyond those that it was granted
	grants []process.Grant // in place of those of the same names, or more
	gate   *cap.Gate
	limit  func(ports []ipc.Port) cap.Limit
}

// over is how one ends that would not by itself.
const over = "killed: the case is over"

// firstID is the process id of the first of them.
const firstID = 401

// play runs programs that can all send to each other, until those have ended that do so
// by themselves. Each must have given back all frames, and have had at its end the handles
// that it should.
func (s *Suite) play(during func([]*process.Process) error, players ...player) error {
	ports := make([]ipc.Port, len(players))
	logs := make([]memoryLog, len(players))
	var all []*process.Process
	var err error
	granted := make([]int, len(players))
	for i, pl := range players {
		r := run{args: []string{pl.thing}, log: &logs[i]}
		cfg := s.config(&r)
		cfg.PID, cfg.Port, cfg.Gate = firstID+i, &ports[i], pl.gate
		if pl.limit != nil {
			cfg.Limit = pl.limit(ports)
		}
		const moves = abi.RightTransfer
		more := []process.Grant{
			{Name: "MOVABLE", Type: abi.TypeBlob, Rights: abi.RightRead | moves, Object: strings.NewReader(blob)},
			{Name: "OTHER", Type: abi.TypeBlob, Rights: abi.RightRead | moves, Object: strings.NewReader("zyxwvuts")},
			{Name: abi.CapSend + "SELF", Type: abi.TypeEndpoint, Rights: abi.RightWrite, Object: &ports[i]},
		}
		for k := range ports {
			more = append(more, process.Grant{Name: fmt.Sprintf("%sP%d", abi.CapSend, k), Type: abi.TypeEndpoint, Rights: abi.RightWrite | moves, Object: &ports[k]})
		}
		for _, g := range append(more, pl.grants...) {
			if at := slices.IndexFunc(cfg.Grants, func(old process.Grant) bool { return old.Name == g.Name }); at >= 0 {
				cfg.Grants[at] = g
			} else {
				cfg.Grants = append(cfg.Grants, g)
			}
		}
		granted[i] = len(cfg.Grants) + 1 // and the mailbox
		p, e := process.Start(s.Machine, cfg)
		if e != nil {
			err = e
			break
		}
		all = append(all, p)
	}
	timer := time.AfterFunc(patience, func() {
		for _, p := range all {
			p.Kill("the case took too long")
		}
	})
	defer timer.Stop()
	if err == nil && during != nil {
		err = during(all)
	}
	for i, p := range all {
		if err == nil && players[i].end != over {
			p.Wait()
		}
	}
	for _, p := range all {
		p.Kill("the case is over")
	}
	for i, p := range all {
		e := p.Wait()
		switch want := cmp.Or(players[i].end, "exit status 0"); {
		case err != nil: // of the first that went wrong
		case e.Reason != want:
			err = fmt.Errorf("%s ended with %q, want %q; it said:\n%s", players[i].thing, e.Reason, want, logs[i].text())
		case e.Lost != 0 || e.Handles != granted[i]+players[i].extra:
			err = fmt.Errorf("%s: %d frames lost, %d handles at its end, want %d", players[i].thing, e.Lost, e.Handles, granted[i]+players[i].extra)
		}
	}
	return err
}

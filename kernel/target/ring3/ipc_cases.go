package ring3

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"aios/kernel/abi"
	"aios/kernel/ipc"
	"aios/kernel/process"
)

// Process ids of the two programs of a case; a server that is started again has
// the third.
const (
	serverID = 201 + iota
	clientID
	secondID
)

// ipcCases let two programs talk.
func (s *Suite) ipcCases() []Case {
	return []Case{
		{"ipc: messages of 0 to 65,536 bytes go to and fro, in order; 65,537 are refused", func() error {
			return s.pair(pair{server: "ipcecho", client: "ipcclient", serverEnd: "exit status 0", say: fmt.Sprintf("the peer is %d", serverID)})
		}},
		{"ipc: short messages, into and out of pages that are not there", func() error {
			return s.pair(pair{server: "ipcshortecho", client: "ipcshort", serverEnd: "exit status 0"})
		}},
		{"ipc: a handle moves to the peer and back", func() error {
			return s.pair(pair{server: "ipcreader", client: "ipchandles", serverEnd: "exit status 0"})
		}},
		{"ipc: the death of a peer wakes who waits for its message", func() error {
			return s.pair(pair{server: "ipcsilent", client: "ipcwait", serverEnd: "killed: the test", say: fmt.Sprintf("gone is %d", serverID), during: s.killWhenLooping})
		}},
		{"ipc: the death of a peer wakes who waits for room", func() error {
			return s.pair(pair{server: "ipcsilent", client: "ipcfull", serverEnd: "killed: the test", during: s.killWhenLooping})
		}},
		{"ipc: a crash of a peer wakes who waits for its message", func() error {
			return s.pair(pair{server: "ipccrash", client: "ipccall", serverEnd: "exit status 2", say: fmt.Sprintf("gone is %d", serverID)})
		}},
		{"ipc: a flood is bounded", func() error {
			return s.pair(pair{server: "ipcsilent", client: "ipcflood", serverEnd: "killed: the client has ended"})
		}},
		{"ipc: who waits for a message is killed", func() error {
			return s.check(run{args: []string{"ipcwait"}, want: "killed: the test", during: s.killWhenLooping})
		}},
		{"ipc: a service that is started again is reached through the same endpoint", s.ipcRestart},
	}
}

// pair is a case of two programs.
type pair struct {
	server, client string
	serverEnd      string // how the server must end; the client exits with 0
	say            string // what the client must say
	during         func(server *process.Process) error
}

// half is one of the programs: what it is to do, and its log.
func (s *Suite) half(thing string, id int, port, other *ipc.Port, log *memoryLog) process.Config {
	r := run{args: []string{thing}, log: log}
	cfg := s.config(&r)
	cfg.PID, cfg.Port = id, port
	cfg.Grants = append(cfg.Grants,
		process.Grant{Name: abi.CapSend + "PEER", Type: abi.TypeEndpoint, Rights: abi.RightWrite | abi.RightTransfer, Object: other},
		process.Grant{Name: "MOVABLE", Type: abi.TypeBlob, Rights: abi.RightRead | abi.RightTransfer, Object: strings.NewReader(blob)})
	return cfg
}

func (s *Suite) pair(c pair) error {
	before := s.frames()
	var ps, pc ipc.Port
	log := &memoryLog{}
	server, err := process.Start(s.Machine, s.half(c.server, serverID, &ps, &pc, &memoryLog{}))
	if err != nil {
		return err
	}
	client, err := process.Start(s.Machine, s.half(c.client, clientID, &pc, &ps, log))
	if err != nil {
		server.Kill("no client")
		server.Wait()
		return err
	}
	timer := time.AfterFunc(patience, func() { client.Kill("the case took too long") })
	if c.during != nil {
		err = c.during(server)
	}
	ce := client.Wait()
	timer.Stop()
	if strings.HasPrefix(c.serverEnd, "killed: the client") {
		server.Kill("the client has ended")
	} else {
		timer = time.AfterFunc(patience, func() { server.Kill("the case took too long") })
		defer timer.Stop()
	}
	se := server.Wait()
	switch {
	case err != nil:
		return err
	case !ce.OK:
		return fmt.Errorf("the client ended with %q; it said:\n%s", ce.Reason, log.text())
	case !strings.HasPrefix(se.Reason, c.serverEnd):
		return fmt.Errorf("the server ended with %q, want %q", se.Reason, c.serverEnd)
	case ce.Lost != 0 || se.Lost != 0:
		return fmt.Errorf("%d and %d frames lost", ce.Lost, se.Lost)
	case !strings.Contains(log.text(), c.say):
		return fmt.Errorf("the client did not say %q, but:\n%s", c.say, log.text())
	}
	if after := s.frames(); after > before+slack {
		return fmt.Errorf("%d frames in use before, %d after", before, after)
	}
	return nil
}

// ipcRestart ends the server under its client and starts another at its port.
func (s *Suite) ipcRestart() error {
	var ps, pc ipc.Port
	log := &memoryLog{}
	server, err := process.Start(s.Machine, s.half("ipcecho", serverID, &ps, &pc, &memoryLog{}))
	if err != nil {
		return err
	}
	client, err := process.Start(s.Machine, s.half("ipcrestart", clientID, &pc, &ps, log))
	if err != nil {
		return err
	}
	timer := time.AfterFunc(patience, func() { client.Kill("the case took too long") })
	defer timer.Stop()
	for !log.has("aios test: ready") {
		select {
		case <-client.Done():
			server.Kill("the client has ended")
			return errors.New("the client ended early: " + log.text())
		case <-time.After(10 * time.Millisecond):
		}
	}
	server.Kill("the test")
	server.Wait()
	if server, err = process.Start(s.Machine, s.half("ipcecho", secondID, &ps, &pc, &memoryLog{})); err != nil {
		client.Kill("no server")
		return err
	}
	ce := client.Wait()
	se := server.Wait()
	want := fmt.Sprintf("the peers were %d and %d", serverID, secondID)
	if !ce.OK || !se.OK || !strings.Contains(log.text(), want) {
		return fmt.Errorf("client %q, server %q, want %q; it said:\n%s", ce.Reason, se.Reason, want, log.text())
	}
	return nil
}

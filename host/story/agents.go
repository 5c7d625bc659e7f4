package story

import (
	"fmt"
	"strings"
)

// Lease says that a good verdict brought or renewed the host's lease.
type Lease struct {
	Host     string            `json:"host"`               // id of the record
	ID       string            `json:"lease"`              // id of the lease, hex
	Renewed  bool              `json:"renewed"`            // the lease before goes on
	Duration Milliseconds      `json:"duration_ms"`        // from when the host asked
	Tokens   int               `json:"tokens"`             // that came with it
	Withheld map[string]string `json:"withheld,omitempty"` // agent -> why it got none
	Refused  []string          `json:"refused,omitempty"`  // what the host's kernel did not take, and why
}

func (Lease) Name() string { return "lease" }
func (l Lease) Lines() []string {
	head := fmt.Sprintf("new lease %s for %s, signed with ML-DSA-65, and %d capability tokens that hang from it", short(l.ID), l.Duration, l.Tokens)
	if l.Renewed {
		head = fmt.Sprintf("lease %s renewed for %s", short(l.ID), l.Duration)
	}
	lines := []string{head}
	for agent, why := range l.Withheld {
		lines = append(lines, "- no token for agent "+agent+": "+why)
	}
	for _, why := range l.Refused {
		lines = append(lines, "- "+why)
	}
	return lines
}

// AgentRunning says that an agent was started.
type AgentRunning struct {
	Host     string `json:"host"`     // id of the record
	Agent    string `json:"agent"`    // its name in the manifest
	Instance uint64 `json:"instance"` // counted by the host's kernel
}

func (AgentRunning) Name() string { return "agent.running" }
func (a AgentRunning) Lines() []string {
	return []string{fmt.Sprintf("agent %s runs in ring 3 (instance %d): the kernel checked its token once, and checks its handle at each call", a.Agent, a.Instance)}
}

// AgentDenied says that a call of an agent was refused.
type AgentDenied struct {
	Host     string `json:"host"`     // id of the record
	Agent    string `json:"agent"`    // its name in the manifest
	Instance uint64 `json:"instance"` // counted by the host's kernel
	Reason   string `json:"reason"`   // the kernel's words
}

func (AgentDenied) Name() string { return "agent.denied" }
func (a AgentDenied) Lines() []string {
	return []string{fmt.Sprintf("agent %s was refused a call: %s", a.Agent, a.Reason)}
}

// AgentKilled says that an operator's command ended an agent, and what proves it.
type AgentKilled struct {
	Host     string `json:"host"`     // id of the record
	Agent    string `json:"agent"`    // its name in the manifest
	Instance uint64 `json:"instance"` // counted by the host's kernel
	Command  string `json:"command"`  // id of the operator's command, hex
	// Latency is from when the operator's command was signed and sent to when the
	// receipt was verified, on one clock.
	Latency  Milliseconds `json:"latency_ms"`
	InKernel float64      `json:"kernel_ms"`        // from the kernel's hearing of it to the agent's being gone, by the receipt
	Frames   uint64       `json:"frames"`           // of memory that were scrubbed and given back
	Handles  uint64       `json:"handles"`          // that are dead
	Verified bool         `json:"receipt_verified"` // the receipt's hash is in a quote of the host's TPM
	Stays    bool         `json:"-"`                // the host stays up: say how the agent may run again
}

func (AgentKilled) Name() string { return "agent.killed" }
func (a AgentKilled) Lines() []string {
	proof := "its hash is in a quote of the host's TPM, which this verifier checked"
	if !a.Verified {
		proof = "and it is NOT proven"
	}
	lines := []string{fmt.Sprintf("agent %s is dead, from command to proof in %d ms (%.1f ms of it in the host's kernel)", a.Agent, a.Latency.milliseconds(), a.InKernel),
		fmt.Sprintf("receipt: %d frames scrubbed and given back, %d handles dead; %s", a.Frames, a.Handles, proof)}
	if a.Stays {
		lines = append(lines, fmt.Sprintf("it stays stopped until somebody lifts that: aios agent lift %s --host %s --reason WHY", a.Agent, a.Host))
	}
	return lines
}

// AgentGone says that an agent ended for another reason than an operator's command.
type AgentGone struct {
	Host     string `json:"host"`     // id of the record
	Agent    string `json:"agent"`    // its name in the manifest
	Instance uint64 `json:"instance"` // counted by the host's kernel
	Reason   string `json:"reason"`   // the kernel's words
}

func (AgentGone) Name() string { return "agent.gone" }
func (a AgentGone) Lines() []string {
	return []string{fmt.Sprintf("agent %s is gone: %s", a.Agent, strings.TrimSuffix(a.Reason, "."))}
}

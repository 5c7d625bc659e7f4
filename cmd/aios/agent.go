package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aios/captoken"
	"aios/verifier/service"
)

// agentCmd is the operator's view of agents. It talks to the verifier, never to hosts.
type agentCmd struct {
	List     agentListCmd     `cmd:"" help:"List the agents on all hosts."`
	Kill     agentKillCmd     `cmd:"" help:"End an agent, all agents of a host, or all of the hosts with a label, and wait for the proof. Exit status 0 only if every end was proven."`
	Assign   agentAssignCmd   `cmd:"" help:"Say which agent runs on which hosts and what it may do, from a JSON file."`
	Unassign agentUnassignCmd `cmd:"" help:"Take an assignment back."`
	Stops    agentStopsCmd    `cmd:"" help:"List what is kept from running."`
	Lift     agentLiftCmd     `cmd:"" help:"Let run again what a kill has stopped."`

	Revoke      agentRevokeCmd      `cmd:"" help:"Revoke everything of an agent, a token, what hangs from a lease, or every token of the epochs below one: at once, and for good."`
	Revocations agentRevocationsCmd `cmd:"" help:"Show the revocation list."`
}

type agentListCmd struct{ apiFlags }

func (c agentListCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	agents := []service.Agent{}
	if err := api.ask(e.ctx, http.MethodGet, "/v1/agents", nil, nil, &agents); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, agents)
	}
	for _, a := range agents {
		fmt.Fprintf(e.stdout, "%s  %s  %s", a.Host, a.Name, a.State)
		if a.Instance > 0 {
			fmt.Fprintf(e.stdout, "  instance %d since %s", a.Instance, a.Since.Format(time.RFC3339))
		}
		if a.Denied > 0 {
			fmt.Fprintf(e.stdout, "  %d calls refused", a.Denied)
		}
		fmt.Fprintln(e.stdout)
	}
	if len(agents) == 0 {
		fmt.Fprintln(e.stdout, "no agent is assigned to a host that is enrolled")
	}
	return nil
}

type agentKillCmd struct {
	Agent  string        `arg:"" optional:"" help:"Name of the agent; without --host on every host."`
	Host   string        `help:"Host id: that agent there, or all agents of the host." placeholder:"HOST"`
	Label  string        `help:"All agents of the hosts that have this label." placeholder:"LABEL"`
	Reason string        `help:"Why; it is recorded." required:"" placeholder:"TEXT"`
	Wait   time.Duration `help:"How long to wait for the proof." default:"60s" placeholder:"TIME"`
	signFlags
	apiFlags
}

func (c agentKillCmd) Run(e *env) error {
	target := captoken.Target{Agent: c.Agent, Host: c.Host, Label: c.Label}
	switch {
	case target == captoken.Target{}:
		return usageError("name an agent, --host or --label")
	case c.Label != "" && (c.Agent != "" || c.Host != ""):
		return usageError("--label ends all agents of its hosts: give it without an agent and without --host")
	case c.Wait <= 0:
		return usageError("--wait: expected more than 0s, found %v", c.Wait)
	}
	api, err := c.client(e)
	if err != nil {
		return err
	}
	raw, err := c.sign(e, api, captoken.ActionKill, target, c.Reason)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(c.Wait)
	v, err := api.submit(e.ctx, raw)
	if err != nil {
		return err
	}
	for v.State == service.CommandPending && time.Now().Before(deadline) {
		seconds := min(int(time.Until(deadline).Seconds())+1, 30)
		query := url.Values{"wait": {strconv.Itoa(seconds)}}
		if err := api.ask(e.ctx, http.MethodGet, "/v1/commands/"+v.ID, query, nil, &v); err != nil {
			return fmt.Errorf("the kill was accepted as command %s, and its outcome is not known: %w", v.ID, err)
		}
	}
	if len(v.Receipts) == 0 && c.Agent != "" && !c.JSON {
		var agents []service.Agent
		if api.ask(e.ctx, http.MethodGet, "/v1/agents", nil, nil, &agents) == nil && !slices.ContainsFunc(agents, func(a service.Agent) bool { return a.Name == c.Agent }) {
			fmt.Fprintf(e.stdout, "note: no assignment and no host knows an agent %q; is the name right? the stop stands all the same\n", c.Agent)
		}
	}
	return c.print(e, target, &v)
}

// signFlags say who signs a command.
type signFlags struct {
	Key  string `help:"The operator's private key (default: this installation's)." placeholder:"FILE" type:"path"`
	Role string `help:"Role in which the operator acts." default:"operator"`
}

// sign makes a command. Its order number is the time, which is above that of every
// command that the operator signed before.
func (c signFlags) sign(e *env, api *apiClient, action captoken.Action, target captoken.Target, reason string) ([]byte, error) {
	key := c.Key
	if key == "" {
		d, err := e.dir()
		if err != nil {
			return nil, err
		}
		key = d.OperatorKey()
	}
	signer, err := readSigner(key)
	if err != nil {
		return nil, err
	}
	var health service.Health
	if err := api.ask(e.ctx, http.MethodGet, "/v1/health", nil, nil, &health); err != nil {
		return nil, err
	}
	now := time.Now()
	return captoken.MintCommand(signer, captoken.Command{Audience: health.Installation, IssuedAt: now.UTC().Truncate(time.Second),
		Expires: now.UTC().Truncate(time.Second).Add(5 * time.Minute), Sequence: uint64(now.UnixNano()), Role: c.Role,
		Action: action, Target: target, Reason: reason})
}

func (c agentKillCmd) print(e *env, target captoken.Target, v *service.Command) error {
	if c.JSON {
		if err := printJSON(e, v); err != nil {
			return err
		}
	} else {
		for _, r := range v.Receipts {
			switch r.State {
			case service.ReceiptProven:
				fmt.Fprintf(e.stdout, "%s on %s is gone: %.1f ms from command to proof, %.1f ms of them in its kernel; %d frames and %d handles given back; receipt verified\n",
					r.Agent, r.Host, r.LatencyMS, r.HostMS, r.Frames, r.Handles)
			default:
				fmt.Fprintf(e.stdout, "%s on %s: NOT PROVEN (%s) %s\n", r.Agent, r.Host, r.State, r.Text)
			}
		}
		if len(v.Receipts) == 0 {
			fmt.Fprintf(e.stdout, "nothing of it was running; %v: stopped until it is lifted (`aios agent lift`)\n", target)
		}
	}
	if !v.Proven() {
		return &exitError{code: exitFailed, err: &unprovenError{v.ID, c.Wait}}
	}
	return nil
}

// unprovenError says that a kill has no proof yet.
type unprovenError struct {
	command string
	waited  time.Duration
}

func (e *unprovenError) Error() string {
	return fmt.Sprintf("command %s: not every end was proven within %s", e.command, e.waited)
}
func (e *unprovenError) Remedy() string {
	return "the stop holds in any case: no token is issued, and what runs ends with its host's lease and grace; see `aios verifier hosts` for whether the host is connected"
}

type agentAssignCmd struct {
	File string `arg:"" help:"JSON file (docs/operate-the-verifier.md has an example); - reads standard input." type:"path"`
	Name string `help:"Name of the assignment (default: that of the agent)." placeholder:"NAME"`
	apiFlags
}

func (c agentAssignCmd) Run(e *env) error {
	var in io.Reader = os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	var a service.Assignment
	r := json.NewDecoder(in)
	r.DisallowUnknownFields()
	if err := r.Decode(&a); err != nil {
		return usageError("%s: %v: expected an assignment as docs/operate-the-verifier.md shows one", filepath.Base(c.File), err)
	}
	name := c.Name
	if name == "" {
		name = a.Agent
	}
	api, err := c.client(e)
	if err != nil {
		return err
	}
	var out service.NamedAssignment
	if err := api.ask(e.ctx, http.MethodPut, "/v1/assignments/"+url.PathEscape(name), nil, a, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, out)
	}
	_, err = fmt.Fprintf(e.stdout, "assignment %s: agent %s on %s, rights %s\n", name, a.Agent, strings.Join(append(a.Hosts, a.Labels...), ", "), strings.Join(a.Rights, ", "))
	return err
}

type agentUnassignCmd struct {
	Name string `arg:"" help:"Name of the assignment."`
	apiFlags
}

func (c agentUnassignCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	if err := api.ask(e.ctx, http.MethodDelete, "/v1/assignments/"+url.PathEscape(c.Name), nil, nil, nil); err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "assignment %s is taken back; what runs goes on until its token expires, or `aios agent kill` ends it\n", c.Name)
	return err
}

type agentStopsCmd struct{ apiFlags }

func (c agentStopsCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	stops := []service.Stop{}
	if err := api.ask(e.ctx, http.MethodGet, "/v1/stops", nil, nil, &stops); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, stops)
	}
	for _, s := range stops {
		fmt.Fprintln(e.stdout, captoken.Target{Agent: s.Agent, Host: s.Host})
	}
	if len(stops) == 0 {
		fmt.Fprintln(e.stdout, "nothing is stopped")
	}
	return nil
}

type agentLiftCmd struct {
	Agent  string `arg:"" optional:"" help:"Name of the agent, as it was stopped."`
	Host   string `help:"Host id, as it was stopped." placeholder:"HOST"`
	Reason string `help:"Why; it is recorded." required:"" placeholder:"TEXT"`
	apiFlags
}

func (c agentLiftCmd) Run(e *env) error {
	if c.Agent == "" && c.Host == "" {
		return usageError("name an agent, --host or both, as `aios agent stops` lists them")
	}
	api, err := c.client(e)
	if err != nil {
		return err
	}
	query := url.Values{"reason": {c.Reason}}
	for key, value := range map[string]string{"agent": c.Agent, "host": c.Host} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if err := api.ask(e.ctx, http.MethodDelete, "/v1/stops", query, nil, nil); err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%v may run again\n", captoken.Target{Agent: c.Agent, Host: c.Host})
	return err
}

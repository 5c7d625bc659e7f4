package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"aios/verifier/authority"
	"aios/verifier/enrol"
)

// Host is what is known of an enrolled host.
type Host struct {
	ID          string    `json:"id"`
	EKHash      string    `json:"ek_sha256" doc:"SHA-256 of the endorsement key's SubjectPublicKeyInfo"`
	EKIssuer    string    `json:"ek_issuer" doc:"Who certified the TPM"`
	AKName      string    `json:"ak_name" doc:"TPM name of the attestation key"`
	EnrolledAt  time.Time `json:"enrolled_at"`
	Floor       uint64    `json:"floor" doc:"Lowest manifest version that is accepted; 0 accepts all"`
	Labels      []string  `json:"labels"`
	Connected   bool      `json:"connected"`
	Address     string    `json:"address,omitempty" doc:"Of its connection"`
	ConnectedAt time.Time `json:"connected_at,omitzero"`
	LastSeen    time.Time `json:"last_seen,omitzero" doc:"When it was last appraised, or told of an event"`
	JudgedAt    time.Time `json:"judged_at,omitzero" doc:"When the newest verdict that the token authority took note of was reached"`
	Denied      bool      `json:"denied" doc:"That verdict was not affirming"`
	Verdict     *Verdict  `json:"verdict,omitempty" doc:"The newest since the verifier was started"`
	LeaseID     string    `json:"lease_id,omitempty"`
	LeaseUntil  time.Time `json:"lease_until,omitzero" doc:"No lease that it was given runs longer"`
	List        uint64    `json:"revocation_list" doc:"Sequence of the revocation list that it holds, as far as is known; 0 if it is not connected"`
	Lapses      time.Time `json:"lapses,omitzero" doc:"With the grace: until then agents may be running"`
	Agents      []Agent   `json:"agents"`
	Stopped     []Stop    `json:"stopped" doc:"What may not run on it"`
}

// Stop is authority.Stop.
type Stop struct {
	Agent string `json:"agent,omitempty" doc:"Empty: every agent"`
	Host  string `json:"host,omitempty" doc:"Empty: every host"`
}

// HostPath names a host in a path.
type HostPath struct {
	Host string `path:"host" doc:"Host id" pattern:"^host-[0-9a-f]{16}$" example:"host-00f1c2d3e4b5a697"`
}

// WithReason is what has to be said when something is taken away.
type WithReason struct {
	Reason string `query:"reason" required:"true" minLength:"1" maxLength:"256" doc:"For people; it is recorded"`
}

func (s *Service) registerHosts(api huma.API) {
	const tag = "hosts"
	huma.Register(api, operation(http.MethodGet, "/v1/hosts", "list-hosts", tag, "List the enrolled hosts"),
		answer(func(context.Context, *empty) ([]Host, error) { return s.Hosts() }))
	huma.Register(api, operation(http.MethodGet, "/v1/hosts/{host}", "get-host", tag, "Verdict, lease, agents and labels of a host", 404),
		answer(func(_ context.Context, in *HostPath) (Host, error) { return s.Host(in.Host) }))
	huma.Register(api, operation(http.MethodDelete, "/v1/hosts/{host}", "forget-host", tag, "Forget a host; refused while agents may be running on it", 404, 409, 507),
		perform(func(_ context.Context, in *struct {
			HostPath
			WithReason
		}) error {
			return s.Forget(in.Host, in.Reason)
		}))
	huma.Register(api, operation(http.MethodPut, "/v1/hosts/{host}/labels", "label-host", tag, "Replace the labels of a host", 404, 507),
		answer(func(_ context.Context, in *struct {
			HostPath
			Body struct {
				Labels []string `json:"labels" maxItems:"32"`
			}
		}) (Host, error) {
			if err := s.Label(in.Host, in.Body.Labels); err != nil {
				return Host{}, err
			}
			return s.Host(in.Host)
		}))
	huma.Register(api, operation(http.MethodPut, "/v1/hosts/{host}/floor", "raise-floor", tag, "Raise the lowest manifest version of a host that is accepted; it can never be lowered", 404, 507),
		answer(func(_ context.Context, in *struct {
			HostPath
			Body struct {
				Floor uint64 `json:"floor"`
			}
		}) (Host, error) {
			if err := s.RaiseFloor(in.Host, in.Body.Floor); err != nil {
				return Host{}, err
			}
			return s.Host(in.Host)
		}))
	huma.Register(api, operation(http.MethodDelete, "/v1/hosts/{host}/lease", "revoke-lease", tag, "Revoke the lease of a host: what hangs from it stops; the next good verdict brings another", 404, 507),
		perform(func(_ context.Context, in *struct {
			HostPath
			WithReason
		}) error {
			return s.RevokeLease(in.Host, in.Reason)
		}))
	huma.Register(api, operation(http.MethodGet, "/v1/hosts/{host}/result", "get-result", tag, "The newest attestation result of a host: an EAR, signed, for relying parties", 404),
		func(_ context.Context, in *HostPath) (*ready, error) {
			b, err := os.ReadFile(s.file("results", in.Host+".jwt"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil, problem(fmt.Errorf("attestation result of %s: %w", in.Host, ErrNotFound))
			}
			return &ready{"application/eat+jwt", b}, problem(err)
		})
	huma.Register(api, operation(http.MethodGet, "/v1/stops", "list-stops", "stops", "List what is kept from running"),
		answer(func(context.Context, *empty) ([]Stop, error) {
			out := []Stop{}
			for _, stop := range s.authority.Stops() {
				out = append(out, Stop(stop))
			}
			return out, nil
		}))
	huma.Register(api, operation(http.MethodDelete, "/v1/stops", "lift-stop", "stops", "Let run again what was stopped in exactly these words", 409, 507),
		perform(func(_ context.Context, in *struct {
			Agent string `query:"agent"`
			Host  string `query:"host"`
			WithReason
		}) error {
			return s.Lift(authority.Stop{Agent: in.Agent, Host: in.Host}, in.Reason)
		}))
}

// Hosts lists the enrolled hosts, ascending.
func (s *Service) Hosts() ([]Host, error) {
	records, err := s.hosts.List()
	if err != nil && len(records) == 0 {
		return nil, err
	} else if err != nil {
		s.warn(err) // the others are good
	}
	status := map[string]authority.HostStatus{}
	for _, h := range s.authority.Status() {
		status[h.Host] = h
	}
	out := []Host{}
	for _, r := range records {
		out = append(out, s.describe(r, status[r.ID]))
	}
	return out, nil
}

// Host is one of them.
func (s *Service) Host(id string) (Host, error) {
	record, err := s.hosts.Get(id)
	if err != nil {
		return Host{}, err
	}
	all := s.authority.Status()
	var status authority.HostStatus
	if i := slices.IndexFunc(all, func(h authority.HostStatus) bool { return h.Host == id }); i >= 0 {
		status = all[i]
	}
	return s.describe(record, status), nil
}

func (s *Service) describe(r *enrol.Host, a authority.HostStatus) Host {
	h := Host{ID: r.ID, EKHash: r.EKHash, EKIssuer: r.EKIssuer, AKName: r.AKName, EnrolledAt: r.EnrolledAt, Floor: r.Floor, Labels: s.labels.of(r.ID),
		JudgedAt: a.Judged, Denied: a.Denied, LeaseUntil: a.Until, Lapses: a.Lapses, Agents: []Agent{}, Stopped: []Stop{}}
	if h.Labels == nil {
		h.Labels = []string{}
	}
	if !a.Lease.IsZero() {
		h.LeaseID = a.Lease.String()
	}
	for _, stop := range s.authority.Stops() {
		if stop.Host == "" || stop.Host == r.ID {
			h.Stopped = append(h.Stopped, Stop(stop))
		}
	}
	s.mu.Lock()
	c, state := s.connected[r.ID], s.states[r.ID]
	s.mu.Unlock()
	if c != nil {
		h.Connected, h.Address, h.ConnectedAt, h.List = true, c.address, c.since.UTC(), c.listed.Load()
	}
	var told []Agent
	if state != nil {
		told, h.LastSeen, h.Verdict = state.view()
	}
	h.Agents = append(h.Agents, s.agents(r.ID, h.Labels, told, h.Stopped)...)
	return h
}

// agents are those that the host told of and those that are assigned to it.
func (s *Service) agents(host string, labels []string, told []Agent, stops []Stop) []Agent {
	for _, a := range s.assignments.of(host, labels) {
		if !slices.ContainsFunc(told, func(t Agent) bool { return t.Name == a.Agent }) {
			told = append(told, Agent{Name: a.Agent, State: "assigned"})
		}
	}
	revoked, _ := s.authority.Revocations()
	for i := range told {
		told[i].Host = host
		stopped := slices.ContainsFunc(stops, func(stop Stop) bool { return stop.Agent == "" || stop.Agent == told[i].Name })
		switch {
		case told[i].State == AgentRunning:
		case revoked != nil && revoked.RevokedSubject(told[i].Name):
			told[i].State = "revoked"
		case stopped:
			told[i].State = "stopped"
		}
	}
	return told
}

package service

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// NamedAssignment is an assignment with its name.
type NamedAssignment struct {
	Name string `json:"name"`
	Assignment
}

// NamePath names an assignment in a path.
type NamePath struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$" doc:"Of the assignment"`
}

func (s *Service) registerAgents(api huma.API) {
	huma.Register(api, operation(http.MethodGet, "/v1/agents", "list-agents", "agents", "List the agents on all hosts, as the hosts tell it"),
		answer(func(context.Context, *empty) ([]Agent, error) {
			hosts, err := s.Hosts()
			out := []Agent{}
			for _, h := range hosts {
				out = append(out, h.Agents...)
			}
			return out, err
		}))
	const tag = "assignments"
	huma.Register(api, operation(http.MethodGet, "/v1/assignments", "list-assignments", tag, "List which agents run where"),
		answer(func(context.Context, *empty) ([]NamedAssignment, error) {
			all := s.assignments.all()
			out := []NamedAssignment{}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				out = append(out, NamedAssignment{name, all[name]})
			}
			return out, nil
		}))
	huma.Register(api, operation(http.MethodGet, "/v1/assignments/{name}", "get-assignment", tag, "One assignment", 404),
		answer(func(_ context.Context, in *NamePath) (NamedAssignment, error) {
			a, ok := s.assignments.all()[in.Name]
			if !ok {
				return NamedAssignment{}, fmt.Errorf("assignment %q: %w", in.Name, ErrNotFound)
			}
			return NamedAssignment{in.Name, a}, nil
		}))
	put := operation(http.MethodPut, "/v1/assignments/{name}", "put-assignment", tag, "Assign an agent to hosts", 507)
	put.Description = "Of two assignments of one agent that reach the same host the first by name counts. Hosts that are connected are appraised at once, and with a good verdict the agent starts. What is not listed in rights, scopes and quotas it may not do."
	huma.Register(api, put, answer(func(_ context.Context, in *struct {
		NamePath
		Body Assignment
	}) (NamedAssignment, error) {
		return NamedAssignment{in.Name, in.Body}, s.Assign(in.Name, in.Body)
	}))
	remove := operation(http.MethodDelete, "/v1/assignments/{name}", "delete-assignment", tag, "Take an assignment back", 404, 507)
	remove.Description = "What runs under it goes on until its token expires; a command stops it at once."
	huma.Register(api, remove, perform(func(_ context.Context, in *NamePath) error { return s.Unassign(in.Name) }))
}

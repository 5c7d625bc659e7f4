package service

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"aios/captoken"
)

// Revocations is the newest revocation list.
type Revocations struct {
	Sequence uint64    `json:"sequence" doc:"Of the list; 0 if nothing was ever revoked"`
	Epoch    uint64    `json:"epoch" doc:"Tokens of a lower one are good for nothing"`
	IssuedAt time.Time `json:"issued_at,omitzero"`
	Tokens   []string  `json:"tokens" doc:"Ids of tokens and delegations"`
	Leases   []string  `json:"leases" doc:"Ids of leases"`
	Agents   []string  `json:"agents" doc:"Of which everything is revoked"`
	Signed   []byte    `json:"signed,omitempty" doc:"The list as the token key signed it, base64 (docs/token-format.md)"`
}

func (s *Service) registerRevocations(api huma.API) {
	get := operation(http.MethodGet, "/v1/revocations", "get-revocations", "revocations", "The newest revocation list")
	get.Description = "Within an epoch nothing goes from it; a raise of the epoch begins an empty one. Commands of the action revoke add to it."
	huma.Register(api, get, answer(func(context.Context, *empty) (Revocations, error) { return s.Revocations(), nil }))
}

// Revocations is what was revoked in this epoch.
func (s *Service) Revocations() Revocations {
	out := Revocations{Tokens: []string{}, Leases: []string{}, Agents: []string{}}
	l, signed := s.authority.Revocations()
	if l == nil {
		return out
	}
	texts := func(ids []captoken.ID) []string {
		list := []string{}
		for _, id := range ids {
			list = append(list, id.String())
		}
		return list
	}
	out.Sequence, out.Epoch, out.IssuedAt, out.Signed = l.Sequence, l.Epoch, l.IssuedAt, signed
	out.Tokens, out.Leases, out.Agents = texts(l.Tokens), texts(l.Leases), append(out.Agents, l.Subjects...)
	return out
}

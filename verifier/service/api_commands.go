package service

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Service) registerCommands(api huma.API) {
	const tag = "commands"
	post := operation(http.MethodPost, "/v1/commands", "post-command", tag, "Have an operator's command carried out", 400, 403, 409, 507)
	post.Description = "The command is a COSE_Sign1 that the operator's key signed (docs/token-format.md). What it stops is stopped when this answers; the hosts have been told, and what they prove is in the outcome. What it revokes is on the revocation list when this answers, and each connected host is being sent the list: a host that holds it runs nothing of what was revoked."
	post.DefaultStatus = http.StatusAccepted
	huma.Register(api, post, answer(func(_ context.Context, in *struct {
		Body struct {
			Command []byte `json:"command" doc:"The signed command, base64" minLength:"1" maxLength:"16384"`
		}
	}) (*Command, error) {
		return s.Command(in.Body.Command)
	}))
	huma.Register(api, operation(http.MethodGet, "/v1/commands", "list-commands", tag, "List the commands that were accepted, the newest first"),
		answer(func(context.Context, *empty) ([]*Command, error) { return s.commands.list(), nil }))
	huma.Register(api, operation(http.MethodGet, "/v1/commands/{command}", "get-command", tag, "How a command went, with its receipts", 404),
		answer(func(ctx context.Context, in *struct {
			Command string `path:"command" pattern:"^[0-9a-f]{32}$"`
			Wait    int    `query:"wait" minimum:"0" maximum:"60" doc:"Seconds to wait at most until no receipt is awaited any more"`
		}) (*Command, error) {
			ctx, done := context.WithTimeout(ctx, min(time.Duration(in.Wait)*time.Second, maxWait))
			defer done()
			return s.CommandOutcome(ctx, in.Command)
		}))
}

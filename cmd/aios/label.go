package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"aios/verifier/service"
)

// hostLabelCmd sets the labels by which hosts are found for kills and assignments.
type hostLabelCmd struct {
	Host   string   `arg:"" help:"Host id, as \"aios verifier hosts\" prints it."`
	Labels []string `arg:"" optional:"" help:"Its labels from now on; none takes all away."`
	apiFlags
}

func (c hostLabelCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	in := struct {
		Labels []string `json:"labels"`
	}{append([]string{}, c.Labels...)}
	var out service.Host
	if err := api.ask(e.ctx, http.MethodPut, "/v1/hosts/"+url.PathEscape(c.Host)+"/labels", nil, in, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, out)
	}
	if len(out.Labels) == 0 {
		_, err = fmt.Fprintf(e.stdout, "%s has no labels\n", out.ID)
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %s\n", out.ID, strings.Join(out.Labels, ", "))
	return err
}

// verifierFloorCmd raises the verifier's own copy of the rollback floor.
type verifierFloorCmd struct {
	Host string `arg:"" help:"Host id, as \"aios verifier hosts\" prints it."`
	To   uint64 `arg:"" help:"Manifest version."`
	apiFlags
}

func (c verifierFloorCmd) Run(e *env) error {
	api, err := c.client(e)
	if err != nil {
		return err
	}
	in := struct {
		Floor uint64 `json:"floor"`
	}{c.To}
	var out service.Host
	if err := api.ask(e.ctx, http.MethodPut, "/v1/hosts/"+url.PathEscape(c.Host)+"/floor", nil, in, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, out)
	}
	_, err = fmt.Fprintf(e.stdout, "%s: no manifest below version %d is accepted any more\n", out.ID, out.Floor)
	return err
}

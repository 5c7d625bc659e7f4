package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aios/host/state"
	"aios/verifier/service"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// apiToken reads the bearer token of the verifier's API and makes it on first use.
func apiToken(d *state.Dir) (string, error) {
	name := d.APIToken()
	fi, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		var b [32]byte
		rand.Read(b[:]) // never fails (Go 1.24)
		token := base64.RawURLEncoding.EncodeToString(b[:])
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return "", err
		}
		return token, state.WriteFile(name, []byte(token+"\n"), 0o600)
	case err != nil:
		return "", err
	case fi.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s has mode %#o, so others may have read it: remove it, and the next `aios verifier serve` makes another", name, fi.Mode().Perm())
	}
	b, err := os.ReadFile(name)
	token := strings.TrimSpace(string(b))
	if err == nil && len(token) < 32 {
		err = fmt.Errorf("%s: expected a token of at least 32 characters, found %d: remove the file to have one made", name, len(token))
	}
	return token, err
}

// listenAPI listens for requests of the API; publishAPI then says where. The token
// would cross a network in the clear, so that it takes loopback addresses alone.
func listenAPI(d *state.Dir, address string) (l net.Listener, token string, err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", usageError("REST API at %q: expected HOST:PORT", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, "", usageError("REST API at %s: expected a loopback address such as 127.0.0.1:8471; for other machines put a proxy that speaks TLS before it", address)
	}
	if token, err = apiToken(d); err != nil {
		return nil, "", err
	}
	if l, err = net.Listen("tcp", address); err != nil {
		return nil, "", fmt.Errorf("serve the REST API: %w; end what uses the address, or give another one", err)
	}
	return l, token, nil
}

// publishAPI tells the other commands where the API is served. It comes once the state is
// this verifier's: one that is refused must not send them astray.
func publishAPI(d *state.Dir, l net.Listener) error {
	return state.WriteFile(d.APIAddress(), []byte(l.Addr().String()+"\n"), 0o600)
}

// apiFlags say where the verifier's API is.
type apiFlags struct {
	API      string `name:"api" help:"Address of the verifier's REST API (default: the one that this state folder's verifier serves)." placeholder:"URL"`
	APIToken string `help:"File with its bearer token (default: the one in the state folder)." placeholder:"FILE" type:"path"`
	JSON     bool   `help:"Print JSON."`
}

// apiClient asks the verifier's API.
type apiClient struct{ base, token string }

func (f apiFlags) client(e *env) (*apiClient, error) {
	d, err := e.dir()
	if err != nil {
		return nil, err
	}
	c := &apiClient{base: strings.TrimSuffix(f.API, "/")}
	if c.base == "" {
		b, err := os.ReadFile(d.APIAddress())
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &noVerifierError{d.Root, err}
		} else if err != nil {
			return nil, err
		}
		c.base = "http://" + strings.TrimSpace(string(b))
	}
	file := f.APIToken
	if file == "" {
		file = d.APIToken()
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bearer token of the verifier's API: %w", err)
	}
	c.token = strings.TrimSpace(string(b))
	return c, nil
}

// noVerifierError says that nobody serves the API.
type noVerifierError struct {
	where string
	err   error
}

func (e *noVerifierError) Error() string {
	return fmt.Sprintf("no verifier is serving (%s): %v", e.where, e.err)
}
func (e *noVerifierError) Unwrap() error { return e.err }
func (e *noVerifierError) Remedy() string {
	return "start one with `aios verifier serve` (`aios up` runs one too, as long as it is up), or say where it is with --api; --state names the state folder"
}

// apiError is a problem that the verifier reports.
type apiError struct{ service.Problem }

func (e *apiError) Error() string {
	s := "verifier: " + e.Detail
	for _, d := range e.Errors {
		s += fmt.Sprintf("; %s: %s", d.Location, d.Message)
	}
	return s
}
func (e *apiError) Remedy() string { return e.Problem.Remedy }

// submit hands in a signed command.
func (c *apiClient) submit(ctx context.Context, raw []byte) (v service.Command, err error) {
	in := struct {
		Command []byte `json:"command"`
	}{raw}
	err = c.ask(ctx, http.MethodPost, "/v1/commands", nil, in, &v)
	return v, err
}

// ask makes one request. in and out may be nil.
func (c *apiClient) ask(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return usageError("--api %s: %v", c.base, err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Timeout: 90 * time.Second}).Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &noVerifierError{c.base, err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("verifier: %s %s: %w", method, path, err)
	}
	if resp.StatusCode >= 300 {
		e := new(apiError)
		if err := json.Unmarshal(b, &e.Problem); err != nil || e.Detail == "" {
			return fmt.Errorf("verifier: %s %s: %s: is this its REST API?", method, path, resp.Status)
		}
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("verifier: %s %s: %w", method, path, err)
	}
	return nil
}

// printJSON is for --json.
func printJSON(e *env, v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

package service

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	apiVersion     = "1"
	maxBody        = 64 << 10 // bytes of a request
	maxHeader      = 16 << 10
	requestLimit   = 30 * time.Second // to read one
	answerDeadline = 90 * time.Second // to write one; longer than maxWait
	maxWait        = 60 * time.Second
)

// serveAPI answers until ctx ends.
func (s *Service) serveAPI(ctx context.Context, l net.Listener) error {
	if s.c.APIToken == "" {
		return fmt.Errorf("REST API: %w: it needs a bearer token", ErrInvalid)
	}
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: requestLimit, WriteTimeout: answerDeadline,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := server.Shutdown(limited)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		stopped <- err
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("REST API: %w", err)
	}
	return <-stopped
}

// Handler is the API by itself.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	s.registerAll(newAPI(mux))
	mux.Handle("GET /metrics", s.metrics.handler())
	limited := http.MaxBytesHandler(mux, maxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !open(r) && !s.authenticated(r) {
			refuse(w)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// open says what may be asked without the bearer token: nothing that tells of a host.
func open(r *http.Request) bool {
	return r.Method == http.MethodGet && (r.URL.Path == "/healthz" || r.URL.Path == "/openapi.json")
}

// authenticated compares hashes, so that the time it takes says nothing about the token.
func (s *Service) authenticated(r *http.Request) bool {
	shown, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(s.c.APIToken))
	return ok && s.c.APIToken != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("WWW-Authenticate", `Bearer realm="aios verifier"`)
	w.WriteHeader(http.StatusUnauthorized)
	json.NewEncoder(w).Encode(&Problem{ErrorModel: huma.ErrorModel{Status: http.StatusUnauthorized, Title: http.StatusText(http.StatusUnauthorized),
		Detail: "the bearer token is missing or wrong"}, Remedy: "send \"Authorization: Bearer TOKEN\" with the token in the file api.token of the verifier's state folder"})
}

// newAPI is an empty one. It shows no documentation page, which would load what others
// serve, and adds no links to its answers.
func newAPI(mux humago.Mux) huma.API {
	c := huma.DefaultConfig("AIOS verifier", apiVersion)
	c.DocsPath, c.SchemasPath, c.CreateHooks, c.OpenAPIPath = "", "", nil, ""
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Hosts, their verdicts and leases, the agents on them, and the commands that stop them. " +
		"Every request but GET /healthz and GET /openapi.json carries the bearer token; commands carry an operator's ML-DSA-65 signature too, and that alone authorises them."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	c.Security = []map[string][]string{{"bearer": {}}}
	return humago.New(mux, c)
}

// OpenAPI is the description of the API, OpenAPI 3.1, as it is generated from the code.
func OpenAPI() ([]byte, error) {
	api := newAPI(http.NewServeMux())
	(&Service{}).registerAll(api)
	return describeAPI(api)
}

func describeAPI(api huma.API) ([]byte, error) {
	b, err := json.MarshalIndent(api.OpenAPI(), "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// registerAll adds all operations.
func (s *Service) registerAll(api huma.API) {
	s.registerHealth(api)
	s.registerHosts(api)
	s.registerAgents(api)
	s.registerCommands(api)
	s.registerRevocations(api)
	s.registerEnrolment(api)
	s.registerEvents(api)
}

// operation is what all have in common.
func operation(method, path, id, tag, summary string, errs ...int) huma.Operation {
	status := http.StatusOK
	if method == http.MethodDelete {
		status = http.StatusNoContent
	}
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}, DefaultStatus: status,
		MaxBodyBytes: maxBody, BodyReadTimeout: requestLimit, Errors: append([]int{http.StatusUnauthorized}, errs...)}
}

type empty struct{}

type body[T any] struct {
	Body T
}

// answer makes a handler of a function that knows nothing of HTTP.
func answer[I, T any](f func(context.Context, *I) (T, error)) func(context.Context, *I) (*body[T], error) {
	return func(ctx context.Context, in *I) (*body[T], error) {
		v, err := f(ctx, in)
		if err != nil {
			return nil, problem(err)
		}
		return &body[T]{v}, nil
	}
}

// perform is answer for what answers nothing.
func perform[I any](f func(context.Context, *I) error) func(context.Context, *I) (*empty, error) {
	return func(ctx context.Context, in *I) (*empty, error) { return nil, problem(f(ctx, in)) }
}

// Health says that the verifier serves.
type Health struct {
	Build        string `json:"build"`
	Installation string `json:"installation" doc:"The audience that commands have to be signed for"`
	Connected    int    `json:"connected" doc:"Hosts"`
	Enrolled     int    `json:"enrolled" doc:"Hosts"`
	Sequence     uint64 `json:"sequence" doc:"Revocation sequence"`
	Epoch        uint64 `json:"epoch" doc:"Of the tokens that are issued now"`
	IntervalMS   int64  `json:"interval_ms" doc:"From one appraisal of a host to the next"`
	LastEvent    int64  `json:"last_event" doc:"Number of the newest event"`
}

// Alive is the answer to GET /healthz.
type Alive struct {
	OK bool `json:"ok"`
}

func (s *Service) registerHealth(api huma.API) {
	alive := operation(http.MethodGet, "/healthz", "alive", "health", "Whether the verifier serves; needs no token")
	alive.Security, alive.Errors = []map[string][]string{}, nil
	huma.Register(api, alive, answer(func(context.Context, *empty) (Alive, error) { return Alive{true}, nil }))
	huma.Register(api, operation(http.MethodGet, "/v1/health", "health", "health", "How the verifier is"), answer(func(context.Context, *empty) (Health, error) {
		hosts, err := s.hosts.List()
		if err != nil {
			return Health{}, err
		}
		s.mu.Lock()
		connected := len(s.connected)
		s.mu.Unlock()
		return Health{Build: s.c.Build, Installation: s.c.Installation, Connected: connected, Enrolled: len(hosts), Sequence: s.authority.Sequence(),
			Epoch: s.authority.Epoch(), IntervalMS: s.c.Interval.Milliseconds(), LastEvent: s.events.position()}, nil
	}))
	describe := operation(http.MethodGet, "/openapi.json", "openapi", "health", "This description; needs no token")
	describe.Security, describe.Errors = []map[string][]string{}, nil
	huma.Register(api, describe, func(context.Context, *empty) (*ready, error) {
		b, err := describeAPI(api)
		return &ready{"application/vnd.oai.openapi+json", b}, err
	})
}

// ready is an answer that is not made here.
type ready struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

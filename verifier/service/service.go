package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
	"aios/evidence"
	"aios/verifier/authority"
	"aios/verifier/enrol"
	"aios/verifier/session"
)

// Defaults of Config.
const (
	DefaultInterval = 30 * time.Second
	DefaultMaxHosts = 4096
)

const (
	handshakeLimit = 15 * time.Second // TLS and introduction
	answerLimit    = 90 * time.Second // one stage: on a busy machine under TCG a quote takes seconds
	watchLimit     = 3 * time.Minute  // a host says from time to time that nothing happened
	maxUnproven    = 64               // connections that have not proved anything yet
)

// Config is what the service is given.
type Config struct {
	// Dir is the folder of the verifier's state. It is made if it is missing.
	Dir string
	// NewAuthority begins an empty state of the token authority in a folder that has
	// others. It knows of no revocation: it is for when the journal was lost for good.
	NewAuthority bool

	// Sessions appraises hosts. Its Hosts and Admission are set by New, and its
	// Admission only if OpenEnrolment is false.
	Sessions *session.Verifier
	// OpenEnrolment enrols every TPM that a trusted CA vouches for.
	OpenEnrolment bool

	Identity     *mldsa.PrivateKey // of the verifier, towards hosts
	Token        captoken.Signer   // signs leases and tokens
	Installation string            // the audience of commands
	Operators    []captoken.Operator
	// Permits says what a role may do; nil means that the role "operator" may kill and revoke.
	Permits func(role string, action captoken.Action, target captoken.Target) bool

	Interval      time.Duration // between rounds; 0 means DefaultInterval
	Lease         time.Duration // and the next three: 0 means the authority's default
	Grace         time.Duration
	TokenLife     time.Duration
	QuorumPercent int
	MaxHosts      int // 0 means DefaultMaxHosts

	APIToken string // bearer token of the REST API; empty: the API is not served
	Build    string // of this program, for the API

	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // nil means time.Now
}

// Service is the running verifier.
type Service struct {
	c           Config
	log         *slog.Logger
	events      *bus
	metrics     *metrics
	listener    *evidence.Listener
	folder      *authority.Folder
	authority   *authority.Authority
	hosts       *enrol.Store
	admissions  *enrol.Admissions
	labels      *labels
	assignments *assignments
	commands    *commands
	streams     chan struct{} // a seat for each SSE stream
	unproven    chan struct{} // a seat for each connection that has not proved anything
	refusals    budget

	mu        sync.Mutex
	connected map[string]*connection
	states    map[string]*hostState
}

// New opens the state. Another process that has it open is an error.
func New(c Config) (*Service, error) {
	c = c.complete()
	if c.Sessions == nil || c.Identity == nil || c.Token == nil || c.Installation == "" || c.Dir == "" {
		return nil, fmt.Errorf("verifier service: %w: sessions, identity, token key, installation and folder are all needed", ErrInvalid)
	}
	s := &Service{c: c, log: c.Log, events: newBus(c.Now), metrics: newMetrics(), streams: make(chan struct{}, 64),
		unproven: make(chan struct{}, maxUnproven), connected: map[string]*connection{}, states: map[string]*hostState{}}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	sessions := *c.Sessions
	sessions.Hosts = s.hosts
	if !c.OpenEnrolment {
		sessions.Admission = s.admissions
	}
	if sessions.Now == nil {
		sessions.Now = c.Now
	}
	s.c.Sessions = &sessions
	s.commands.reconcile(s.authority)
	return s, nil
}

func (c Config) complete() Config {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Grace == 0 {
		c.Grace = authority.DefaultGrace
	}
	if c.MaxHosts == 0 {
		c.MaxHosts = DefaultMaxHosts
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Permits == nil {
		c.Permits = func(role string, action captoken.Action, _ captoken.Target) bool {
			return role == "operator" && (action == captoken.ActionKill || action == captoken.ActionRevoke)
		}
	}
	return c
}

func (s *Service) file(parts ...string) string {
	return filepath.Join(append([]string{s.c.Dir}, parts...)...)
}

func (s *Service) open() (err error) {
	for _, dir := range []string{s.c.Dir, s.file("results")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("verifier state: %w", err)
		}
	}
	if s.listener, err = evidence.NewListener(s.c.Identity); err != nil {
		return err
	}
	if s.hosts, err = enrol.OpenStore(s.file("hosts")); err != nil {
		return err
	}
	if s.admissions, err = enrol.OpenAdmissions(s.file("admissions.json"), s.c.Now); err != nil {
		return err
	}
	if s.labels, err = openLabels(document(s.file("labels.json"))); err != nil {
		return err
	}
	if s.assignments, err = openAssignments(document(s.file("assignments.json")), s.c.Token); err != nil {
		return err
	}
	if s.commands, err = openCommands(s.file("commands"), s.warn); err != nil {
		return err
	}
	// A journal that is missing where there was one is not replaced by an empty one.
	dir := s.file("authority")
	_, err = os.Stat(dir)
	first := errors.Is(err, fs.ErrNotExist)
	if s.folder, err = authority.OpenFolder(dir); err != nil {
		return err
	}
	s.authority, err = authority.Open(s.folder, authority.Config{
		Key: s.c.Token, Installation: s.c.Installation, Lease: s.c.Lease, Grace: s.c.Grace, TokenLife: s.c.TokenLife,
		Operators: s.c.Operators, Permits: s.c.Permits, Labelled: s.labels.hosts, QuorumPercent: s.c.QuorumPercent,
		Create: first || s.c.NewAuthority, Now: s.c.Now, Warn: func(text string) { s.log.Warn("token authority", "text", text) },
	})
	return err
}

// Close ends it. What was acknowledged is on the disk already.
func (s *Service) Close() error {
	var err error
	if s.authority != nil {
		err = s.authority.Close()
	}
	if s.folder != nil {
		err = errors.Join(err, s.folder.Close())
	}
	return err
}

func (s *Service) warn(err error) { s.log.Warn("verifier", "error", err.Error()) }

// Serve takes connections of hosts and requests of the API until ctx ends, then closes
// both listeners and all connections. api may be nil.
func (s *Service) Serve(ctx context.Context, hosts, api net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	failed := make(chan error, 2)
	run := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				failed <- err
				cancel(err)
			}
		})
	}
	run(func(ctx context.Context) error { return s.serveHosts(ctx, hosts) })
	if api != nil {
		run(func(ctx context.Context) error { return s.serveAPI(ctx, api) })
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// publish tells an event to the log too.
func (s *Service) publish(e Event) {
	attrs := []any{}
	for _, a := range []struct{ key, value string }{{"host", e.Host}, {"agent", e.Agent}, {"command", e.Command}, {"text", e.Text}} {
		if a.value != "" {
			attrs = append(attrs, a.key, a.value)
		}
	}
	switch {
	case e.Verdict != nil:
		attrs = append(attrs, "status", e.Verdict.Status, "round", e.Verdict.Round, "took_ms", e.Verdict.TookMS)
	case e.Lease != nil:
		attrs = append(attrs, "lease", e.Lease.ID, "duration_ms", e.Lease.DurationMS, "renewed", e.Lease.Renewed, "tokens", len(e.Lease.Tokens))
	case e.Kind == ReceiptVerified:
		attrs = append(attrs, "latency_ms", e.Receipt.LatencyMS, "host_ms", e.Receipt.HostMS, "frames", e.Receipt.Frames, "handles", e.Receipt.Handles)
	}
	level := slog.LevelInfo
	switch e.Kind {
	case HostRefused, HostNoLease, HostNotice, CommandRefused, ReceiptRefused:
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, e.Kind, attrs...)
	s.events.publish(e)
}

// Command carries an operator's signed command out: what it stops is stopped, and each
// connected host that it concerns is told at once.
func (s *Service) Command(raw []byte) (*Command, error) {
	v, out, err := s.commands.carryOut(s.authority, raw, s.c.Now())
	if err != nil {
		s.metrics.commands.WithLabelValues("refused").Inc()
		s.publish(Event{Kind: CommandRefused, Text: err.Error()})
		return nil, err
	}
	for _, o := range out.Push {
		s.push(o.Host)
	}
	s.metrics.commands.WithLabelValues("accepted").Inc()
	s.publish(Event{Kind: CommandAccepted, Command: v.ID, Host: v.Target.Host, Agent: v.Target.Agent,
		Text: fmt.Sprintf("%s %v: %s", v.Action, out.Command.Target, v.Reason)})
	return v, nil
}

// CommandOutcome is how a command went. It returns when no receipt is awaited any more or
// ctx ends, which is no error.
func (s *Service) CommandOutcome(ctx context.Context, id string) (*Command, error) {
	for {
		v, changed, err := s.commands.get(id)
		if err != nil || v.State == CommandDone {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, nil
		case <-changed:
		}
	}
}

// NewEnrolmentToken issues a one-time token; its text is shown once.
func (s *Service) NewEnrolmentToken(note string, life time.Duration) (string, enrol.Token, error) {
	text, t, err := s.admissions.NewToken(note, life)
	if err == nil {
		s.publish(Event{Kind: Changed, Text: "enrolment token " + t.ID + " was issued"})
	}
	return text, t, err
}

// RegisterEK admits a TPM without a token.
func (s *Service) RegisterEK(ekHash, note string) (enrol.EK, error) {
	k, err := s.admissions.Register(ekHash, note)
	if err == nil {
		s.publish(Event{Kind: Changed, Text: "EK " + k.Hash + " was registered"})
	}
	return k, err
}

// Assign puts an assignment in the place of one of that name. Hosts that are connected get
// their tokens with an appraisal that begins at once.
func (s *Service) Assign(name string, a Assignment) error {
	if err := s.assignments.put(name, a); err != nil {
		return err
	}
	s.publish(Event{Kind: Changed, Agent: a.Agent, Text: "assignment " + name + " was put"})
	s.appraiseAll()
	return nil
}

// Unassign removes an assignment. Agents that run go on until their tokens expire; a
// command stops them.
func (s *Service) Unassign(name string) error {
	if err := s.assignments.remove(name); err != nil {
		return err
	}
	s.publish(Event{Kind: Changed, Text: "assignment " + name + " was deleted"})
	return nil
}

// Label replaces the labels of a host that is enrolled.
func (s *Service) Label(host string, to []string) error {
	if _, err := s.hosts.Get(host); err != nil {
		return err
	}
	if err := s.labels.set(host, to); err != nil {
		return err
	}
	s.publish(Event{Kind: Changed, Host: host, Text: fmt.Sprintf("labels are now %q", to)})
	s.appraise(host)
	return nil
}

// RaiseFloor sets the lowest manifest version of a host that is still accepted. The host
// is appraised anew with it, over a new connection.
func (s *Service) RaiseFloor(host string, floor uint64) error {
	if err := s.hosts.Raise(host, floor); err != nil {
		return err
	}
	why := fmt.Sprintf("the rollback floor is now %d", floor)
	s.publish(Event{Kind: Changed, Host: host, Text: why})
	s.each(host, func(c *connection) { c.cancel(errors.New(why)) })
	return nil
}

// Stops lists what is kept from running.
func (s *Service) Stops() []authority.Stop { return s.authority.Stops() }

// Lift lets run again what was stopped in exactly these words.
func (s *Service) Lift(stop authority.Stop, reason string) error {
	if reason == "" {
		return fmt.Errorf("lift: %w: %w", ErrInvalid, errNoReason)
	}
	if err := s.authority.Lift(stop, reason); err != nil {
		return err
	}
	s.publish(Event{Kind: Changed, Host: stop.Host, Agent: stop.Agent, Text: "the stop of " + stop.String() + " was lifted: " + reason})
	s.appraiseAll()
	return nil
}

// RevokeLease ends the lease of a host: what hangs from it stops.
func (s *Service) RevokeLease(host, reason string) error {
	if reason == "" {
		return fmt.Errorf("revoke the lease of %s: %w: %w", host, ErrInvalid, errNoReason)
	}
	all := s.authority.Status()
	i := slices.IndexFunc(all, func(h authority.HostStatus) bool { return h.Host == host })
	if i < 0 || all[i].Lease.IsZero() {
		return fmt.Errorf("lease of %s: %w", host, ErrNotFound)
	}
	if err := s.authority.RevokeLease(all[i].Lease, reason); err != nil {
		return err
	}
	s.publish(Event{Kind: Changed, Host: host, Text: "lease " + all[i].Lease.String() + " was revoked: " + reason})
	s.push(host)
	return nil
}

// Forget removes what is known of a host. It is refused while agents may be running there.
func (s *Service) Forget(host, reason string) error {
	if _, err := s.hosts.Get(host); err != nil {
		return err
	}
	if slices.ContainsFunc(s.authority.Status(), func(h authority.HostStatus) bool { return h.Host == host }) {
		if err := s.authority.Forget(host, reason); err != nil {
			return err
		}
	}
	if err := s.hosts.Remove(host); err != nil {
		return err
	}
	err := s.labels.set(host, nil)
	if e := os.Remove(s.file("results", host+".jwt")); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	s.hangUp(host, errors.New("the host was forgotten"))
	s.commands.reconcile(s.authority)
	s.publish(Event{Kind: HostForgotten, Host: host, Text: reason})
	return err
}

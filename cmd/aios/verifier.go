package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aios/captoken/mldsa"
	"aios/host/install"
	"aios/host/state"
	"aios/host/story"
	"aios/host/vm"
	"aios/verifier/authority"
	"aios/verifier/ear"
	"aios/verifier/ek"
	"aios/verifier/enrol"
	"aios/verifier/service"
	"aios/verifier/session"
)

// verifierCmd holds what the verifier does, one step at a time.
type verifierCmd struct {
	Serve    verifierServeCmd `cmd:"" help:"Run the verifier: appraise hosts, grant leases, carry commands, serve the REST API."`
	Attest   attestCmd        `cmd:"" help:"Enrol or recognise the host behind a channel and appraise it."`
	Hosts    hostsCmd         `cmd:"" help:"List the hosts that are enrolled."`
	Baseline baselineCmd      `cmd:"" help:"Accept a host's new firmware: its next good evidence becomes the baseline."`
	Forget   forgetCmd        `cmd:"" help:"Forget a host: at its next contact it is enrolled anew."`
	Floor    verifierFloorCmd `cmd:"" help:"Raise the lowest manifest version of a host that is accepted. It can never be lowered."`
	Result   resultCmd        `cmd:"" help:"Check a signed attestation result, as a relying party would. Exit status 0 only if it is valid and affirming."`
	Replay   replayCmd        `cmd:"" help:"Read a TCG event log, replay it and say what it means. Exit status 3 if it was read in part, 1 if not at all."`
}

// verifierFlags say what evidence is held against.
type verifierFlags struct {
	Roots     []string `help:"Certificates (PEM) of the CAs whose TPMs are trusted (default: the CA of this installation's host)." placeholder:"FILE" type:"path"`
	Reference string   `help:"Signed reference values of the image (default: those of the image in the state folder)." placeholder:"FILE" type:"path"`
}

// verifier collects what appraisal needs. Preconditions: keys and policy are loaded.
func (l *launch) verifier(flags verifierFlags) (*session.Verifier, error) {
	own := len(flags.Roots) == 0
	if own {
		flags.Roots = vm.EKRoots(l.dir.TPM())
	}
	roots, err := ek.LoadRoots(flags.Roots...)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && own {
			return nil, &noHostError{err}
		}
		return nil, err
	}
	if flags.Reference == "" {
		flags.Reference = l.dir.Reference()
	}
	ref, err := install.LoadReference(flags.Reference, l.keys.Manifest.Public())
	if err != nil {
		return nil, err
	}
	hosts, err := enrol.OpenStore(l.dir.Hosts())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.dir.Results(), 0o700); err != nil {
		return nil, err
	}
	shape, err := os.ReadFile(l.dir.Shape())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &session.Verifier{Roots: roots, Hosts: hosts, Reference: ref, Shape: strings.TrimSpace(string(shape)), Policy: l.policy.engine, PolicyID: l.policy.id(),
		Results: l.keys.Result, Build: "aios " + version}, nil
}

// noHostError says that the installation's own host has no TPM yet whose CA could be trusted.
type noHostError struct{ err error }

func (e *noHostError) Error() string { return fmt.Sprintf("no TPM to trust: %v", e.err) }
func (e *noHostError) Unwrap() error { return e.err }
func (e *noHostError) Remedy() string {
	return "start this installation's virtual host once, which makes its TPM and the CA that vouches for it (`aios host start`); or name the CAs of other hosts with --roots"
}

// attestCmd is the verifier by itself: the host is wherever the channel leads.
type attestCmd struct {
	Channel string `help:"Unix socket that leads to the host, as \"aios host start\" prints it." required:"" placeholder:"SOCKET" type:"path"`
	verifierFlags
	policyFlag
	roundFlags
}

// Run takes no lock: the host that it talks to may hold it.
func (c attestCmd) Run(e *env) error {
	if err := c.roundFlags.check(); err != nil {
		return err
	}
	d, err := e.dir()
	if err != nil {
		return err
	}
	l := newLaunch(d, story.New(e.stdout, c.JSON))
	return l.end(e.ctx, c.attest(e.ctx, l))
}

func (c attestCmd) attest(ctx context.Context, l *launch) (err error) {
	if l.keys, err = install.EnsureKeys(l.dir); err != nil {
		return err
	}
	if l.policy, err = c.load(ctx); err != nil {
		return err
	}
	v, err := l.verifier(c.verifierFlags)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", c.Channel)
	}
	return l.prove(ctx, v, dial, nil, c.roundFlags)
}

// hosts opens the records of enrolled hosts.
func (e *env) hosts() (*state.Dir, *enrol.Store, error) {
	d, err := e.dir()
	if err != nil {
		return nil, nil, err
	}
	store, err := enrol.OpenStore(d.Hosts())
	return d, store, err
}

type hostsCmd struct{}

func (hostsCmd) Run(e *env) error {
	_, store, err := e.hosts()
	if err != nil {
		return err
	}
	hosts, err := store.List()
	if err != nil {
		return err
	}
	served := e.servedHosts()
	for _, h := range hosts {
		fmt.Fprintf(e.stdout, "%s  enrolled %s  EK by %q  AK %.16s...\n", h.ID, h.EnrolledAt.Format(time.RFC3339), h.EKIssuer, h.AKName)
		if now, ok := served[h.ID]; ok {
			fmt.Fprintf(e.stdout, "    %s\n", now)
		}
		for _, shape := range slices.Sorted(maps.Keys(h.Baselines)) {
			fmt.Fprintf(e.stdout, "    baseline for %s: PCR 0 %.16s...\n", shape, h.Baselines[shape]["0"])
		}
	}
	if len(hosts) == 0 {
		fmt.Fprintln(e.stdout, "no host is enrolled")
	}
	return nil
}

// servedHosts says how hosts are doing, if a verifier serves; else nothing.
func (e *env) servedHosts() map[string]string {
	api, err := (apiFlags{}).client(e)
	if err != nil {
		return nil
	}
	var hosts []service.Host
	if api.ask(e.ctx, http.MethodGet, "/v1/hosts", nil, nil, &hosts) != nil {
		return nil
	}
	out := map[string]string{}
	for _, h := range hosts {
		s := "not connected"
		if h.Connected {
			s = "connected from " + h.Address
		}
		if h.Lapses.After(time.Now()) {
			s += ", its lease and grace end by " + h.Lapses.Format(time.RFC3339)
		} else {
			s += ", no lease"
		}
		out[h.ID] = s
	}
	return out
}

type baselineCmd struct {
	Host string `arg:"" help:"Host id, as \"aios verifier hosts\" prints it."`
}

func (c baselineCmd) Run(e *env) error {
	_, store, err := e.hosts()
	if err != nil {
		return err
	}
	h, err := store.Get(c.Host)
	if err != nil {
		return err
	}
	h.Baselines = nil
	if err := store.Put(h); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s: the next good evidence becomes the baseline of its firmware\n", c.Host)
	return err
}

type forgetCmd struct {
	Host string `arg:"" help:"Host id, as \"aios verifier hosts\" prints it."`
}

// Run asks the verifier if one serves, since it knows whether agents may be running there;
// without one it takes the record away itself.
func (c forgetCmd) Run(e *env) error {
	d, store, err := e.hosts()
	if err != nil {
		return err
	}
	if api, err := (apiFlags{}).client(e); err == nil {
		err = api.ask(e.ctx, http.MethodDelete, "/v1/hosts/"+url.PathEscape(c.Host), url.Values{"reason": {"aios verifier forget"}}, nil, nil)
		var absent *noVerifierError
		if err == nil {
			_, err = fmt.Fprintf(e.stdout, "%s is forgotten\n", c.Host)
		}
		if !errors.As(err, &absent) {
			return err
		}
	}
	// Nobody answers; but a verifier that cannot be reached from here may serve all the same.
	folder, err := authority.OpenFolder(filepath.Join(d.Verifier(), "authority"))
	if err != nil {
		return fmt.Errorf("forget %s: %w", c.Host, err)
	}
	defer folder.Close()
	if err := store.Remove(c.Host); err != nil {
		return err
	}
	if err := os.Remove(d.EAR(c.Host)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s is forgotten\n", c.Host)
	return err
}

// resultCmd is the relying party's side.
type resultCmd struct {
	File  string `arg:"" optional:"" help:"Attestation result (default: the only one in the state folder)." type:"path"`
	Key   string `help:"Public key of the verifier (default: this installation's)." placeholder:"FILE" type:"path"`
	Nonce string `help:"The nonce that you sent, in hex (default: any will do)." placeholder:"HEX"`
}

func (c resultCmd) Run(e *env) error {
	d, err := e.dir()
	if err != nil {
		return err
	}
	if c.Key == "" {
		c.Key = d.ResultPublic()
	}
	if c.File == "" {
		if c.File, err = onlyFile(d.Results()); err != nil {
			return err
		}
	}
	expect := ear.Expect{AnyNonce: c.Nonce == "", Now: time.Now()}
	if expect.Nonce, err = hex.DecodeString(c.Nonce); err != nil {
		return fmt.Errorf("--nonce: %w", err)
	}
	keys, err := mldsa.ReadPublicKeyFile(c.Key)
	if err != nil {
		return err
	}
	if len(keys) != 1 {
		return fmt.Errorf("%s holds %d keys, expected one", c.Key, len(keys))
	}
	token, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	if n := len(token); n > 0 && token[n-1] == '\n' {
		token = token[:n-1]
	}
	r, err := ear.Verify(string(token), keys[0], expect)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	printResult(e, r)
	if r.Status != ear.Affirming {
		return &exitError{code: exitFailed}
	}
	return nil
}

func printResult(e *env, r *ear.Result) {
	fmt.Fprintf(e.stdout, "%s\n", r.Status)
	for _, reason := range r.Reasons {
		fmt.Fprintf(e.stdout, "- %s (%s)\n  what to do: %s\n", reason.Text, reason.Code, reason.Remedy)
	}
	fmt.Fprintf(e.stdout, "signed by this verifier's result key, ML-DSA-65; issued %s, valid until %s\n", r.IssuedAt.Format(time.RFC3339), r.Expires.Format(time.RFC3339))
	fmt.Fprintf(e.stdout, "verifier %s, policy %s\n", r.Verifier.Build, r.PolicyID)
	fmt.Fprintf(e.stdout, "nonce %x\n", r.Nonce)
	for _, name := range []string{"image_sha256", "manifest_version", "manifest_key", "secure_boot"} {
		if v, ok := r.Host[name]; ok {
			fmt.Fprintf(e.stdout, "%s %s\n", name, v)
		}
	}
}

func onlyFile(dir string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jwt"))
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		return "", fmt.Errorf("%s holds %d results: name the file", dir, len(names))
	}
	return names[0], nil
}

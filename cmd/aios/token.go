package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"aios/captoken"
	"aios/captoken/mldsa"
)

// tokenCmd makes and reads capability tokens by hand.
type tokenCmd struct {
	Key       tokenKeyCmd       `cmd:"" help:"Make a key pair for an issuer or a holder of tokens."`
	Mint      tokenMintCmd      `cmd:"" help:"Make a token."`
	Attenuate tokenAttenuateCmd `cmd:"" help:"Pass a part of a token on, as its holder. What is not stated stays as it is."`
	Prove     tokenProveCmd     `cmd:"" help:"Prove to a host that one has the key of a token's holder, by signing the host's nonce. No host asks for it yet."`
	Revoke    tokenRevokeCmd    `cmd:"" help:"Add to an issuer's revocation list, or begin one. Running hosts get theirs from the verifier (aios agent)."`
	Inspect   tokenInspectCmd   `cmd:"" help:"Say in words who may do what until when, and why it would be refused."`
	Verify    tokenVerifyCmd    `cmd:"" help:"Check a token as a host would."`
}

type tokenKeyCmd struct {
	File      string `arg:"" help:"New file for the private key; the public key goes beside it, with .pub appended." type:"path"`
	Algorithm string `help:"What it signs with: ${enum}. A host's issuer has ML-DSA-65; a host takes ML-DSA of any size from holders, and no hybrid." enum:"ML-DSA-44,ML-DSA-65,ML-DSA-87,ML-DSA-65-Ed25519" default:"ML-DSA-65"`
}

func (c tokenKeyCmd) Run(e *env) error {
	algorithms := captoken.Algorithms()
	i := slices.IndexFunc(algorithms, func(a captoken.Algorithm) bool { return a.String() == c.Algorithm })
	k, err := captoken.GenerateKey(algorithms[i])
	if err != nil {
		return err
	}
	if err := mldsa.CreateFile(c.File, captoken.EncodePrivateKey(k), 0o600); err != nil {
		return fmt.Errorf("store private key: %w", err)
	}
	if err := mldsa.CreateFile(c.File+".pub", captoken.EncodePublicKeys(k.Public()), 0o644); err != nil {
		return fmt.Errorf("store public key: %w", err)
	}
	_, err = fmt.Fprintf(e.stdout, "wrote %s and %s.pub, %s, thumbprint %s\n", c.File, c.File, c.Algorithm, k.Public().Thumbprint())
	return err
}

// grantFlags say what a token grants.
type grantFlags struct {
	Right      []string `help:"What it may do: log, clock, send, memory, ... (may be given several times, or separated by commas)."`
	Peer       []string `help:"Agent or service to exchange messages with; NAME* for all that begin so." placeholder:"NAME"`
	Pool       []string `help:"Shared memory pool." placeholder:"NAME"`
	Device     []string `help:"Device." placeholder:"NAME"`
	Service    []string `help:"Service and the operations that may be called; * for all." placeholder:"NAME=OP,..." sep:"none"`
	Connect    []string `help:"Network destination: a DNS name, *.NAME, an address range, or *." placeholder:"tcp://HOST:PORT[-PORT]" sep:"none"`
	Memory     uint64   `help:"Most memory, in bytes."`
	CPU        uint64   `help:"Most CPU time, in thousandths of a processor." name:"cpu"`
	Messages   uint64   `help:"Most messages a second."`
	Bytes      uint64   `help:"Most bytes a second."`
	DeviceTime uint64   `help:"Most device time a second, in milliseconds."`
	Holder     string   `help:"Public key of the agent that holds it." required:"" placeholder:"FILE" type:"path"`
	Out        string   `help:"Write the token's bytes to a new file (default: text on standard output)." placeholder:"FILE" type:"path"`
}

func (f grantFlags) rights() (r captoken.Rights, err error) {
	for _, name := range f.Right {
		bit, ok := captoken.ParseRight(name)
		if !ok {
			return 0, usageError("--right %s: expected one of %s", name, strings.Join(captoken.RightNames(), ", "))
		}
		r |= bit
	}
	return r, nil
}

func (f grantFlags) scopes() (captoken.Scopes, error) {
	s := captoken.Scopes{Peers: captoken.SortPatterns(f.Peer), Memory: captoken.SortPatterns(f.Pool), Devices: captoken.SortPatterns(f.Device)}
	for _, text := range f.Service {
		name, ops, ok := strings.Cut(text, "=")
		if !ok {
			return s, usageError("--service %s: expected NAME=OPERATION,...", text)
		}
		s.Services = append(s.Services, captoken.Service{Name: name, Operations: captoken.SortPatterns(strings.Split(ops, ","))})
	}
	slices.SortFunc(s.Services, func(a, b captoken.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, text := range f.Connect {
		d, ok := captoken.ParseDestination(text)
		if !ok {
			return s, usageError("--connect %s: expected tcp://HOST:PORT, udp://HOST:PORT or a range of ports as PORT-PORT", text)
		}
		s.Network = append(s.Network, d)
	}
	s.Network = captoken.SortNetwork(s.Network)
	return s, nil
}

func (f grantFlags) quotas() captoken.Quotas {
	return captoken.Quotas{MemoryBytes: f.Memory, CPUMillis: f.CPU, MessagesPerSecond: f.Messages, BytesPerSecond: f.Bytes, DeviceMillis: f.DeviceTime}
}

// usageError is a mistake in the value of a flag.
func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

type tokenMintCmd struct {
	Key   string        `help:"Private key of the issuer." required:"" placeholder:"FILE" type:"path"`
	Agent string        `help:"The agent that it is for." required:""`
	Host  string        `help:"The host that it is for." required:""`
	Lease string        `help:"The lease that it hangs from." required:"" placeholder:"HEX"`
	Epoch uint64        `help:"Revocation epoch of the issuer."`
	Valid time.Duration `help:"For how long it is valid from now on." default:"10m"`
	Depth uint8         `help:"How often it may be passed on."`
	grantFlags
}

func (c tokenMintCmd) Run(e *env) error {
	issuer, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	claims := captoken.Claims{Subject: c.Agent, Audience: c.Host, NotBefore: now, Expires: now.Add(c.Valid.Truncate(time.Second)), Epoch: c.Epoch, Depth: c.Depth, Quotas: c.quotas()}
	if claims.Lease, err = parseID("--lease", c.Lease); err != nil {
		return err
	}
	if claims.Rights, err = c.rights(); err != nil {
		return err
	}
	if claims.Scopes, err = c.scopes(); err != nil {
		return err
	}
	if claims.Holder, err = readThumbprint(c.Holder); err != nil {
		return err
	}
	token, err := captoken.Mint(issuer, claims)
	if err != nil {
		return err
	}
	return writeToken(e, c.Out, token)
}

type tokenAttenuateCmd struct {
	File  string        `arg:"" help:"Token, or - for standard input." type:"path"`
	Key   string        `help:"Private key of the present holder." required:"" placeholder:"FILE" type:"path"`
	Agent string        `help:"The agent that receives it." required:""`
	Valid time.Duration `help:"For how long it is valid from now on (default: as long as before)."`
	Depth int           `help:"How often it may still be passed on (default: as often as before, less one)." default:"-1"`
	grantFlags
}

func (c tokenAttenuateCmd) Run(e *env) error {
	holder, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	_, left, err := captoken.Read(token)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	d := captoken.Delegation{Subject: c.Agent, Rights: left.Rights, Scopes: left.Scopes, Quotas: left.Quotas, NotBefore: left.NotBefore, Expires: left.Expires}
	if c.Depth > captoken.MaxDelegations {
		return usageError("--depth: expected at most %d, found %d", captoken.MaxDelegations, c.Depth)
	}
	if d.Depth = uint8(max(c.Depth, 0)); c.Depth < 0 && left.Depth > 0 {
		d.Depth = left.Depth - 1
	}
	if c.Valid > 0 {
		d.Expires = time.Now().UTC().Add(c.Valid).Truncate(time.Second)
	}
	if err := c.narrow(&d); err != nil {
		return err
	}
	if d.Holder, err = readThumbprint(c.Holder); err != nil {
		return err
	}
	longer, err := captoken.Delegate(holder, token, d)
	if err != nil {
		return err
	}
	return writeToken(e, c.Out, longer)
}

// narrow puts what the flags state in the place of what was there.
func (c tokenAttenuateCmd) narrow(d *captoken.Delegation) error {
	rights, err := c.rights()
	if err != nil {
		return err
	}
	if len(c.Right) > 0 {
		d.Rights = rights
	}
	s, err := c.scopes()
	if err != nil {
		return err
	}
	if len(c.Peer) > 0 {
		d.Scopes.Peers = s.Peers
	}
	if len(c.Pool) > 0 {
		d.Scopes.Memory = s.Memory
	}
	if len(c.Device) > 0 {
		d.Scopes.Devices = s.Devices
	}
	if len(c.Service) > 0 {
		d.Scopes.Services = s.Services
	}
	if len(c.Connect) > 0 {
		d.Scopes.Network = s.Network
	}
	for _, q := range [...]struct {
		flag uint64
		to   *uint64
	}{{c.Memory, &d.Quotas.MemoryBytes}, {c.CPU, &d.Quotas.CPUMillis}, {c.Messages, &d.Quotas.MessagesPerSecond}, {c.Bytes, &d.Quotas.BytesPerSecond}, {c.DeviceTime, &d.Quotas.DeviceMillis}} {
		if q.flag > 0 {
			*q.to = q.flag
		}
	}
	return nil
}

type tokenProveCmd struct {
	File  string `arg:"" help:"Token, or - for standard input." type:"path"`
	Key   string `help:"Private key of the present holder." required:"" placeholder:"FILE" type:"path"`
	Nonce string `help:"The nonce that the host made up." required:"" placeholder:"HEX"`
	Out   string `help:"Write the proof's bytes to a new file (default: text on standard output)." placeholder:"FILE" type:"path"`
}

func (c tokenProveCmd) Run(e *env) error {
	holder, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	nonce, err := parseNonce(c.Nonce)
	if err != nil {
		return err
	}
	proof, err := captoken.Prove(holder, token, nonce)
	if err != nil {
		return err
	}
	return writeToken(e, c.Out, proof)
}

func parseNonce(text string) (nonce [captoken.NonceSize]byte, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(nonce) {
		return nonce, usageError("--nonce %s: expected %d hex digits", text, 2*len(nonce))
	}
	return [captoken.NonceSize]byte(b), nil
}

type tokenRevokeCmd struct {
	File  string   `arg:"" help:"Revocation list; a new one is begun if there is none." type:"path"`
	Key   string   `help:"Private key of the issuer." required:"" placeholder:"FILE" type:"path"`
	Token []string `help:"Id of a token or a delegation (may be given several times)." placeholder:"HEX"`
	Lease []string `help:"Id of a lease, with all tokens that hang from it." placeholder:"HEX"`
	Agent []string `help:"Agent, with everything that it holds or passed on." placeholder:"NAME"`
	Epoch uint64   `help:"Lowest epoch that is accepted from now on; a higher one than before drops the ids of tokens and leases from the list."`
}

func (c tokenRevokeCmd) Run(e *env) error {
	issuer, err := readSigner(c.Key)
	if err != nil {
		return err
	}
	state := captoken.NewRevocationState(issuer.Public())
	var list captoken.RevocationList
	old, err := os.ReadFile(c.File)
	if err == nil {
		known, err := state.Take(old)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		list = *known
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.Epoch > list.Epoch {
		list.Epoch, list.Tokens, list.Leases = c.Epoch, nil, nil
	} else if c.Epoch != 0 && c.Epoch < list.Epoch {
		return usageError("--epoch %d: expected at least %d, that of the list", c.Epoch, list.Epoch)
	}
	tokens, err := parseIDs("--token", c.Token)
	if err != nil {
		return err
	}
	leases, err := parseIDs("--lease", c.Lease)
	if err != nil {
		return err
	}
	list.Revoke(tokens, leases, c.Agent)
	list.Sequence++
	list.IssuedAt = time.Now().UTC().Truncate(time.Second)
	raw, err := captoken.MintRevocations(issuer, list)
	if err != nil {
		return err
	}
	if _, err := state.Take(raw); err != nil { // what others would refuse is not written
		return err
	}
	if err := replaceFile(c.File, raw); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "wrote %s: list %d, %d tokens, %d leases, %d agents, epoch %d\n", c.File, list.Sequence, len(list.Tokens), len(list.Leases), len(list.Subjects), list.Epoch)
	return err
}

func parseIDs(flag string, texts []string) (ids []captoken.ID, err error) {
	for _, text := range texts {
		id, err := parseID(flag, text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// replaceFile writes a file in whole or leaves the old one.
func replaceFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

type tokenInspectCmd struct {
	File        string   `arg:"" help:"Token, or - for standard input." type:"path"`
	Issuer      []string `help:"Public key of an issuer to trust (may be given several times)." placeholder:"FILE" type:"path"`
	Epoch       uint64   `help:"Lowest revocation epoch of the issuers."`
	Host        string   `help:"Host to present it on (default: that of the token)."`
	Agent       string   `help:"Agent to present it (default: that of the token)."`
	Lease       string   `help:"Lease that the host holds (default: that of the token)." placeholder:"HEX"`
	At          string   `help:"Time at which to present it (default: now)." placeholder:"RFC3339"`
	Right       []string `help:"Rights that are needed."`
	Proof       string   `help:"Proof that the presenter has the holder's key, as an answer to --nonce." placeholder:"FILE" type:"path"`
	Nonce       string   `help:"The nonce that the host made up." placeholder:"HEX"`
	Revocations string   `help:"Revocation list of the issuer." placeholder:"FILE" type:"path"`
}

// Run succeeds for any token that can be read: that one would be refused is a finding.
func (c tokenInspectCmd) Run(e *env) error {
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	if list, err := captoken.ReadRevocations(token); err == nil {
		return c.inspectList(e, token, list)
	}
	links, left, err := captoken.Read(token)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	fmt.Fprintf(e.stdout, "token %s, %d bytes, signed with %s by key %s of issuer %s\n", links[0].ID, len(token), links[0].Algorithm, links[0].Key, links[0].Issuer)
	for i, l := range links[1:] {
		fmt.Fprintf(e.stdout, "passed on by agent %s to agent %s: delegation %s, %d bytes, signed with %s\n", links[i].Subject, l.Subject, l.ID, l.Size, l.Algorithm)
	}
	for _, line := range left.Describe() {
		fmt.Fprintln(e.stdout, line)
	}
	if len(c.Issuer) == 0 {
		_, err := fmt.Fprintln(e.stdout, "none of this is verified: name the issuers that you trust with --issuer")
		return err
	}
	v := tokenVerifyCmd{File: c.File, Issuer: c.Issuer, Epoch: c.Epoch, Host: c.Host, Agent: c.Agent, Lease: c.Lease, At: c.At, Right: c.Right, Proof: c.Proof, Nonce: c.Nonce, Revocations: c.Revocations}
	if v.Host == "" {
		v.Host = left.Audience
	}
	if v.Agent == "" {
		v.Agent = left.Subject
	}
	if v.Lease == "" {
		v.Lease = left.Lease.String()
	}
	want, err := v.want()
	var refused *captoken.Error
	if errors.As(err, &refused) { // the list is not good
		_, err = fmt.Fprintln(e.stdout, "it cannot be judged:", err)
		return err
	}
	if err != nil {
		return err
	}
	g, err := captoken.Verify(token, want)
	if err == nil {
		err = v.possession(token, g)
	}
	switch {
	case errors.As(err, &refused):
		_, err = fmt.Fprintln(e.stdout, "it would be refused:", refused)
		return err
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "it would be accepted at %s for agent %s on host %s\n", want.Now.Format(time.RFC3339), want.Agent, want.Host)
	return err
}

// inspectList says what a revocation list revokes, and whether one of the issuers signed it.
func (c tokenInspectCmd) inspectList(e *env, raw []byte, list *captoken.RevocationList) error {
	for _, line := range list.Describe() {
		fmt.Fprintln(e.stdout, line)
	}
	said := "none of this is verified: name the issuers that you trust with --issuer"
	for _, file := range c.Issuer {
		keys, err := readPublicKeys(file)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if _, err := captoken.VerifyRevocations(raw, k); err == nil {
				_, err = fmt.Fprintln(e.stdout, "it is signed by this issuer, whose key is in", file)
				return err
			} else {
				said = "it would be refused: " + err.Error()
			}
		}
	}
	_, err := fmt.Fprintln(e.stdout, said)
	return err
}

type tokenVerifyCmd struct {
	File        string   `arg:"" help:"Token, or - for standard input." type:"path"`
	Issuer      []string `help:"Public key of a trusted issuer (may be given several times)." required:"" placeholder:"FILE" type:"path"`
	Epoch       uint64   `help:"Lowest revocation epoch of the issuers."`
	Host        string   `help:"This host." required:""`
	Agent       string   `help:"The agent that presents it." required:""`
	Lease       string   `help:"The lease that the host holds." required:"" placeholder:"HEX"`
	At          string   `help:"Time at which it is presented (default: now)." placeholder:"RFC3339"`
	Right       []string `help:"Rights that are needed."`
	Proof       string   `help:"Proof that the presenter has the holder's key, as an answer to --nonce." placeholder:"FILE" type:"path"`
	Nonce       string   `help:"The nonce that this host made up." placeholder:"HEX"`
	Revocations string   `help:"Revocation list of the issuer." placeholder:"FILE" type:"path"`
}

func (c tokenVerifyCmd) want() (w captoken.Want, err error) {
	w = captoken.Want{Host: c.Host, Agent: c.Agent, Now: time.Now().UTC()}
	for _, file := range c.Issuer {
		keys, err := readPublicKeys(file)
		if err != nil {
			return w, err
		}
		for _, k := range keys {
			w.Trusted = append(w.Trusted, captoken.Issuer{Key: k, Epoch: c.Epoch})
		}
	}
	if err := c.revocations(&w); err != nil {
		return w, err
	}
	if w.Lease, err = parseID("--lease", c.Lease); err != nil {
		return w, err
	}
	if c.At != "" {
		if w.Now, err = time.Parse(time.RFC3339, c.At); err != nil {
			return w, usageError("--at %s: expected a time such as 2027-01-15T08:00:00Z", c.At)
		}
	}
	w.Rights, err = grantFlags{Right: c.Right}.rights()
	return w, err
}

func (c tokenVerifyCmd) Run(e *env) error {
	token, err := readToken(c.File)
	if err != nil {
		return err
	}
	want, err := c.want()
	if err != nil {
		return err
	}
	g, err := captoken.Verify(token, want)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if err := c.possession(token, g); err != nil {
		return err
	}
	for _, line := range g.Describe() {
		fmt.Fprintln(e.stdout, line)
	}
	if c.Proof != "" {
		fmt.Fprintf(e.stdout, "the presenter has shown that it has key %s\n", g.Holder)
	}
	return nil
}

// revocations gives the list to the issuer that signed it.
func (c tokenVerifyCmd) revocations(w *captoken.Want) error {
	if c.Revocations == "" {
		return nil
	}
	raw, err := os.ReadFile(c.Revocations)
	if err != nil {
		return err
	}
	var refused error
	for i := range w.Trusted {
		list, err := captoken.VerifyRevocations(raw, w.Trusted[i].Key)
		if err == nil {
			w.Trusted[i].Revoked = list
			return nil
		}
		refused = err
	}
	return fmt.Errorf("%s: %w", c.Revocations, refused)
}

// possession checks the proof, if one was given.
func (c tokenVerifyCmd) possession(token captoken.Token, g *captoken.Grant) error {
	if c.Proof == "" && c.Nonce == "" {
		return nil
	}
	nonce, err := parseNonce(c.Nonce)
	if err != nil {
		return err
	}
	proof, err := readToken(c.Proof)
	if err != nil {
		return err
	}
	if err := captoken.VerifyProof(proof, token, g, nonce); err != nil {
		return fmt.Errorf("%s: %w", c.Proof, err)
	}
	return nil
}

func readSigner(file string) (*captoken.PrivateKey, error) {
	text, err := mldsa.ReadSecretFile(file)
	if err != nil {
		return nil, err
	}
	k, err := captoken.ParsePrivateKeyText(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

func readPublicKeys(file string) ([]*captoken.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("load public key: %w", err)
	}
	keys, err := captoken.ParsePublicKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

func readThumbprint(file string) (t captoken.Thumbprint, err error) {
	keys, err := readPublicKeys(file)
	if err != nil {
		return t, err
	}
	if len(keys) != 1 {
		return t, fmt.Errorf("%s holds %d keys, expected one", file, len(keys))
	}
	return keys[0].Thumbprint(), nil
}

func parseID(flag, text string) (id captoken.ID, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, usageError("%s %s: expected %d hex digits", flag, text, 2*len(id))
	}
	return captoken.ID(b), nil
}

// readToken reads a token as bytes or as the text that writeToken prints.
func readToken(file string) (captoken.Token, error) {
	f := os.Stdin
	if file != "-" {
		var err error
		if f, err = os.Open(file); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, 2*captoken.MaxToken))
	if err != nil {
		return nil, err
	}
	if text := bytes.TrimSuffix(b, []byte("\n")); len(text) > 0 {
		if raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text)); err == nil {
			return raw, nil
		}
	}
	return b, nil
}

func writeToken(e *env, file string, t captoken.Token) error {
	if file == "" {
		_, err := fmt.Fprintln(e.stdout, base64.RawURLEncoding.EncodeToString(t))
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(t); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

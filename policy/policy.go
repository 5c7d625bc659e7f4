// Package policy decides, from findings about a host, whether the host may be
// trusted. The rules are Rego (the language of Open Policy Agent, rego.v1), so that an
// operator can read, test and replace them without rebuilding the verifier.
//
// The package knows nothing about evidence. The appraisal verifies quotes, logs and
// signatures and states what it found as an Input; the policy says what that is worth,
// as one of three tiers of AR4SI (draft-ietf-rats-ar4si section 2.3.2):
//
//	affirming        everything required was proven
//	warning          nothing is wrong, but something could not be compared
//	contraindicated  something is wrong, or could not be shown to be right
//
// A policy is a set of modules in package aios.attest. The rule decision must be an
// object {"status": string, "reasons": [{"code", "text", "remedy"}]} in which every
// status but affirming has at least one reason, and affirming has none. Everything
// else (undefined, another shape, an unknown status) is contraindicated.
//
// A decision depends on its input alone: built-in functions that reach out (http.send,
// net.lookup_ip_addr, opa.runtime) or that differ from call to call (time.now_ns,
// rand.intn) do not exist for a policy, and one that names them does not compile.
package policy

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// Statuses of a Decision.
const (
	Affirming       = "affirming"
	Warning         = "warning"
	Contraindicated = "contraindicated"
)

// Package is the Rego package that a policy's modules belong to, Query the rule that is asked.
const (
	Package = "aios.attest"
	Query   = "data." + Package + ".decision"
)

// ErrPolicy is wrapped by every error about a policy that cannot be used.
var ErrPolicy = errors.New("unusable policy")

// evalLimit ends an evaluation that does not end by itself. A decision takes well
// under a millisecond.
const evalLimit = 2 * time.Second

// Decision is the policy's word on a host.
type Decision struct {
	Status  string   `json:"status"`
	Reasons []Reason `json:"reasons"`
}

// Reason is one cause for a status that is not affirming.
type Reason struct {
	Code   string `json:"code"`   // stable, for programs: "pcr.9.differs"
	Text   string `json:"text"`   // what is wrong, expected against found
	Remedy string `json:"remedy"` // what to do
}

// The test modules stay out of the binary; TestDefaultIsComplete holds this list to the folder.
//
//go:embed rego/attest.rego rego/checks.rego rego/pcrs.rego rego/platform.rego
var defaultModules embed.FS

// Default returns the modules of the policy that AIOS ships, by file name.
func Default() map[string]string {
	modules := map[string]string{}
	entries, err := defaultModules.ReadDir("rego")
	if err != nil {
		panic("policy: embedded modules: " + err.Error()) // cannot fail: they are in the binary
	}
	for _, entry := range entries {
		text, err := defaultModules.ReadFile(path.Join("rego", entry.Name()))
		if err != nil {
			panic("policy: embedded modules: " + err.Error())
		}
		modules[entry.Name()] = string(text)
	}
	return modules
}

// Engine is a compiled policy. It is immutable and may be used from many goroutines
// at once.
type Engine struct {
	query rego.PreparedEvalQuery
}

// Compile parses and compiles a policy, given by file name. The error names file and
// line of every mistake and what to do.
func Compile(ctx context.Context, modules map[string]string) (*Engine, error) {
	if len(modules) == 0 {
		return nil, fmt.Errorf("compile policy: %w: there is no module; a policy needs at least one file of package %s", ErrPolicy, Package)
	}
	parsed := make(map[string]*ast.Module, len(modules))
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		m, err := ast.ParseModuleWithOpts(name, modules[name], ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: capabilities()})
		if err != nil {
			return nil, compileError(err)
		}
		if m == nil {
			return nil, fmt.Errorf("compile policy: %w: %s is empty; give it a package line, or leave it out", ErrPolicy, name)
		}
		if p := m.Package.Path.String(); p != "data."+Package {
			return nil, fmt.Errorf("compile policy: %w: %s: package: expected %s, found %s", ErrPolicy, name, Package, strings.TrimPrefix(p, "data."))
		}
		parsed[name] = m
	}
	compiler := ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true)
	if compiler.Compile(parsed); compiler.Failed() {
		return nil, compileError(compiler.Errors)
	}
	if len(compiler.GetRulesExact(ast.MustParseRef(Query))) == 0 {
		return nil, fmt.Errorf("compile policy: %w: no module defines the rule decision; add one, starting with `default decision := {\"status\": \"contraindicated\", ...}`", ErrPolicy)
	}
	query, err := rego.New(rego.Query(Query), rego.Compiler(compiler), rego.StrictBuiltinErrors(true)).PrepareForEval(ctx)
	if err != nil {
		return nil, compileError(err)
	}
	return &Engine{query}, nil
}

// capabilities are OPA's without what reaches out or differs from call to call.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return b.Nondeterministic })
	c.AllowNet = []string{}
	return c
}

// compileError turns OPA's list of mistakes into one message. OPA prefixes each with
// file:line already.
func compileError(err error) error {
	var list ast.Errors
	if !errors.As(err, &list) {
		return fmt.Errorf("compile policy: %w: %w", ErrPolicy, err)
	}
	lines := make([]string, 0, len(list))
	for _, e := range list {
		lines = append(lines, strings.ReplaceAll(e.Error(), "\n", "\n  "))
	}
	return fmt.Errorf("compile policy: %w: %s; correct the named lines; the policy in use stays in force", ErrPolicy, strings.Join(lines, "; "))
}

// Attest asks the policy about one host. The decision is valid, and contraindicated,
// even when there is an error.
func (e *Engine) Attest(ctx context.Context, input Input) (Decision, error) {
	value, err := ast.InterfaceToValue(input)
	if err != nil {
		err = fmt.Errorf("attest: the findings cannot be given to the policy: %w", err)
		return refuse("policy.input", err.Error(), "report this as a defect of the verifier"), err
	}
	ctx, cancel := context.WithTimeout(ctx, evalLimit)
	defer cancel()
	results, err := e.query.Eval(ctx, rego.EvalParsedInput(value))
	if err != nil {
		err = fmt.Errorf("attest: evaluate the policy: %w", err)
		return refuse("policy.evaluation", err.Error(), "correct the policy; hosts stay out until it decides again"), err
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return refuse("policy.undefined", "the policy's rule decision is undefined for these findings",
			"give the policy a default decision that is contraindicated"), nil
	}
	d, err := parseDecision(results[0].Expressions[0].Value)
	if err != nil {
		return refuse("policy.malformed", "the policy's decision is malformed: "+err.Error(),
			"correct the policy's rule decision"), nil
	}
	return d, nil
}

func refuse(code, text, remedy string) Decision {
	return Decision{Contraindicated, []Reason{{code, text, remedy}}}
}

// parseDecision takes a value only if it has exactly the shape that the package
// comment describes.
func parseDecision(value any) (Decision, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return Decision{}, err
	}
	var d Decision
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Decision{}, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Decision{}, errors.New("more than one value")
	}
	switch d.Status {
	case Affirming:
		if len(d.Reasons) > 0 {
			return Decision{}, fmt.Errorf("status affirming with %d reasons against it", len(d.Reasons))
		}
	case Warning, Contraindicated:
		if len(d.Reasons) == 0 {
			return Decision{}, fmt.Errorf("status %s without a reason", d.Status)
		}
	default:
		return Decision{}, fmt.Errorf("status: expected affirming, warning or contraindicated, found %q", d.Status)
	}
	for i, r := range d.Reasons {
		if r.Code == "" || r.Text == "" {
			return Decision{}, fmt.Errorf("reason %d has no code or no text", i)
		}
	}
	return d, nil
}

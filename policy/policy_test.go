package policy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// good returns findings that nothing is wrong with.
func good() Input {
	value := strings.Repeat("ab", 32)
	in := Input{
		PCRs:       map[string]PCR{},
		SecureBoot: SecureBoot{State: SecureBootEnabled, Reason: "the log proves it"},
		Manifest:   Manifest{Version: 7, Floor: 7, Key: strings.Repeat("0f", 16)},
		Host:       map[string]any{"name": "local"},
		Banks:      []string{"sha256"},
	}
	for _, name := range []string{CheckNonce, CheckAKBound, CheckEKChain, CheckSignature, CheckPCRDigest,
		CheckLogParse, CheckLogReplay, CheckDigests, CheckManifest, CheckReference} {
		in.Checks = append(in.Checks, Check{Name: name, OK: true})
	}
	for _, i := range []string{"4", "7", "8", "9", "11"} {
		in.PCRs[i] = PCR{value, value, BasisPredicted, true}
	}
	for _, i := range []string{"0", "2"} {
		in.PCRs[i] = PCR{value, value, BasisBaseline, true}
	}
	return in
}

func compile(t testing.TB, modules map[string]string) *Engine {
	t.Helper()
	e, err := Compile(context.Background(), modules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The names in Go are those in Rego, and every single bad finding is decisive.
func TestAttest(t *testing.T) {
	e := compile(t, Default())
	type testCase struct {
		name   string
		change func(*Input)
		status string
		codes  []string
	}
	cases := []testCase{
		{"good", func(*Input) {}, Affirming, nil},
		{"no baseline", func(in *Input) { in.PCRs["0"] = PCR{Quoted: in.PCRs["0"].Quoted, Basis: BasisNone} }, Warning, []string{"pcr.0.no_baseline"}},
		{"Secure Boot", func(in *Input) { in.SecureBoot.State = "disabled" }, Contraindicated, []string{"secure_boot"}},
		{"rollback", func(in *Input) { in.Manifest.Floor = 8 }, Contraindicated, []string{"manifest.rollback"}},
		{"largest version", func(in *Input) { in.Manifest.Version, in.Manifest.Floor = 1<<64-2, 1<<64-1 }, Contraindicated, []string{"manifest.rollback"}},
		{"banks", func(in *Input) { in.Banks = []string{"sha1"} }, Contraindicated, []string{"bank"}},
		{"no banks", func(in *Input) { in.Banks = nil }, Contraindicated, []string{"bank"}},
		{"no checks", func(in *Input) { in.Checks = nil }, Contraindicated, nil},
		{"no PCRs", func(in *Input) { in.PCRs = nil }, Contraindicated, nil},
		{"nothing", func(in *Input) { *in = Input{} }, Contraindicated, nil},
	}
	for i, c := range good().Checks {
		cases = append(cases,
			testCase{c.Name + " failed", func(in *Input) { in.Checks[i] = Check{Name: c.Name, Text: "t", Remedy: "r"} }, Contraindicated, []string{"check." + c.Name}},
			testCase{c.Name + " missing", func(in *Input) { in.Checks = slices.Delete(in.Checks, i, i+1) }, Contraindicated, []string{"check." + c.Name + ".missing"}})
	}
	for i := range good().PCRs {
		cases = append(cases,
			testCase{"PCR " + i + " differs", func(in *Input) {
				p := in.PCRs[i]
				p.Quoted, p.Match = strings.Repeat("cd", 32), false
				in.PCRs[i] = p
			}, Contraindicated, []string{"pcr." + i + ".differs"}},
			testCase{"PCR " + i + " missing", func(in *Input) { delete(in.PCRs, i) }, Contraindicated, []string{"pcr." + i + ".missing"}})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := good()
			c.change(&in)
			d, err := e.Attest(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			if d.Status != c.status {
				t.Errorf("status: expected %s, found %s: %v", c.status, d.Status, d.Reasons)
			}
			if d.Status != Affirming && len(d.Reasons) == 0 {
				t.Error("no reason")
			}
			var codes []string
			for _, r := range d.Reasons {
				codes = append(codes, r.Code)
				if r.Text == "" || r.Remedy == "" {
					t.Errorf("%s: no text or no remedy: %+v", r.Code, r)
				}
			}
			if c.codes != nil && !slices.Equal(codes, c.codes) {
				t.Errorf("codes: expected %v, found %v", c.codes, codes)
			}
		})
	}
}

// Whatever a policy says that is not a well-formed decision keeps the host out.
func TestUndecided(t *testing.T) {
	for _, c := range []struct{ name, rule, code string }{
		{"undefined", `decision := {"status": "affirming", "reasons": []} if input.nothing`, "policy.undefined"},
		{"text", `decision := "affirming"`, "policy.malformed"},
		{"true", `decision := true`, "policy.malformed"},
		{"null", `decision := null`, "policy.malformed"},
		{"empty", `decision := {}`, "policy.malformed"},
		{"unknown status", `decision := {"status": "fine", "reasons": []}`, "policy.malformed"},
		{"extra field", `decision := {"status": "affirming", "reasons": [], "also": 1}`, "policy.malformed"},
		{"affirming with a reason", `decision := {"status": "affirming", "reasons": [{"code": "c", "text": "t", "remedy": ""}]}`, "policy.malformed"},
		{"warning without", `decision := {"status": "warning", "reasons": []}`, "policy.malformed"},
		{"reason without text", `decision := {"status": "warning", "reasons": [{"code": "c"}]}`, "policy.malformed"},
		{"reasons as a word", `decision := {"status": "warning", "reasons": "none"}`, "policy.malformed"},
		{"two decisions", "decision := {\"status\": \"affirming\", \"reasons\": []}\ndecision := 1 if input.banks", "policy.evaluation"},
		{"built-in error", `decision := {"status": "affirming", "reasons": [], "n": 1 / to_number(input.secure_boot.state)}`, "policy.evaluation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := compile(t, map[string]string{"p.rego": "package aios.attest\n" + c.rule + "\n"}).Attest(context.Background(), good())
			if d.Status != Contraindicated || len(d.Reasons) != 1 || d.Reasons[0].Code != c.code {
				t.Errorf("expected contraindicated with %s, found %+v", c.code, d)
			}
			if (err != nil) != (c.code == "policy.evaluation") {
				t.Errorf("error: %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	slow := compile(t, map[string]string{"p.rego": "package aios.attest\ndecision := {\"status\": \"affirming\", \"reasons\": []} if count([1 | some i in numbers.range(1, 10000); some j in numbers.range(1, 10000); i == j + 20000]) == 0\n"})
	if d, err := slow.Attest(ctx, good()); err == nil || d.Status != Contraindicated {
		t.Errorf("cancelled: found %+v, %v", d, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		modules map[string]string
		want    string
	}{
		{"none", nil, "there is no module"},
		{"empty", map[string]string{"a.rego": ""}, "a.rego"},
		{"syntax", map[string]string{"a.rego": "package aios.attest\n\ndecision := {"}, "a.rego:3"},
		{"old syntax", map[string]string{"a.rego": "package aios.attest\n\ndecision { true }\n"}, "a.rego:3"},
		{"undefined variable", map[string]string{"a.rego": "package aios.attest\n\n\ndecision := x\n"}, "a.rego:4"},
		{"other package", map[string]string{"a.rego": "package aios.other\ndecision := 1\n"}, "expected aios.attest, found aios.other"},
		{"no decision", map[string]string{"a.rego": "package aios.attest\nallow := true\n"}, "rule decision"},
		{"network", map[string]string{"a.rego": "package aios.attest\ndecision := http.send({\"method\": \"get\", \"url\": \"http://localhost\"})\n"}, "http.send"},
		{"clock", map[string]string{"a.rego": "package aios.attest\ndecision := time.now_ns()\n"}, "time.now_ns"},
		{"environment", map[string]string{"a.rego": "package aios.attest\ndecision := opa.runtime()\n"}, "opa.runtime"},
		{"recursion", map[string]string{"a.rego": "package aios.attest\ndecision := decision\n"}, "a.rego:2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(context.Background(), c.modules)
			if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, want ErrPolicy with %q", err, c.want)
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	e := compile(t, Default())
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 20 {
				in := good()
				want := Affirming
				if i%2 == 1 {
					in.SecureBoot.State, want = "disabled", Contraindicated
				}
				if d, err := e.Attest(context.Background(), in); err != nil || d.Status != want {
					t.Errorf("expected %s, found %+v, %v", want, d, err)
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkAttest(b *testing.B) {
	e := compile(b, Default())
	in := good()
	b.ReportAllocs()
	for b.Loop() {
		if d, err := e.Attest(context.Background(), in); err != nil || d.Status != Affirming {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(b, Default())
	}
}

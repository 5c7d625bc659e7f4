package manifest

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aios/captoken/mldsa"
)

func genVerifier() *rapid.Generator[*Verifier] {
	label := rapid.StringMatching(`[a-z]([a-z0-9-]{0,20}[a-z0-9])?`)
	return rapid.Custom(func(t *rapid.T) *Verifier {
		host := strings.Join(rapid.SliceOfN(label, 1, 5).Draw(t, "labels"), ".")
		if rapid.Bool().Draw(t, "number") {
			var quad []string
			for _, n := range rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "quad") {
				quad = append(quad, strconv.Itoa(int(n)))
			}
			host = strings.Join(quad, ".")
		}
		key := func() []byte {
			return rapid.SliceOfN(rapid.Byte(), mldsa.PublicKeySize, mldsa.PublicKeySize).Draw(t, "key")
		}
		return &Verifier{
			Address:  host + ":" + strconv.Itoa(rapid.IntRange(1, 65535).Draw(t, "port")),
			Grace:    time.Duration(rapid.Int64Range(0, MaxGrace.Milliseconds()).Draw(t, "ms")) * time.Millisecond,
			Identity: key(), Issuer: key(),
		}
	})
}

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		address string
		ok      bool
	}{
		{"10.0.2.2:8470", true}, {"0.0.0.0:1", true}, {"255.255.255.255:65535", true}, {"verifier:8470", true},
		{"verifier.example.org:443", true}, {"a-1.b2:443", true}, {"1.2.3.example:443", true}, {"9a:443", true},
		{strings.Repeat("a.", 126) + "a:1", true}, {strings.Repeat("a", 63) + ":1", true},
		{"", false}, {"10.0.2.2", false}, {":8470", false}, {"10.0.2.2:", false}, {"10.0.2.2:0", false}, {"10.0.2.2:65536", false},
		{"10.0.2.2:08470", false}, {"10.0.2.2:+8470", false}, {"10.0.2.2:http", false}, {"10.0.2.2:1:2", false},
		{"10.0.2:1", false}, {"10.0.2.2.2:1", false}, {"10.0.2.256:1", false}, {"10.0.02.2:1", false}, {"example.1:1", false}, {"1:1", false},
		{"Verifier:1", false}, {"-a:1", false}, {"a-:1", false}, {"a..b:1", false}, {"a.:1", false}, {".a:1", false}, {"a_b:1", false},
		{"[::1]:1", false}, {"::1:1", false}, {"a b:1", false}, {"a\x00:1", false}, {"a@b:1", false},
		{strings.Repeat("a", 64) + ":1", false}, {strings.Repeat("a.", 126) + "ab:1", false},
	} {
		if got := validAddress(c.address); got != c.ok {
			t.Errorf("%q: %v, want %v", c.address, got, c.ok)
		}
	}
}

// The lines of a full manifest: which may be missing, what they may say, and their order.
func TestFullRefuses(t *testing.T) {
	good := writeOut(fullText)
	lines := strings.SplitAfter(good, "\n")
	order := func(n ...int) (text string) {
		for _, i := range n {
			text += lines[i]
		}
		return text
	}
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the example has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	key := base64.StdEncoding.EncodeToString(full().Verifier.Identity)
	const misplaced = "expected at most one verifier, then services, runtimes and agents"
	for _, c := range []struct {
		name, text string
		want       string // "": accepted
	}{
		{"all", good, ""},
		{"no verifier", order(0, 1, 2, 4, 5, 6, 7, 8, 9, 10), ""},
		{"no service", order(0, 1, 2, 3, 6, 7, 8, 9, 10), ""},
		{"no agent", order(0, 1, 2, 3, 4, 5, 6, 7, 10), ""},
		{"agents in another order", order(0, 1, 2, 3, 4, 5, 6, 7, 9, 8, 10), ""},
		{"two verifiers", order(0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10), "line 5: " + misplaced},
		{"verifier behind a service", order(0, 1, 2, 4, 3, 5, 6, 7, 8, 9, 10), "line 5: " + misplaced},
		{"verifier before the kernel", order(0, 1, 3, 2, 4, 5, 6, 7, 8, 9, 10), `line 3: expected "kernel`},
		{"service behind a runtime", order(0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 10), "line 7: " + misplaced},
		{"service behind an agent", order(0, 1, 2, 3, 4, 6, 7, 8, 9, 5, 10), "line 10: " + misplaced},
		{"runtime behind an agent", order(0, 1, 2, 3, 4, 5, 6, 8, 7, 9, 10), "line 9: " + misplaced},
		{"no runtime", order(0, 1, 2, 3, 4, 5, 8, 9, 10), `runtime "wasmhost": expected the name of a runtime`},
		{"the agent's runtime is a service", replace("runtime=wasmhost", "runtime=attestd"), `agent hello: runtime "attestd"`},
		{"the agent's runtime is empty", replace("runtime=wasmhost", "runtime="), "expected the name of a runtime"},
		{"runtime named as a service", replace("runtime other", "runtime attestd"), "runtime attestd: the name is already that of service attestd"},
		{"agent named as a runtime", replace("agent hello", "agent other"), "agent other: the name is already that of runtime other"},
		{"agent named as a service", replace("agent hello", "agent probe"), "already that of service probe"},
		{"agent named policy", replace("agent hello", "agent policy"), "other than kernel and policy"},
		{"agent named twice", replace("agent idle", "agent hello"), "already that of agent hello"},
		{"agent with a service's file", replace("hello.wasm", "probe.elf"), "already service probe"},
		{"runtime with restart", replace("11\nruntime other", "11 restart=never\nruntime other"), `line 7: expected "runtime`},
		{"agent with restart", replace("8 runtime=", "8 restart=always runtime="), `line 9: expected "agent`},
		{"agent without caps", replace(" caps=attest,log,send-echod", ""), `line 9: expected "agent`},
		{"agent's fields swapped", replace("runtime=wasmhost memory=134217728", "memory=134217728 runtime=wasmhost"), "line 9: agent \"hello\": expected runtime="},
		{"agent's caps not sorted", replace("attest,log,send", "log,attest,send"), "ascending order"},
		{"agent's memory zero", replace("memory=134217728", "memory=0"), "agent hello: memory expected"},
		{"grace above a day", replace("grace=180000", "grace=86400001"), "line 4: verifier: grace expected 0 to 86400000"},
		{"grace that overflows", replace("grace=180000", "grace=9223372036854775807"), "line 4: verifier: grace"},
		{"grace negative", replace("grace=180000", "grace=-1"), "line 4: verifier: grace"},
		{"grace in units", replace("grace=180000", "grace=3m"), "line 4: verifier: grace"},
		{"grace with leading zero", replace("grace=180000", "grace=0180000"), "line 4: not in canonical form"},
		{"no issuer", replace(" issuer=", " "), "line 4: verifier: expected grace=, identity= and issuer="},
		{"identity no base64", replace("identity=aWlp", "identity=a*lp"), "line 4: verifier: identity expected base64"},
		{"issuer no base64", replace("issuer=c3Nz", "issuer=c*Nz"), "line 4: verifier: issuer expected base64"},
		{"identity short", replace(key, key[4:]), "identity: expected the 1952 bytes of an ML-DSA-65 public key, found 1949"},
		{"issuer long", replace("issuer=c3Nz", "issuer=c3Nzc3Nz"), "issuer: expected the 1952 bytes of an ML-DSA-65 public key, found 1955"},
		{"identity with loose last bits", replace("aWk= ", "aWl= "), "line 4: not in canonical form"},
		{"identity with a carriage return", replace("identity=aWlp", "identity=aWlp\r"), "line 4: not in canonical form"},
		{"address", replace("10.0.2.2:8470", "10.0.2.2"), "verifier: address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(c.text))
			if c.want == "" {
				if err != nil || string(m.Encode()) != c.text {
					t.Errorf("refused, or not canonical: %v", err)
				}
				return
			}
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want ErrFormat and %q", err, c.want)
			}
			checkError(t, err)
		})
	}
}

// What Encode would not write as it is, Validate refuses.
func TestVerifierValidate(t *testing.T) {
	m := full()
	m.Verifier.Grace = time.Second + time.Microsecond
	if err := m.Validate(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "whole milliseconds") {
		t.Errorf("grace of 1.000001 s: %v", err)
	}
	for _, c := range []struct {
		what   string
		change func(*Manifest)
	}{
		{"runtimes", func(m *Manifest) { m.Runtimes = make([]Runtime, MaxRuntimes+1) }},
		{"agents", func(m *Manifest) { m.Agents = make([]Agent, MaxAgents+1) }},
	} {
		m := full()
		c.change(m)
		if err := m.Validate(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.what+": expected at most") {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

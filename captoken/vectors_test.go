package captoken

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/vectors again")

const vectorDir = "testdata/vectors"

// expectations are the words of the expect header.
var expectations = map[string]error{
	"ok": nil, "form": ErrForm, "issuer": ErrIssuer, "signature": ErrSignature, "delegation": ErrDelegation, "audience": ErrAudience,
	"subject": ErrSubject, "not-yet": ErrNotYet, "expired": ErrExpired, "epoch": ErrEpoch, "lease": ErrLease, "revoked": ErrRevoked,
	"right": ErrRight, "boot": ErrBoot, "nonce": ErrNonce, "sequence": ErrSequence, "replay": ErrReplay, "role": ErrRole,
}

// vector is one file: an object, what it is verified against and what comes out.
type vector struct {
	name   string
	header []string // "key: value"
	body   []byte
}

func (v *vector) get(key string) string { return strings.Join(v.all(key), " ") }

func (v *vector) all(key string) (out []string) {
	for _, h := range v.header {
		if k, value, _ := strings.Cut(h, ": "); k == key {
			out = append(out, value)
		}
	}
	return out
}

func (v *vector) encode() []byte {
	var b bytes.Buffer
	for _, h := range v.header {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	for text := base64.StdEncoding.EncodeToString(v.body); text != ""; {
		n := min(len(text), 76)
		fmt.Fprintln(&b, text[:n])
		text = text[n:]
	}
	return b.Bytes()
}

func readVector(t testing.TB, path string) *vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		t.Fatalf("%s: no empty line", path)
	}
	v := &vector{name: strings.TrimSuffix(filepath.Base(path), ".txt"), header: strings.Split(head, "\n")}
	if v.body, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", "")); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

func readVectorKey(t *testing.T, name string) *PublicKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vectorDir, "keys", name+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParsePublicKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

// TestVectors verifies each file by what stands in it and nothing else.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, path := range names {
		v := readVector(t, path)
		t.Run(v.name, func(t *testing.T) {
			want, ok := expectations[v.get("expect")]
			if !ok {
				t.Fatalf("expect: %q", v.get("expect"))
			}
			seen[v.get("kind")+" "+v.get("expect")]++
			var lines []string
			var err error
			switch kind := v.get("kind"); kind {
			case "token":
				lines, err = v.verifyToken(t)
			case "proof":
				err = v.verifyProof(t)
			case "revocations":
				lines, err = v.verifyRevocations(t)
			case "lease":
				lines, err = v.verifyLease(t)
			case "command":
				lines, err = v.verifyCommand(t)
			case "receipt":
				lines, err = v.verifyReceipt()
			default:
				t.Fatalf("kind: %q", kind)
			}
			if !errors.Is(err, want) {
				t.Fatalf("got %v, want %s", err, v.get("expect"))
			}
			checkError(t, err)
			var result []string
			for _, h := range v.header {
				if strings.HasPrefix(h, "result-") {
					result = append(result, h)
				}
			}
			if !slices.Equal(result, lines) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(result, "\n"))
			}
		})
	}
	for _, want := range []string{"token ok", "token form", "token issuer", "token signature", "token delegation", "token audience", "token subject",
		"token not-yet", "token expired", "token epoch", "token lease", "token revoked", "token right", "lease ok", "lease form", "lease issuer",
		"lease signature", "lease audience", "lease boot", "lease nonce", "lease sequence", "lease expired", "command ok", "command form",
		"command issuer", "command signature", "command audience", "command not-yet", "command expired", "command role", "command replay",
		"receipt ok", "receipt form", "proof ok", "proof form",
		"proof issuer", "proof signature", "proof audience", "proof nonce", "proof delegation",
		"revocations ok", "revocations form", "revocations issuer", "revocations signature", "revocations sequence"} {
		if seen[want] == 0 {
			t.Errorf("no vector for %s", want)
		}
	}
}

// TestVectorsFresh fails when the files are not what the code makes.
func TestVectorsFresh(t *testing.T) {
	made := makeVectors(t)
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(made) {
		t.Errorf("%d files, %d are made: go test ./captoken -run TestVectors -update", len(names), len(made))
	}
	for _, v := range made {
		if b, err := os.ReadFile(filepath.Join(vectorDir, v.name+".txt")); err != nil || !bytes.Equal(b, v.encode()) {
			t.Errorf("%s is stale (%v): go test ./captoken -run TestVectors -update", v.name, err)
		}
	}
}

func writeVectors(t *testing.T) {
	old, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(vectorDir, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range vectorKeys {
		text := EncodePublicKeys(testKey(t, name).Public())
		if err := os.WriteFile(filepath.Join(vectorDir, "keys", name+".pub"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range makeVectors(t) {
		if err := os.WriteFile(filepath.Join(vectorDir, v.name+".txt"), v.encode(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *vector) id(t *testing.T, key string) (id ID) {
	t.Helper()
	b, err := hex.DecodeString(v.get(key))
	if err != nil || len(b) != 0 && len(b) != len(id) {
		t.Fatalf("%s: %q", key, v.get(key))
	}
	copy(id[:], b)
	return id
}

func (v *vector) number(t *testing.T, key string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(v.get(key), 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return n
}

func (v *vector) time(t *testing.T, key string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, v.get(key))
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return at
}

// verifyToken: trusted is "NAME EPOCH", several times; revoked is an id or an agent.
func (v *vector) want(t *testing.T) (w Want) {
	w = Want{Host: v.get("host"), Agent: v.get("agent"), Now: v.time(t, "now"), Lease: v.id(t, "lease"), Rights: Rights(v.number(t, "rights"))}
	for _, s := range v.all("trusted") {
		name, epoch, _ := strings.Cut(s, " ")
		n, err := strconv.ParseUint(epoch, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		issuer := Issuer{Key: readVectorKey(t, name), Epoch: n}
		if list := v.get("list"); list != "" && name == "issuer" {
			if issuer.Revoked, err = VerifyRevocations(readVector(t, vectorDir+"/"+list+".txt").body, issuer.Key); err != nil {
				t.Fatal(err)
			}
		}
		w.Trusted = append(w.Trusted, issuer)
	}
	var r revocations
	for _, s := range v.all("revoked-token") {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		r.tokens = append(r.tokens, ID(b))
	}
	r.subjects = v.all("revoked-agent")
	w.Revoked = r
	return w
}

func (v *vector) verifyToken(t *testing.T) ([]string, error) {
	w := v.want(t)
	g, err := Verify(v.body, w)
	if err != nil {
		return nil, err
	}
	return grantLines(g), nil
}

func grantLines(g *Grant) []string {
	var chain []string
	for _, id := range g.Chain {
		chain = append(chain, id.String())
	}
	return []string{
		"result-chain: " + strings.Join(chain, " "), "result-issuer: " + g.Issuer.String(), fmt.Sprintf("result-rights: %#x", uint64(g.Rights)),
		fmt.Sprintf("result-scopes: %x", g.Scopes.append(nil)), fmt.Sprintf("result-quotas: %x", g.Quotas.append(nil)),
		"result-not-before: " + stamp(g.NotBefore), "result-expires: " + stamp(g.Expires), fmt.Sprintf("result-epoch: %d", g.Epoch),
		"result-holder: " + g.Holder.String(), fmt.Sprintf("result-depth: %d", g.Depth),
	}
}

// verifyLease: the request with the nonce was sent at 0, the lease comes at age.
func (v *vector) verifyLease(t *testing.T) ([]string, error) {
	st := NewLeaseState([]*PublicKey{readVectorKey(t, v.get("trusted"))}, v.get("host"), Boot{v.id(t, "boot"), uint32(v.number(t, "reset-count"))}, 0, v.number(t, "sequence"))
	nonce, err := hex.DecodeString(v.get("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	age, err := time.ParseDuration(v.get("age"))
	if err != nil {
		t.Fatal(err)
	}
	st.Sent([NonceSize]byte(nonce), 0)
	l, err := st.Renew(v.body, age)
	if err != nil {
		return nil, err
	}
	return []string{"result-lease: " + l.ID.String(), fmt.Sprintf("result-milliseconds: %d", l.Duration/time.Millisecond),
		"result-issued-at: " + stamp(l.IssuedAt), fmt.Sprintf("result-sequence: %d", l.Sequence)}, nil
}

// verifyCommand: trusted is "NAME ROLE..."; permits is a role that may kill one agent.
func (v *vector) verifyCommand(t *testing.T) ([]string, error) {
	last := v.number(t, "last")
	w := CommandWant{Audience: v.get("audience"), Now: v.time(t, "now"), Last: func(Thumbprint) uint64 { return last },
		Permits: func(role string, _ Action, target Target) bool { return role == v.get("permits") && target.Label == "" }}
	for _, s := range v.all("trusted") {
		words := strings.Fields(s)
		w.Operators = append(w.Operators, Operator{readVectorKey(t, words[0]), words[1:]})
	}
	c, err := VerifyCommand(v.body, w)
	if err != nil {
		return nil, err
	}
	return []string{"result-command: " + c.ID.String(), "result-operator: " + c.Operator.String(), "result-action: " + c.Action.String() + " " + c.Target.String(),
		"result-role: " + c.Role, fmt.Sprintf("result-sequence: %d", c.Sequence), "result-reason: " + c.Reason}, nil
}

func (v *vector) verifyReceipt() ([]string, error) {
	r, err := ParseReceipt(v.body)
	if err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("result-hash: %x", ReceiptHash(v.body)), "result-agent: " + r.Agent, fmt.Sprintf("result-instance: %d", r.Instance),
		"result-cause: " + r.Cause.String(), fmt.Sprintf("result-frames: %d", r.Frames), fmt.Sprintf("result-handles: %d", r.Handles)}, nil
}

package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aios/boot/predict"
	"aios/captoken"
	"aios/host/install"
	"aios/host/state"
	"aios/verifier/quote/tpmtest"
	"aios/verifier/service"
)

// cliRun runs a command as a user does.
func cliRun(d *state.Dir, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(append([]string{"--state", d.Root}, args...), &o, &e)
	return code, o.String(), e.String()
}

// What `aios agent kill` prints and how it ends follow from what the verifier says of the
// receipts, and what it sends is signed by the operator for this installation.
func TestKillEndsWellOnlyIfProven(t *testing.T) {
	proven := service.Receipt{Host: "host-1", Agent: "hello", State: service.ReceiptProven, LatencyMS: 12.5, HostMS: 0.5, Frames: 321, Handles: 7}
	awaited := service.Receipt{Host: "host-2", Agent: "hello", State: service.ReceiptAwaited, Text: "the host is away"}
	void := service.Receipt{Host: "host-2", Agent: "hello", State: service.ReceiptVoid}
	for _, c := range []struct {
		name     string
		receipts []service.Receipt
		state    string
		code     int
		want     string
	}{
		{"proven", []service.Receipt{proven}, service.CommandDone, exitOK, "hello on host-1 is gone: 12.5 ms from command to proof, 0.5 ms of them in its kernel; 321 frames and 7 handles given back; receipt verified\n"},
		{"nothing ran", []service.Receipt{}, service.CommandDone, exitOK, "nothing of it was running"},
		{"one is awaited", []service.Receipt{proven, awaited}, service.CommandPending, exitFailed, "hello on host-2: NOT PROVEN (awaited) the host is away"},
		{"one was lost", []service.Receipt{proven, void}, service.CommandDone, exitFailed, "NOT PROVEN (void)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := verifierState(t)
			keys, err := install.EnsureKeys(d)
			if err != nil {
				t.Fatal(err)
			}
			token, err := apiToken(d)
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux()
			outcome := service.Command{ID: strings.Repeat("ab", 16), State: c.state, Receipts: c.receipts}
			mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, _ *http.Request) {
				json.NewEncoder(w).Encode(service.Health{Installation: keys.Installation()})
			})
			mux.HandleFunc("POST /v1/commands", func(w http.ResponseWriter, r *http.Request) {
				var in struct{ Command []byte }
				if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Authorization") != "Bearer "+token {
					t.Errorf("%v, %v", err, r.Header)
				}
				command, err := captoken.VerifyCommand(in.Command, captoken.CommandWant{Audience: keys.Installation(), Now: time.Now(),
					Operators: []captoken.Operator{{Key: keys.OperatorSigner().Public(), Roles: []string{"operator"}}},
					Permits:   func(string, captoken.Action, captoken.Target) bool { return true }, Last: func(captoken.Thumbprint) uint64 { return 0 }})
				if err != nil || command.Target != (captoken.Target{Agent: "hello"}) || command.Reason != "a drill" {
					t.Errorf("command %+v, %v", command, err)
				}
				json.NewEncoder(w).Encode(outcome)
			})
			mux.HandleFunc("GET /v1/commands/"+outcome.ID, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(outcome) })
			server := httptest.NewServer(mux)
			defer server.Close()
			code, out, errs := cliRun(d, "agent", "kill", "hello", "--reason", "a drill", "--wait", "1ms", "--api", server.URL)
			if code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
			code, out, _ = cliRun(d, "agent", "kill", "hello", "--reason", "a drill", "--wait", "1ms", "--api", server.URL, "--json")
			var v service.Command
			if err := json.Unmarshal([]byte(out), &v); err != nil || code != c.code || len(v.Receipts) != len(c.receipts) {
				t.Errorf("--json: exit %d, %v, %s", code, err, out)
			}
		})
	}
}

// The commands against `aios verifier serve`, and what they left after it was restarted.
func TestOperateAVerifier(t *testing.T) {
	d := verifierState(t)
	keys, err := install.EnsureKeys(d)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := tpmtest.NewCA("test manufacturer")
	if err != nil {
		t.Fatal(err)
	}
	tpm, err := tpmtest.New()
	if err != nil {
		t.Fatal(err)
	}
	ek, err := ca.Issue(tpm.EK(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "verifier", "session", "testdata", "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := predict.Sign(text, keys.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	reference := file("reference.json", text)
	if err := os.WriteFile(reference+".sig", sig, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := file("roots.pem", pemCertificate(ca.Certificate.Raw))
	assignment := file("hello.json", []byte(`{"agent": "hello", "hosts": ["*"], "rights": ["log", "clock"], "quotas": {"memory_bytes": 1048576}}`))
	bad := file("bad.json", []byte(`{"agent": "hello", "hosts": ["*"], "rights": ["everything"]}`))

	stop := serveVerifier(t, d, roots, reference)
	defer func() { stop() }()
	expect := func(want int, text string, args ...string) string {
		t.Helper()
		code, out, errs := cliRun(d, args...)
		if code != want || !strings.Contains(out+errs, text) {
			t.Errorf("aios %s: exit %d, expected %d and %q: %s%s", strings.Join(args, " "), code, want, text, out, errs)
		}
		return strings.TrimSpace(out)
	}
	token := expect(exitOK, "aios-enrol-", "enrol", "token", "--note", "rack 4")
	if strings.ContainsAny(token, " \n") {
		t.Errorf("more than the token was printed: %q", token)
	}
	list := expect(exitOK, "usable", "enrol", "tokens")
	if strings.Contains(list, token) {
		t.Error("the list shows the token")
	}
	expect(exitOK, "is enrolled at its first contact", "enrol", "ek", file("ek.der", ek))
	expect(exitFailed, "expected one of log, clock", "agent", "assign", bad)
	expect(exitOK, "agent hello on *", "agent", "assign", assignment)
	expect(exitOK, "no agent", "agent", "list")
	expect(exitOK, "nothing of it was running", "agent", "kill", "hello", "--reason", "a drill")
	expect(exitOK, "agent hello on every host", "agent", "stops")
	expect(exitFailed, "no host has this label", "agent", "kill", "--label", "rack-4", "--reason", "a drill")
	expect(exitOK, "nothing was ever revoked", "agent", "revocations")
	expect(exitOK, "revoked: everything of agent hello; it is on revocation list 2 of epoch 0", "agent", "revoke", "--subject", "hello", "--reason", "a drill")
	id := strings.Repeat("1f", 16)
	expect(exitOK, "revoked: token "+id, "agent", "revoke", "--token", id, "--reason", "a drill")
	expect(exitOK, "revoked: lease "+id, "agent", "revoke", "--lease", id, "--reason", "a drill")
	expect(exitUsage, "expected an id as 32 hex digits", "agent", "revoke", "--token", "1f", "--reason", "a drill")
	expect(exitUsage, "name one of", "agent", "revoke", "--reason", "a drill")
	expect(exitUsage, "name one of", "agent", "revoke", "--subject", "hello", "--epoch", "1", "--reason", "a drill")
	expect(exitFailed, "the epoch after the present one is expected, 1, found 3", "agent", "revoke", "--epoch", "3", "--reason", "a drill")
	expect(exitFailed, "does not have the role", "agent", "revoke", "--subject", "hello", "--role", "auditor", "--reason", "a drill")
	expect(exitOK, "everything of agent hello\ntoken or delegation "+id+"\nlease "+id, "agent", "revocations")
	expect(exitFailed, "list the hosts", "verifier", "forget", "host-0011223344556677")
	// One that is refused its state sends nobody astray.
	expect(exitFailed, "another verifier uses this folder", "verifier", "serve", "--listen-hosts", "127.0.0.1:0", "--listen-api", "127.0.0.1:0", "--roots", roots, "--reference", reference)
	expect(exitOK, "no agent", "agent", "list")
	// While the state is in use, a verifier that does not answer counts as one that serves.
	address, err := os.ReadFile(d.APIAddress())
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := listenAPI(d, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(publishAPI(d, other), other.Close()); err != nil {
		t.Fatal(err)
	}
	expect(exitFailed, "start one with `aios verifier serve`", "agent", "list") // what the address names is gone
	expect(exitFailed, "another verifier uses this folder", "verifier", "forget", "host-0011223344556677")
	if err := os.WriteFile(d.APIAddress(), address, 0o600); err != nil {
		t.Fatal(err)
	}

	stop()
	stop = serveVerifier(t, d, roots, reference)
	expect(exitOK, "usable", "enrol", "tokens")
	expect(exitOK, "since", "enrol", "eks")
	expect(exitOK, "everything of agent hello", "agent", "revocations")
	expect(exitOK, "every epoch below 1; it is on revocation list 5 of epoch 1", "agent", "revoke", "--epoch", "1", "--reason", "begin anew")
	expect(exitOK, "the epoch is 1", "agent", "revocations")
	expect(exitOK, "agent hello on every host", "agent", "stops")
	expect(exitOK, "may run again", "agent", "lift", "hello", "--reason", "the drill is over")
	expect(exitOK, "nothing is stopped", "agent", "stops")
	expect(exitFailed, "nothing is stopped in these words", "agent", "lift", "hello", "--reason", "again")
	expect(exitOK, "taken back", "agent", "unassign", "hello")
}

func pemCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

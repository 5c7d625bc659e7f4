package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aios/captoken"
)

const testLease = "00112233445566778899aabbccddeeff"

// do runs the command line; what it prints goes to the result.
func do(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"--state", t.TempDir()}, args...), &stdout, &stderr); code != wantCode {
		t.Fatalf("aios %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, wantCode, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in\n%s", p, text)
		}
	}
}

// What an operator does with tokens by hand: keys, a token, a part of it passed on, and
// what each command says about both.
func TestTokenByHand(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"issuer", "planner", "worker"} {
		contains(t, do(t, exitOK, "token", "key", at(name)), "thumbprint")
	}
	contains(t, do(t, exitFailed, "token", "key", at("issuer")), "exists")

	do(t, exitOK, "token", "mint", "--key", at("issuer"), "--agent", "planner", "--host", "host-1", "--lease", testLease, "--holder", at("planner.pub"),
		"--right", "log,send,connect", "--right", "memory", "--peer", "worker-*,journald", "--service", "memoryd=read,append", "--connect", "udp://192.0.2.53:53",
		"--connect", "tcp://*.example.org:443-444", "--memory", "1048576", "--epoch", "3", "--depth", "2", "--out", at("token"))
	out := do(t, exitOK, "token", "inspect", at("token"))
	contains(t, out, "agent planner on host host-1 may:", "send messages to journald, worker-*", "tcp://*.example.org:443-444, udp://192.0.2.53/32:53",
		"1048576 bytes of memory", "2 times in a row", "none of this is verified")

	verify := func(code int, file, agent string, more ...string) string {
		return do(t, code, append([]string{"token", "verify", file, "--issuer", at("issuer.pub"), "--host", "host-1", "--agent", agent, "--lease", testLease}, more...)...)
	}
	contains(t, verify(exitOK, at("token"), "planner", "--right", "send", "--epoch", "3"), "agent planner on host host-1 may:")
	contains(t, verify(exitFailed, at("token"), "other"), `agent expected "other", found "planner"`)
	contains(t, verify(exitFailed, at("token"), "planner", "--right", "device"), "device not found")
	contains(t, verify(exitFailed, at("token"), "planner", "--epoch", "4"), "epoch expected at least 4")
	contains(t, verify(exitFailed, at("token"), "planner", "--at", "2100-01-01T00:00:00Z"), "valid until")
	contains(t, do(t, exitOK, "token", "inspect", at("token"), "--issuer", at("worker.pub")), "it would be refused: token: signed by key")
	contains(t, do(t, exitOK, "token", "inspect", at("token"), "--issuer", at("issuer.pub")), "it would be accepted at")

	// Passed on as text, with less of everything that is stated.
	text := do(t, exitOK, "token", "attenuate", at("token"), "--key", at("planner"), "--agent", "worker", "--holder", at("worker.pub"), "--right", "log,send,device", "--peer", "journald", "--memory", "9999999")
	if err := os.WriteFile(at("longer"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out = verify(exitOK, at("longer"), "worker")
	contains(t, out, "send messages to journald\n", "1048576 bytes of memory", "may pass it on once")
	if strings.Contains(out, "device") || strings.Contains(out, "connections") {
		t.Errorf("passing on has widened:\n%s", out)
	}
	contains(t, do(t, exitOK, "token", "inspect", at("longer")), "passed on by agent planner to agent worker")
	contains(t, do(t, exitFailed, "token", "attenuate", at("longer"), "--key", at("planner"), "--agent", "x", "--holder", at("worker.pub")), "only the holder can pass a token on")
}

// The holder proves that it has its key; nobody else can, and no proof counts twice.
func TestTokenProve(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"issuer", "planner", "other"} {
		do(t, exitOK, "token", "key", at(name))
	}
	do(t, exitOK, "token", "mint", "--key", at("issuer"), "--agent", "planner", "--host", "host-1", "--lease", testLease, "--holder", at("planner.pub"), "--out", at("token"))
	nonce, later := strings.Repeat("5a", 32), strings.Repeat("5b", 32)
	do(t, exitOK, "token", "prove", at("token"), "--key", at("planner"), "--nonce", nonce, "--out", at("proof"))
	contains(t, do(t, exitFailed, "token", "prove", at("token"), "--key", at("other"), "--nonce", nonce), "only the holder")
	do(t, exitUsage, "token", "prove", at("token"), "--key", at("planner"), "--nonce", "5a")
	verify := func(code int, more ...string) string {
		return do(t, code, append([]string{"token", "verify", at("token"), "--issuer", at("issuer.pub"), "--host", "host-1", "--agent", "planner", "--lease", testLease}, more...)...)
	}
	contains(t, verify(exitOK, "--proof", at("proof"), "--nonce", nonce), "has shown that it has key")
	contains(t, verify(exitFailed, "--proof", at("proof"), "--nonce", later), "nonce expected "+later)
	verify(exitUsage, "--proof", at("proof"))
	contains(t, verify(exitUsage, "--nonce", nonce), "--proof and --nonce go together")
	contains(t, do(t, exitOK, "token", "inspect", at("token"), "--issuer", at("issuer.pub"), "--proof", at("proof"), "--nonce", later), "it would be refused: proof of possession: nonce expected")
}

// An issuer revokes; the list grows, and tokens that it concerns are refused.
func TestTokenRevoke(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"issuer", "planner"} {
		do(t, exitOK, "token", "key", at(name))
	}
	do(t, exitOK, "token", "mint", "--key", at("issuer"), "--agent", "planner", "--host", "host-1", "--lease", testLease, "--holder", at("planner.pub"), "--epoch", "1", "--out", at("token"))
	id := strings.TrimSuffix(strings.Fields(do(t, exitOK, "token", "inspect", at("token")))[1], ",")
	revoke := func(code int, list string, more ...string) string {
		return do(t, code, append([]string{"token", "revoke", at(list), "--key", at("issuer")}, more...)...)
	}
	verify := func(code int, list string) string {
		return do(t, code, "token", "verify", at("token"), "--issuer", at("issuer.pub"), "--host", "host-1", "--agent", "planner", "--lease", testLease, "--revocations", at(list))
	}
	contains(t, revoke(exitOK, "list", "--agent", "worker"), "list 1, 0 tokens, 0 leases, 1 agents, epoch 0")
	verify(exitOK, "list")
	contains(t, revoke(exitOK, "list", "--token", id), "list 2, 1 tokens, 0 leases, 1 agents")
	contains(t, verify(exitFailed, "list"), id+" was revoked")
	contains(t, do(t, exitOK, "token", "inspect", at("token"), "--issuer", at("issuer.pub"), "--revocations", at("list")), "it would be refused: token: "+id+" was revoked")
	contains(t, do(t, exitOK, "token", "inspect", at("list"), "--issuer", at("issuer.pub")), "revoked is everything of agent worker", "revoked is token or delegation "+id, "it is signed by this issuer")
	contains(t, do(t, exitOK, "token", "inspect", at("list"), "--issuer", at("planner.pub")), "it would be refused: revocation list: signed by key")
	contains(t, do(t, exitFailed, "token", "revoke", at("list"), "--key", at("planner"), "--agent", "x"), "signed by key")
	contains(t, revoke(exitOK, "list", "--epoch", "2"), "list 3, 0 tokens, 0 leases, 1 agents, epoch 2")
	contains(t, verify(exitFailed, "list"), "epoch expected at least 2, found 1")
	revoke(exitUsage, "list", "--epoch", "1")
	revoke(exitUsage, "list", "--token", "abc")
	revoke(exitOK, "leases", "--lease", testLease)
	contains(t, verify(exitFailed, "leases"), "lease "+testLease+" was revoked")
	revoke(exitOK, "agents", "--agent", "planner")
	contains(t, verify(exitFailed, "agents"), `everything of agent "planner" was revoked`)
	contains(t, do(t, exitOK, "token", "inspect", at("token"), "--issuer", at("planner.pub"), "--revocations", at("agents")), "it cannot be judged", "signed by key")
}

// Keys of every algorithm go through every command, and what is shown names them.
func TestTokenAlgorithms(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	do(t, exitOK, "token", "key", at("holder"), "--algorithm", "ML-DSA-44")
	for _, a := range []string{"ML-DSA-44", "ML-DSA-65", "ML-DSA-87", "ML-DSA-65-Ed25519"} {
		contains(t, do(t, exitOK, "token", "key", at(a), "--algorithm", a), a+", thumbprint")
		do(t, exitOK, "token", "mint", "--key", at(a), "--agent", "planner", "--host", "host-1", "--lease", testLease, "--holder", at("holder.pub"), "--right", "log", "--depth", "1", "--out", at(a+".token"))
		do(t, exitOK, "token", "attenuate", at(a+".token"), "--key", at("holder"), "--agent", "worker", "--holder", at("holder.pub"), "--out", at(a+".longer"))
		contains(t, do(t, exitOK, "token", "inspect", at(a+".longer"), "--issuer", at(a+".pub")), "signed with "+a+" by key", "signed with ML-DSA-44\n", "it would be accepted")
	}
	do(t, exitUsage, "token", "key", at("x"), "--algorithm", "ES256")
}

func TestTokenUsage(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "k")
	do(t, exitOK, "token", "key", key)
	mint := func(more ...string) []string {
		return append([]string{"token", "mint", "--key", key, "--agent", "a", "--host", "h", "--holder", key + ".pub", "--lease", testLease}, more...)
	}
	for _, args := range [][]string{
		{"token", "mint"}, mint("--right", "root"), mint("--lease", "abc"), mint("--service", "x"), mint("--connect", "example.org:443"),
		mint("--connect", "tcp://example.org"), mint("--connect", "tcp://example.org:70000"), mint("--connect", "icmp://example.org:1"), mint("--depth", "300"),
	} {
		do(t, exitUsage, args...)
	}
	contains(t, do(t, exitFailed, mint("--peer", "a*b")...), "a*b", "expected a name")
	contains(t, do(t, exitFailed, mint("--valid", "0s")...), "expected to end after it begins")
	if err := os.WriteFile(filepath.Join(dir, "junk"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, do(t, exitFailed, "token", "inspect", filepath.Join(dir, "junk")), "COSE_Sign1")
	do(t, exitFailed, "token", "inspect", filepath.Join(dir, "nothing"))
}

// One address stands for itself; IPv6 ranges keep their colons.
func TestParseDestination(t *testing.T) {
	for text, want := range map[string]captoken.Destination{
		"tcp://example.org:443":        {Protocol: captoken.TCP, Host: "example.org", First: 443, Last: 443},
		"udp://192.0.2.1:53":           {Protocol: captoken.UDP, Host: "192.0.2.1/32", First: 53, Last: 53},
		"tcp://2001:db8::/32:80-90":    {Protocol: captoken.TCP, Host: "2001:db8::/32", First: 80, Last: 90},
		"tcp://*:1-65535":              {Protocol: captoken.TCP, Host: "*", First: 1, Last: 65535},
		"tcp://192.0.2.0/24:8000-8999": {Protocol: captoken.TCP, Host: "192.0.2.0/24", First: 8000, Last: 8999},
	} {
		if d, ok := captoken.ParseDestination(text); !ok || d != want {
			t.Errorf("%s became %+v, %v", text, d, ok)
		}
	}
}

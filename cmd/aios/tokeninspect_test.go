package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aios/captoken"
)

// inspected is a folder with one of everything that can be inspected.
type inspected struct {
	t   *testing.T
	dir string
}

const (
	inspectNonce = "5a00000000000000000000000000000000000000000000000000000000000001"
	otherNonce   = "5b00000000000000000000000000000000000000000000000000000000000001"
)

func (d inspected) at(name string) string { return filepath.Join(d.dir, name) }

func (d inspected) write(name string, b []byte, err error) {
	d.t.Helper()
	if err == nil {
		err = os.WriteFile(d.at(name), b, 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func makeInspected(t *testing.T) inspected {
	d := inspected{t, t.TempDir()}
	for _, name := range []string{"issuer", "planner", "worker"} {
		do(t, exitOK, "token", "key", d.at(name))
	}
	do(t, exitOK, "token", "mint", "--key", d.at("issuer"), "--agent", "planner", "--host", "host-1", "--lease", testLease, "--holder", d.at("planner.pub"), "--depth", "1", "--out", d.at("token"))
	do(t, exitOK, "token", "attenuate", d.at("token"), "--key", d.at("planner"), "--agent", "worker", "--holder", d.at("worker.pub"), "--out", d.at("longer"))
	do(t, exitOK, "token", "prove", d.at("token"), "--key", d.at("planner"), "--nonce", inspectNonce, "--out", d.at("proof"))
	issuer, err := readSigner(d.at("issuer"))
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := parseNonce(inspectNonce)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	lease, err := captoken.MintLease(issuer, captoken.Lease{ID: captoken.ID{1}, Host: "host-1", IssuedAt: now, Nonce: nonce, Duration: time.Minute, Boot: captoken.Boot{ID: captoken.ID{2}, ResetCount: 3}, Sequence: 4})
	d.write("lease", lease, err)
	command, err := captoken.MintCommand(issuer, captoken.Command{Audience: "site", IssuedAt: now, Expires: now.Add(time.Minute), Sequence: 7, Role: "responder", Action: captoken.ActionKill, Target: captoken.Target{Agent: "planner"}, Reason: "spins"})
	d.write("command", command, err)
	r := captoken.Receipt{Host: "host-1", Boot: captoken.Boot{ID: captoken.ID{2}}, Agent: "planner", Instance: 5, Cause: captoken.CauseLease, Frames: 16, Handles: 3, Asked: time.Second, Gone: 1200 * time.Millisecond}
	receipt, err := r.Encode()
	d.write("receipt", receipt, err)
	token, err := os.ReadFile(d.at("token"))
	if err != nil {
		t.Fatal(err)
	}
	longer, err := os.ReadFile(d.at("longer"))
	d.write("delegation", longer[len(token):], err)
	d.write("cut", token[:len(token)-1], nil)
	return d
}

// Everything is named for what it is, said in words, and judged as far as it can be.
func TestTokenInspectEverything(t *testing.T) {
	d := makeInspected(t)
	receipt, err := os.ReadFile(d.at("receipt"))
	if err != nil {
		t.Fatal(err)
	}
	hash := captoken.ReceiptHash(receipt)
	for _, c := range []struct {
		args  []string
		parts []string
	}{
		{[]string{"cut"}, []string{"it would be refused: token: its COSE_Sign1"}},
		{[]string{"delegation"}, []string{"it would be refused: token: its protected header"}},

		{[]string{"proof"}, []string{"proof of possession: who has the key ", "on host host-1, in answer to nonce " + inspectNonce, "it is signed by that key", "with --token", "with --nonce"}},
		{[]string{"proof", "--nonce", inspectNonce}, []string{"would be accepted with a token that says so: name the token with --token\n"}},
		{[]string{"proof", "--nonce", otherNonce}, []string{"it would be refused: proof of possession: nonce expected " + otherNonce}},
		{[]string{"proof", "--host", "host-2"}, []string{`it would be refused: proof of possession: host expected "host-2", found "host-1"`}},
		{[]string{"proof", "--token", d.at("token")}, []string{"it is of agent planner, which the token names as its holder; the token is not verified"}},
		{[]string{"proof", "--token", d.at("longer")}, []string{"it would be refused: proof of possession: signer expected"}},
		{[]string{"proof", "--token", d.at("token"), "--issuer", d.at("issuer.pub"), "--nonce", inspectNonce}, []string{"agent planner on host host-1 may:", "it would be accepted at"}},
		{[]string{"proof", "--token", d.at("token"), "--issuer", d.at("issuer.pub"), "--nonce", otherNonce}, []string{"it would be refused: proof of possession: nonce"}},
		{[]string{"proof", "--token", d.at("token"), "--issuer", d.at("worker.pub"), "--nonce", inspectNonce}, []string{"it would be refused: token: signed by key"}},

		{[]string{"lease"}, []string{"lease 01000000000000000000000000000000 of verifier ", "host host-1 may use its tokens for 1m0s", "in boot 02000000000000000000000000000000 (TPM reset count 3)", "number 4", "none of this is verified"}},
		{[]string{"lease", "--issuer", d.at("issuer.pub")}, []string{"host host-1 would take it in that boot"}},
		{[]string{"lease", "--issuer", d.at("worker.pub")}, []string{"it would be refused: lease: signed by key"}},
		{[]string{"lease", "--issuer", d.at("issuer.pub"), "--host", "host-2"}, []string{"it would be refused: lease: host expected"}},
		{[]string{"lease", "--issuer", d.at("issuer.pub"), "--nonce", otherNonce}, []string{"it would be refused: lease: "}},

		{[]string{"command"}, []string{"to installation site: kill agent planner on every host", "none of this is verified"}},
		{[]string{"command", "--issuer", d.at("issuer.pub")}, []string{"it would be carried out at", "if the operator has the role responder", "number 7"}},
		{[]string{"command", "--issuer", d.at("worker.pub")}, []string{"it would be refused: command: signed by key"}},
		{[]string{"command", "--issuer", d.at("issuer.pub"), "--at", "2100-01-01T00:00:00Z"}, []string{"it would be refused: command: valid until"}},

		{[]string{"receipt"}, []string{"receipt of host host-1 in boot 02", "agent planner, instance 5, is gone: ended by the lapse of its lease", "16 frames", "200ms later", "it is not signed", hex.EncodeToString(hash[:])}},
	} {
		args := append([]string{"token", "inspect", d.at(c.args[0])}, c.args[1:]...)
		contains(t, do(t, exitOK, args...), c.parts...)
	}
	do(t, exitUsage, "token", "inspect", d.at("command"), "--issuer", d.at("issuer.pub"), "--at", "soon")
	do(t, exitUsage, "token", "inspect", d.at("proof"), "--nonce", "5a")
}

// A bit that is flipped anywhere in an object is a finding, or bytes that say nothing.
func TestTokenInspectDamaged(t *testing.T) {
	d := makeInspected(t)
	for _, name := range []string{"token", "proof", "lease", "command", "receipt"} {
		b, err := os.ReadFile(d.at(name))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(b); i += 1 + len(b)/20 {
			changed := bytes.Clone(b)
			changed[i] ^= 1
			d.write("damaged", changed, nil)
			var stdout, stderr bytes.Buffer
			code := run([]string{"--state", d.dir, "token", "inspect", d.at("damaged"), "--issuer", d.at("issuer.pub")}, &stdout, &stderr)
			good := code == exitOK && (name == "receipt" || strings.Contains(stdout.String(), "it would be refused: ")) || code == exitFailed && strings.Contains(stderr.String(), "damaged")
			if !good {
				t.Errorf("%s, byte %d: exit %d\n%s%s", name, i, code, &stdout, &stderr)
			}
		}
	}
}

// What goes wrong at first names the file and what to do.
func TestTokenFirstMistakes(t *testing.T) {
	d := makeInspected(t)
	mint := func(more ...string) []string {
		return append([]string{"token", "mint", "--agent", "a", "--host", "h", "--lease", testLease}, more...)
	}
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{exitFailed, []string{"token", "inspect", d.at("nothing")}, "nothing is not there: check the name; `aios token mint"},
		{exitUsage, mint("--key", d.at("issuer.pub"), "--holder", d.at("planner.pub")), "expected a private key, found the name of a public one; try " + d.at("issuer")},
		{exitFailed, mint("--key", d.at("issuer"), "--holder", d.at("planner")), "give " + d.at("planner") + ".pub"},
		{exitFailed, mint("--key", d.at("issuer"), "--holder", d.at("nobody.pub")), "nobody.pub is not there: check the name; `aios token key"},
		{exitFailed, mint("--key", d.at("issuer"), "--holder", d.at("planner.pub"), "--out", d.at("token")), "token is there already: give --out another name"},
	} {
		contains(t, do(t, c.code, c.args...), c.want)
	}
	do(t, exitOK, "token", "revoke", d.at("list"), "--key", d.at("issuer"))
	contains(t, do(t, exitUsage, "token", "revoke", d.at("list"), "--key", d.at("issuer")), "name what to revoke")
	for name, mode := range map[string]os.FileMode{"issuer": 0o600, "issuer.pub": 0o644, "token": 0o600, "proof": 0o600, "list": 0o644} {
		if info, err := os.Stat(d.at(name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode(), mode, err)
		}
	}
}

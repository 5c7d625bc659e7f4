package captoken

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func testCommand() Command {
	return Command{ID: testID("command"), Audience: "aios-test", IssuedAt: testNow, Expires: testNow.Add(5 * time.Minute), Sequence: 12, Role: "responder",
		Action: ActionKill, Target: Target{Agent: testAgent, Host: testHost}, Reason: "spins without end"}
}

func testCommandBytes(t testing.TB, change func(*Command)) []byte {
	t.Helper()
	c := testCommand()
	if change != nil {
		change(&c)
	}
	raw, err := MintCommand(testKey(t, "operator"), c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func testCommandWant(t testing.TB) CommandWant {
	return CommandWant{
		Operators: []Operator{{testKey(t, "auditor").Public(), []string{"auditor"}}, {testKey(t, "operator").Public(), []string{"responder", "reader"}}},
		Audience:  "aios-test", Now: testNow.Add(time.Second),
		Permits: func(role string, a Action, target Target) bool {
			return role == "responder" && a == ActionKill && target.Label == ""
		},
		Last: func(Thumbprint) uint64 { return 11 },
	}
}

func TestVerifyCommand(t *testing.T) {
	c, err := VerifyCommand(testCommandBytes(t, nil), testCommandWant(t))
	if err != nil {
		t.Fatal(err)
	}
	want := testCommand()
	want.Operator = testKey(t, "operator").Public().Thumbprint()
	if *c != want {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
	other, err := MintCommand(testKey(t, "auditor"), testCommand())
	if err != nil {
		t.Fatal(err)
	}
	flipped := testCommandBytes(t, nil)
	flipped[200] ^= 1
	foreign := testCommand()
	foreign.Operator = testKey(t, "auditor").Public().Thumbprint()
	named, err := seal(testKey(t, "operator"), "command", kindCommand, foreign.encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want func(*CommandWant)
		kind error
	}{
		{"unknown operator", testCommandBytes(t, nil), func(w *CommandWant) { w.Operators = w.Operators[:1] }, ErrIssuer},
		{"flipped", flipped, nil, ErrSignature},
		{"bytes after", append(testCommandBytes(t, nil), 0), nil, ErrForm},
		{"names another operator", named, nil, ErrIssuer},
		{"other installation", testCommandBytes(t, nil), func(w *CommandWant) { w.Audience = "aios-prod" }, ErrAudience},
		{"a clock that is ahead", testCommandBytes(t, nil), func(w *CommandWant) { w.Now = testNow.Add(-59 * time.Second) }, nil},
		{"from the future", testCommandBytes(t, nil), func(w *CommandWant) { w.Now = testNow.Add(-61 * time.Second) }, ErrNotYet},
		{"expired", testCommandBytes(t, nil), func(w *CommandWant) { w.Now = testNow.Add(5 * time.Minute) }, ErrExpired},
		{"a role that the operator lacks", testCommandBytes(t, func(c *Command) { c.Role = "auditor" }), nil, ErrRole},
		{"a role of somebody else", other, nil, ErrRole},
		{"a role that may not", testCommandBytes(t, func(c *Command) { c.Role = "reader" }), nil, ErrRole},
		{"a target that it may not", testCommandBytes(t, func(c *Command) { c.Target = Target{Label: "all"} }), nil, ErrRole},
		{"nobody may", testCommandBytes(t, nil), func(w *CommandWant) { w.Permits = nil }, ErrRole},
		{"carried out before", testCommandBytes(t, nil), func(w *CommandWant) { w.Last = func(Thumbprint) uint64 { return 12 } }, ErrReplay},
		{"older", testCommandBytes(t, func(c *Command) { c.Sequence = 3 }), nil, ErrReplay},
	} {
		w := testCommandWant(t)
		if c.want != nil {
			c.want(&w)
		}
		got, err := VerifyCommand(c.raw, w)
		if !errors.Is(err, c.kind) || (err == nil) != (got != nil) {
			t.Errorf("%s: %v and %v, want %v", c.name, got, err, c.kind)
		}
		checkError(t, err)
	}
}

// What a revocation names comes back as it was signed.
func TestRevokeCommand(t *testing.T) {
	for _, c := range []struct {
		target Target
		words  string
	}{
		{Target{Agent: testAgent}, "agent " + testAgent + " on every host"},
		{Target{Token: ID{1}}, "token 01000000000000000000000000000000"},
		{Target{Lease: ID{2}}, "lease 02000000000000000000000000000000"},
		{Target{Epoch: 3}, "every epoch below 3"},
	} {
		raw := testCommandBytes(t, func(m *Command) { m.Action, m.Target = ActionRevoke, c.target })
		w := testCommandWant(t)
		if _, err := VerifyCommand(raw, w); !errors.Is(err, ErrRole) {
			t.Errorf("%s: by a role that may only kill: %v", c.words, err)
		}
		w.Permits = func(_ string, a Action, target Target) bool { return a == ActionRevoke && target == c.target }
		got, err := VerifyCommand(raw, w)
		if err != nil {
			t.Errorf("%s: %v", c.words, err)
			continue
		}
		if got.Target != c.target || got.Action != ActionRevoke || got.Action.String()+" "+got.Target.String() != "revoke "+c.words {
			t.Errorf("%s: found %v %v", c.words, got.Action, got.Target)
		}
	}
}

// Zeros name nothing: beside a name they would make another encoding of the same.
func TestTargetOfZeros(t *testing.T) {
	c := testCommand()
	c.Operator = testKey(t, "operator").Public().Thumbprint()
	for name, target := range map[string][]byte{
		"token": append([]byte{0xa2, targetHost, 0x61, 'h', targetToken, 0x50}, make([]byte, 16)...),
		"lease": append([]byte{0xa2, targetHost, 0x61, 'h', targetLease, 0x50}, make([]byte, 16)...),
		"epoch": {0xa2, targetHost, 0x61, 'h', targetEpoch, 0},
	} {
		raw := sign(t, "operator", header(t, "operator", kindCommand), join(with(pairs(t, c.encode()), claimTarget, target)), nil)
		if _, err := VerifyCommand(raw, testCommandWant(t)); !errors.Is(err, ErrForm) || !strings.Contains(err.Error(), "expected more than zeros") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMintCommandRefuses(t *testing.T) {
	for name, change := range map[string]func(*Command){
		"no audience":         func(c *Command) { c.Audience = "" },
		"no role":             func(c *Command) { c.Role = "" },
		"sequence 0":          func(c *Command) { c.Sequence = 0 },
		"no action":           func(c *Command) { c.Action = 0 },
		"unknown action":      func(c *Command) { c.Action = 3 },
		"kill of a token":     func(c *Command) { c.Target = Target{Token: ID{1}} },
		"kill and an epoch":   func(c *Command) { c.Target.Epoch = 1 },
		"revoke on one host":  func(c *Command) { c.Action = ActionRevoke },
		"revoke a label":      func(c *Command) { c.Action, c.Target = ActionRevoke, Target{Label: "a"} },
		"revoke nothing":      func(c *Command) { c.Action, c.Target = ActionRevoke, Target{} },
		"revoke two things":   func(c *Command) { c.Action, c.Target = ActionRevoke, Target{Token: ID{1}, Lease: ID{2}} },
		"revoke and an agent": func(c *Command) { c.Action, c.Target = ActionRevoke, Target{Agent: "a", Epoch: 2} },
		"no target":           func(c *Command) { c.Target = Target{} },
		"label and host":      func(c *Command) { c.Target = Target{Label: "a", Host: "b"} },
		"label and agent":     func(c *Command) { c.Target = Target{Label: "a", Agent: "b"} },
		"pattern as a target": func(c *Command) { c.Target = Target{Agent: "*"} },
		"no reason":           func(c *Command) { c.Reason = "" },
		"long reason":         func(c *Command) { c.Reason = strings.Repeat("a", MaxReason+1) },
		"control characters":  func(c *Command) { c.Reason = "a\x1b[2J" },
		"turned text":         func(c *Command) { c.Reason = "a\u202eb" },
		"not UTF-8":           func(c *Command) { c.Reason = "a\xff" },
		"over a day":          func(c *Command) { c.Expires = c.IssuedAt.Add(MaxCommandLife + time.Second) },
		"ends at once":        func(c *Command) { c.Expires = c.IssuedAt },
	} {
		c := testCommand()
		change(&c)
		if _, err := MintCommand(testKey(t, "operator"), c); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v, want ErrForm", name, err)
		}
	}
}

// Nothing that was signed as one thing passes as another, even if the same key is
// trusted with all of them and the claims are those of the other.
func TestKindsAreApart(t *testing.T) {
	key := testKey(t, "issuer")
	claims, lease, command := testClaims(t), testLease(), testCommand()
	claims.Issuer, lease.Issuer, command.Operator = key.Public().Thumbprint(), key.Public().Thumbprint(), key.Public().Thumbprint()
	verify := map[kind]func([]byte) error{
		kindToken: func(b []byte) error { _, err := Verify(b, testWant(t)); return err },
		kindLease: func(b []byte) error {
			_, err := VerifyLease(b, []*PublicKey{key.Public()}, testHost, testBoot)
			return err
		},
		kindCommand: func(b []byte) error {
			w := testCommandWant(t)
			w.Operators = []Operator{{key.Public(), []string{"responder"}}}
			_, err := VerifyCommand(b, w)
			return err
		},
	}
	payloads := map[kind][]byte{kindToken: claims.encode(), kindLease: lease.encode(), kindCommand: command.encode()}
	for signedAs := range payloads {
		for payloadOf, payload := range payloads {
			raw, err := seal(key, "object", signedAs, payload)
			if err != nil {
				t.Fatal(err)
			}
			for takenAs, f := range verify {
				good := signedAs == payloadOf && payloadOf == takenAs
				if err := f(raw); (err == nil) != good || !good && !errors.Is(err, ErrForm) {
					t.Errorf("%s signed as %s and taken as %s: %v", payloadOf, signedAs, takenAs, err)
				}
			}
		}
	}
}

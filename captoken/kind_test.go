package captoken

import (
	"slices"
	"strings"
	"testing"
)

// Every vector is named for what it is meant to be, unless its first bytes are not of
// this format.
func TestIdentify(t *testing.T) {
	objects := map[string]Object{"token": ObjectToken, "lease": ObjectLease, "command": ObjectCommand, "proof": ObjectProof, "revocations": ObjectRevocations, "receipt": ObjectReceipt}
	strange := []string{"token-empty", "token-untagged", "token-cwt-tag", "token-sign-tag", "token-five-items", "token-indefinite", "token-header-no-type",
		"token-header-no-algorithm", "token-header-no-key-id", "token-header-critical", "token-header-unknown", "token-header-order", "receipt-empty", "receipt-type"}
	others := map[string]Object{"token-header-lease-type": ObjectLease, "token-lease-as-token": ObjectLease, "token-delegation-alone": ObjectDelegation,
		"lease-token-type": ObjectToken, "proof-kind": ObjectDelegation, "revocations-kind": ObjectToken}
	for _, v := range makeVectors(t) {
		want := objects[v.get("kind")]
		if o, other := others[v.name]; other {
			want = o
		}
		got, err := Identify(v.body)
		if slices.Contains(strange, v.name) {
			want = ""
			checkError(t, err)
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", v.name, got, err, want)
		}
	}
}

func TestReadProof(t *testing.T) {
	token, nonce := mint(t, nil), testNonce("proof")
	raw, err := Prove(testKey(t, "holder"), token, nonce)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ReadProof(raw)
	if err != nil || p.Unsigned != nil || p.Host != testHost || p.Nonce != nonce || p.Signer != testKey(t, "holder").Public().Thumbprint() {
		t.Errorf("%+v, %v", p, err)
	}
	raw[len(raw)-1] ^= 1
	if p, err := ReadProof(raw); err != nil || p.Unsigned == nil {
		t.Errorf("a signature that is not good: %+v, %v", p, err)
	}
	if _, err := ReadProof(raw[1:]); err == nil {
		t.Error("no proof was read")
	}
}

func TestReadLease(t *testing.T) {
	l, err := ReadLease(testLeaseBytes(t, nil))
	if err != nil || l.ID != testLease().ID {
		t.Errorf("%+v, %v", l, err)
	}
	if text := strings.Join(l.Describe(), "\n"); !strings.Contains(text, "may use its tokens for 1m30s") {
		t.Error(text)
	}
	if _, err := ReadLease(testCommandBytes(t, nil)); err == nil {
		t.Error("a command was read as a lease")
	}
}

// Each cause has its words.
func TestDescribeReceipt(t *testing.T) {
	if len(causeTexts) != int(endOfCauses)-1 {
		t.Fatalf("%d texts for %d causes", len(causeTexts), endOfCauses-1)
	}
	r := testReceipt()
	if text := strings.Join(r.Describe(), "\n"); !strings.Contains(text, "ended by an operator's command ("+r.Command.String()+")") {
		t.Error(text)
	}
}

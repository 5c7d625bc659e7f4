package install

import (
	"os"
	"strings"
	"testing"

	"aios/captoken/mldsa"
	"aios/host/state"
)

func openState(t *testing.T) *state.Dir {
	t.Helper()
	d, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestKeysAreMadeOnceAndPrivate(t *testing.T) {
	d := openState(t)
	first, err := EnsureKeys(d)
	if err != nil || !first.Made {
		t.Fatalf("first time: made %v, %v", first.Made, err)
	}
	again, err := EnsureKeys(d)
	if err != nil || again.Made || again.ManifestID() != first.ManifestID() || again.ResultID() != first.ResultID() {
		t.Fatalf("second time: made %v, %v", again.Made, err)
	}
	seen := map[string]bool{}
	for _, k := range []*mldsa.PrivateKey{first.Manifest, first.Result, first.Token, first.Identity, first.Operator} {
		if seen[keyID(k)] {
			t.Fatal("one key for two purposes")
		}
		seen[keyID(k)] = true
	}
	if first.Installation() != again.Installation() {
		t.Fatal("the installation changed its name")
	}
	for _, f := range []string{d.ManifestKey(), d.ResultKey(), d.TokenKey(), d.IdentityKey(), d.OperatorKey()} {
		if fi, err := os.Stat(f); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi.Mode(), err)
		}
	}
}

// A damaged key must not be replaced in silence.
func TestDamagedKeyIsAnError(t *testing.T) {
	d := openState(t)
	if _, err := EnsureKeys(d); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.ManifestKey(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureKeys(d); err == nil {
		t.Fatal("a damaged key was accepted or replaced")
	}
}

func TestMixedPublicKeyIsAnError(t *testing.T) {
	d, other := openState(t), openState(t)
	for _, x := range []*state.Dir{d, other} {
		if _, err := EnsureKeys(x); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(other.ManifestPublic())
	if err := os.WriteFile(d.ManifestPublic(), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureKeys(d); err == nil || !strings.Contains(err.Error(), d.ManifestPublic()) {
		t.Fatalf("got %v", err)
	}
}

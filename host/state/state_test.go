package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultPath(t *testing.T) {
	for _, c := range []struct{ name, aios, xdg, want string }{
		{"AIOS_STATE wins", "/s", "/x", "/s"},
		{"XDG", "", "/x", "/x/aios"},
		{"relative XDG is ignored", "", "x", "/home/u/.local/state/aios"},
		{"home", "", "", "/home/u/.local/state/aios"},
	} {
		t.Setenv("AIOS_STATE", c.aios)
		t.Setenv("XDG_STATE_HOME", c.xdg)
		t.Setenv("HOME", "/home/u")
		if got, err := DefaultPath(); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestOpenMakesPrivateFolders(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{d.Root, d.Keys(), d.Host(), d.Image()} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", p, fi.Mode(), err)
		}
	}
}

func TestOpenRefusesFoldersOthersMayChange(t *testing.T) {
	root := t.TempDir()
	d, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{d.Keys(), d.Root} {
		if err := os.Chmod(p, 0o770); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(root); err == nil || !strings.Contains(err.Error(), "chmod go-w "+p) {
			t.Errorf("%s writable by its group: %v", p, err)
		}
		os.Chmod(p, 0o700)
	}
}

// Two commands on one folder would start two machines on one TPM.
func TestLockExcludes(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, ErrBusy) {
		t.Fatalf("second lock: %v, want ErrBusy", err)
	}
	unlock()
	unlock, err = d.Lock()
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	unlock()
}

func TestWriteFileReplacesAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	for _, text := range []string{"a longer first text", "second"} {
		if err := WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(name)
		if string(got) != text {
			t.Fatalf("got %q, want %q", got, text)
		}
	}
	if fi, _ := os.Stat(name); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := WriteFile(filepath.Join(dir, "missing", "f"), nil, 0o600); err == nil {
		t.Error("a missing folder went unnoticed")
	}
}

package mldsa

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	private, public := filepath.Join(dir, "k.key"), filepath.Join(dir, "k.pub")
	a, b := testKey(t, "a"), testKey(t, "b")
	if err := CreatePrivateKeyFile(private, a); err != nil {
		t.Fatal(err)
	}
	if err := CreatePublicKeyFile(public, a.Public(), b.Public()); err != nil {
		t.Fatal(err)
	}
	if err := CreatePrivateKeyFile(private, b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating over a private key: %v, want fs.ErrExist", err)
	}
	if err := CreatePublicKeyFile(public, b.Public()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating over a public key: %v, want fs.ErrExist", err)
	}
	k, err := ReadPrivateKeyFile(private)
	if err != nil {
		t.Fatal(err)
	}
	if !k.Public().Equal(a.Public()) {
		t.Error("another private key came back")
	}
	keys, err := ReadPublicKeyFile(public)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || !keys[0].Equal(a.Public()) || !keys[1].Equal(b.Public()) {
		t.Error("other public keys came back")
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the private key %v (%v), want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("temporary files were left: %v (%v)", entries, err)
	}
}

func TestPrivateKeyFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.key")
	if err := CreatePrivateKeyFile(path, testKey(t, "a")); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPrivateKeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v, want a refusal with the remedy", mode, err)
		}
	}
}

// Many creators of one file: exactly one wins, and its key is the one that is stored.
func TestCreateRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.key")
	var won sync.Map
	var wait sync.WaitGroup
	for i := range 8 {
		k := testKey(t, string(rune('a'+i)))
		wait.Go(func() {
			if err := CreatePrivateKeyFile(path, k); err == nil {
				won.Store(k.Public().ID(), true)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	winners := 0
	won.Range(func(_, _ any) bool { winners++; return true })
	k, err := ReadPrivateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := won.Load(k.Public().ID()); winners != 1 || !ok {
		t.Errorf("%d creators succeeded; the stored key is of a winner: %v", winners, ok)
	}
}

func TestParseRefuses(t *testing.T) {
	a, b := testKey(t, "a"), testKey(t, "b")
	private, public := EncodePrivateKey(a), EncodePublicKeys(a.Public())
	text := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"empty", nil},
		{"not PEM", []byte("hello\n")},
		{"text before", text([]byte("# comment\n"), public)},
		{"text after", text(public, []byte("x\n"))},
		{"empty line after", text(public, []byte("\n"))},
		{"text between", text(public, []byte("x\n"), EncodePublicKeys(b.Public()))},
		{"no last newline", bytes.TrimSuffix(public, []byte("\n"))},
		{"carriage returns", bytes.ReplaceAll(public, []byte("\n"), []byte("\r\n"))},
		{"header", bytes.Replace(public, []byte("KEY-----\n"), []byte("KEY-----\nName: x\n\n"), 1)},
		{"same key twice", text(public, public)},
		{"other type", EncodeBlock("PUBLIC KEY", a.Public().Bytes())},
		{"private key", private},
		{"short", EncodeBlock(publicBlock, a.Public().Bytes()[1:])},
		{"cut", public[:len(public)/2]},
	} {
		t.Run("public/"+c.name, func(t *testing.T) {
			if keys, err := ParsePublicKeys(c.text); !errors.Is(err, ErrPEM) {
				t.Errorf("got %d keys and %v, want ErrPEM", len(keys), err)
			}
		})
	}
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"empty", nil},
		{"public key", public},
		{"two keys", text(private, private)},
		{"text before", text([]byte("x\n"), private)},
		{"text after", text(private, []byte("x\n"))},
		{"long seed", EncodeBlock(privateBlock, append(a.Seed(), 0))},
	} {
		t.Run("private/"+c.name, func(t *testing.T) {
			if _, err := ParsePrivateKey(c.text); !errors.Is(err, ErrPEM) {
				t.Errorf("got %v, want ErrPEM", err)
			}
		})
	}
}

// What is accepted re-encodes to the same bytes: a key list has one text form.
func FuzzParsePublicKeys(f *testing.F) {
	a, b := testKey(f, "a"), testKey(f, "b")
	f.Add(EncodePublicKeys(a.Public()))
	f.Add(EncodePublicKeys(a.Public(), b.Public()))
	f.Add(EncodePrivateKey(a))
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, err := ParsePublicKeys(text); err == nil {
			if !bytes.Equal(EncodePublicKeys(keys...), text) {
				t.Error("accepted text re-encodes differently")
			}
		}
		if k, err := ParsePrivateKey(text); err == nil {
			if !bytes.Equal(EncodePrivateKey(k), text) {
				t.Error("accepted text re-encodes differently")
			}
		}
	})
}

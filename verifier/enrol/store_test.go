package enrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// enrolled makes a record that is as good as any.
func enrolled(t testing.TB) *Host {
	t.Helper()
	ca, roots := vendor(t, "vendor")
	tpm := manufacture(t, ca, nil)
	p, err := Begin(identity(t, tpm), roots, now)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := tpm.Activate(p.Credential, p.Secret)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p.Finish(secret)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	// Characters that mean something in a pattern.
	dir := filepath.Join(t.TempDir(), "[a]*?", "hosts")
	s := openStore(t, dir)
	if l, err := s.List(); err != nil || len(l) != 0 {
		t.Errorf("an empty store lists %d, %v", len(l), err)
	}
	a, b := enrolled(t), enrolled(t)
	if a.ID > b.ID {
		a, b = b, a
	}
	a.Floor, a.Baselines = 7, map[string]map[string]string{"": {"0": strings.Repeat("ab", 32)}}
	for _, h := range []*Host{b, a, a} {
		if err := s.Put(h); err != nil {
			t.Fatal(err)
		}
	}
	got, err := openStore(t, dir).Get(a.ID)
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("read %+v, %v; want %+v", got, err, a)
	}
	l, err := s.List()
	if err != nil || len(l) != 2 || l[0].ID != a.ID || l[1].ID != b.ID {
		t.Errorf("lists %d, %v", len(l), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%d files, want 2: nothing may be left of writing", len(names))
	}
	for _, n := range names {
		if fi, err := n.Info(); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", n.Name(), fi.Mode(), err)
		}
	}
	if err := s.Remove(a.ID); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{"read": get(s, a.ID), "removed": s.Remove(a.ID)} {
		if !errors.Is(err, ErrUnknownHost) || !strings.Contains(err.Error(), a.ID) {
			t.Errorf("%s after it was removed: %v, want ErrUnknownHost that names it", name, err)
		}
	}
}

func get(s *Store, id string) error {
	_, err := s.Get(id)
	return err
}

// TestIDs: an id never leads out of the folder.
func TestIDs(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, id := range []string{"", "host-", "../host-0123456789abcdef", "host-0123456789ABCDEF", "host-0123456789abcdef/x", "host-0123456789abcdef\n", "host-0123456789abcdeg"} {
		h := enrolled(t)
		h.ID = id
		for name, err := range map[string]error{"Put": s.Put(h), "Get": get(s, id), "Remove": s.Remove(id)} {
			if err == nil || !strings.Contains(err.Error(), "malformed") {
				t.Errorf("%s %q: %v", name, id, err)
			}
		}
	}
}

// TestDamaged: a record is believed without proof, so one that does not agree
// with itself is not read, and the message names the file and what to do.
func TestDamaged(t *testing.T) {
	h, other := enrolled(t), enrolled(t)
	whole, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func(*Host)) string {
		c := *h
		f(&c)
		b, err := json.Marshal(&c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "end of JSON"},
		{"cut", string(whole[:len(whole)/2]), "end of JSON"},
		{"zeros", string(make([]byte, 4096)), "invalid character"},
		{"null", "null", "id: expected"},
		{"a list", "[]", "cannot unmarshal"},
		{"two records", string(whole) + string(whole), "invalid character"},
		{"negative floor", strings.Replace(string(whole), `"floor":0`, `"floor":-1`, 1), "cannot unmarshal"},
		{"of another host", edit(func(c *Host) { *c = *other }), "id: expected"},
		{"another EK", edit(func(c *Host) { c.EKHash = other.EKHash }), "ek_sha256: expected"},
		{"no EK", edit(func(c *Host) { c.EKHash = "" }), "ek_sha256: expected"},
		{"no AK", edit(func(c *Host) { c.AKPublic = nil }), "ak_public: attestation key"},
		{"another AK", edit(func(c *Host) { c.AKPublic = other.AKPublic }), "ak_name: expected"},
		{"another AK's name", edit(func(c *Host) { c.AKName = other.AKName }), "ak_name: expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir)
			if err := s.Put(other); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, h.ID+".json")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := s.Get(h.ID)
			if got != nil || err == nil || errors.Is(err, ErrUnknownHost) {
				t.Fatalf("read as %+v, %v", got, err)
			}
			for _, want := range []string{c.want, file, "damaged", "enrol the host again"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: does not say %q", err, want)
				}
			}
			if l, err := s.List(); len(l) != 1 || l[0].ID != other.ID || err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%d listed, %v: the good one must be listed, the damaged one named", len(l), err)
			}
			if err := s.Remove(h.ID); err != nil {
				t.Errorf("the remedy does not work: %v", err)
			}
			if err := s.Put(h); err != nil || get(s, h.ID) != nil {
				t.Errorf("the remedy does not work: %v", err)
			}
		})
	}
	s := openStore(t, t.TempDir())
	for _, name := range []string{"host-short.json", ".new-1", "notes.txt", "host-0123456789abcdef.json.bak"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := s.List(); len(l) != 0 || err == nil || !strings.Contains(err.Error(), "host-short") || strings.Contains(err.Error(), "notes") {
		t.Errorf("%d listed, %v: only what looks like a record is one", len(l), err)
	}
}

// TestConcurrent: readers see one whole record or another, and nothing is left
// behind.
func TestConcurrent(t *testing.T) {
	s := openStore(t, t.TempDir())
	h := enrolled(t)
	h.EKIssuer, h.Baselines = "i", map[string]map[string]string{"": {"0": "a"}}
	if err := s.Put(h); err != nil {
		t.Fatal(err)
	}
	const writers, rounds = 8, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				c := *h
				c.EKIssuer = strings.Repeat("i", 1+w*rounds+i)
				c.Baselines = map[string]map[string]string{"": {"0": strings.Repeat("a", len(c.EKIssuer))}}
				if err := s.Put(&c); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				got, err := s.Get(h.ID)
				if err != nil {
					t.Errorf("reader %d: %v", w, err)
				} else if n := len(got.Baselines[""]["0"]); n != len(got.EKIssuer) {
					t.Errorf("a mixed record: issuer of %d bytes with %d digits", len(got.EKIssuer), n)
				}
				if _, err := s.List(); err != nil {
					t.Errorf("list %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	if names, err := os.ReadDir(s.dir); err != nil || len(names) != 1 {
		t.Errorf("%d files, %v; want 1", len(names), err)
	}
}

// TestNoSpace: a record that cannot be written leaves the old one, and the cause
// can be told from the error.
func TestNoSpace(t *testing.T) {
	t.Run("folder is gone", func(t *testing.T) {
		s := openStore(t, filepath.Join(t.TempDir(), "hosts"))
		if err := os.Remove(s.dir); err != nil {
			t.Fatal(err)
		}
		h := enrolled(t)
		if err := s.Put(h); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), h.ID) {
			t.Errorf("%v, want one that names the host", err)
		}
		if _, err := s.List(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a store that is gone lists: %v", err)
		}
	})
	t.Run("folder is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "hosts")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(file); err == nil || !strings.Contains(err.Error(), "host records") {
			t.Errorf("%v", err)
		}
	})
	t.Run("file size limit", func(t *testing.T) {
		// The limit on the size of files stands for a full disk: it holds for root
		// too, and what is written before it is reached stays written.
		s := openStore(t, t.TempDir())
		h := enrolled(t)
		if err := s.Put(h); err != nil {
			t.Fatal(err)
		}
		large := *h
		large.Floor = 9
		large.Baselines = map[string]map[string]string{"": {"0": strings.Repeat("a", 1<<16)}}
		err := limited(t, 1<<12, func() error { return s.Put(&large) })
		if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), h.ID) {
			t.Errorf("%v, want EFBIG that names the host", err)
		}
		if got, err := s.Get(h.ID); err != nil || got.Floor != 0 {
			t.Errorf("the old record: %+v, %v", got, err)
		}
		if names, err := os.ReadDir(s.dir); err != nil || len(names) != 1 {
			t.Errorf("%d files, %v; want 1: nothing may be left of a write that failed", len(names), err)
		}
	})
}

// limited runs f while files cannot grow beyond size bytes.
func limited(t *testing.T, size uint64, f func() error) error {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	// Go's runtime ignores SIGXFSZ; the write fails with EFBIG.
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err := f()
	if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); e != nil {
		t.Fatal(e)
	}
	return err
}

// FuzzRecord: a file in the store is refused or reads as the host that it is named for.
func FuzzRecord(f *testing.F) {
	h := enrolled(f)
	b, err := json.Marshal(h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	s := openStore(f, f.TempDir())
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("%s.json", h.ID)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(h.ID); err == nil && (got.ID != h.ID || got.check(h.ID) != nil) {
			t.Errorf("read as %+v", got)
		}
	})
}

// The floor goes up, and by nothing down: not by a record that was read before.
func TestFloorNeverGoesDown(t *testing.T) {
	s, h := openStore(t, t.TempDir()), enrolled(t)
	if err := s.Put(h); err != nil {
		t.Fatal(err)
	}
	stale := *h
	if err := s.Raise(h.ID, 5); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(&stale); err != nil {
		t.Fatal(err)
	}
	if err := s.Raise(h.ID, 4); !errors.Is(err, ErrRequest) {
		t.Errorf("lowered: %v", err)
	}
	if got, err := s.Get(h.ID); err != nil || got.Floor != 5 {
		t.Errorf("floor %d, %v", got.Floor, err)
	}
	if err := s.Raise("host-0011223344556677", 1); !errors.Is(err, ErrUnknownHost) {
		t.Errorf("of nobody: %v", err)
	}
}

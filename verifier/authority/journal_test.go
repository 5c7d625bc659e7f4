package authority

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aios/captoken"
)

// step is how long the journal was after something was acknowledged, and what was
// remembered then.
type step struct {
	size int
	dump string
}

// history does some of everything and returns the journal as it grew.
func history(t testing.TB) ([]byte, []step) {
	t.Helper()
	w := newWorld(t)
	var steps []step
	mark := func() { steps = append(steps, step{len(w.disk.files[journalName].data), dump(t, w.a)}) }
	mark()
	h, other := w.host("host-1"), w.host("host-2")
	for _, do := range []func() error{
		func() error { h.attest("a", "b"); return nil },
		func() error { other.attest("a"); return nil },
		func() error { return w.a.RevokeToken(h.held["a"], "lost") },
		func() error { return w.a.RevokeLease(other.state.ID(other.mono()), "lost") },
		func() error { w.kill(captoken.Target{Agent: "b", Host: "host-1"}); return nil },
		func() error { return w.a.Lift(Stop{"b", "host-1"}, "over") },
		func() error {
			v := w.verdict("host-2")
			v.Status = "warning"
			if _, err := w.a.Grant(v, other.request()); !errors.Is(err, ErrVerdict) {
				return err
			}
			return nil
		},
		func() error { return w.a.RevokeSubject("c", "") },
		func() error { h.attest("a", "b"); return nil },
	} {
		w.tick(time.Second)
		if err := do(); err != nil {
			t.Fatal(err)
		}
		mark()
	}
	return bytes.Clone(w.disk.files[journalName].data), steps
}

func openBytes(t failer, b []byte) (*world, error) {
	w := newWorld(t)
	d := newDisk()
	d.files[journalName] = &memFile{d, bytes.Clone(b), len(b)}
	var err error
	w.disk = d
	w.a, err = Open(d, w.config)
	return w, err
}

// At whatever byte a crash cuts the journal, what was acknowledged before is there,
// nothing else is, and the state can be written again.
func TestCutAnywhere(t *testing.T) {
	whole, steps := history(t)
	for cut := steps[0].size; cut <= len(whole); cut++ {
		last := 0
		for i, s := range steps {
			if s.size <= cut {
				last = i
			}
		}
		// In the middle of a frame, which a signed list makes long, one byte is like another.
		if inside := cut - steps[last].size; inside > 64 && cut+64 < steps[min(last+1, len(steps)-1)].size && cut%13 != 0 {
			continue
		}
		for _, zeros := range []int{0, 1, len(whole) - cut} {
			b := append(bytes.Clone(whole[:cut]), make([]byte, zeros)...)
			w, err := openBytes(t, b)
			if err != nil {
				t.Fatalf("cut at %d of %d, %d zeros: %v", cut, len(whole), zeros, err)
			}
			if dump(t, w.a) != steps[last].dump {
				t.Fatalf("cut at %d of %d, %d zeros: the state is not that of step %d", cut, len(whole), zeros, last)
			}
			if torn := len(b) > steps[last].size; torn != (len(w.warned) == 1) {
				t.Fatalf("cut at %d of %d, %d zeros: warned of %q", cut, len(whole), zeros, w.warned)
			}
			r := w.a.revocation("later", "later")
			r.Stops = []Stop{{Agent: "later"}} // without a signature, for there are many bytes
			if err := w.a.commit(r); err != nil {
				t.Fatal(err)
			}
			want := dump(t, w.a)
			if w.reopen(w.disk); dump(t, w.a) != want {
				t.Fatalf("cut at %d: what was written afterwards is not there", cut)
			}
		}
	}
}

// Not one bit may change, wherever it is.
func TestDamage(t *testing.T) {
	whole, steps := history(t)
	refused := func(what string, b []byte, offset int) {
		t.Helper()
		_, err := openBytes(t, b)
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("%s: %v, want %v", what, err, ErrDamaged)
		}
		for _, part := range []string{"memory/journal", fmt.Sprintf("at byte %d:", offset), "restore the file from a backup"} {
			if !strings.Contains(err.Error(), part) {
				t.Fatalf("%s: %v does not say %q", what, err, part)
			}
		}
	}
	frame := func(at int) int { // where the frame begins that a byte is in
		begin := len(journalMagic)
		for _, s := range steps {
			if at >= s.size {
				begin = s.size
			}
		}
		if at < len(journalMagic) {
			begin = 0
		}
		return begin
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("byte %d", i), b, frame(i))
	}
	first, second := steps[1].size, steps[2].size
	refused("a record left out", append(bytes.Clone(whole[:first]), whole[second:]...), first)
	refused("a record twice", append(bytes.Clone(whole[:second]), whole[first:]...), second)
	refused("bytes between", append(append(bytes.Clone(whole[:first]), 0, 0, 0), whole[first:]...), first)
	refused("zeros in the middle", append(append(bytes.Clone(whole[:second-100]), make([]byte, 100)...), whole[second:]...), first)
	// Each frame belongs behind one other, also if the place is right.
	var twins [2][]byte
	var at int
	for i := range twins {
		w := newWorld(t)
		for _, name := range []string{fmt.Sprint("twin ", i), "same"} {
			at = len(w.disk.files[journalName].data)
			if err := w.a.RevokeToken(id(name), "test"); err != nil {
				t.Fatal(err)
			}
		}
		twins[i] = w.disk.files[journalName].data
	}
	refused("a record of another journal", append(bytes.Clone(twins[0][:at]), twins[1][at:]...), at)
	refused("empty", nil, 0)
	refused("another file", []byte("another file"), 0)
	refused("without its first record", whole[:len(journalMagic)], len(journalMagic))
}

// A snapshot is good as a whole or not at all: it is never cut by a crash.
func TestSnapshotCut(t *testing.T) {
	w := newWorld(t)
	w.host("host-1").attest("a")
	if err := w.a.Compact(); err != nil {
		t.Fatal(err)
	}
	b := w.disk.files[journalName].data
	for cut := range b {
		if _, err := openBytes(t, b[:cut]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
		}
	}
}

// Records that no authority writes, under good checks.
func TestRecordsRefused(t *testing.T) {
	signed := func(sequence, epochOf uint64, agents ...string) []byte {
		l := captoken.RevocationList{Sequence: sequence, Epoch: epochOf, IssuedAt: epoch}
		l.Revoke(nil, nil, agents)
		raw, err := captoken.MintRevocations(tokenKey, l)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := record{At: epoch.UnixMilli(), Sequence: 3, Epoch: 2, List: signed(3, 2, "a"), What: "test", Operators: []operatorEntry{{Order: 5}}}
	for name, change := range map[string]func(*record){
		"time back":                func(r *record) { r.At-- },
		"sequence back":            func(r *record) { r.Sequence = 2 },
		"epoch back":               func(r *record) { r.Epoch-- },
		"order again":              func(r *record) { r.Operators = []operatorEntry{{Order: 5}} },
		"a snapshot in the middle": func(r *record) { r.Follow = 1 },
		"an epoch without a list":  func(r *record) { r.Epoch++ },
		"a list that is none":      func(r *record) { r.List = []byte("list") },
		"a list from before":       func(r *record) { r.List = signed(2, 2, "a", "b") },
		"a list of later":          func(r *record) { r.List = signed(5, 2, "a", "b") },
		"a list of another epoch":  func(r *record) { r.List = signed(4, 3, "a", "b") },
		"a list that lacks one":    func(r *record) { r.List = signed(4, 2, "b") },
		"a stop of nothing":        func(r *record) { r.Stops = []Stop{{}} },
		"no text":                  func(r *record) { r.What = "\xff" },
	} {
		second := good
		second.Operators, second.List, second.Sequence = nil, nil, 4
		change(&second)
		b := []byte(journalMagic)
		check := firstCheck()
		for _, r := range []record{good, second} {
			body, err := r.encode()
			if err != nil {
				t.Fatal(err)
			}
			b, check = appendFrame(b, int64(len(b)), check, body)
		}
		if _, err := openBytes(t, b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A disk that is full: a clear error, nothing half done, and all is well when there is
// room again.
func TestFullDisk(t *testing.T) {
	for room := 0; room < 8000; room += 23 {
		w := newWorld(t)
		h := w.host("host-1")
		h.attest("a")
		before, size := dump(t, w.a), len(w.disk.files[journalName].data)
		w.disk.room = room
		err := w.a.RevokeToken(h.held["a"], "lost")
		if err == nil { // there was room enough
			if room < 3500 {
				t.Fatalf("%d bytes were enough", room)
			}
			return
		}
		if !errors.Is(err, ErrStore) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free space under memory") {
			t.Fatalf("room for %d: %v", room, err)
		}
		if dump(t, w.a) != before || len(w.disk.files[journalName].data) != size || w.a.Sequence() != 0 {
			t.Fatalf("room for %d: something was done", room)
		}
		w.disk.room = -1
		if err := w.a.RevokeToken(h.held["a"], "lost"); err != nil {
			t.Fatalf("room for %d, then more: %v", room, err)
		}
		if w.reopen(w.disk); w.a.Sequence() != 1 {
			t.Fatalf("room for %d: after a restart the sequence is %d", room, w.a.Sequence())
		}
	}
	t.Fatal("8000 bytes were not enough")
}

// After an error that leaves the disk in doubt nothing is taken any more; a restart
// finds what was acknowledged, and goes on.
func TestDoubtfulDisk(t *testing.T) {
	for name, breakIt := range map[string]func(*memDisk){
		"sync fails":             func(d *memDisk) { d.syncErr = syscall.EIO },
		"power goes":             func(d *memDisk) { d.failing = errPower },
		"full and cannot be cut": func(d *memDisk) { d.room, d.syncErr = 10, syscall.EIO },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h := w.host("host-1")
			h.attest("a")
			before := dump(t, w.a)
			breakIt(w.disk)
			for i := range 2 {
				if err := w.a.RevokeToken(h.held["a"], "lost"); !errors.Is(err, ErrStore) {
					t.Fatalf("attempt %d: %v", i, err)
				}
				w.disk.room = -1
				w.disk.failing = nil
			}
			if _, err := w.a.Grant(w.verdict("host-1"), h.request()); !errors.Is(err, ErrStore) {
				t.Errorf("a grant: %v", err)
			}
			if err := w.a.Compact(); !errors.Is(err, ErrStore) {
				t.Errorf("a compaction: %v", err)
			}
			if dump(t, w.a) != before {
				t.Error("something was done")
			}
			w.reopen(w.disk.crashed(0, false))
			if dump(t, w.a) != before {
				t.Error("something was forgotten")
			}
			if err := w.a.RevokeToken(h.held["a"], "lost"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Wherever a compaction fails, the state is the same, before and after a restart.
func TestCompact(t *testing.T) {
	setUp := func() (*world, string) {
		w := newWorld(t, func(c *Config) { c.CompactAt = 1 << 30 })
		h := w.host("host-1")
		for range 20 {
			h.attest("a")
			w.tick(time.Second)
		}
		w.kill(captoken.Target{Agent: "a"})
		return w, dump(t, w.a)
	}
	w, before := setUp()
	size := len(w.disk.files[journalName].data)
	if err := w.a.Compact(); err != nil {
		t.Fatal(err)
	}
	small := len(w.disk.files[journalName].data)
	if dump(t, w.a) != before || small >= size || len(w.disk.files) != 1 {
		t.Errorf("%d bytes, were %d; %d files", small, size, len(w.disk.files))
	}
	if w.reopen(w.disk); dump(t, w.a) != before {
		t.Error("the state is another after a restart")
	}
	for room := 0; room < small; room += 41 {
		w, before := setUp()
		w.disk.room = room
		if err := w.a.Compact(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d: %v", room, err)
		}
		w.disk.room = -1
		if err := w.a.RevokeToken(id("later"), "later"); err != nil || len(w.disk.files) != 1 {
			t.Fatalf("room for %d: %v, %d files", room, err, len(w.disk.files))
		}
		w, before = setUp()
		w.disk.room, w.disk.crash = room, true
		if err := w.a.Compact(); !errors.Is(err, errPower) {
			t.Fatalf("crash after %d: %v", room, err)
		}
		if w.reopen(w.disk.crashed(3, false)); dump(t, w.a) != before || len(w.disk.files) != 1 {
			t.Fatalf("crash after %d: the state is another", room)
		}
	}
	// The name is not durable: from then on nothing may be acknowledged.
	w, before = setUp()
	w.disk.dirErr = syscall.EIO
	if err := w.a.Compact(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := w.a.RevokeToken(id("later"), "later"); !errors.Is(err, ErrStore) {
		t.Error(err)
	}
}

// A snapshot that was not finished is thrown away.
func TestUnfinishedSnapshot(t *testing.T) {
	w := newWorld(t)
	if err := w.a.RevokeToken(id("x"), "test"); err != nil {
		t.Fatal(err)
	}
	d := w.disk.crashed(0, false)
	d.files[newName] = &memFile{d, []byte(journalMagic), 0}
	if w.reopen(d); w.a.Sequence() != 1 || len(d.files) != 1 {
		t.Errorf("sequence %d, %d files", w.a.Sequence(), len(d.files))
	}
}

// A journal that grows is written anew by itself, and a failure of that takes nothing back.
func TestCompactByItself(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.CompactAt = 4096 })
	h := w.host("host-1")
	most := 0
	for range 300 {
		h.attest("a")
		w.tick(time.Second)
		most = max(most, len(w.disk.files[journalName].data))
	}
	if most > 8192 {
		t.Errorf("the journal had %d bytes", most)
	}
	before := dump(t, w.a)
	if w.reopen(w.disk); dump(t, w.a) != before {
		t.Error("the state is another after a restart")
	}
	for len(w.warned) == 0 {
		w.disk.dirErr = syscall.EIO
		h.attest("a")
		w.tick(time.Second)
	}
	if !strings.Contains(w.warned[0], "could not be written anew") {
		t.Errorf("warned of %q", w.warned)
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	open := func() (*Folder, *Authority, error) {
		d, err := OpenFolder(dir)
		if err != nil {
			return nil, nil, err
		}
		a, err := Open(d, Config{Key: tokenKey, Installation: installation, Create: true})
		if err != nil {
			d.Close()
		}
		return d, a, err
	}
	d, a, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeToken(id("x"), "test"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(); err == nil || !strings.Contains(err.Error(), "another verifier uses this folder") {
		t.Errorf("opened twice: %v", err)
	}
	name := filepath.Join(dir, journalName)
	for file, want := range map[string]os.FileMode{name: 0o600, dir: 0o700 | os.ModeDir} {
		if info, err := os.Stat(file); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if err := errors.Join(a.Compact(), a.RevokeToken(id("y"), "test"), a.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeToken(id("z"), "test"); !errors.Is(err, ErrStore) {
		t.Errorf("after Close: %v", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte{1, 2, 3}); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if d, a, err = open(); err != nil || a.Sequence() != 2 {
		t.Fatalf("%v, sequence", err)
	}
	if err := errors.Join(a.RevokeToken(id("z"), "test"), a.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others may read: %v", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d, Config{Key: tokenKey}); !errors.Is(err, ErrNoState) {
		t.Errorf("without a journal: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no key": {}, "lease": {Key: tokenKey, Lease: 25 * time.Hour}, "grace": {Key: tokenKey, Grace: -1},
		"token": {Key: tokenKey, TokenLife: time.Millisecond}, "share": {Key: tokenKey, QuorumPercent: 101},
	} {
		c.Create = true
		if _, err := Open(newDisk(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Everything at once, under the race detector: each revocation counts once.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.CompactAt = 2048 })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprintf("host-%d", i)
			for j := range 10 {
				q := Request{Nonce: [32]byte{1}, Boot: id(name), Agents: []Assignment{{Agent: "a", Holder: holder}}}
				if _, err := w.a.Grant(w.verdict(name), q); err != nil {
					t.Error(err)
				}
				if err := w.a.RevokeToken(id(fmt.Sprint(i, " ", j)), "test"); err != nil {
					t.Error(err)
				}
				w.a.Orders(name)
				w.a.Stops()
			}
		})
	}
	all.Wait()
	if w.reopen(w.disk); w.a.Sequence() != 80 || len(w.revoked().Tokens) != 80 {
		t.Errorf("sequence %d, %d tokens", w.a.Sequence(), len(w.revoked().Tokens))
	}
}

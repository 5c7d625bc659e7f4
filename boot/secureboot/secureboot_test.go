package secureboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aios/boot/predict"
)

var now = time.Date(2026, 11, 23, 9, 30, 1, 0, time.UTC)

func makeKeys(t testing.TB) (*Keys, string) {
	t.Helper()
	dir := t.TempDir()
	k, made, err := EnsureKeys(dir, now)
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	return k, dir
}

func TestKeysAreMadeOnceAndPrivate(t *testing.T) {
	k, dir := makeKeys(t)
	again, made, err := EnsureKeys(dir, now.Add(time.Hour))
	if err != nil || made {
		t.Fatalf("second time: made %v, %v", made, err)
	}
	for name, p := range k.pairs() {
		if !again.pairs()[name].Cert.Equal(p.Cert) || !again.pairs()[name].Key.Equal(p.Key) {
			t.Errorf("%s is another one the second time", name)
		}
		if fi, err := os.Stat(filepath.Join(dir, name+".key")); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s.key: %v, %v", name, fi.Mode(), err)
		}
	}
	if k.PK.Key.Equal(k.Db.Key) {
		t.Error("one key for two purposes")
	}
}

// Whatever is wrong with key files, they are not replaced.
func TestBadKeyFiles(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(dir string) error
	}{
		{"readable by others", "chmod 600", func(d string) error { return os.Chmod(d+"/db.key", 0o644) }},
		{"damaged", "no PEM block", func(d string) error { return os.WriteFile(d+"/db.key", []byte("x"), 0o600) }},
		{"certificate of another key", "not the certificate", func(d string) error {
			b, _ := os.ReadFile(d + "/PK.crt")
			return os.WriteFile(d+"/db.crt", b, 0o644)
		}},
		{"no certificate", "has no certificate", func(d string) error { return os.Remove(d + "/db.crt") }},
	} {
		_, dir := makeKeys(t)
		before, _ := os.ReadFile(dir + "/PK.key")
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, _, err := EnsureKeys(dir, now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if after, _ := os.ReadFile(dir + "/PK.key"); !bytes.Equal(before, after) {
			t.Errorf("%s: another key was changed", c.name)
		}
	}
}

// A start that was interrupted between certificate and key is started over.
func TestInterruptedStart(t *testing.T) {
	_, dir := makeKeys(t)
	if err := os.Remove(dir + "/db.key"); err != nil {
		t.Fatal(err)
	}
	if _, made, err := EnsureKeys(dir, now); err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
}

// emptyStore is what Debian's OVMF_VARS_4M.fd looks like where it matters.
func emptyStore() []byte {
	b := bytes.Repeat([]byte{erased}, 64<<10)
	copy(b, make([]byte, 0x48+storeHeaderSize))
	copy(b[volumeSignature:], "_FVH")
	binary.LittleEndian.PutUint16(b[volumeHeaderLen:], 0x48)
	copy(b[0x48:], authenticatedStore[:])
	binary.LittleEndian.PutUint32(b[0x48+storeSizeAt:], 60<<10)
	b[0x48+storeFormatAt], b[0x48+storeFormatAt+1] = storeFormatted, storeHealthy
	return b
}

func TestEnrol(t *testing.T) {
	k, _ := makeKeys(t)
	for _, enforce := range []bool{true, false} {
		store, err := k.Enrol(emptyStore(), now, enforce)
		if err != nil {
			t.Fatal(err)
		}
		vars, err := List(store)
		if err != nil || len(vars) != 4 {
			t.Fatalf("%d variables, %v", len(vars), err)
		}
		got := map[string][]byte{}
		for _, v := range vars {
			if !v.Valid() {
				t.Errorf("%s is not valid", v.Name)
			}
			got[v.Name] = v.Data
		}
		want := k.Variables()
		on := byte(0)
		if enforce {
			on = 1
		}
		for name, data := range map[string][]byte{"PK": want.PK, "KEK": want.KEK, "db": want.Db, "SecureBootEnable": {on}} {
			if !bytes.Equal(got[name], data) {
				t.Errorf("enforce %v: %s is %x", enforce, name, got[name])
			}
		}
		if !bytes.Contains(want.Db, k.Db.Cert.Raw) || bytes.Contains(want.Db, k.PK.Cert.Raw) {
			t.Error("db must hold the db certificate and no other")
		}
	}
}

func TestEnrolRefuses(t *testing.T) {
	k, _ := makeKeys(t)
	enrolled, err := k.Enrol(emptyStore(), now, true)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func(b []byte)) []byte { b := emptyStore(); f(b); return b }
	for _, c := range []struct {
		name  string
		store []byte
	}{
		{"nothing", nil},
		{"no volume", edit(func(b []byte) { b[volumeSignature] = 0 })},
		{"another store", edit(func(b []byte) { b[0x48]++ })},
		{"unformatted", edit(func(b []byte) { b[0x48+storeFormatAt] = 0 })},
		{"larger than the flash", edit(func(b []byte) { binary.LittleEndian.PutUint32(b[0x48+storeSizeAt:], 1<<30) })},
		{"too small", edit(func(b []byte) { binary.LittleEndian.PutUint32(b[0x48+storeSizeAt:], 1000) })},
		{"keys of someone else", enrolled},
		{"a variable beyond the end", edit(func(b []byte) {
			copy(b[0x48+storeHeaderSize:], make([]byte, variableHeader))
			binary.LittleEndian.PutUint16(b[0x48+storeHeaderSize:], variableStart)
			binary.LittleEndian.PutUint32(b[0x48+storeHeaderSize+40:], 1<<31)
		})},
	} {
		if _, err := k.Enrol(c.store, now, true); !errors.Is(err, ErrVarstore) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// program is a small PE32+ image; sections are not needed to sign it.
func program() []byte {
	le := binary.LittleEndian
	b := make([]byte, 1024)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	coff := b[0x44:]
	le.PutUint16(coff, 0x8664)
	le.PutUint16(coff[2:], 1)
	le.PutUint16(coff[16:], 240)
	le.PutUint16(coff[18:], 0x22)
	opt := coff[20:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[32:], 512)  // section alignment
	le.PutUint32(opt[36:], 512)  // file alignment
	le.PutUint32(opt[56:], 1024) // image
	le.PutUint32(opt[60:], 512)  // headers
	le.PutUint16(opt[68:], 10)   // EFI application
	le.PutUint32(opt[108:], 16)
	sec := opt[240:]
	copy(sec, ".text")
	le.PutUint32(sec[8:], 512)
	le.PutUint32(sec[12:], 512)
	le.PutUint32(sec[16:], 512)
	le.PutUint32(sec[20:], 512)
	return b
}

func TestSign(t *testing.T) {
	k, _ := makeKeys(t)
	plain := program()
	signed, err := Sign(plain, k.Db)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(signed, k.Db); err != nil {
		t.Error(err)
	}
	if Verify(signed, k.KEK) == nil {
		t.Error("another key's certificate verified it")
	}
	if Verify(plain, k.Db) == nil {
		t.Error("an unsigned program verified")
	}
	changed := bytes.Clone(signed)
	changed[600] ^= 1
	if Verify(changed, k.Db) == nil {
		t.Error("a changed program verified")
	}
	before, err1 := predict.Authenticode(plain)
	after, err2 := predict.Authenticode(signed)
	if err1 != nil || err2 != nil || before[predict.SHA256].String() != after[predict.SHA256].String() {
		t.Errorf("signing changed what is measured: %v, %v", err1, err2)
	}
	if _, err := Sign(plain[:1021], k.Db); err == nil {
		t.Error("a program of odd length was signed")
	}
}

func TestMissingFolder(t *testing.T) {
	if _, _, err := EnsureKeys(filepath.Join(t.TempDir(), "missing"), now); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

// A variable store is a file that someone may have prepared for us.
func FuzzList(f *testing.F) {
	f.Add(emptyStore()[:4096])
	f.Fuzz(func(t *testing.T, flash []byte) {
		vars, err := List(flash)
		if err != nil && !errors.Is(err, ErrVarstore) {
			t.Fatal(err)
		}
		for _, v := range vars {
			if len(v.Data) > len(flash) {
				t.Fatal("data from nowhere")
			}
		}
	})
}

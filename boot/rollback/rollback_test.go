package rollback

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2/transport"
	"pgregory.net/rapid"
)

// machine is a TPM that can be reset: the fake one here, swtpm under the tag swtpm.
type machine interface {
	transport.TPM
	reset()
}

// life is the story of a floor, told against any TPM.
func life(t *testing.T, tpm machine) {
	t.Helper()
	expect := func(floor uint64, defined bool) {
		t.Helper()
		f, d, err := Read(tpm)
		if err != nil || f != floor || d != defined {
			t.Fatalf("Read = %d, %v, %v; want %d, %v", f, d, err, floor, defined)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect(0, false)
	if err := Raise(tpm, 3); !errors.Is(err, ErrUndefined) {
		t.Fatalf("raise before provisioning: %v, want ErrUndefined", err)
	}
	if err := Lock(tpm); !errors.Is(err, ErrUndefined) {
		t.Fatalf("lock before provisioning: %v, want ErrUndefined", err)
	}
	ok(Provision(tpm, 5))
	expect(5, true)
	ok(Raise(tpm, 4)) // never lowers
	expect(5, true)
	ok(Provision(tpm, 0))
	expect(5, true)
	ok(Raise(tpm, 1<<40))
	expect(1<<40, true)
	ok(Provision(tpm, 1<<40+1))
	expect(1<<40+1, true)

	ok(Lock(tpm))
	ok(Lock(tpm))
	expect(1<<40+1, true)
	if err := Raise(tpm, 1<<41); !errors.Is(err, ErrLocked) {
		t.Fatalf("raise while locked: %v, want ErrLocked", err)
	}
	ok(Raise(tpm, 7)) // nothing to write
	expect(1<<40+1, true)

	tpm.reset()
	expect(1<<40+1, true)
	ok(Raise(tpm, 1<<64-1))
	expect(1<<64-1, true)
}

func TestLife(t *testing.T) { life(t, &fakeTPM{t: t}) }

// The index is an interface with the boot stages in the field: its attributes, and the
// bytes that make and write it, may not change by accident.
func TestCommandBytes(t *testing.T) {
	tpm := &fakeTPM{t: t}
	if err := Provision(tpm, 0x0102030405060708); err != nil {
		t.Fatal(err)
	}
	const session = "00000009" + "40000009" + "0000" + "00" + "0000"
	for _, want := range []string{
		// NV_DefineSpace: no authorization; index, SHA-256, attributes, no policy, 8 bytes.
		"8002" + "0000002d" + "0000012a" + "40000001" + session + "0000" +
			"000e" + "01800a10" + "000b" + "02065002" + "0000" + "0008",
		// NV_Write by the owner, all eight bytes at 0.
		"8002" + "0000002b" + "00000137" + "40000001" + "01800a10" + session +
			"0008" + "0102030405060708" + "0000",
		// NV_Read with the index's own, empty, authorization.
		"8002" + "00000023" + "0000014e" + "01800a10" + "01800a10" + session +
			"0008" + "0000",
	} {
		found := false
		for _, c := range tpm.commands {
			found = found || c == want
		}
		if !found {
			t.Errorf("%s was not sent; sent were\n%s", want, strings.Join(tpm.commands, "\n"))
		}
	}
}

// A crash between defining and writing leaves an index without a value. It reads as no
// floor, and provisioning again finishes the job.
func TestInterruptedProvision(t *testing.T) {
	tpm := &fakeTPM{t: t, fail: map[uint32]uint32{ccWrite: 0x923}}
	if err := Provision(tpm, 5); err == nil {
		t.Fatal("Provision succeeded although the write failed")
	}
	if !tpm.defined || tpm.written {
		t.Fatal("the test did not stop where it should")
	}
	tpm.fail = nil
	if floor, defined, err := Read(tpm); floor != 0 || defined || err != nil {
		t.Errorf("Read = %d, %v, %v; want no floor", floor, defined, err)
	}
	if err := Provision(tpm, 5); err != nil {
		t.Fatal(err)
	}
	if floor, defined, err := Read(tpm); floor != 5 || !defined || err != nil {
		t.Errorf("Read = %d, %v, %v; want 5", floor, defined, err)
	}
}

func publicBytes(t *testing.T, text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// An index that somebody else made must be taken neither for a floor nor for none.
func TestForeignIndex(t *testing.T) {
	for _, c := range []struct{ name, public string }{
		{"written by index authorization", "01800a10000b020650060000" + "0008"},
		{"written by the platform", "01800a10000b020650030000" + "0008"},
		{"written under a policy", "01800a10000b0206500a0000" + "0008"},
		{"made by the platform", "01800a10000b420650020000" + "0008"},
		{"cleared by a restart", "01800a10000b0a0650020000" + "0008"},
		{"kept in RAM", "01800a10000b060650020000" + "0008"},
		{"a counter", "01800a10000b020650120000" + "0008"},
		{"a bit field", "01800a10000b020650220000" + "0008"},
		{"cannot be locked", "01800a10000b020610020000" + "0008"},
		{"partial writes", "01800a10000b020640020000" + "0008"},
		{"SHA-1 name", "01800a100004020650020000" + "0008"},
		{"a policy", "01800a10000b020650020020" + strings.Repeat("ab", 32) + "0008"},
		{"longer", "01800a10000b020650020000" + "0009"},
		{"shorter", "01800a10000b020650020000" + "0004"},
		{"another index", "01800a11000b020650020000" + "0008"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tpm := &fakeTPM{t: t, defined: true, written: true, public: publicBytes(t, c.public), data: make([]byte, 8)}
			if _, defined, err := Read(tpm); defined || !errors.Is(err, ErrForeign) {
				t.Errorf("Read: defined %v, %v; want ErrForeign", defined, err)
			}
			for name, f := range map[string]func() error{
				"Provision": func() error { return Provision(tpm, 1) },
				"Raise":     func() error { return Raise(tpm, 1) },
				"Lock":      func() error { return Lock(tpm) },
			} {
				if err := f(); !errors.Is(err, ErrForeign) {
					t.Errorf("%s: %v, want ErrForeign", name, err)
				}
			}
			if binary.BigEndian.Uint64(tpm.data) != 0 || tpm.locked {
				t.Error("the foreign index was changed")
			}
		})
	}
}

// Whatever goes wrong in the TPM is an error, never "no floor".
func TestFailures(t *testing.T) {
	provisioned := func(t *testing.T) *fakeTPM {
		tpm := &fakeTPM{t: t}
		if err := Provision(tpm, 5); err != nil {
			t.Fatal(err)
		}
		return tpm
	}
	for _, c := range []struct {
		name    string
		command uint32
		code    uint32
		do      func(*fakeTPM) error
	}{
		{"attributes unreadable", ccReadPublic, 0x101, func(f *fakeTPM) error { _, _, err := Read(f); return err }},
		{"value unreadable", ccRead, 0x101, func(f *fakeTPM) error { _, _, err := Read(f); return err }},
		{"read locked", ccRead, rcLocked, func(f *fakeTPM) error { _, _, err := Read(f); return err }},
		{"write fails", ccWrite, 0x923, func(f *fakeTPM) error { return Raise(f, 9) }},
		{"lock fails", ccWriteLock, 0x923, func(f *fakeTPM) error { return Lock(f) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tpm := provisioned(t)
			tpm.fail = map[uint32]uint32{c.command: c.code}
			if err := c.do(tpm); err == nil || !strings.Contains(err.Error(), "0x01800a10") {
				t.Errorf("err = %v, want one that names the index", err)
			}
		})
	}
	t.Run("owner password", func(t *testing.T) {
		tpm := provisioned(t)
		tpm.ownerAuth = "secret"
		if err := Raise(tpm, 9); err == nil || !strings.Contains(err.Error(), "empty owner authorization") {
			t.Errorf("err = %v, want the remedy", err)
		}
		if floor, _, err := Read(tpm); floor != 5 || err != nil {
			t.Errorf("Read needs the owner: %d, %v", floor, err)
		}
	})
	t.Run("write without effect", func(t *testing.T) {
		tpm := provisioned(t)
		tpm.forgetWrite = true
		if err := Raise(tpm, 9); err == nil || !strings.Contains(err.Error(), "wrote 9 and read 5 back") {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("lock without effect", func(t *testing.T) {
		tpm := provisioned(t)
		tpm.forgetLock = true
		if err := Lock(tpm); err == nil {
			t.Error("Lock believed the TPM")
		}
	})
	t.Run("transport fails", func(t *testing.T) {
		if _, defined, err := Read(broken{}); defined || err == nil {
			t.Errorf("defined %v, err %v", defined, err)
		}
	})
}

type broken struct{}

func (broken) Send([]byte) ([]byte, error) { return nil, errors.New("no TPM") }

// Over any sequence of calls the floor never goes down.
func TestNeverLowered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tpm := &fakeTPM{t: t}
		var have uint64
		var defined bool
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			v := rapid.Uint64Range(0, 20).Draw(rt, "floor")
			switch rapid.IntRange(0, 3).Draw(rt, "call") {
			case 0:
				if err := Provision(tpm, v); err == nil {
					have, defined = max(have, v), true
				}
			case 1:
				if err := Raise(tpm, v); err == nil {
					have = max(have, v)
				}
			case 2:
				_ = Lock(tpm) // fails while there is no floor
			case 3:
				tpm.reset()
			}
			floor, d, err := Read(tpm)
			if err != nil || floor != have || d != defined {
				rt.Fatalf("Read = %d, %v, %v; want %d, %v", floor, d, err, have, defined)
			}
		}
	})
}

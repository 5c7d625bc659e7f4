package abi

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// The entry code addresses these fields by number.
func TestUserContextOffsets(t *testing.T) {
	order := []string{"R15", "R14", "R13", "R12", "R11", "R10", "R9", "R8", "BP", "DI", "SI", "DX", "CX", "BX", "AX",
		"Vec", "Err", "RIP", "CS", "Flags", "SP", "SS", "CR3", "Quota", "CR2", "Reason", "FS", "FX", "Fast", "Kicked", "ID", "Began"}
	typ := reflect.TypeFor[UserContext]()
	if typ.NumField() != len(order) || typ.Size() != uintptr(8*len(order)) {
		t.Fatalf("UserContext has %d fields in %d bytes, want %d fields of 8", typ.NumField(), typ.Size(), len(order))
	}
	for i, name := range order {
		f := typ.Field(i)
		if f.Name != name || f.Offset != uintptr(8*i) {
			t.Errorf("field %d is %s at %d, want %s at %d", i, f.Name, f.Offset, name, 8*i)
		}
	}
}

func TestCallTable(t *testing.T) {
	if len(Calls) != int(callEnd-FirstCall) || len(Calls) < 21 {
		t.Fatalf("%d calls described, %d numbered", len(Calls), callEnd-FirstCall)
	}
	for i, c := range Calls {
		if c.Number != FirstCall+Number(i) {
			t.Errorf("call %s stands at %d but has number %#x", c.Name, i, c.Number)
		}
		if Lookup(uint64(c.Number)) != &Calls[i] {
			t.Errorf("Lookup(%#x) is not %s", c.Number, c.Name)
		}
		if len(c.Args) > 5 {
			t.Errorf("%s: %d arguments do not fit the registers", c.Name, len(c.Args))
		}
		for j, a := range c.Args {
			if a.Kind != Value && (j+1 == len(c.Args) || c.Args[j+1].Kind != Value) {
				t.Errorf("%s: %s has no length after it", c.Name, a.Name)
			}
		}
		for _, e := range c.Errors {
			if e.text() == "" {
				t.Errorf("%s: error %d has no text", c.Name, e)
			}
		}
		if c.Metered != 0 && (int(c.Metered) > len(c.Args) || c.Args[c.Metered-1].Kind != Value) {
			t.Errorf("%s pays for argument %d, which is no number", c.Name, c.Metered)
		}
		if c.Doc == "" || c.Result == "" {
			t.Errorf("%s is not described", c.Name)
		}
	}
	for _, n := range []uint64{0, FirstCall - 1, uint64(callEnd), 1 << 63} {
		if Lookup(n) != nil {
			t.Errorf("Lookup(%#x) found a call", n)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct {
		rax  uint64
		want error
	}{
		{0, nil}, {1, nil}, {1 << 63, nil},
		{BadHandle.Result(), BadHandle}, {NoCall.Result(), NoCall},
		{^uint64(MaxErrno) + 1, Errno(MaxErrno)}, {^uint64(MaxErrno), nil},
	} {
		v, err := Decode(c.rax)
		if !errors.Is(err, c.want) || err == nil && v != c.rax {
			t.Errorf("Decode(%#x) = %d, %v; want error %v", c.rax, v, err, c.want)
		}
	}
	if Errno(999).Error() != "errno 999" {
		t.Error("an unknown errno must print its number")
	}
}

func TestHandle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i, g := rapid.Uint32().Draw(t, "index"), rapid.Uint32().Draw(t, "generation")
		if h := MakeHandle(i, g); h.Index() != i || h.Generation() != g {
			t.Fatalf("handle %#x splits into %d, %d", uint64(h), h.Index(), h.Generation())
		}
	})
}

func TestStrings(t *testing.T) {
	if s := (RightRead | RightControl).String(); s != "read|control" {
		t.Error(s)
	}
	if Rights(0).String() != "none" || TypeBlob.String() != "blob" || Type(200).String() != "unknown" {
		t.Error("names")
	}
}

func FuzzFields(f *testing.F) {
	f.Add(Message([]byte("a"), nil, []byte("bcd")), 3)
	f.Add([]byte{255, 255, 255, 255}, 1)
	f.Fuzz(func(t *testing.T, msg []byte, n int) {
		if n < 0 || n > 64 {
			return
		}
		fields, err := Fields(msg, n)
		if err != nil {
			if !errors.Is(err, ErrField) {
				t.Fatalf("error %v is not ErrField", err)
			}
			return
		}
		if !bytes.Equal(Message(fields...), msg) {
			t.Fatalf("%x was accepted but encodes to %x", msg, Message(fields...))
		}
	})
}

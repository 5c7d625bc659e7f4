package cap

import (
	"testing"

	"aios/kernel/abi"
)

// counted is an object that counts how often its handle was closed.
type counted struct{ closed int }

func (c *counted) HandleClosed() { c.closed++ }

func TestTake(t *testing.T) {
	var tab Table
	a, b := &counted{}, &counted{}
	free, _ := tab.Insert(a, abi.TypeBlob, abi.RightRead|abi.RightTransfer)
	fixed, _ := tab.Insert(b, abi.TypeBlob, abi.RightRead)
	for _, c := range []struct {
		name    string
		handles []abi.Handle
		want    abi.Errno
	}{
		{"may not be passed on", []abi.Handle{free, fixed}, abi.Denied},
		{"twice", []abi.Handle{free, free}, abi.BadHandle},
		{"none", []abi.Handle{free, 0}, abi.BadHandle},
		{"outside", []abi.Handle{free, ^abi.Handle(0)}, abi.BadHandle},
	} {
		var got [2]Capability
		if e := tab.Take(c.handles, got[:]); e != c.want || got != [2]Capability{} {
			t.Errorf("%s: %v, took %v", c.name, e, got)
		}
		if tab.Check(free, abi.TypeBlob, abi.RightRead, 0) != 0 || tab.Check(fixed, abi.TypeBlob, abi.RightRead, 0) != 0 {
			t.Fatalf("%s: a handle is gone", c.name)
		}
	}
	var got [1]Capability
	if e := tab.Take([]abi.Handle{free}, got[:]); e != 0 || got[0] != (Capability{Object: a, Type: abi.TypeBlob, Rights: abi.RightRead | abi.RightTransfer}) {
		t.Errorf("took %v, %v", got[0], e)
	}
	if tab.Check(free, abi.TypeNone, 0, 0) != abi.BadHandle || a.closed != 0 {
		t.Error("a handle that was taken is valid, or its object was closed")
	}
	got[0].Drop()
	if tab.CloseAll() != 1 || a.closed != 1 || b.closed != 1 {
		t.Errorf("closed %d and %d times", a.closed, b.closed)
	}
}

func TestReserve(t *testing.T) {
	var tab Table
	var handles [8]abi.Handle
	for range Capacity - 8 {
		tab.Insert(nil, abi.TypeLog, 0)
	}
	if !tab.Reserve(handles[:]) {
		t.Fatal("eight slots are free")
	}
	if _, err := tab.Insert(nil, abi.TypeLog, 0); err == nil || tab.Reserve(make([]abi.Handle, 1)) {
		t.Error("a reserved slot was given away")
	}
	for _, h := range handles {
		if tab.Check(h, abi.TypeNone, 0, 0) != abi.BadHandle {
			t.Errorf("reserved handle %#x is valid", h)
		}
	}
	tab.Fill(handles[0], Capability{Object: "x", Type: abi.TypeBlob, Rights: abi.RightRead})
	if o, e := tab.Lookup(handles[0], abi.TypeBlob, abi.RightRead, 0); o != "x" || e != 0 {
		t.Errorf("filled: %v, %v", o, e)
	}
	tab.Release(handles[1:])
	if tab.Reserve(make([]abi.Handle, 8)) {
		t.Error("eight slots where seven are free")
	}
	var again [7]abi.Handle
	if !tab.Reserve(again[:]) {
		t.Error("what was released cannot be had")
	}
}

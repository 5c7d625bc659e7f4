package cap

import (
	"errors"
	"sync"
	"testing"

	"aios/kernel/abi"

	"pgregory.net/rapid"
)

func TestLookup(t *testing.T) {
	var tab Table
	stream, err := tab.Insert("stream", abi.TypeStream, abi.RightRead)
	if err != nil {
		t.Fatal(err)
	}
	closed, _ := tab.Insert("gone", abi.TypeBlob, abi.RightRead)
	if !tab.Close(closed) || tab.Close(closed) {
		t.Fatal("a handle closes exactly once")
	}
	reused, _ := tab.Insert("new", abi.TypeBlob, abi.RightRead)
	if reused.Index() != closed.Index() || reused == closed {
		t.Fatalf("slot of %#x was given out again as %#x", closed, reused)
	}
	for _, c := range []struct {
		name   string
		h      abi.Handle
		typ    abi.Type
		rights abi.Rights
		want   abi.Errno
	}{
		{"valid", stream, abi.TypeStream, abi.RightRead, 0},
		{"no right asked for", stream, abi.TypeStream, 0, 0},
		{"any type", stream, abi.TypeNone, abi.RightRead, 0},
		{"right missing", stream, abi.TypeStream, abi.RightWrite, abi.Denied},
		{"one of two rights missing", stream, abi.TypeStream, abi.RightRead | abi.RightWrite, abi.Denied},
		{"type before right", stream, abi.TypeBlob, abi.RightWrite, abi.WrongType},
		{"zero", 0, abi.TypeNone, 0, abi.BadHandle},
		{"closed", closed, abi.TypeBlob, abi.RightRead, abi.BadHandle},
		{"never made", abi.MakeHandle(77, 1), abi.TypeNone, 0, abi.BadHandle},
		{"never made, generation 0", abi.MakeHandle(77, 0), abi.TypeNone, 0, abi.BadHandle},
		{"outside", abi.MakeHandle(Capacity, 1), abi.TypeNone, 0, abi.BadHandle},
		{"far outside", ^abi.Handle(0), abi.TypeNone, 0, abi.BadHandle},
	} {
		obj, e := tab.Lookup(c.h, c.typ, c.rights, 0)
		if e != c.want || tab.Check(c.h, c.typ, c.rights, 0) != c.want {
			t.Errorf("%s: %v, want %v", c.name, e, c.want)
		}
		if e == 0 && obj != "stream" {
			t.Errorf("%s: found %v", c.name, obj)
		}
	}
	if n := tab.CloseAll(); n != 2 {
		t.Errorf("CloseAll closed %d handles, want 2", n)
	}
}

func TestFull(t *testing.T) {
	var tab Table
	var last abi.Handle
	for range Capacity {
		h, err := tab.Insert(nil, abi.TypeLog, 0)
		if err != nil {
			t.Fatal(err)
		}
		last = h
	}
	if _, err := tab.Insert(nil, abi.TypeLog, 0); !errors.Is(err, ErrFull) {
		t.Fatalf("insert into a full table: %v", err)
	}
	tab.Close(last)
	if _, err := tab.Insert(nil, abi.TypeLog, 0); err != nil {
		t.Fatalf("insert after a close: %v", err)
	}
}

// A slot whose generations are used up is never handed out again.
func TestRetire(t *testing.T) {
	var tab Table
	h, _ := tab.Insert("x", abi.TypeLog, 0)
	old := abi.MakeHandle(h.Index(), maxGeneration)
	tab.records[h.Index()].state.Store(pack(maxGeneration, abi.TypeLog, 0))
	if !tab.Close(old) {
		t.Fatal("handle of the last generation does not close")
	}
	if n, _ := tab.Insert("y", abi.TypeLog, 0); n.Index() == h.Index() {
		t.Fatal("a retired slot was used again")
	}
}

// Against a map: what was inserted and not closed is found, nothing else is.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab Table
		live := map[abi.Handle]int{}
		var all []abi.Handle
		for step := range rapid.IntRange(1, 400).Draw(t, "steps") {
			if len(all) > 0 && rapid.Bool().Draw(t, "close") {
				h := rapid.SampledFrom(all).Draw(t, "handle")
				_, was := live[h]
				if tab.Close(h) != was {
					t.Fatalf("Close(%#x) says %v", h, !was)
				}
				delete(live, h)
			} else if h, err := tab.Insert(step, abi.TypeStream, abi.RightRead); err == nil {
				if _, twice := live[h]; twice {
					t.Fatalf("handle %#x given out twice", h)
				}
				live[h] = step
				all = append(all, h)
			} else if len(live) != Capacity {
				t.Fatalf("full with %d handles", len(live))
			}
			for _, h := range all {
				obj, e := tab.Lookup(h, abi.TypeStream, abi.RightRead, 0)
				if want, ok := live[h]; ok != (e == 0) || ok && obj != want {
					t.Fatalf("Lookup(%#x) = %v, %v; want %v, %v", h, obj, e, want, ok)
				}
			}
		}
	})
}

// A lookup that runs beside Close and Insert finds its own object or none.
func TestRace(t *testing.T) {
	var tab Table
	var wg sync.WaitGroup
	handles := make(chan abi.Handle, 16)
	for range 4 {
		wg.Go(func() {
			for h := range handles {
				for range 20 {
					if obj, e := tab.Lookup(h, abi.TypeLog, 0, 0); e == 0 && obj != h.Generation() {
						t.Errorf("handle %#x found the object of generation %v", h, obj)
					}
				}
			}
		})
	}
	for g := uint32(1); g <= 2000; g++ {
		h, err := tab.Insert(g, abi.TypeLog, 0)
		if err != nil || h.Generation() != g {
			t.Fatalf("insert %d: %#x, %v", g, h, err)
		}
		handles <- h
		tab.Close(h)
	}
	close(handles)
	wg.Wait()
}

func TestNoAllocation(t *testing.T) {
	var tab Table
	h, _ := tab.Insert(&tab, abi.TypeStream, abi.RightRead)
	if n := testing.AllocsPerRun(100, func() { tab.Lookup(h, abi.TypeStream, abi.RightRead, 0) }); n != 0 {
		t.Fatalf("a lookup allocates %v times", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	var tab Table
	h, _ := tab.Insert(&tab, abi.TypeStream, abi.RightRead)
	for b.Loop() {
		if _, e := tab.Lookup(h, abi.TypeStream, abi.RightRead, 0); e != 0 {
			b.Fatal(e)
		}
	}
}

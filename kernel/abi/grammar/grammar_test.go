package grammar

import (
	"math/rand/v2"
	"slices"
	"testing"

	"aios/kernel/abi"
)

// all is a world that has everything, and notes what it was asked for.
type all struct{ asked map[Fit]int }

const (
	goodAt = 1 << 20
	badAt  = 1 << 50
)

func (w all) Handle(_ Choices, _ *Call, f Fit) (abi.Handle, Fit) {
	w.asked[f]++
	return abi.Handle(f) + 1, f
}
func (w all) Memory(_ Choices, _ *Call, _ *Arg, n uint64) uint64 { return goodAt }
func (w all) Bad(Choices, *Arg, uint64) uint64                   { return badAt }
func (w all) Timeout(Choices) uint64                             { return 7 }
func (w all) Region(Choices) uint64                              { return goodAt }

// A clean call keeps every bound, each bound is broken by some that is not, and each
// kind of handle is asked for.
func TestMake(t *testing.T) {
	w, r := all{map[Fit]int{}}, rand.New(rand.NewPCG(1, 2))
	for _, c := range slices.Concat(Calls, Personality) {
		broken, clean := make([]int, len(c.Args)), 0
		for range 2000 {
			m := c.Make(r, w)
			if len(m.Args) != len(c.Args) {
				t.Fatalf("%s: %d arguments, want %d", c.Name, len(m.Args), len(c.Args))
			}
			if m.Clean {
				clean++
			}
			for i := range c.Args {
				if ok(&c.Args[i], m.Args[i]) {
					continue
				}
				if broken[i]++; m.Clean {
					t.Errorf("%s %s: %#x in a clean call", c.Name, c.Args[i].Name, m.Args[i])
				}
			}
		}
		if clean < 600 {
			t.Errorf("%s: only %d of 2000 are clean", c.Name, clean)
		}
		for i, a := range c.Args {
			if breakable(&a) && broken[i] == 0 {
				t.Errorf("%s %s was never wrong", c.Name, a.Name)
			}
		}
	}
	for f := range fits {
		if w.asked[f] == 0 {
			t.Errorf("no handle of fit %d was asked for", f)
		}
	}
}

func breakable(a *Arg) bool {
	switch a.Class {
	case In, Out, Handles, Op, Offset, Rights:
		return true
	case Length, Count:
		return a.Min > 0 || a.Max > 0 && !a.Cut
	}
	return false
}

// ok tells whether v is what an argument admits.
func ok(a *Arg, v uint64) bool {
	switch a.Class {
	case In, Out, Handles:
		return v == goodAt
	case Length, Count:
		return v >= a.Min && (a.Max == 0 || a.Cut || v <= a.Max)
	case Op:
		return v >= 1 && v <= a.Max
	case Offset:
		return int64(v) >= 0
	case Rights:
		return v&^uint64(abi.AllRights) == 0
	case Timeout:
		return v == 7
	}
	return true
}

// Choices of a fuzzer are within their bounds, to the last byte and beyond it.
func TestBytes(t *testing.T) {
	b := Bytes{1, 2, 3, 255, 255, 9}
	for _, c := range []struct{ n, want int }{{1, 0}, {10, 1}, {1000, 515}, {256, 255}, {7, 255 % 7}, {7, 2}, {7, 0}, {100000, 0}} {
		if got := b.IntN(c.n); got != c.want {
			t.Errorf("IntN(%d) is %d, want %d", c.n, got, c.want)
		}
	}
	if b.Uint64() != 0 {
		t.Error("Uint64 of nothing")
	}
}

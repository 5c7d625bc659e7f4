// Package grammar makes calls from the system call table, for fuzzers: handles and
// arguments that are good, and now and then one that is not, or at the edge. What a
// program has, its handles and its memory, it brings itself.
package grammar

import "aios/kernel/abi"

// Class says what an argument is; see package table.
type Class uint8

const (
	Number Class = iota
	In
	Out
	Handles
	Length
	Count
	Timeout
	Op
	Offset
	Rights
	Code
	FD
	Region
	Pick
)

// Arg is one argument.
type Arg struct {
	Name     string
	Class    Class
	Min, Max uint64 // 0: none
	Cut      bool   // what is above Max is cut to it, not refused
	Values   []uint64
}

// Call is one that can be made.
type Call struct {
	Number  uint64
	Name    string
	Type    abi.Type
	Right   abi.Rights
	Args    []Arg
	Handle  bool // the result is a new handle
	Waits   bool
	Metered bool
	Errors  []abi.Errno // beside those of the check of its handle
}

// Choices is where choices come from: a fuzzer's bytes, or a generator with a seed.
type Choices interface {
	IntN(n int) int // 0 to n-1
	Uint64() uint64
}

// Fit says how well a handle fits a call.
type Fit uint8

const (
	Good      Fit = iota
	OtherType     // of an object of another type
	Weak          // without the right
	Stale         // closed, moved away or revoked
	Forged        // never given
	fits
)

// World is what a program has.
type World interface {
	// Handle is one for a call that fits so, or, if the program has none such, otherwise.
	Handle(s Choices, c *Call, f Fit) (abi.Handle, Fit)
	// Memory is the address of n bytes that an argument may point to (handles, where its
	// class is Handles). What the kernel is to read there makes sense to the call.
	Memory(s Choices, c *Call, a *Arg, n uint64) uint64
	// Bad is an address where n bytes are not all there, or not for such an argument.
	Bad(s Choices, a *Arg, n uint64) uint64
	// Timeout is as long as the program may wait.
	Timeout(s Choices) uint64
	// Region is the address of a page that may come and go.
	Region(s Choices) uint64
}

// Made is a call that is to be made.
type Made struct {
	Call   *Call
	Fit    Fit
	Handle abi.Handle
	Args   []uint64 // behind the handle
	Clean  bool     // every argument is good
}

// Make chooses handle and arguments of a call. As often as not all of them are good;
// else, mostly, one is not, so that each check is come to.
func (c *Call) Make(s Choices, w World) Made {
	m := Made{Call: c, Args: make([]uint64, len(c.Args)), Clean: true}
	spoiled := s.IntN(2 * (len(c.Args) + 1)) // 0: the handle; beyond the arguments: nothing
	wild := s.IntN(16) == 0                  // everything, one time in two
	spoil := func(i int) bool { return i == spoiled || wild && s.IntN(2) == 0 }
	if c.Number >= abi.FirstCall {
		fit := Good
		if spoil(0) {
			fit = Fit(s.IntN(int(fits)))
		}
		m.Handle, m.Fit = w.Handle(s, c, fit)
	}
	for i := 0; i < len(c.Args); i++ {
		a, bad := &c.Args[i], spoil(i+1)
		if bad {
			m.Clean = false
		}
		if a.Class != In && a.Class != Out && a.Class != Handles {
			m.Args[i] = a.value(s, w, bad)
			continue
		}
		n := uint64(64) // where no length follows
		if i+1 < len(c.Args) && (c.Args[i+1].Class == Length || c.Args[i+1].Class == Count) {
			i++
			long := spoil(i + 1)
			if long {
				m.Clean = false
			}
			n = c.Args[i].value(s, w, long)
			m.Args[i] = n
			if bad {
				m.Args[i-1] = w.Bad(s, a, n)
			} else {
				m.Args[i-1] = w.Memory(s, c, a, min(n, 2*abi.MaxTransfer))
			}
			continue
		}
		if bad {
			m.Args[i] = w.Bad(s, a, n)
		} else {
			m.Args[i] = w.Memory(s, c, a, n)
		}
	}
	return m
}

// edges are numbers at which something may overflow.
var edges = [...]uint64{0, 1, 2, 7, 8, 255, 4095, 4096, 1<<16 - 1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1,
	1 << 40, 1<<47 - 4096, 1 << 47, 1<<62 + 1, 1<<63 - 1, 1 << 63, ^uint64(0) - 4095, ^uint64(0) - 7, ^uint64(0)}

func edge(s Choices) uint64 { return edges[s.IntN(len(edges))] }

// value is one that is no address.
func (a *Arg) value(s Choices, w World, bad bool) uint64 {
	switch {
	case a.Class == Timeout: // none is bad, but the program has to go on
		return w.Timeout(s)
	case bad:
		return a.badValue(s)
	}
	switch a.Class {
	case Length:
		return a.length(s)
	case Count:
		if s.IntN(2) == 0 {
			return 0
		}
		return uint64(s.IntN(int(a.Max) + 1))
	case Op:
		return 1 + uint64(s.IntN(int(a.Max)))
	case Offset:
		return [...]uint64{0, 0, 1, 5, 9, 10, 11, 4096, 160000, 1 << 40, 1<<63 - 1}[s.IntN(11)]
	case Rights:
		return uint64(s.IntN(int(abi.AllRights) + 1))
	case FD:
		return uint64(s.IntN(8))
	case Region:
		return w.Region(s)
	case Pick:
		return a.Values[s.IntN(len(a.Values))]
	}
	return edge(s)
}

// length is one within the bounds: small, or at one of them.
func (a *Arg) length(s Choices) uint64 {
	least := a.Min
	switch {
	case s.IntN(4) > 0 || a.Max == 0:
		return least + uint64(s.IntN(200))
	case s.IntN(2) == 0:
		return a.Max - uint64(s.IntN(2))
	}
	return least
}

// badValue is one beside what is good, or at the edge of something else.
func (a *Arg) badValue(s Choices) uint64 {
	switch a.Class {
	case Length, Count:
		if s.IntN(2) == 0 {
			if a.Min > 0 && s.IntN(2) == 0 {
				return a.Min - 1
			}
			return a.Max + 1
		}
	case Op:
		return [...]uint64{0, a.Max + 1, 1<<32 + 1, ^uint64(0)}[s.IntN(4)]
	case Offset:
		return [...]uint64{1 << 63, ^uint64(0)}[s.IntN(2)]
	case Rights:
		return [...]uint64{uint64(abi.AllRights) + 1, 1<<24 | 1, 1<<32 | 1, ^uint64(0)}[s.IntN(4)]
	}
	return edge(s)
}

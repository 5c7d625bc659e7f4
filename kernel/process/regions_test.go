package process

import (
	"testing"

	"pgregory.net/rapid"
)

// Against a map from page to protection.
func TestRegionsAgainstModel(t *testing.T) {
	const base, pages = 0x7e0000000000, 64
	rapid.Check(t, func(t *rapid.T) {
		var r regions
		model := map[uint64]Prot{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			a := rapid.Uint64Range(0, pages-1).Draw(t, "page")
			n := rapid.Uint64Range(1, pages-a).Draw(t, "pages")
			start, end := base+a*pageSize, base+(a+n)*pageSize
			if rapid.Bool().Draw(t, "remove") {
				r.remove(start, end)
				for i := range n {
					delete(model, a+i)
				}
			} else {
				p := Prot(rapid.IntRange(0, 3).Draw(t, "prot"))
				r.set(start, end, p)
				for i := range n {
					model[a+i] = p
				}
			}
			for i, e := range r {
				if e.start >= e.end || i > 0 && (r[i-1].end > e.start || r[i-1].end == e.start && r[i-1].prot == e.prot) {
					t.Fatalf("not sorted, disjoint and merged: %v", r)
				}
			}
			for i := range uint64(pages) {
				va := base + i*pageSize
				want, ok := model[i]
				e, found := r.find(va + 5)
				if found != ok || ok && e.prot != want || r.free(va, va+pageSize) == ok || r.covered(va, va+pageSize) != ok {
					t.Fatalf("page %d: %v, %v; want %v, %v; %v", i, e, found, want, ok, r)
				}
			}
			all, none := true, true
			for i := range n {
				_, ok := model[a+i]
				all, none = all && ok, none && !ok
			}
			if r.covered(start, end) != all || r.free(start, end) != none {
				t.Fatalf("[%#x,%#x): covered %v, free %v; want %v, %v", start, end, r.covered(start, end), r.free(start, end), all, none)
			}
			want, run := uint64(0), uint64(0) // the lowest gap of n pages
			found := false
			for i := uint64(0); i < pages && !found; i++ {
				if _, used := model[i]; used {
					run = 0
				} else if run++; run == n {
					want, found = base+(i+1-n)*pageSize, true
				}
			}
			if at, ok := r.gap(n*pageSize, base, base+pages*pageSize); ok != found || ok && at != want {
				t.Fatalf("gap of %d pages at %#x, %v; want %#x, %v; %v", n, at, ok, want, found, r)
			}
		}
	})
}

// Random memory calls against the machine's own count: what a program sees is
// what it wrote, the charge covers every frame and table, and destroy gives all back.
func TestMemoryAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newFake()
		before := m.frames
		space, _ := m.NewSpace()
		limit := rapid.IntRange(10, 300).Draw(t, "limit")
		mem := newMemory(space, limit)
		model := map[uint64]byte{}
		bases := []uint64{mmapStart, mmapStart + leafSize - 3*pageSize, 0xc000000000, mmapStart + 1<<30, 0x500000}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			va := rapid.SampledFrom(bases).Draw(t, "base") + pageSize*rapid.Uint64Range(0, 7).Draw(t, "page")
			n := pageSize * rapid.Uint64Range(1, 5).Draw(t, "pages")
			each := func(f func(a uint64)) {
				for a := va; a < va+n; a += pageSize {
					f(a)
				}
			}
			switch rapid.IntRange(0, 5).Draw(t, "call") {
			case 0:
				if _, e := mem.mmap(va, n, 3, mapPrivate|mapAnonymous|mapFixed, false); e != 0 {
					t.Fatal(e)
				}
				each(func(a uint64) { delete(model, a) })
			case 1:
				if e := mem.munmap(va, n); e != 0 {
					t.Fatal(e)
				}
				each(func(a uint64) { delete(model, a) })
			case 2:
				if mem.madvise(va, n, madvDontNeed) == 0 {
					each(func(a uint64) { delete(model, a) })
				}
			case 3:
				mem.mprotect(va, n, rapid.Uint64Range(0, 3).Draw(t, "prot"), false)
			default:
				b := rapid.Byte().Draw(t, "value")
				if mem.copyOut(va+7, []byte{b}) == nil {
					model[va] = b
				}
			}
			var b [1]byte
			each(func(a uint64) {
				r, ok := mem.regions.find(a)
				if err := mem.copyIn(a+7, b[:]); err == nil && b[0] != model[a] {
					t.Fatalf("%#x reads %d, want %d", a, b[0], model[a])
				} else if (!ok || r.prot == 0) && err == nil {
					t.Fatalf("%#x reads though it is not mapped", a)
				}
			})
			if used := before - m.frames; used != mem.pages || mem.charged() > limit || mem.charged() < used {
				t.Fatalf("machine counts %d pages, process %d, charged %d of %d", used, mem.pages, mem.charged(), limit)
			}
		}
		if freed, expected := mem.destroy(); freed != expected || m.frames != before {
			t.Fatalf("freed %d, expected %d; the machine misses %d", freed, expected, before-m.frames)
		}
		if mem.copyIn(mmapStart, make([]byte, 1)) == nil || mem.copyOut(mmapStart, make([]byte, 1)) == nil {
			t.Fatal("memory reached after destroy")
		}
	})
}

package process

import "slices"

// maxRegions bounds the regions of one process, as Linux's max_map_count does.
const maxRegions = 8192

// region is a range of addresses with one protection. Bounds are page aligned.
type region struct {
	start, end uint64 // [start, end)
	prot       Prot
}

// regions is what a process has mapped: sorted, not overlapping, and neighbours
// that touch differ in protection.
type regions []region

// after returns the index of the first region that ends above va.
func (r regions) after(va uint64) int {
	i, _ := slices.BinarySearchFunc(r, va, func(e region, va uint64) int {
		if e.end <= va {
			return -1
		}
		return 1
	})
	return i
}

// find returns the region that holds va.
func (r regions) find(va uint64) (region, bool) {
	if i := r.after(va); i < len(r) && r[i].start <= va {
		return r[i], true
	}
	return region{}, false
}

// free tells whether nothing is mapped in [start, end).
func (r regions) free(start, end uint64) bool {
	i := r.after(start)
	return i == len(r) || r[i].start >= end
}

// covered tells whether all of [start, end) is mapped.
func (r regions) covered(start, end uint64) bool {
	for i := r.after(start); start < end; i++ {
		if i == len(r) || r[i].start > start {
			return false
		}
		start = r[i].end
	}
	return true
}

// remove unmaps [start, end).
func (r *regions) remove(start, end uint64) {
	s := *r
	i := s.after(start)
	j := i
	var keep [2]region
	n := 0
	for ; j < len(s) && s[j].start < end; j++ {
		if s[j].start < start {
			keep[n] = region{s[j].start, start, s[j].prot}
			n++
		}
		if s[j].end > end {
			keep[n] = region{end, s[j].end, s[j].prot}
			n++
		}
	}
	*r = slices.Replace(s, i, j, keep[:n]...)
}

// set maps [start, end) with prot in place of whatever was there.
func (r *regions) set(start, end uint64, prot Prot) {
	r.remove(start, end)
	s := *r
	i := s.after(start)
	if i > 0 && s[i-1].end == start && s[i-1].prot == prot {
		i--
		start = s[i].start
		s = slices.Delete(s, i, i+1)
	}
	if i < len(s) && s[i].start == end && s[i].prot == prot {
		end = s[i].end
		s = slices.Delete(s, i, i+1)
	}
	*r = slices.Insert(s, i, region{start, end, prot})
}

// gap finds room for n bytes in [lo, hi), the lowest there is.
func (r regions) gap(n, lo, hi uint64) (uint64, bool) {
	for i := r.after(lo); i < len(r) && r[i].start < hi; i++ {
		if r[i].start > lo && r[i].start-lo >= n {
			return lo, true
		}
		lo = r[i].end
	}
	return lo, lo < hi && hi-lo >= n
}

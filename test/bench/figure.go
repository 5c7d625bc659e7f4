package main

import (
	"fmt"
	"slices"
)

// figure sums up what was measured several times.
type figure struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Turns  []float64 `json:"turns"` // in their order
}

// sum makes a figure. Preconditions: values is not empty.
func sum(values []float64) figure {
	return figure{median(values), slices.Min(values), slices.Max(values), values}
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// row is one line of the table. Less is better in every row.
type row struct {
	Name  string  `json:"name"` // stable, for programs
	Text  string  `json:"text"`
	Ours  figure  `json:"ours_ns"`
	Peer  *figure `json:"peer_ns,omitempty"`
	Ratio *figure `json:"ratio,omitempty"` // Median is that of the medians, Min and Max those of single turns
	Lost  bool    `json:"lost"`
	// Of tokens: how long each side's is.
	OursBytes int `json:"ours_bytes,omitempty"`
	PeerBytes int `json:"peer_bytes,omitempty"`
}

// alone makes a row of what has no peer.
func alone(name, text string, ours []float64) (row, error) {
	if len(ours) == 0 {
		return row{}, fmt.Errorf("%s: nothing was measured", name)
	}
	return row{Name: name, Text: text, Ours: sum(ours)}, nil
}

// compare makes a row of what was measured in turns: ours[i] and peer[i] belong
// together.
func compare(name, text string, ours, peer []float64) (row, error) {
	r, err := alone(name, text, ours)
	if err != nil {
		return r, err
	}
	if len(peer) != len(ours) {
		return r, fmt.Errorf("%s: %d measurements of ours, %d of the peer", name, len(ours), len(peer))
	}
	p := sum(peer)
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / peer[i]
	}
	ratio := sum(ratios)
	ratio.Median = r.Ours.Median / p.Median
	r.Peer, r.Ratio, r.Lost = &p, &ratio, ratio.Median > 1
	return r, nil
}

// duration writes median and range of nanoseconds in the unit that suits the median.
func (f figure) duration() string {
	name, unit := "ns", 1.0
	for _, u := range []struct {
		name string
		ns   float64
	}{{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}} {
		if f.Median >= u.ns*0.9995 { // else it would be rounded to 1000 of the smaller unit
			name, unit = u.name, u.ns
		}
	}
	return fmt.Sprintf("%s %s (%s-%s)", digits(f.Median/unit), name, digits(f.Min/unit), digits(f.Max/unit))
}

// plain writes median and range of a number.
func (f figure) plain() string {
	return fmt.Sprintf("%s (%s-%s)", digits(f.Median), digits(f.Min), digits(f.Max))
}

// digits writes a number with about three significant digits.
func digits(v float64) string {
	switch {
	case v < 0.0995:
		return fmt.Sprintf("%.3f", v)
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

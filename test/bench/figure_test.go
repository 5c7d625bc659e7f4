package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"one", []float64{7}, 7},
		{"odd, not in order", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 9}, 3},
		{"an outlier does not count", []float64{1, 1, 1, 1000, 1}, 1},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Errorf("%s: the values were put in another order", c.name)
		}
	}
}

// The ratio is that of the medians; its range is that of single turns, which
// pairs what was measured together.
func TestCompare(t *testing.T) {
	r, err := compare("n", "t", []float64{10, 30, 20}, []float64{100, 60, 50})
	if err != nil {
		t.Fatal(err)
	}
	want := figure{20.0 / 60, 0.1, 0.5, []float64{0.1, 0.5, 0.4}}
	if !reflect.DeepEqual(*r.Ratio, want) || r.Ours.Median != 20 || r.Peer.Median != 60 || r.Lost {
		t.Errorf("%+v, ratio %+v, want %+v", r, *r.Ratio, want)
	}
}

func TestLost(t *testing.T) {
	for _, c := range []struct {
		name       string
		ours, peer float64
		want       bool
	}{{"less", 1, 2, false}, {"the same", 2, 2, false}, {"more", 3, 2, true}} {
		r, err := compare("n", "t", []float64{c.ours}, []float64{c.peer})
		if err != nil || r.Lost != c.want {
			t.Errorf("%s: lost %v, %v, want %v", c.name, r.Lost, err, c.want)
		}
	}
}

func TestNothingMeasured(t *testing.T) {
	for _, c := range []struct {
		name       string
		ours, peer []float64
		want       string
	}{
		{"neither", nil, nil, "nothing was measured"},
		{"no peer", []float64{1}, nil, "0 of the peer"},
		{"a turn is missing", []float64{1, 2}, []float64{1}, "2 measurements of ours, 1 of the peer"},
	} {
		if _, err := compare("row", "t", c.ours, c.peer); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "row") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := alone("row", "t", nil); err == nil {
		t.Error("a row of nothing was made")
	}
}

// A range is read beside its median: it has the same unit.
func TestDuration(t *testing.T) {
	for _, c := range []struct {
		median, min, max float64
		want             string
	}{
		{0.5, 0.25, 1, "0.50 ns (0.25-1.00)"},
		{130.4, 62.04, 1300, "130 ns (62.0-1300)"},
		{999.4, 999.4, 999.4, "999 ns (999-999)"},
		{999.6, 500, 2000, "1.00 us (0.50-2.00)"},
		{20_600, 15_000, 28_000, "20.6 us (15.0-28.0)"},
		{3.98e6, 3.98e6, 3.98e6, "3.98 ms (3.98-3.98)"},
		{11.5e9, 6e9, 172e9, "11.5 s (6.00-172)"},
	} {
		if got := (figure{c.median, c.min, c.max, nil}).duration(); got != c.want {
			t.Errorf("%v ns: %q, want %q", c.median, got, c.want)
		}
	}
}

func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{0.0042: "0.004", 0.0994: "0.099", 0.0999: "0.10", 0.214: "0.21", 9.996: "10.0", 33.3: "33.3", 99.96: "100", 5899: "5899"} {
		if got := digits(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

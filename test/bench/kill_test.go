package main

import (
	"strings"
	"testing"
)

func TestPercentile(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64((i*37)%100+1))
	}
	for _, c := range []struct {
		values []float64
		p      int
		want   float64
	}{
		{hundred, 99, 99}, {hundred, 100, 100}, {hundred, 50, 50}, {hundred, 1, 1},
		{[]float64{7}, 99, 7}, {[]float64{1, 2}, 50, 1}, {[]float64{2, 1, 3}, 99, 3},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("percentile %d of %d values: %v, want %v", c.p, len(c.values), got, c.want)
		}
	}
}

func TestKillRows(t *testing.T) {
	quick, slow := make([]float64, 198), []float64{30e6, 40e6, 50e6}
	for i := range quick {
		quick[i] = 2e6
	}
	rows, err := killRows([]batches{{"kill_spinning": quick[:100]}, {"kill_spinning": append(quick[100:], slow[0])}})
	if err != nil || len(rows) != 2 || rows[0].Lost || rows[1].Lost || rows[1].Ours.Median != 2e6 || !strings.Contains(rows[1].Text, "few") {
		t.Errorf("%+v, %v", rows, err)
	}
	rows, err = killRows([]batches{{"kill_spinning": append(quick, slow...)}})
	if err != nil || !rows[1].Lost || rows[1].Ours.Median != 30e6 || rows[0].Ours.Median != 2e6 || strings.Contains(rows[1].Text, "few") {
		t.Errorf("%+v, %v", rows, err)
	}
	if _, err := killRows([]batches{{"null": quick}}); err == nil {
		t.Error("no kill was measured, and nobody says so")
	}
}

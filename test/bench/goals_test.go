package main

import (
	"strings"
	"testing"
)

func TestGoals(t *testing.T) {
	r := sample(t) // null at 0.32 times, time_now lost
	slow, err := alone("capability_check", "capability check", []float64{15.5})
	if err != nil {
		t.Fatal(err)
	}
	r.Rows = append(r.Rows, slow)
	md := r.markdown()
	for _, want := range []string{
		"| null call: half of getpid | 0.31 times | met |\n",
		"| capability check: 15 ns with everything checked | 15.5 ns (15.5-15.5) | MISSED |\n",
		"- Go's time.Now: 16.7 times as long.\n",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("%q is missing in\n%s", want, md)
		}
	}
	r.Rows = r.Rows[:1]
	if md := r.markdown(); !strings.Contains(md, "No comparison is lost.") || strings.Contains(md, "MISSED") {
		t.Errorf("nothing is lost, yet\n%s", md)
	}
}

// A goal that no row answers for would be passed over.
func TestGoalsHaveRows(t *testing.T) {
	known := map[string]bool{"null": true, "ipc": true, "kill_p99": true} // rows of boots
	for _, h := range hot {
		known[h.name] = true
	}
	for _, g := range goals {
		if !known[g.row] {
			t.Errorf("there is no row %s", g.row)
		}
	}
}

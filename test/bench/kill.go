package main

import (
	"fmt"
	"slices"
	"time"
)

// killGoal is how long a kill may take at the 99th percentile: two ticks of the quantum,
// after which a program's thread is looked at in any case.
const killGoal = 20 * time.Millisecond

// minKills is how many kills a 99th percentile needs to mean something.
const minKills = 200

// killRows sums up the kills of all boots: from the kernel's entry to the operation until
// nothing of the agent is left.
func killRows(calls []batches) ([]row, error) {
	var all []float64
	for _, b := range calls {
		all = append(all, b["kill_spinning"]...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("AIOS: no boot measured kill_spinning")
	}
	few := ""
	if len(all) < minKills {
		few = fmt.Sprintf(", which are few: the percentile needs %d", minKills)
	}
	p50, err := alone("kill_p50", fmt.Sprintf("kill a spinning agent, p50 of %d", len(all)), []float64{median(all)})
	if err != nil {
		return nil, err
	}
	p99, err := alone("kill_p99", fmt.Sprintf("the same, p99 (goal: %v)%s", killGoal, few), []float64{percentile(all, 99)})
	if err != nil {
		return nil, err
	}
	p99.Lost = p99.Ours.Median > float64(killGoal)
	return []row{p50, p99}, nil
}

// percentile is the smallest value that at least p percent of the values do not exceed.
// Preconditions: values is not empty; p is 1 to 100.
func percentile(values []float64, p int) float64 {
	v := slices.Sorted(slices.Values(values))
	return v[(len(v)*p+99)/100-1]
}

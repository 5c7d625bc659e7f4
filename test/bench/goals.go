package main

import (
	"fmt"
	"strings"
)

// goals are what the project set itself, by the row's name.
var goals = []struct {
	row, text string
	ratio     float64 // that the median of the ratios does not exceed; 0: none
	ns        float64 // or that the median does not exceed
}{
	{"null", "null call: half of getpid", 0.5, 0},
	{"ipc", "IPC round trip: a quarter of that over pipes", 0.25, 0},
	{"kill_p99", fmt.Sprintf("kill of a spinning agent: 99 of 100 within %v", killGoal), 0, float64(killGoal)},
	{"token_jwt", "token verification: less than a JWT under ES256", 1, 0},
	{"capability_check", "capability check: 15 ns with everything checked", 0, 15},
}

// goals says of each goal whether it was met, and which comparisons are lost.
func (r *report) goals() string {
	var s strings.Builder
	s.WriteString("\n## Goals and losses\n\n| goal | measured | |\n| --- | --- | --- |\n")
	for _, g := range goals {
		for _, row := range r.Rows {
			if row.Name != g.row {
				continue
			}
			measured, met := row.Ours.duration(), row.Ours.Median <= g.ns
			if g.ratio > 0 && row.Ratio != nil {
				measured, met = digits(row.Ratio.Median)+" times", row.Ratio.Median <= g.ratio
			}
			fmt.Fprintf(&s, "| %s | %s | %s |\n", g.text, measured, map[bool]string{true: "met", false: "MISSED"}[met])
		}
	}
	s.WriteString("\n")
	var lost []string
	for _, row := range r.Rows {
		if row.Lost && row.Ratio != nil {
			lost = append(lost, strings.TrimSpace(fmt.Sprintf("- %s: %s times as long. %s", row.Text, digits(row.Ratio.Median), why[row.Name])))
		}
	}
	if len(lost) == 0 {
		return s.String() + "No comparison is lost.\n"
	}
	return s.String() + "Lost:\n\n" + strings.Join(lost, "\n") + "\n"
}

// why a row is lost, where it is.
var why = map[string]string{
	"personality_getpid": "Programs of ours do not call it in a loop: the Go runtime asks once.",
	"personality_clock":  "time.Now does not call it.",
	"quote":              "Ours checks the signature itself, to say which condition failed, and has go-attestation check it once more.",
	"http_get":           "See HTTP below: what is parsed in ring 3 has a longer way.",
	"token_jwt":          "The signature is another kind, and ten times as long.",
	"token_biscuit":      "The signature is another kind, and ten times as long.",
	"token_macaroon":     "A macaroon is a chain of HMACs: who verifies it has the secret that makes others.",
	"token_biscuit_1":    "Each time it is passed on a key of ML-DSA-65 is parsed and a signature checked.",
	"token_biscuit_4":    "Each time it is passed on a key of ML-DSA-65 is parsed and a signature checked.",
	"token_macaroon_1":   "A macaroon is a chain of HMACs, and names no new holder.",
	"token_macaroon_4":   "A macaroon is a chain of HMACs, and names no new holder.",
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// hotRounds is how often each Go benchmark is run, in turns with its peer.
const hotRounds = 7

// hot are the Go benchmarks in the order of the table. One with the parts "ours"
// and "peer" is compared.
var hot = []struct{ benchmark, name, text string }{
	{"ReplayHost", "replay_host", "replay of this host's event log / go-attestation"},
	{"ReplayLogs", "replay_recorded", "replay of %d recorded event logs / go-attestation"},
	{"ReplayLarge", "replay_large", "replay of a log of 10,000 events / go-attestation"},
	{"Quote", "quote", "quote verification / go-attestation"},
	{"Appraise", "appraisal", "appraisal: quote, log, predictions, policy"},
	{"Verify", "mldsa_verify", "ML-DSA-65 verification / filippo.io/mldsa"},
	{"ParseVerify", "mldsa_parse_verify", "ML-DSA-65, key parsing too / filippo.io/mldsa"},
	{"TokenJWT", "token_jwt", "token verification / JWT, ES256, by jwx"},
	{"TokenBiscuit", "token_biscuit", "token verification / Biscuit, Ed25519, by biscuit-go"},
	{"TokenMacaroon", "token_macaroon", "token verification / macaroon, HMAC-SHA256, by macaroon.v2"},
	{"TokenBiscuit1", "token_biscuit_1", "token passed on once / Biscuit of one more block"},
	{"TokenMacaroon1", "token_macaroon_1", "token passed on once / macaroon narrowed once"},
	{"TokenBiscuit4", "token_biscuit_4", "token passed on 4 times / Biscuit of 4 more blocks"},
	{"TokenMacaroon4", "token_macaroon_4", "token passed on 4 times / macaroon narrowed 4 times"},
	{"Check", "capability_check", "capability check of a handle: right, token, epoch, lease, quotas (goal: 15 ns)"},
}

// hotPaths runs the test binary and makes rows of its benchmarks.
func hotPaths(ctx context.Context, binary, exhibit string) ([]row, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if exhibit, err = filepath.Abs(exhibit); err != nil {
		return nil, err
	}
	all, size := map[string][]float64{}, map[string]int{}
	logs := 0
	err = step("Go benchmarks", func() error {
		for range hotRounds {
			c := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench=.", "-test.benchtime=200ms")
			c.Dir = filepath.Join("test", "bench")
			c.Env = append(os.Environ(), exhibitFile+"="+exhibit)
			c.Stderr = os.Stderr
			out, err := c.Output()
			if err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			for name, v := range benchmarks(bytes.NewReader(out)) {
				all[name] = append(all[name], v["ns/op"])
				size[name] = int(v["bytes"])
				if name == "ReplayLogs/ours" {
					logs = int(v["logs"])
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, h := range hot {
		text := h.text
		if strings.Contains(text, "%d") {
			text = fmt.Sprintf(text, logs)
		}
		var r row
		var err error
		if ours, single := all[h.benchmark]; single {
			r, err = alone(h.name, text, ours)
		} else {
			r, err = compare(h.name, text, all[h.benchmark+"/ours"], all[h.benchmark+"/peer"])
		}
		if err != nil {
			return nil, err
		}
		r.OursBytes, r.PeerBytes = size[h.benchmark+"/ours"], size[h.benchmark+"/peer"]
		rows = append(rows, r)
	}
	return rows, nil
}

var benchmarkLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// benchmarks reads the output of Go benchmarks: values by unit, by name.
func benchmarks(r io.Reader) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	for s := bufio.NewScanner(r); s.Scan(); {
		m := benchmarkLine.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		values := map[string]float64{}
		for f := strings.Fields(m[2]); len(f) >= 2; f = f[2:] {
			if v, err := strconv.ParseFloat(f[0], 64); err == nil {
				values[f[1]] = v
			}
		}
		out[m[1]] = values
	}
	return out
}

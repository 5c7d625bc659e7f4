package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func sample(t *testing.T) *report {
	t.Helper()
	won, err := compare("null", "null call / getpid", []float64{140, 130, 150}, []float64{440, 450, 700})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := compare("time_now", "Go's time.Now", []float64{50_000}, []float64{3_000})
	if err != nil {
		t.Fatal(err)
	}
	single, err := alone("check", "capability check", []float64{2.5})
	if err != nil {
		t.Fatal(err)
	}
	return &report{Commit: "0123456789ab", Rounds: 3, Took: "5m0s", Rows: []row{won, lost, single},
		Machine: machine{CPU: "Model 7", Cores: 2, Accelerator: "tcg", QEMU: "7.2.22", CPUs: 2, Memory: "1500M", Go: "go1.26.8"},
		Peers:   peers{Kernel: "linux-image 6.1", Stub: "systemd-boot-efi 252", GoAttestation: "v0.6.4", SecondMLDSA: "v1.0.0"}}
}

// Who reads the table must see on what it was measured, and what was lost.
func TestText(t *testing.T) {
	text := sample(t).text()
	for _, want := range []string{"QEMU 7.2.22, TCG, on 2 cores of Model 7", "0123456789ab", "linux-image 6.1", "go-attestation v0.6.4", "lost     time_now\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, c := range []struct {
		row  string
		want []string
		lost bool
	}{
		{"null call / getpid", []string{"140 ns (130-150)", "450 ns (440-700)", "0.31 (0.21-0.32)"}, false},
		{"Go's time.Now", []string{"50.0 us", "3.00 us", "16.7"}, true},
		{"capability check", []string{"2.50 ns"}, false},
	} {
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, c.row) {
				continue
			}
			for _, w := range c.want {
				if !strings.Contains(line, w) {
					t.Errorf("%q is missing in %q", w, line)
				}
			}
			if strings.Contains(line, "LOST") != c.lost {
				t.Errorf("marked as lost or not, wrongly: %q", line)
			}
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	r := sample(t)
	jsonFile, doc := filepath.Join(dir, "bench.json"), filepath.Join(dir, "BENCHMARKS.md")
	var terminal strings.Builder
	if err := r.write(&terminal, jsonFile, doc); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Rows) != 3 || !reflect.DeepEqual(back.Rows[0].Ratio, r.Rows[0].Ratio) || !back.Rows[1].Lost || back.Rows[2].Peer != nil || back.Machine.CPU != "Model 7" {
		t.Errorf("the JSON does not hold the report: %s", text)
	}
	md, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range r.Rows {
		if want := "| " + strings.Join(r.cells(), " | ") + " |\n"; !strings.Contains(string(md), want) {
			t.Errorf("the document lacks %q", want)
		}
	}
}

func TestNoDocumentUnlessAsked(t *testing.T) {
	dir := t.TempDir()
	var terminal strings.Builder
	if err := sample(t).write(&terminal, filepath.Join(dir, "bench.json"), ""); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files were written, want the JSON alone", len(files))
	}
}

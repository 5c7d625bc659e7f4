package main

import (
	"archive/tar"
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestMeasurement(t *testing.T) {
	for _, c := range []struct {
		line, name string
		ns         float64
	}{
		{"B getpid 631.4 ns", "getpid", 631.4},
		{"aios test: B null 130.0 ns", "null", 130},
		{"B clock 1e3 ns", "clock", 1000},
		{"B getpid 631.4 us", "", 0},
		{"B getpid ns", "", 0},
		{"B getpid -1 ns", "", 0},
		{"B getpid 0 ns", "", 0},
		{"B getpid NaN ns", "", 0},
		{"B getpid fast ns", "", 0},
		{"TEST B 1 ns", "", 0},
		{"BENCH done err=<nil>", "", 0},
		{"", "", 0},
	} {
		name, ns, ok := measurement(c.line)
		if name != c.name || ns != c.ns || ok != (c.name != "") {
			t.Errorf("%q: %q %v %v, want %q %v", c.line, name, ns, ok, c.name, c.ns)
		}
	}
}

func TestEach(t *testing.T) {
	a, b := batches{}, batches{}
	for _, l := range []string{"B x 3 ns", "INIT", "B x 1 ns", "B x 2 ns", "B y 9 ns"} {
		a.add(l)
	}
	b.add("B x 7 ns")
	if got, err := each([]batches{a, b}, "x", median); err != nil || len(got) != 2 || got[0] != 2 || got[1] != 7 {
		t.Errorf("%v, %v, want 2 and 7", got, err)
	}
	if _, err := each([]batches{a, b}, "y", median); err == nil {
		t.Error("a boot that measured nothing was passed over")
	}
}

func TestReadUp(t *testing.T) {
	const (
		machine = `{"event":"machine","at_ms":400,"accelerator":"tcg"}`
		verdict = `{"event":"verdict","at_ms":7400,"status":"affirming"}`
		summary = `{"event":"summary","at_ms":7500,"ok":true,"stages_ms":{"firmware":5900,"boot":500},"total_ms":7500}`
	)
	for _, c := range []struct {
		name   string
		events []string
		want   string // error
	}{
		{"good", []string{`{"event":"keys"}`, machine, `{"event":"progress"}`, verdict, summary}, ""},
		{"not affirming", []string{machine, `{"event":"verdict","at_ms":1,"status":"warning"}`, summary}, `"warning", want affirming`},
		{"failed", []string{machine, `{"event":"summary","ok":false,"error":"no such disk"}`}, "no such disk"},
		{"no machine", []string{verdict, summary}, "no start of the machine"},
		{"no verdict", []string{machine, summary}, "no verdict"},
		{"cut off", []string{machine, verdict}, "no summary"},
		{"not JSON", []string{machine, "panic: oh"}, "not an event"},
		{"nothing", nil, "no start of the machine"},
	} {
		got, err := readUp(strings.NewReader(strings.Join(c.events, "\n")))
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
			continue
		}
		if want := (upTimes{verdict: 7 * time.Second, firmware: 5900 * time.Millisecond}); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, want)
		}
	}
}

func TestBenchmarks(t *testing.T) {
	got := benchmarks(strings.NewReader(`goos: linux
cpu: AMD EPYC
BenchmarkReplayLogs/ours-2         	     340	   1053967 ns/op	        32.00 logs
BenchmarkReplayLogs/peer           	     100	   3350332 ns/op
BenchmarkCheck-16                  	143129881	         2.574 ns/op	       0 B/op
BenchmarkBroken-2   --- FAIL
PASS
`))
	want := map[string]map[string]float64{
		"ReplayLogs/ours": {"ns/op": 1053967, "logs": 32},
		"ReplayLogs/peer": {"ns/op": 3350332},
		"Check":           {"ns/op": 2.574, "B/op": 0},
	}
	if len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
	for name, values := range want {
		if !maps.Equal(got[name], values) {
			t.Errorf("%s: %v, want %v", name, got[name], values)
		}
	}
}

func TestDependency(t *testing.T) {
	for _, c := range []struct{ name, out, want string }{
		{"kernel", "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n", "linux-image-6.1.0-56-cloud-amd64"},
		{"others around it", "linux-image-cloud-amd64\n  PreDepends: x\n  Depends: linux-image-6.12.1+deb13-cloud-amd64\n  Suggests: y\n", "linux-image-6.12.1+deb13-cloud-amd64"},
		{"another kernel", "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n", ""},
		{"nothing", "", ""},
	} {
		if got := dependency(c.out); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFromTar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []struct {
		name, data string
		kind       byte
	}{{"./boot/", "", tar.TypeDir}, {"./boot/vmlinuz-link", "", tar.TypeSymlink}, {"./boot/config-6.1", "no", tar.TypeReg}, {"./boot/vmlinuz-6.1", "yes", tar.TypeReg}} {
		if err := w.WriteHeader(&tar.Header{Name: h.name, Typeflag: h.kind, Size: int64(len(h.data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(h.data))
	}
	w.Close()
	if got, err := fromTar(bytes.NewReader(b.Bytes()), "boot/vmlinuz-*", "boot/config-*"); err != nil || len(got) != 2 || string(got[0]) != "yes" || string(got[1]) != "no" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := fromTar(bytes.NewReader(b.Bytes()), "boot/vmlinuz-*", "usr/lib/*.stub"); err == nil || !strings.Contains(err.Error(), "*.stub") {
		t.Errorf("%v, want an error that names the file", err)
	}
	if _, err := fromTar(bytes.NewReader(b.Bytes()[:700]), "boot/vmlinuz-*"); err == nil {
		t.Error("a cut archive was accepted")
	}
}

func TestFacts(t *testing.T) {
	if got := cpuModel("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9654\nflags\t\t: fpu\n"); got != "AMD EPYC 9654" {
		t.Errorf("CPU %q", got)
	}
	if got := cpuModel(""); got != "unknown CPU" {
		t.Errorf("no CPU: %q", got)
	}
	if got := qemuVersion("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022\n"); got != "7.2.22" {
		t.Errorf("QEMU %q", got)
	}
}

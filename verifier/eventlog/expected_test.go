package eventlog

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

type expectation struct {
	Error    *string                      `json:"error"`
	Events   int                          `json:"events"`
	PCRs     map[string]map[string]string `json:"pcrs"`
	Variable *string                      `json:"secure_boot_variable"`
	Locality byte                         `json:"startup_locality"`
}

// expectations are what an independent replayer made of the logs in testdata/logs.
func expectations(t testing.TB) map[string]expectation {
	t.Helper()
	b, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]expectation
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func readLog(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/logs", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newLog begins a log with a SHA-256 and a SHA-384 bank.
func newLog(t testing.TB) *Builder {
	t.Helper()
	b, err := NewBuilder(SHA256, SHA384)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parsed reads a log that must be read to its end.
func parsed(t testing.TB, b []byte) *Log {
	t.Helper()
	l, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestExpected(t *testing.T) {
	all := expectations(t)
	if len(all) != 46 {
		t.Fatalf("%d logs, want 46", len(all))
	}
	for name, want := range all {
		t.Run(name, func(t *testing.T) {
			l, err := Parse(readLog(t, name))
			if (err != nil) != (want.Error != nil) {
				t.Errorf("error %v, want %v", err, want.Error)
			}
			if len(l.Events) != want.Events {
				t.Errorf("%d events, want %d", len(l.Events), want.Events)
			}
			if got := l.StartupLocality(); got != want.Locality {
				t.Errorf("startup locality %d, want %d", got, want.Locality)
			}
			pcrs := l.Replay()
			for bank, values := range want.PCRs {
				got := map[string]string{}
				for a, p := range pcrs {
					if a.String() != bank {
						continue
					}
					for i, v := range p {
						if v != nil {
							got[strconv.Itoa(i)] = hex.EncodeToString(v)
						}
					}
				}
				if len(got) != len(values) {
					t.Errorf("%s: %d PCRs, want %d", bank, len(got), len(values))
				}
				for i, v := range values {
					if got[i] != v {
						t.Errorf("%s PCR %s: %s, want %s", bank, i, got[i], v)
					}
				}
			}
			v, ok := l.Variable("SecureBoot")
			switch {
			case ok != (want.Variable != nil):
				t.Errorf("SecureBoot variable found: %v, want %v", ok, want.Variable != nil)
			case ok && hex.EncodeToString(v) != *want.Variable:
				t.Errorf("SecureBoot is %x, want %s", v, *want.Variable)
			}
		})
	}
}

package eventlog

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestReplayReport: exit statuses, and the names in the JSON, which scripts depend on.
func TestReplayReport(t *testing.T) {
	whole := readLog(t, "ovmf_swtpm_secureboot_uki.bin")
	altered := newLog(t)
	altered.Add(5, EVEFIAction, []byte("a"), []byte("b"))
	for _, c := range []struct {
		name    string
		log     []byte
		code    int
		events  int
		warning string
	}{
		{"whole", whole, ExitComplete, 39, ""},
		{"cut", whole[:len(whole)-1], ExitPartial, 38, "event log is truncated: event 38 at byte"},
		{"followed by bytes", append(whole[:len(whole):len(whole)], 1, 2, 3), ExitPartial, 39, "bytes after the last event"},
		{"empty", nil, ExitNothing, 0, ""},
		{"text", []byte("what is this?"), ExitNothing, 0, ""},
		{"an altered event", altered.Bytes(), ExitComplete, 2, "event 1 (EV_EFI_ACTION, PCR 5): the digest is not that of the event's data"},
		{"a bank that cannot be computed", readLog(t, "deps_eventlog_test_data_CCEL_data_csv"), ExitComplete, 83, "bank sm3 cannot be replayed here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, code := ReplayReport(c.log)
			if code != c.code || len(r.Events) != c.events {
				t.Errorf("exit %d with %d events, want %d with %d", code, len(r.Events), c.code, c.events)
			}
			if (r.Error != "") != (code != ExitComplete) {
				t.Errorf("exit %d with error %q", code, r.Error)
			}
			if c.warning == "" && code == ExitComplete && len(r.Warnings) > 0 || !strings.Contains(strings.Join(r.Warnings, "\n"), c.warning) {
				t.Errorf("warnings %q, want %q", r.Warnings, c.warning)
			}
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var fields map[string]json.RawMessage
			if err := json.Unmarshal(text, &fields); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"format", "banks", "startup_locality", "pcrs", "secure_boot", "events", "warnings"} {
				if v, ok := fields[name]; !ok || string(v) == "null" {
					t.Errorf("%s is %s", name, v)
				}
			}
		})
	}
	r, _ := ReplayReport(whole)
	if got := r.PCRs["sha256"]["7"]; got != "5b0a238df0c8773b58a6e434c296a4275e1f4d534a23f479e397dbe17bbc659b" {
		t.Errorf("PCR 7 is %s", got)
	}
	if r.Events[0].Digests["sha1"] == "" || r.Events[1].Digests["sha256"] == "" || r.Events[1].Index != 1 {
		t.Error("events lack their digests or index")
	}
}

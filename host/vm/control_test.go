package vm

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// monitor answers as QEMU does: a greeting, then a line for each line.
func monitor(t *testing.T, socket, greeting string, answer func(line string) string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintln(c, greeting)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			fmt.Fprintln(c, answer(lines.Text()))
		}
	}()
}

func TestSetLink(t *testing.T) {
	const greeting = `{"QMP": {"version": {}, "capabilities": []}}`
	for _, c := range []struct {
		name, greeting, answer, want string
	}{
		{"done", greeting, `{"return": {}}`, ""},
		{"events come between", greeting, `{"timestamp": {}, "event": "NIC_RX_FILTER_CHANGED"}` + "\n" + `{"return": {}}`, ""},
		{"refused", greeting, `{"error": {"class": "DeviceNotFound", "desc": "Device 'net0' not found"}}`, "Device 'net0' not found"},
		{"not a monitor", `{"hello": 1}`, "", "does not greet"},
		{"not JSON", "hello", "", "invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &Machine{sockets: socketsIn(t.TempDir())}
			var asked []string
			monitor(t, m.sockets.control, c.greeting, func(line string) string {
				asked = append(asked, line)
				if strings.Contains(line, "qmp_capabilities") {
					return `{"return": {}}`
				}
				return c.answer
			})
			err := m.SetLink(t.Context(), false)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if err == nil && (len(asked) != 2 || !strings.Contains(asked[1], `"set_link"`) || !strings.Contains(asked[1], `"up":false`)) {
				t.Errorf("asked %q", asked)
			}
		})
	}
	m := &Machine{sockets: socketsIn(filepath.Join(t.TempDir(), "gone"))}
	if err := m.SetLink(t.Context(), true); err == nil || !strings.Contains(err.Error(), "up=true") {
		t.Errorf("no machine: %v", err)
	}
}

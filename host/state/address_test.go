package state

import (
	"os"
	"strings"
	"testing"
)

func TestHostsAddress(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.HostsAddress()
	if err != nil || !strings.HasPrefix(first, "127.0.0.1:") {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := d.HostsAddress(); err != nil || again != first {
		t.Errorf("another one the second time: %q, %v", again, err)
	}
	for _, bad := range []string{"", "here", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "localhost:80"} {
		if err := os.WriteFile(d.hostsAddress(), []byte(bad+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if a, err := d.HostsAddress(); err == nil {
			t.Errorf("%q was taken as %q", bad, a)
		}
	}
}

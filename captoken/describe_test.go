package captoken

import (
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	_, g, err := Read(mint(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	want := `agent planner on host host-00112233445566aa may:
  write lines to the log
  read the clock
  send messages to journald, worker-*
  receive messages from journald, worker-*
  allocate memory
  call services: journald (append), memoryd (*)
  open connections to tcp://*.example.org:443, tcp://192.0.2.0/24:8000-8999, udp://192.0.2.53/32:53
  start agents
using at most: 67108864 bytes of memory, 500 thousandths of a processor, 1000 messages a second, 1048576 bytes a second, 20 ms of device time a second
from 2027-01-15T07:59:00Z until 2027-01-15T09:00:00Z
while the host holds lease ` + testID("lease").String() + `, unless its id, its agent or epoch 3 is revoked
the holder of key ` + testKey(t, "holder").Public().Thumbprint().String() + ` may pass it on, 4 times in a row at most`
	if got := strings.Join(g.Describe(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	_, g, err = Read(mint(t, func(c *Claims) {
		c.Rights, c.Scopes, c.Quotas, c.Depth = RightSend|RightMemory|1<<63, Scopes{}, Quotas{}, 0
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(g.Describe(), "\n")
	for _, want := range []string{"send messages, but no peer is in its scope", "allocate memory, but its quota is 0 bytes", "nothing by rights without a name: bit63", "using at most: nothing", "may not be passed on"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	c := testCommand()
	if s := c.Describe(); !strings.HasPrefix(s, `kill agent planner on host host-00112233445566aa ("spins without end"), number 12`) {
		t.Error(s)
	}
}

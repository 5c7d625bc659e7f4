package main

import "testing"

func TestParse(t *testing.T) {
	want := orders{"10.0.2.2:8080", [4]byte{10, 0, 2, 15}, 3}
	if o, err := parse("console=ttyS0 web=10.0.2.2:8080/10.0.2.15/3 quiet\n"); err != nil || o != want {
		t.Errorf("%+v, %v, want %+v", o, err, want)
	}
	for _, bad := range []string{"", "console=ttyS0", "web=10.0.2.2:8080", "web=10.0.2.2:8080/10.0.2/3", "web=10.0.2.2:8080/10.0.2.15/many"} {
		if o, err := parse(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, o)
		}
	}
}
